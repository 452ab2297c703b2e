// Builds the native tests with address and undefined-behaviour sanitizers and runs them, those with threads also with the thread sanitizer, and the kernels of 64-bit ARM under emulation.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { available, buildNative, requireBuildTools } from './build-native.mjs';

/** Tests in place of the addon. */
const testOptions = ['-DDBELL_BUILD_ADDON=OFF', '-DDBELL_BUILD_TESTS=ON'];

/** Runs a program to its end; ends this one where it fails. */
function run(command, args, environment = {}) {
  const result = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...environment } });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Tests in which threads work together. */
const threadTests = ['thread_pool_test', 'runtime_model_test', 'numerics_grid_test'];

/** The same with the thread sanitizer, which ends them with a report where two threads meet at a value without order. */
function testThreads() {
  const build = buildNative('native-tests-threads', [...testOptions, '-DDBELL_SANITIZE=thread'], threadTests);
  const [first] = threadTests.map((test) => path.join(build, test));
  // Where addresses are too random for the sanitizer's map of memory it ends at once; setarch turns that off.
  const isMapped = !String(spawnSync(first).stderr).includes('unexpected memory mapping');
  const prefix = isMapped ? [] : ['setarch', '-R'];
  for (const test of threadTests) {
    console.log(`${test} with the thread sanitizer`);
    const [command, ...args] = [...prefix, path.join(build, test)];
    run(command, args, { TSAN_OPTIONS: 'halt_on_error=1' });
  }
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
  const build = buildNative(
    'native-tests-aarch64',
    [
      ...testOptions,
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
const tests = buildNative('native-tests', [...testOptions, '-DDBELL_SANITIZE=address']);
run('ctest', ['--test-dir', tests, '--output-on-failure']);
testThreads();
testArmKernels();
