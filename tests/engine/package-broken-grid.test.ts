import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { entryWithBytes, header, tensor } from './package-damage.ts';
import { packTinyModel, randomLinear } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-broken-grid-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// llama-odd-widths: down_proj is [40, 43], so 3 groups of 16 rows. In base 3 a row of 43 columns has two strips of 4 bytes and one of 1: 144 bytes a group.
const down = 'model.layers.0.mlp.down_proj';
const at = (part: string) => `model.safetensors: tensor "${down}.dbell.${part}"`;
const setInt32 = (index: number, value: number) => (bytes: Buffer) => bytes.writeInt32LE(value, 4 * index);

interface Row {
  name: string;
  base: 'base-3' | 'residual';
  make: (copy: string) => void;
  /** The whole message behind `FOLDER: `. */
  message: string;
  /** What the runtime, which checks no values but base-3 codes, says of the same package; left out where it has nothing to say. */
  runtime?: string;
}

const rows: Row[] = [
  {
    name: 'a byte that is no five digits',
    base: 'base-3',
    make: tensor(`${down}.dbell.base3`, (bytes) => {
      bytes[64 + 4 * 2 + 1] = 243;
    }),
    message: `${at('base3')}: byte 243 at row 2, column 21 is more than five digits of base 3 give (242)`,
  },
  {
    name: 'the largest byte in a row that is not there',
    base: 'base-3',
    make: tensor(`${down}.dbell.base3`, (bytes) => {
      bytes[2 * 144 + 64 + 4 * 15 + 3] = 255;
    }),
    message: `${at('base3')}: byte 255 at row 47, column 23 is more than five digits of base 3 give (242)`,
  },
  {
    name: 'a digit in a padding column',
    base: 'base-3',
    make: tensor(`${down}.dbell.base3`, (bytes) => {
      bytes[128 + 7] = bytes[128 + 7]! + 2 * 27;
    }),
    message: `${at('base3')}: the padding at row 7, column 43 of [40, 43] is not zero`,
  },
  {
    name: 'a digit in a padding row',
    base: 'base-3',
    make: tensor(`${down}.dbell.base3`, (bytes) => {
      bytes[2 * 144 + 4 * 8] = 3;
    }),
    message: `${at('base3')}: the padding at row 40, column 4 of [40, 43] is not zero`,
  },
  {
    name: 'bytes behind the last row group',
    base: 'base-3',
    make: tensor(`${down}.dbell.base3`, (bytes) => {
      bytes[3 * 144] = 1;
    }),
    message: `${at('base3')}: the padding behind the values is not zero`,
  },
  {
    name: 'base 3 of four levels',
    base: 'base-3',
    make: entryWithBytes(down, { levels: 4 }, 448 + 128),
    message: `config.json: quantization_config.tensors "${down}": codes are in base 3 but there are 4 levels`,
  },
  {
    name: 'planes where base 3 is stored',
    base: 'base-3',
    make: entryWithBytes(down, { codes: undefined }, 768 + 128),
    message: `model.safetensors: tensor "${down}.dbell.planes" is missing`,
  },
  {
    name: 'a way to store codes that is not known',
    base: 'base-3',
    make: entryWithBytes(down, { codes: 'base-5' }, 448 + 128),
    message: `config.json: quantization_config: tensors.${down}.codes: expected base-3, got "base-5"`,
  },
  {
    name: 'a base-3 tensor that is cut',
    base: 'base-3',
    make: header((value) => {
      value[`${down}.dbell.base3`]!.shape = [384];
      value[`${down}.dbell.base3`]!.data_offsets[1] -= 64;
    }),
    message: `model.safetensors: before tensor "${down}.dbell.scales" lie 64 bytes of no tensor`,
  },
  {
    name: 'residual columns that descend',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_columns`, setInt32(2, 3)),
    message: `${at('residual_columns')}: value 2 is column 3, which is not above column 5 in front of it`,
    runtime: `${down}: residual column 2 is 3; columns must ascend and lie below 43`,
  },
  {
    name: 'a residual column twice',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_columns`, setInt32(2, 5)),
    message: `${at('residual_columns')}: value 2 is column 5, which is not above column 5 in front of it`,
    runtime: `${down}: residual column 2 is 5; columns must ascend and lie below 43`,
  },
  {
    name: 'a residual column that the linear does not have',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_columns`, setInt32(8, 43)),
    message: `${at('residual_columns')}: value 8 is column 43 of 43 columns`,
    runtime: `${down}: residual column 8 is 43; columns must ascend and lie below 43`,
  },
  {
    name: 'a residual column far away',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_columns`, setInt32(8, 2 ** 31 - 1)),
    message: `${at('residual_columns')}: value 8 is column 2147483647 of 43 columns`,
    runtime: `${down}: residual column 8 is 2147483647; columns must ascend and lie below 43`,
  },
  {
    name: 'a negative residual column',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_columns`, setInt32(0, -1)),
    message: `${at('residual_columns')}: value 0 is column -1 of 43 columns`,
    runtime: `${down}: residual column 0 is -1; columns must ascend and lie below 43`,
  },
  {
    name: 'fewer residual columns than there are',
    base: 'residual',
    make: entryWithBytes(down, { residual_columns: 8 }, 384 + 128 + 64 + 192 + 128),
    message: `${at('residual_columns')}: the padding behind the values is not zero (and 1 more problem; verify lists all)`,
  },
  {
    name: 'more residual columns than there are',
    base: 'residual',
    make: entryWithBytes(down, { residual_columns: 10 }, 384 + 128 + 64 + 192 + 128),
    message: `${at('residual_columns')}: value 9 is column 0, which is not above column 40 in front of it`,
    runtime: `${down}: residual column 9 is 0; columns must ascend and lie below 43`,
  },
  {
    name: 'more residual columns than the tensor holds',
    base: 'residual',
    make: entryWithBytes(down, { residual_columns: 33 }, 384 + 128 + 192 + 384 + 128),
    message: `model.safetensors: tensor "${down}.dbell.residual_columns" is I32 [16], expected I32 [48] (and 1 more problem; verify lists all)`,
  },
  {
    name: 'more residual columns than the linear has columns',
    base: 'residual',
    make: entryWithBytes(down, { residual_columns: 44 }, 384 + 128 + 192 + 384 + 128),
    message: `config.json: quantization_config.tensors "${down}": residual_columns is 44 but there are 43 columns`,
  },
  {
    name: 'residual columns beside a row scale',
    base: 'residual',
    make: entryWithBytes(down, { row_scale: true }, 384 + 128 + 64 + 192 + 128 + 192),
    message: `config.json: quantization_config.tensors "${down}": row_scale and residual_columns exclude each other`,
  },
  {
    name: 'no residual columns at all, said with a number',
    base: 'residual',
    make: entryWithBytes(down, { residual_columns: 0 }, 384 + 128),
    message: `config.json: quantization_config: tensors.${down}.residual_columns: must be at least 1, got 0`,
  },
  {
    name: 'a residual that the entry does not mention',
    base: 'residual',
    make: entryWithBytes(down, { residual_columns: undefined }, 384 + 128),
    message: `model.safetensors: tensor "${down}.dbell.residual_columns" belongs to nothing in config.json`,
  },
  {
    name: 'residual columns of another type',
    base: 'residual',
    make: header((value) => (value[`${down}.dbell.residual_columns`]!.dtype = 'F32')),
    message: `model.safetensors: tensor "${down}.dbell.residual_columns" is F32 [16], expected I32 [16]`,
  },
  {
    name: 'a residual bit in a padding row',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_planes`, (bytes) => {
      bytes[2 * 64 + 4 * 8 + 1] = 1;
    }),
    message: `${at('residual_planes')}: the padding at row 40, column 1 of [40, 9] is not zero`,
  },
  {
    name: 'a residual bit in a padding column',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_planes`, (bytes) => {
      bytes[4 * 3 + 1] = bytes[4 * 3 + 1]! | 4;
    }),
    message: `${at('residual_planes')}: the padding at row 3, column 9 of [40, 9] is not zero`,
  },
  {
    name: 'a residual scale that is no number',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_scales`, (bytes) => bytes.writeUInt16LE(0x7e00, 2 * 17)),
    message: `${at('residual_scales')}: the value of row 17, block 0 is not finite`,
  },
  {
    name: 'a residual scale of a row that is not there',
    base: 'residual',
    make: tensor(`${down}.dbell.residual_scales`, (bytes) => bytes.writeUInt16LE(1, 2 * 44)),
    message: `${at('residual_scales')}: the padding row 44 of 40 rows is not zero`,
  },
];

