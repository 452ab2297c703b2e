import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { slowPathWarning } from '../../engine/runtime/cpu-device.ts';
import { availableKernels } from '../../engine/runtime/verification.ts';
import type { TaskControl } from '../../engine/service/tasks/control.ts';
import { openSubject } from '../../engine/service/tasks/subject.ts';
import { packTinyModel } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-slow-path-'));
let packed: string;
beforeAll(async () => {
  packed = await packTinyModel('llama-plain', path.join(folder, 'packed'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  delete process.env.DBELL_FORCE_ISA;
});

/** The warnings of opening the package, and the path that it then runs on. */
async function open(activationBits: 8 | 16): Promise<{ warnings: string[]; kernelPath: string }> {
  const warnings: string[] = [];
  const control: TaskControl = {
    paused: () => false,
    stopRequested: () => false,
    border: async () => {},
    pauseBorder: async () => {},
    turn: async () => {},
    progress: () => {},
    text: () => {},
    report: (report) => {
      if (report.type === 'message' && report.level === 'warning') warnings.push(report.message);
    },
  };
  const subject = await openSubject('generate', packed, { threads: 1, activationBits }, control);
  const { kernelPath } = subject.model;
  await subject.close();
  return { warnings, kernelPath };
}

test.each([8, 16] as const)('plain C++ at %d bits is told as the slow path', async (activationBits) => {
  process.env.DBELL_FORCE_ISA = 'generic';
  const { warnings, kernelPath } = await open(activationBits);
  expect(kernelPath).toBe(activationBits === 16 ? 'float-generic' : 'generic');
  expect(warnings).toContainEqual(expect.stringMatching(/^slow path: DBELL_FORCE_ISA is generic;/));
});

test('every other set is no slow path', async () => {
  for (const kernels of availableKernels().filter((name) => name !== 'generic')) {
    process.env.DBELL_FORCE_ISA = kernels;
    const { warnings, kernelPath } = await open(8);
    expect(kernelPath).toBe(kernels);
    expect(warnings.filter((message) => message.includes('slow path'))).toEqual([]);
  }
});

test('a processor without any fast set is named as the reason', () => {
  expect(slowPathWarning('generic')).toMatch(
    /^slow path: this processor has none of the instruction sets .*SSE4\.1/,
  );
  expect(slowPathWarning('webgpu-dot4')).toBeNull();
});
