import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import { AtomicFile, writeFileAtomically } from '../../engine/files/atomic.ts';
import { fileError } from '../../engine/files/errors.ts';
import { setFileFault } from '../../engine/files/faults.ts';
import { canonicalJson } from '../../engine/files/json.ts';
import { openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import { finishOptions, packTinyModel, roundedBlocks, tinyModels, writeBlocks } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-faults-'));
const model = path.join(tinyModels, 'llama-untied');
const reference = path.join(folder, 'reference');
/** Bytes that finishing writes. */
let packageBytes = 0;
let source: ModelSource;

beforeAll(async () => {
  source = await openModel(model);
  await packTinyModel('llama-untied', reference);
  packageBytes = readdirSync(reference).reduce(
    (sum, name) => sum + statSync(path.join(reference, name)).size,
    0,
  );
});
afterEach(() => setFileFault(null));
afterAll(() => {
  source.close();
  rmSync(folder, { recursive: true, force: true });
});

function noRoom(code: string): Error {
  return Object.assign(new Error(`${code}: no space left on device, write`), { code });
}

/** A volume that takes `bytes` more bytes. */
function fullAfter(bytes: number): void {
  setFileFault(({ totalBytes, byteCount }) => {
    if (totalBytes + byteCount > bytes) throw noRoom('ENOSPC');
  });
}

function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort();
}

function expectSameBytes(out: string): void {
  expect(readdirSync(out).sort()).toEqual(readdirSync(reference).sort());
  for (const name of readdirSync(reference))
    expect(readFileSync(path.join(out, name)).equals(readFileSync(path.join(reference, name))), name).toBe(
      true,
    );
}

describe('a full disk while the package is put together', () => {
  test.each([
    ['at its first byte', () => 0],
    ['at 30 percent', () => Math.floor(packageBytes * 0.3)],
    ['in the last 4 KiB', () => packageBytes - 3000],
    ['at the last byte', () => packageBytes - 1],
  ])('%s leaves nothing that looks usable, and goes on once there is room', async (_, limit) => {
    const out = path.join(folder, `full-${limit()}`);
    const sink = writeBlocks(source, out);
    fullAfter(limit());
    const error = await sink.finish(finishOptions(source)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DBellError);
    expect((error as DBellError).code).toBe('disk-full');
    expect((error as DBellError).message).toMatch(
      /^\S+: could not write: disk full \(ENOSPC\); free some space or choose another volume, then run again$/,
    );
    expect(existsSync(out)).toBe(false);
    expect(filesBelow(`${out}.partial`)).toEqual([
      'blocks',
      'blocks/block-00000.safetensors',
      'blocks/block-00001.safetensors',
    ]);
    setFileFault(null);
    await sink.finish(finishOptions(source));
    expectSameBytes(out);
  });

  test('that shows only at fsync or rename is reported all the same', async () => {
    for (const kind of ['sync', 'rename']) {
      const out = path.join(folder, `late-${kind}`);
      const sink = writeBlocks(source, out);
      setFileFault((operation) => {
        if (operation.kind === kind && operation.path.endsWith('config.json')) throw noRoom('EDQUOT');
      });
      await expect(sink.finish(finishOptions(source))).rejects.toMatchObject({ code: 'disk-full' });
      expect(existsSync(out)).toBe(false);
      expect(existsSync(`${out}.partial/package`)).toBe(false);
    }
  });

  test('while a block is stored leaves the earlier blocks and no part of this one', () => {
    const out = path.join(folder, 'block-full');
    const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
    const [first, second] = roundedBlocks(source);
    sink.writeBlock(first!);
    fullAfter(5000);
    expect(() => sink.writeBlock(second!)).toThrow(
      /block-00001\.safetensors: could not write: disk full \(ENOSPC\)/,
    );
    expect(readdirSync(`${out}.partial/blocks`)).toEqual(['block-00000.safetensors']);
    expect(sink.storedBlocks()).toEqual([0]);
    setFileFault(null);
    sink.writeBlock(second!);
    expect(sink.storedBlocks()).toEqual([0, 1]);
  });
});

