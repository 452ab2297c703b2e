import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { benchmarkSubjectSchema } from '../../engine/contract/measurement.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { type BenchmarkSettings, runBenchmark } from '../../engine/measure/benchmark.ts';
import {
  machineConditions,
  momentaryConditions,
  othersBusyShare,
  type ProcessorTimes,
  processorTimes,
  stolenShare,
} from '../../engine/measure/conditions.ts';
import { processMemory } from '../../engine/measure/memory.ts';
import { judgeStability, type StabilityInput } from '../../engine/measure/stability.ts';
import { median, percentile, relativeSpread } from '../../engine/measure/statistics.ts';
import { openModel } from '../../engine/model/open.ts';
import { bundled } from '../assets.ts';

const root = mkdtempSync(path.join(tmpdir(), 'dbell-conditions-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A folder that stands for `/`. */
function systemWith(name: string, files: Record<string, string>): string {
  const folder = path.join(root, name);
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(folder, file), content);
  }
  return folder;
}

const settings: BenchmarkSettings = {
  threads: 1,
  promptTokens: [16, 32, 4096],
  decodeDepths: [0, 24, 510],
  generateTokens: 6,
  repetitions: 3,
};

async function openBundled() {
  const source = await openModel(bundled.model);
  return createFloatTextModel(source, { threads: 1 });
}

describe('the benchmark', () => {
  it('measures a real model, fits the contract, and names what it left out', async () => {
    const stages: string[] = [];
    let borders = 0;
    const modelBytes = statSync(path.join(bundled.model, 'model.safetensors')).size;
    const result = await runBenchmark(openBundled, modelBytes, settings, {
      onProgress: ({ stage }) => stages.push(stage),
      border: async () => {
        borders++;
      },
    });
    expect(benchmarkSubjectSchema.parse({ ...result, model: bundled.model })).toEqual({
      ...JSON.parse(JSON.stringify(result)),
      model: bundled.model,
    });
    expect(Object.keys(result.prefillTokensPerSecond)).toEqual(['16', '32']);
    expect(Object.keys(result.decodeTokensPerSecond)).toEqual(['0', '24']);
    const conditions = result.conditions as Record<string, Record<string, unknown>>;
    expect(conditions.omittedPromptTokens).toEqual([4096]);
    expect(conditions.omittedDecodeDepths).toEqual([510]);
    const repetitions = conditions.prefillRepetitionsTokensPerSecond?.['16'] as number[];
    expect(repetitions.length).toBe(3);
    expect(result.prefillTokensPerSecond['16']).toBe(median(repetitions));
    const { p50, p95, p99 } = result.tokenLatencyMs;
    expect(p50).toBeGreaterThan(0);
    expect(p95).toBeGreaterThanOrEqual(p50);
    expect(p99).toBeGreaterThanOrEqual(p95);
    // The time to the first token holds the prefill of the first length.
    expect(result.timeToFirstTokenMs).toBeGreaterThanOrEqual((16 / Math.max(...repetitions)) * 1000);
    // 8.0 million parameters as float32 must be resident by now.
    expect(result.peakRssBytes).toBeGreaterThan(4 * 7_344_384);
    expect(result.memoryBytes.kvCache).toBeGreaterThan(0);
    expect(result.modelBytes).toBe(modelBytes);
    expect(result.loadMs).toBeGreaterThan(0);
    expect(stages.slice(0, 4)).toEqual(['load', 'warm up', 'warm up', 'prefill 16']);
    expect(borders).toBe(2 + 3 * 4);
  });

  it('refuses lengths of which none fits', async () => {
    await expect(runBenchmark(openBundled, 0, { ...settings, promptTokens: [513, 2048] })).rejects.toThrow(
      "none of the prompt lengths 513, 2048 fits the model's context length 512",
    );
    await expect(runBenchmark(openBundled, 0, { ...settings, decodeDepths: [512] })).rejects.toThrow(
      "none of the depths 512 with 6 generated tokens fits the model's context length 512",
    );
  });
});

