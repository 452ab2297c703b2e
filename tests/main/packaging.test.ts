import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { createPackage, extractAll, listPackage } from '@electron/asar';
import { FuseState, FuseV1Options, getCurrentFuseWire } from '@electron/fuses';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appFolder, buildDesktop, root } from '../../scripts/desktop/build.ts';

/**
 * The desktop program is put together and packed by the real electron-builder with the real configuration. Only Electron itself is a stand-in: a file that
 * holds what the fuses are written to.
 */

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-packaging-'));
const packed = path.join(
  folder,
  'packages',
  process.arch === 'x64' ? 'linux-unpacked' : `linux-${process.arch}-unpacked`,
);
const archive = path.join(packed, 'resources', 'app.asar');
const unpacked = `${archive}.unpacked`;
const electronVersion: string = JSON.parse(
  readFileSync(path.join(root, 'node_modules', 'electron', 'package.json'), 'utf8'),
).version;

/** Marks the fuses in Electron's binary; then follow their version, their number and one character each. */
const fuseSentinel = 'dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX';
/** As they are in a fresh Electron: running as Node, its options and its inspector are on. */
const freshFuses = '101100100';

async function writeElectronStandIn(dist: string): Promise<void> {
  mkdirSync(path.join(dist, 'resources'), { recursive: true });
  mkdirSync(path.join(dist, 'locales'));
  const binary = Buffer.concat([
    Buffer.from('\x7fELF'),
    Buffer.alloc(64),
    Buffer.from(fuseSentinel),
    Buffer.from([1, freshFuses.length]),
    Buffer.from(freshFuses),
    Buffer.alloc(64),
  ]);
  writeFileSync(path.join(dist, 'electron'), binary);
  chmodSync(path.join(dist, 'electron'), 0o755);
  writeFileSync(path.join(dist, 'version'), electronVersion);
  writeFileSync(path.join(dist, 'LICENSE'), '');
  writeFileSync(path.join(dist, 'LICENSES.chromium.html'), '');
  const empty = path.join(folder, 'empty');
  mkdirSync(empty);
  writeFileSync(path.join(empty, 'package.json'), '{}');
  await createPackage(empty, path.join(dist, 'resources', 'default_app.asar'));
}

/** The stand-in is one for Linux. */
const isLinux = process.platform === 'linux';
const onLinux = test.skipIf(!isLinux);