describe.runIf(process.platform === 'linux')('in a process of its own', () => {
  const child = path.resolve(import.meta.dirname, 'package-faults-child.ts');
  const run = (out: string, mode: string, limitBlocks?: number) =>
    spawnSync(
      '/bin/bash',
      [
        '-c',
        `${limitBlocks === undefined ? '' : `ulimit -f ${limitBlocks} && `}exec "$0" "$@"`,
        process.execPath,
        child,
        model,
        out,
        mode,
      ],
      { encoding: 'utf8' },
    );

  test('a limit on the size of files (RLIMIT_FSIZE) is a full disk', () => {
    const out = path.join(folder, 'limited');
    writeBlocks(source, out);
    const modelBytes = statSync(path.join(reference, 'model.safetensors')).size;
    const kibibytes = Math.floor((modelBytes * 0.3) / 1024);
    const result = run(out, 'plain', kibibytes);
    expect(JSON.parse(result.stdout)).toEqual({
      code: 'disk-full',
      message: `${path.join(`${out}.partial`, 'package', 'model.safetensors')}: could not write: the file would pass the size limit of this process or volume (EFBIG); free some space or choose another volume, then run again`,
    });
    expect(existsSync(out)).toBe(false);
    expect(filesBelow(`${out}.partial`).filter((name) => !name.startsWith('blocks'))).toEqual([]);
  });

  test('an output folder that may not be written to is named, and nothing is lost', () => {
    const parent = path.join(folder, 'read-only');
    const out = path.join(parent, 'out');
    writeBlocks(source, out);
    chmodSync(folder, 0o755);
    chmodSync(parent, 0o555);
    // Permissions do not bind the superuser.
    const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    chmodSync(`${out}.partial`, 0o777);
    const result = spawnSync(process.execPath, [child, model, out, 'plain'], { encoding: 'utf8', ...user });
    chmodSync(parent, 0o755);
    expect(JSON.parse(result.stdout)).toEqual({
      code: 'disk-error',
      message: `${out}: could not rename into place: no permission or read-only (EACCES); choose a folder that you may write to`,
    });
    expect(filesBelow(`${out}.partial`).filter((name) => !name.startsWith('blocks'))).toEqual([]);
  });

  // Operations of finishing: write of the model, its sync and rename, then three for each small file, then the folder's rename.
  test.each([1, 2, 3, 4, 7, 10, 14, 18, 22, 26, 27, 28, 29, 30, 34])(
    'SIGKILL at operation %d of finishing, then again: the same bytes',
    (operation) => {
      const out = path.join(folder, `killed-${operation}`);
      cpSync(blocksOnce(), `${out}.partial`, { recursive: true });
      const killed = run(out, `kill:${operation}`);
      if (killed.signal === null && killed.status === 0) {
        // Fewer operations than that: the package stands.
        expect(operation).toBeGreaterThan(25);
      } else {
        expect(killed.signal).toBe('SIGKILL');
      }
      expect(run(out, 'plain').stdout).toBe('{}\n');
      expectSameBytes(out);
    },
  );

  let stored: string | null = null;
  function blocksOnce(): string {
    if (stored === null) {
      stored = path.join(folder, 'stored.partial');
      writeBlocks(source, path.join(folder, 'stored'));
    }
    return stored;
  }
});

test('a package from which a test took nothing verifies', async () => {
  expect((await verifyPackage(reference, { against: source })).ok).toBe(true);
});

