// Builds the native tests with address and undefined-behaviour sanitizers and runs them.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cmake, generatorArguments, requireBuildTools } from './build-native.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const build = path.join(root, 'build', 'native-tests');
requireBuildTools();
cmake([
  '-S',
  path.join(root, 'engine', 'native'),
  '-B',
  build,
  ...generatorArguments(),
  '-DCMAKE_BUILD_TYPE=Release',
  '-DDBELL_SANITIZE=ON',
  '-DDBELL_BUILD_ADDON=OFF',
  '-DDBELL_BUILD_TESTS=ON',
]);
cmake(['--build', build, '--config', 'Release', '--parallel', '2']);
const result = spawnSync('ctest', ['--test-dir', build, '--output-on-failure'], { stdio: 'inherit' });
process.exit(result.status ?? 1);
