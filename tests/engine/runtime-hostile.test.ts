import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NativeModelDescription, native, runtime } from '../../engine/native/runtime.ts';
import { openPackage } from '../../engine/package/open.ts';
import { describeForNative } from '../../engine/runtime/model-description.ts';
import { packTinyModel } from './package-support.ts';

// The reader checks a package before the runtime sees it; here the addon is told lies directly, and must refuse them by itself.
const folder = mkdtempSync(path.join(tmpdir(), 'dbell-runtime-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let honest: NativeModelDescription;
let fileBytes: number;
beforeAll(async () => {
  const source = await openPackage(
    await packTinyModel('qwen3', path.join(folder, 'package'), { embeddingBits: 8 }),
  );
  honest = describeForNative(source) as NativeModelDescription;
  fileBytes = source.modelBytes;
  source.close();
});

const open = (description: NativeModelDescription) => native(() => runtime.packedOpen(description));

test('what is true is taken', () => {
  const { handle, mappedBytes } = open(honest);
  expect(mappedBytes).toBe(fileBytes);
  runtime.packedClose(handle);
});

type Lie = (description: NativeModelDescription) => void;
const lies: [string, Lie, RegExp][] = [
  [
    'a table of 6 bits in the bytes of 8',
    (d) => {
      d.head.type = 'Q6';
    },
    /has \d+ bytes/,
  ],
  [
    'a table of 4 bits that begins within a line',
    (d) => {
      d.embedding.type = 'Q4';
      d.embedding.values.offset += 32;
    },
    /has \d+ bytes|aligned/,
  ],
  [
    'a table of a type that does not exist',
    (d) => {
      d.head.type = 'Q5' as 'Q4';
    },
    /unknown element type Q5/,
  ],
  [
    'an offset beyond the end',
    (d) => {
      d.blocks[0]!.q.codes.offset = 2 ** 50;
    },
    /ends beyond the file, which has/,
  ],
  [
    'a last tensor that is cut',
    (d) => {
      d.blocks[0]!.q.codes.offset = Math.floor((fileBytes - 64) / 64) * 64;
    },
    /ends beyond the file/,
  ],
  [
    'an offset that overflows',
    (d) => {
      d.embedding.values.offset = 2 ** 53 - 1;
    },
    /ends beyond the file/,
  ],
  [
    'planes that are not aligned',
    (d) => {
      d.blocks[0]!.q.codes.offset = 4;
    },
    /does not start at a multiple of 64/,
  ],
  [
    'a length of its own',
    (d) => {
      d.blocks[1]!.down.codes.valueBytes -= 64;
    },
    /bytes; its shape needs \d+/,
  ],
  [
    'more rows than the architecture has',
    (d) => {
      d.blocks[0]!.k.outFeatures += 16;
    },
    /number of rows is \d+; the architecture needs \d+/,
  ],
  [
    'more columns',
    (d) => {
      d.blocks[0]!.down.inFeatures += 1;
    },
    /number of columns is/,
  ],
  [
    'more planes than levels need',
    (d) => {
      d.blocks[0]!.v.planeCount = 7;
    },
    /number of planes is 7; the architecture needs 4/,
  ],
  [
    'absurd levels',
    (d) => {
      d.blocks[0]!.v.levels = 300;
    },
    /300 levels; 2 to 256 are possible/,
  ],
  [
    'negative levels',
    (d) => {
      d.blocks[0]!.v.levels = -2;
    },
    /levels must be a whole number/,
  ],
  [
    'a fractional size',
    (d) => {
      d.hiddenSize = 0.5;
    },
    /hiddenSize must be a whole number/,
  ],
  [
    'no heads',
    (d) => {
      d.headCount = 0;
    },
    /number of heads is 0/,
  ],
  [
    'an absurd context',
    (d) => {
      d.contextLength = 2 ** 40;
    },
    /context length is 1099511627776; it must lie between/,
  ],
  [
    'heads that do not divide',
    (d) => {
      d.keyValueHeadCount = 3;
    },
    /heads are not a multiple of 3/,
  ],
  [
    'a larger vocabulary',
    (d) => {
      d.vocabularySize += 1;
    },
    /embedding: number of rows is \d+; the architecture needs/,
  ],
  [
    'both kinds of positions',
    (d) => {
      d.positions = d.embedding;
    },
    /positions must be either rotary or learned/,
  ],
  [
    'no positions',
    (d) => {
      d.inverseFrequencies = null;
    },
    /positions must be either rotary or learned/,
  ],
  [
    'too many frequencies',
    (d) => {
      d.inverseFrequencies = new Float32Array(4096);
    },
    /the rotary embedding has 8192 dimensions/,
  ],
  [
    'a frequency that is no number',
    (d) => {
      d.inverseFrequencies!.fill(Number.NaN);
    },
    /inverse frequencies\[0\] is not finite/,
  ],
  [
    'no blocks',
    (d) => {
      d.blocks = [];
    },
    /the model has no blocks/,
  ],
  [
    'a gate in one block only',
    (d) => {
      d.blocks[1]!.gate = null;
    },
    /some blocks have a gate and others have none/,
  ],
  [
    'a norm of another width',
    (d) => {
      d.finalNorm!.weight!.valueBytes = 4;
    },
    /bytes; its shape needs/,
  ],
  [
    'an epsilon that is no number',
    (d) => {
      d.finalNorm!.epsilon = Number.NaN;
    },
    /epsilon must be a number from 0 on/,
  ],
  [
    'an unknown activation',
    (d) => {
      d.activation = 'swish7';
    },
    /unknown activation swish7/,
  ],
  [
    'an unknown layout',
    (d) => {
      Object.assign(d.blocks[0]!.q, { layout: 'zip' });
    },
    /unknown layout zip/,
  ],
  [
    'no scales',
    (d) => {
      d.embedding.scales = null;
    },
    /embedding: scales is missing/,
  ],
  [
    'no file',
    (d) => {
      d.path = path.join(folder, 'none');
    },
    /cannot be opened: No such file/,
  ],
  [
    'a folder',
    (d) => {
      d.path = folder;
    },
    /is empty or no regular file/,
  ],
];

test.each(lies)('%s is refused', (_, lie, message) => {
  const description = structuredClone(honest);
  lie(description);
  expect(() => open(description)).toThrow(message);
});

test('a file that is cut or empty is refused', () => {
  const cut = path.join(folder, 'cut.safetensors');
  writeFileSync(cut, new Uint8Array(fileBytes));
  truncateSync(cut, fileBytes - 64);
  expect(() => open({ ...honest, path: cut })).toThrow(/ends beyond the file/);
  truncateSync(cut, 0);
  expect(() => open({ ...honest, path: cut })).toThrow('is empty or no regular file');
});

test('handles of the wrong kind, and closed ones, are refused', () => {
  const { handle } = open(honest);
  const session = native(() => runtime.packedCreateSession(handle, 8, 8, 'f32'));
  expect(() => native(() => runtime.packedCreateSession(handle, 8, 8, 'f64' as 'f32'))).toThrow(
    /cache is "f64"; f32, f16 and int8 are possible/,
  );
  expect(() => native(() => runtime.packedFeed(session, Int32Array.of(1), new Float32Array(3)))).toThrow(
    /logits has 3 elements/,
  );
  expect(() => native(() => runtime.packedFeed(session, Int32Array.of(999_999), null))).toThrow(
    /token id 999999/,
  );
  expect(() => native(() => runtime.packedFeed(session, new Int32Array(9), null))).toThrow(/do not fit/);
  expect(() => native(() => runtime.packedFeed(session, new Int32Array(1000), null))).toThrow(/1 to 256/);
  runtime.packedClose(handle);
  // The session keeps the mapping alive.
  native(() => runtime.packedFeed(session, Int32Array.of(1), null));
  runtime.packedCloseSession(session);
  expect(() => native(() => runtime.packedFeed(session, Int32Array.of(1), null))).toThrow(
    'the session is closed',
  );
  expect(() => native(() => runtime.packedCreateSession(handle, 8, 8, 'f32'))).toThrow(
    'the packed model is closed',
  );
  expect(() => native(() => runtime.packedCreateSession({} as typeof handle, 8, 8, 'f32'))).toThrow(
    'handle is needed',
  );
});