describe('the file layer', () => {
  test('a replaced file is the old one until the new one is complete', () => {
    const file = path.join(folder, 'replaced');
    writeFileAtomically(file, 'old');
    const writer = new AtomicFile(file);
    writer.write(Buffer.from('new'));
    expect(readFileSync(file, 'utf8')).toBe('old');
    writer.abort();
    expect(readFileSync(file, 'utf8')).toBe('old');
    expect(readdirSync(folder).filter((name) => name.startsWith('replaced'))).toEqual(['replaced']);
    writeFileAtomically(file, 'newer');
    expect(readFileSync(file, 'utf8')).toBe('newer');
  });

  test('pieces of any size become one file, written in whole pieces of 2 MiB from multiples of it on', () => {
    const file = path.join(folder, 'pieces');
    const mebibyte = 2 ** 20;
    const content = Buffer.alloc(9 * mebibyte + 77);
    for (let at = 0; at + 4 <= content.length; at += 4) content.writeUInt32LE((at * 2654435761) >>> 0, at);
    const writes: { from: number; bytes: number }[] = [];
    setFileFault(({ kind, totalBytes, byteCount }) => {
      if (kind === 'write') writes.push({ from: totalBytes, bytes: byteCount });
    });
    const writer = new AtomicFile(file);
    let at = 0;
    for (const size of [3, 0, mebibyte, 5 * mebibyte, 1000, mebibyte - 1003, 64, 77]) {
      const piece = Buffer.from(content.subarray(at, at + size));
      writer.write(piece);
      // What was given is the writer's no longer.
      piece.fill(255);
      at += size;
      expect(writer.position).toBe(at);
    }
    writer.write(content.subarray(at));
    writer.commit();
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(writes.every(({ from }) => from % (2 * mebibyte) === 0)).toBe(true);
    expect(writes.slice(0, -1).every(({ bytes }) => bytes % (2 * mebibyte) === 0)).toBe(true);
    expect(writes.length).toBeGreaterThan(2);
  });

  test('a disk that is full at a later piece, or only when the rest is written, leaves nothing of the file', () => {
    const file = path.join(folder, 'too-large');
    for (const limit of [3 * 2 ** 20, 5 * 2 ** 20]) {
      fullAfter(limit);
      const writer = new AtomicFile(file);
      expect(() => {
        for (let i = 0; i < 11; ++i) writer.write(Buffer.alloc(2 ** 19, i));
        writer.commit();
      }).toThrow(/no space left|free some space/);
      setFileFault(null);
      expect(readdirSync(folder).filter((name) => name.startsWith('too-large'))).toEqual([]);
      expect(() => writer.commit()).toThrow(/closed already/);
    }
  });

  test('system errors become messages that say what to do', () => {
    const of = (code: string) => fileError(Object.assign(new Error(code), { code }), 'write', '/x/y');
    expect(of('ENOSPC')).toMatchObject({ code: 'disk-full' });
    expect(of('EROFS')).toMatchObject({
      code: 'disk-error',
      message:
        '/x/y: could not write: no permission or read-only (EROFS); choose a folder that you may write to',
    });
    expect(of('ENOENT')).toMatchObject({ code: 'not-found' });
    expect(of('EIO')).toMatchObject({ code: 'disk-error', message: '/x/y: could not write: EIO' });
    const known = new DBellError('stopped', 'as it is');
    expect(fileError(known, 'write', '/x/y')).toBe(known);
  });

  test('a missing folder is named', () => {
    expect(() => writeFileAtomically(path.join(folder, 'none', 'x'), '')).toThrow(
      /could not create: the folder above it does not exist/,
    );
  });

  test('canonical JSON depends on the value alone', () => {
    const text = canonicalJson({ b: [1, 2], a: { '10': 'x', '9': null, '1': undefined }, c: [], d: {} });
    expect(text).toBe(
      '{\n  "a": {\n    "10": "x",\n    "9": null\n  },\n  "b": [1, 2],\n  "c": [],\n  "d": {}\n}\n',
    );
    expect(JSON.parse(text)).toEqual({ b: [1, 2], a: { '10': 'x', '9': null }, c: [], d: {} });
    expect(() => canonicalJson({ a: [0, Number.NaN] })).toThrow('$.a[1]: NaN cannot be written as JSON');
    expect(() => canonicalJson({ a: () => 1 })).toThrow('$.a: a function cannot be written as JSON');
    expect(canonicalJson(['a', { x: 1 }])).toBe('[\n  "a",\n  {\n    "x": 1\n  }\n]\n');
  });
});