describe('conditions', () => {
  it('of a laptop on battery', () => {
    const system = systemWith('laptop', {
      'proc/cpuinfo':
        'processor\t: 0\nmodel name\t: Test CPU\nflags\t\t: fpu sse4_2 avx2 fma avx512f avx512_vnni hypervisor\n\nprocessor\t: 1\nflags\t\t: fpu\n',
      'sys/fs/cgroup/cpu.max': '150000 100000\n',
      'sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave\n',
      'sys/devices/system/cpu/cpu0/cpufreq/scaling_driver': 'intel_pstate\n',
      'sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq': '2400000\n',
      'sys/devices/system/cpu/cpu0/cache/index0/level': '1\n',
      'sys/devices/system/cpu/cpu0/cache/index0/size': '48K\n',
      'sys/devices/system/cpu/cpu0/cache/index3/level': '3\n',
      'sys/devices/system/cpu/cpu0/cache/index3/size': '24M\n',
      'sys/devices/system/cpu/cpu0/cache/index2/level': '2\n',
      'sys/devices/system/cpu/cpu0/cache/index2/size': '1280K\n',
      'sys/class/power_supply/AC/type': 'Mains\n',
      'sys/class/power_supply/AC/online': '0\n',
      'sys/class/power_supply/BAT0/type': 'Battery\n',
      'sys/class/power_supply/BAT0/status': 'Discharging\n',
      'sys/class/power_supply/mouse/type': 'Battery\n',
      'sys/class/power_supply/mouse/scope': 'Device\n',
      'sys/class/power_supply/mouse/status': 'Discharging\n',
      'sys/class/thermal/thermal_zone0/type': 'x86_pkg_temp\n',
      'sys/class/thermal/thermal_zone0/temp': '61500\n',
      'sys/class/thermal/thermal_zone1/type': 'iwlwifi_1\n',
      'sys/class/thermal/thermal_zone1/temp': '99000\n',
      'sys/class/hwmon/hwmon0/name': 'k10temp\n',
      'sys/class/hwmon/hwmon0/temp1_input': '64250\n',
      'sys/class/hwmon/hwmon0/temp2_input': '-273000\n',
    });
    expect(machineConditions(system)).toMatchObject({
      instructionSets: ['sse4_2', 'fma', 'avx2', 'avx512f', 'avx512_vnni'],
      cpuQuotaCores: 1.5,
      isVirtualMachine: true,
      lastLevelCacheBytes: 24 * 2 ** 20,
      nodeVersion: process.version,
    });
    expect(momentaryConditions(system)).toMatchObject({
      governor: 'powersave',
      frequencyDriver: 'intel_pstate',
      frequencyMHz: 2400,
      powerSource: 'battery',
      temperatureCelsius: 64.25,
    });
  });

  it('of an ARM board with an old control group, on mains', () => {
    const system = systemWith('board', {
      'proc/cpuinfo': 'processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n',
      'sys/fs/cgroup/cpu.max': 'max 100000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '200000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      'sys/class/power_supply/adapter/type': 'Mains\n',
      'sys/class/power_supply/adapter/online': '1\n',
    });
    expect(machineConditions(system)).toMatchObject({
      instructionSets: ['asimd', 'asimddp', 'i8mm'],
      cpuQuotaCores: 2,
      isVirtualMachine: false,
    });
    expect(momentaryConditions(system).powerSource).toBe('mains');
  });

  it('of a system that tells nothing, or nonsense, are null and never an error', () => {
    const nothing = path.join(root, 'does-not-exist');
    expect(machineConditions(nothing)).toMatchObject({
      instructionSets: [],
      cpuQuotaCores: null,
      isVirtualMachine: null,
      lastLevelCacheBytes: null,
    });
    expect(momentaryConditions(nothing)).toMatchObject({
      governor: null,
      frequencyMHz: null,
      powerSource: null,
      temperatureCelsius: null,
    });
    const nonsense = systemWith('nonsense', {
      'proc/cpuinfo': '\u0000\u0001',
      'sys/fs/cgroup/cpu.max': 'garbage',
      'sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq': 'fast',
      'sys/class/thermal/thermal_zone0/type': 'acpitz',
      'sys/class/thermal/thermal_zone0/temp': '',
      'sys/class/power_supply': 'a file where a folder should be',
    });
    expect(machineConditions(nonsense).cpuQuotaCores).toBe(null);
    expect(momentaryConditions(nonsense)).toMatchObject({ temperatureCelsius: null, powerSource: null });
  });

  it('processors: the work of others without our own, and what the host takes', async () => {
    const at = (system: string, overrides: Partial<ProcessorTimes> = {}): ProcessorTimes => ({
      ...processorTimes(system)!,
      ...overrides,
    });
    const [early, late] = ([100, 130] as const).map((ticks) =>
      systemWith(`ticks-${ticks}`, {
        'proc/stat': `cpu  5 0 5 900 0 0 0 ${ticks} 0 0\ncpu0 5 0 5 900 0 0 0 9 0 0\n`,
      }),
    ) as [string, string];
    const earlier = at(early, { atMs: 0, cores: 4, busyMs: 10_000, ownMs: 500 });
    const later = at(late, { atMs: 1000, cores: 4, busyMs: 12_700, ownMs: 1200 });
    expect(othersBusyShare(earlier, later)).toBe(0.5);
    expect(stolenShare(earlier, later)).toBe(0.1);
    expect(stolenShare(at('/does-not-exist', { busyMs: 0 }), later)).toBe(null);
    expect(othersBusyShare(null, later)).toBe(null);
    expect(othersBusyShare(later, later)).toBe(null);
    // A processor that came or went, and a run that is short beside a tick, tell nothing.
    expect(othersBusyShare(earlier, { ...later, cores: 5 })).toBe(null);
    expect(stolenShare(earlier, { ...later, busyMs: earlier.busyMs - 1 })).toBe(null);
    expect(stolenShare(earlier, { ...later, busyMs: earlier.busyMs + 90 })).toBe(null);
    expect(othersBusyShare(earlier, { ...later, busyMs: 1e9 })).toBe(1);
    expect(othersBusyShare(earlier, { ...later, ownMs: 1e9 })).toBe(0);

    // What this process does itself is not another's work; what its child does is.
    const child = spawn(process.execPath, ['-e', 'process.stdout.write("on"); for (;;);'], { stdio: 'pipe' });
    try {
      await new Promise((resolve) => child.stdout.once('data', resolve));
      const before = processorTimes()!;
      const until = performance.now() + 400;
      while (performance.now() < until);
      const after = processorTimes()!;
      const childMs = othersBusyShare(before, after)! * (after.atMs - before.atMs) * after.cores;
      expect(after.ownMs - before.ownMs).toBeGreaterThan(50);
      expect(childMs).toBeGreaterThan(50);
      expect(after.busyMs - before.busyMs).toBeGreaterThan(after.ownMs - before.ownMs);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('memory comes from /proc where there is one, else from the system', () => {
    const status = path.join(
      systemWith('memory', {
        status: 'Name:\tnode\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\nRssAnon:\t 512 kB\nRssFile:\t 256 kB\n',
      }),
      'status',
    );
    expect(processMemory(status)).toEqual({
      peakRssBytes: 2048 * 1024,
      rssBytes: 1024 * 1024,
      anonymousBytes: 512 * 1024,
      fileBytes: 256 * 1024,
    });
    const without = processMemory(path.join(root, 'no-status'));
    expect(without.peakRssBytes).toBeGreaterThan(10_000_000);
    expect(without.anonymousBytes).toBe(null);
    // Both ways of asking this process agree within what it grew meanwhile.
    const ratio = processMemory().peakRssBytes / without.peakRssBytes;
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(1.25);
  });
});

describe('the verdict', () => {
  const machine = { ...machineConditions(), logicalCores: 4, availableCores: 4, cpuQuotaCores: null };
  const quiet = {
    ...momentaryConditions(),
    temperatureCelsius: 60,
    powerSource: 'mains' as const,
  };
  const good: StabilityInput = {
    machine,
    before: quiet,
    after: quiet,
    othersBusyShareBefore: 0.04,
    stolenShare: 0.01,
    threads: 4,
    repetitions: 3,
    speeds: new Map([
      ['prefill 128', [100, 102, 104]],
      ['decode at 0', [10, 10.2, 10.1]],
    ]),
  };

  it('is stable on a quiet machine that repeats itself', () => {
    expect(judgeStability(good)).toEqual({ stable: true, notes: [] });
    const untold = { ...quiet, temperatureCelsius: null, powerSource: null };
    expect(
      judgeStability({
        ...good,
        before: untold,
        after: untold,
        othersBusyShareBefore: null,
        stolenShare: null,
      }).stable,
    ).toBe(true);
  });

  it.each<[Partial<StabilityInput>, string]>([
    [{ repetitions: 1 }, '1 repetition cannot show a spread; at least 3 are needed'],
    [{ repetitions: 2 }, '2 repetitions cannot show a spread; at least 3 are needed'],
    [
      { speeds: new Map([['decode at depth 0', [9, 10, 12]]]) },
      'the repetitions of decode at depth 0 differ by 30% (limit 10%)',
    ],
    [
      { speeds: new Map([['prefill of 512 tokens', [1, 10, 200]]]) },
      'the repetitions of prefill of 512 tokens differ by 1,990% (limit 10%)',
    ],
    [
      { othersBusyShareBefore: 0.5 },
      'the machine was busy before the run: other programs took 50% of its processors (limit 10%)',
    ],
    [
      { othersBusyShareBefore: 0.104 },
      'the machine was busy before the run: other programs took 10.4% of its processors (limit 10%)',
    ],
    [
      { stolenShare: 0.08 },
      'the host of this virtual machine gave 8% of the processor time to others (limit 5%)',
    ],
    [{ threads: 6 }, 'there are 1.5 times as many threads as cores'],
    [{ machine: { ...machine, cpuQuotaCores: 1.6 } }, 'there are 2.5 times as many threads as cores'],
    [
      { after: { ...quiet, temperatureCelsius: 98.4 } },
      'the processor is at 98 °C (limit 95 °C) and may be slowing down',
    ],
    [{ after: { ...quiet, powerSource: 'battery' } }, 'the machine runs on battery and may save power'],
  ])('is unstable, with the reason: %#', (change, note) => {
    expect(judgeStability({ ...good, ...change })).toEqual({ stable: false, notes: [note] });
  });
});

describe('statistics', () => {
  it('percentiles interpolate between the closest ranks', () => {
    // NumPy's default: percentile([1, 2, 4, 8], 75) is 5.
    expect([0, 25, 50, 75, 100].map((percent) => percentile([8, 1, 4, 2], percent))).toEqual([
      1, 1.75, 3, 5, 8,
    ]);
    expect(median([3])).toBe(3);
    expect(() => median([])).toThrow(RangeError);
  });

  it('the spread is the range over the median', () => {
    expect(relativeSpread([9, 10, 12])).toBeCloseTo(0.3);
    expect(relativeSpread([5])).toBe(0);
  });
});