const bases = new Map<string, string>();
beforeAll(async () => {
  const random = new SeededRandom(5);
  for (const [name, levels] of [
    ['base-3', 3],
    ['residual', 2],
  ] as const)
    bases.set(
      name,
      await packTinyModel('llama-odd-widths', path.join(folder, name), {
        edit: (block) => {
          block.linears = block.linears.map(({ name: linear, outFeatures, inFeatures }) => {
            const kind = { layout: 'grid', levels, residualShare: levels === 2 ? 0.2 : 0 } as const;
            const made = randomLinear(linear, outFeatures, inFeatures, kind, random);
            if (made.layout === 'grid')
              made.residual?.columns.set(made.residual.columns.map((_, k) => 5 * k));
            return made;
          });
        },
      }),
    );
});

test.each(rows)('$name', async ({ make, message, base, runtime }) => {
  const copy = mkdtempSync(path.join(folder, 'copy-'));
  cpSync(bases.get(base)!, copy, { recursive: true });
  make(copy);
  const error = await openPackage(copy).then(
    (opened) => opened.close(),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(DBellError);
  expect((error as DBellError).code).toBe('invalid-package');
  expect((error as DBellError).message).toBe(`${copy}: ${message}`);
  const run = createPackedTextModel(copy, { threads: 1 }).then((model) => model.close());
  // Bytes of base-3 codes are looked at whenever a package is loaded, and complained of in the same words.
  if (/base 3 give/.test(message))
    await expect(run).rejects.toMatchObject({ code: 'invalid-package', message: `${copy}: ${message}` });
  else if (runtime !== undefined)
    await expect(run).rejects.toMatchObject({ code: 'invalid-package', message: runtime });
  // What only reading every value finds runs, and gives numbers that mean nothing.
  else if (/the padding|not finite/.test(message)) await run;
  else await expect(run).rejects.toBeInstanceOf(DBellError);
});

test('the packages are sound before they are damaged', async () => {
  for (const base of bases.values()) (await openPackage(base)).close();
});