let files: string[];
beforeAll(async () => {
  if (!isLinux) return;
  const dist = path.join(folder, 'electron');
  await writeElectronStandIn(dist);
  await buildDesktop({ platform: process.platform, architecture: process.arch }, true);
  await promisify(execFile)(
    process.execPath,
    [
      path.join(root, 'node_modules', 'electron-builder', 'cli.js'),
      ...['--config', 'electron-builder.yml', '--linux', 'dir', `--${process.arch}`, '--publish', 'never'],
      `-c.electronDist=${dist}`,
      `-c.electronVersion=${electronVersion}`,
      `-c.directories.output=${path.join(folder, 'packages')}`,
    ],
    { cwd: root },
  );
  files = listPackage(archive, { isPack: false }).map((file) => file.split(path.sep).join('/'));
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

onLinux('the fuses are set as the rules want them', async () => {
  const wire = await getCurrentFuseWire(path.join(packed, 'dbell-studio'));
  expect(wire).toMatchObject({
    [FuseV1Options.RunAsNode]: FuseState.DISABLE,
    [FuseV1Options.EnableNodeOptionsEnvironmentVariable]: FuseState.DISABLE,
    [FuseV1Options.EnableNodeCliInspectArguments]: FuseState.DISABLE,
    [FuseV1Options.GrantFileProtocolExtraPrivileges]: FuseState.DISABLE,
    [FuseV1Options.LoadBrowserProcessSpecificV8Snapshot]: FuseState.DISABLE,
    [FuseV1Options.OnlyLoadAppFromAsar]: FuseState.ENABLE,
    [FuseV1Options.EnableEmbeddedAsarIntegrityValidation]: FuseState.ENABLE,
    [FuseV1Options.EnableCookieEncryption]: FuseState.ENABLE,
  });
});

onLinux.each([
  '/package.json',
  '/LICENSE',
  '/main/desktop/entry.js',
  '/main/preload/preload.cjs',
  '/main/preload/compute-preload.cjs',
  '/main/compute/index.html',
  '/main/compute/page.js',
  '/engine/service/desktop/desktop-process.js',
  '/engine/service/work-process.js',
  '/engine/model/chat-template-worker.js',
  '/renderer/dist/index.html',
  '/resources/dbell-stories-7m/model.safetensors',
  '/build/native/dbell_native.node',
  `/node_modules/better-sqlite3/prebuilds/${process.platform}-${process.arch}.node`,
  `/node_modules/onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/onnxruntime_binding.node`,
])('the program has %s', (file) => {
  expect(files).toContain(file);
});

onLinux('what native code opens lies unpacked, and nothing that runs as JavaScript does', () => {
  const lying = readdirSync(unpacked, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      path.relative(unpacked, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'),
    );
  expect(lying).toContain('build/native/dbell_native.node');
  expect(lying).toContain('resources/dbell-stories-7m/model.safetensors');
  expect(lying.some((file) => /onnxruntime-node\/bin\/.*libonnxruntime\.so/.test(file))).toBe(true);
  expect(lying.filter((file) => /\.(js|cjs|mjs)$/.test(file))).toEqual([]);
});

onLinux('nothing else is in it: no sources, tests, tools or other systems’ binaries', () => {
  const foreign = files.filter((file) =>
    /\.(ts|svelte|map|cpp|h|gyp)$|^\/(tests|scripts|docs|\.ci|\.git)|\/engine\/cli\/|node_modules\/(electron|vite|svelte|typescript|vitest|@playwright|@biomejs|node|commander)\//.test(
      file,
    ),
  );
  expect(foreign).toEqual([]);
  const binaries = files.filter((file) => file.endsWith('.node'));
  expect(binaries).toHaveLength(3);
});

onLinux('it stays small: the program at most 10 MiB, with libraries and sample at most 100 MiB', () => {
  expect(statSync(archive).size).toBeLessThan(10 * 2 ** 20);
  const all = readdirSync(path.join(packed, 'resources'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(path.join(entry.parentPath, entry.name)).size, 0);
  expect(all).toBeLessThan(100 * 2 ** 20);
});

onLinux('the preload is one CommonJS file that requires Electron alone', () => {
  const preload = readFileSync(path.join(appFolder, 'main', 'preload', 'preload.cjs'), 'utf8');
  expect([...preload.matchAll(/require\((.*?)\)/g)].map((match) => match[1])).toEqual(['"electron"']);
  expect(preload).not.toMatch(/^(import|export) /m);
  const exposed: unknown[] = [];
  const fakeModule = {
    contextBridge: { exposeInMainWorld: (name: string, api: object) => exposed.push(name, Object.keys(api)) },
    ipcRenderer: { on: () => {}, invoke: async () => {} },
    webUtils: {},
  };
  new Function('require', preload)((name: string) =>
    name === 'electron' ? fakeModule : createRequire(root)(name),
  );
  expect(exposed[0]).toBe('dbellDesktop');
  expect(exposed[1]).toContain('openEngine');
});

onLinux('the packed program computes: its service answers with native code, history and sample', async () => {
  const extracted = path.join(folder, 'extracted');
  extractAll(archive, extracted);
  const script = `
    const { createService } = await import(${JSON.stringify(path.join(extracted, 'engine/service/service.js'))});
    const { childProcessHost } = await import(${JSON.stringify(path.join(extracted, 'engine/service/process-host.js'))});
    const service = createService({ home: ${JSON.stringify(path.join(folder, 'home'))}, processHost: childProcessHost });
    const call = async (call, input) => (await service.handle({ id: 1, call, input })).output;
    const environment = await call('environment', {});
    const sample = environment.samples.models[0].path;
    const { usable } = await call('inspect', { model: sample });
    const { total } = await call('history.list', {});
    await service.close();
    console.log(JSON.stringify({ native: environment.native, sample, usable, total }));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    cwd: folder,
  });
  expect(JSON.parse(stdout)).toMatchObject({
    native: { threads: expect.any(Number), onnxruntime: expect.any(String), problem: null },
    sample: path.join(extracted, 'resources', 'dbell-stories-7m'),
    usable: true,
    total: 0,
  });
});

test('inside an archive the sample is looked for where it lies unpacked', async () => {
  const { resourcesFolder } = await import('../../engine/files/unpacked.ts');
  expect(resourcesFolder('/opt/studio/resources/app.asar/engine/service')).toBe(
    '/opt/studio/resources/app.asar.unpacked/resources',
  );
  expect(resourcesFolder('/clone/engine/service')).toBe('/clone/resources');
  expect(existsSync(resourcesFolder(path.join(root, 'engine', 'service')))).toBe(true);
});
