import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';

const script = path.join(import.meta.dirname, 'numerics-digest.ts');

function run(instructionSet: string): { instructionSet: string; digests: Record<string, string> } {
  const output = execFileSync(process.execPath, [script], {
    env: { ...process.env, DBELL_FORCE_ISA: instructionSet },
    encoding: 'utf8',
  });
  return JSON.parse(output);
}

test('every instruction set that this processor has gives the same bytes', () => {
  const generic = run('generic');
  expect(generic.instructionSet).toBe('generic');
  for (const [forced, name] of [
    ['sse41', 'generic'],
    ['avx2', 'avx2'],
    ['avxvnni', 'avx2'],
    ['avx512', 'avx512'],
    ['avx512vnni', 'avx512'],
  ] as const) {
    const other = run(forced);
    // A set that the processor lacks falls back to generic.
    expect(['generic', name]).toContain(other.instructionSet);
    expect(other.digests).toEqual(generic.digests);
  }
});
