// Builds the native tests with address and undefined-behaviour sanitizers and runs them, and the kernels of 64-bit ARM under emulation.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { available, cmake, generatorArguments, requireBuildTools } from './build-native.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Configures and builds a tree of tests; returns its folder. */
function buildTests(name, options, targets = []) {
  const build = path.join(root, 'build', name);
  cmake([
    '-S',
    path.join(root, 'engine', 'native'),
    '-B',
    build,
    ...generatorArguments(),
    '-DCMAKE_BUILD_TYPE=Release',
    '-DDBELL_BUILD_ADDON=OFF',
    '-DDBELL_BUILD_TESTS=ON',
    ...options,
  ]);
  const target = targets.length === 0 ? [] : ['--target', ...targets];
  cmake(['--build', build, '--config', 'Release', '--parallel', '2', ...target]);
  return build;
}

/** Runs a program to its end; ends this one where it fails. */
function run(command, args, environment = {}) {
  const result = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...environment } });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

const armTests = ['kernels_exact_test', 'kernels_base3_test'];
const armCompiler = 'aarch64-linux-gnu-g++';
const armEmulator = 'qemu-aarch64';
/** Processors that are emulated, and the kernels that each must have, slowest first. */
const armProcessors = [
  { name: 'cortex-a53', kernels: 'generic neon' },
  { name: 'cortex-a76', kernels: 'generic neon neon-dot' },
];

/** The kernel tests, cross-compiled and run on emulated processors with and without the dot product of bytes. */
function testArmKernels() {
  const missing = [armCompiler, armEmulator].filter((tool) => !available(tool));
  if (missing.length > 0) {
    const message = `kernels for 64-bit ARM: ${missing.join(' and ')} not found (Debian/Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user)`;
    if (process.env.DBELL_REQUIRE_ASSETS === '1') {
      console.error(message);
      process.exit(1);
    }
    console.log(`skipped: ${message}`);
    return;
  }
  // Linked statically, so that the emulator needs no libraries of that machine.
  const build = buildTests(
    'native-tests-aarch64',
    [
      '-DCMAKE_SYSTEM_NAME=Linux',
      '-DCMAKE_SYSTEM_PROCESSOR=aarch64',
      `-DCMAKE_CXX_COMPILER=${armCompiler}`,
      '-DCMAKE_EXE_LINKER_FLAGS=-static',
    ],
    armTests,
  );
  for (const { name, kernels } of armProcessors) {
    for (const test of armTests) {
      console.log(`${test} on an emulated ${name}`);
      run(armEmulator, ['-cpu', name, path.join(build, test)], { DBELL_EXPECTED_KERNELS: kernels });
    }
  }
}

requireBuildTools();
run('ctest', ['--test-dir', buildTests('native-tests', ['-DDBELL_SANITIZE=ON']), '--output-on-failure']);
testArmKernels();
