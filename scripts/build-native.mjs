// Builds the C++ addon with CMake. Runs at `npm ci`; plain JavaScript because it must run on any Node.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);

/** Ends the installation with one message that says what is missing and what to do. */
function stop(message) {
  console.error(`\ndbell-studio: ${message}\n`);
  process.exit(1);
}

/** True if `command --version` runs. */
export function available(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

export function requireBuildTools() {
  if (!available('cmake')) {
    stop(
      'CMake 3.18 or newer is needed to build the native part and was not found. Debian/Ubuntu: apt-get install cmake. macOS: brew install cmake. Windows: winget install Kitware.CMake. Then run npm ci again.',
    );
  }
  const compilers = [process.env.CXX, 'c++', 'g++', 'clang++'].filter(Boolean);
  if (process.platform !== 'win32' && !compilers.some(available)) {
    stop(
      'A C++17 compiler is needed to build the native part and was not found (looked for CXX, c++, g++, clang++). Debian/Ubuntu: apt-get install g++ make. macOS: xcode-select --install. Then run npm ci again.',
    );
  }
}

/** Runs CMake and ends with its output if it fails. */
function cmake(args) {
  const result = spawnSync('cmake', args, { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) stop(`cmake ${args.join(' ')} failed (see its output above).`);
}

/** Configures and builds engine/native into build/`name`, all of it or `targets`; returns that folder. */
export function buildNative(name, options, targets = []) {
  const build = path.join(root, 'build', name);
  const generator = available('ninja') ? ['-G', 'Ninja'] : [];
  cmake([
    '-S',
    path.join(root, 'engine', 'native'),
    '-B',
    build,
    ...generator,
    '-DCMAKE_BUILD_TYPE=Release',
    ...options,
  ]);
  const target = targets.length === 0 ? [] : ['--target', ...targets];
  cmake(['--build', build, '--config', 'Release', '--parallel', '2', ...target]);
  return build;
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  requireBuildTools();
  const includes = [
    require('node-api-headers').include_dir,
    path.dirname(require.resolve('node-addon-api/package.json')),
  ];
  buildNative('native', [`-DDBELL_NODE_INCLUDE_DIRS=${includes.join(';')}`]);
}
