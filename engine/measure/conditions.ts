import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Circumstances that do not change during a run. Null: the system does not tell. */
export interface MachineConditions {
  cpuModel: string;
  /** Instruction sets that matter for the kernels, as the system names them. */
  instructionSets: string[];
  logicalCores: number;
  /** Cores that this process may use (affinity mask). */
  availableCores: number;
  /** Cores' worth of time that the control group allows; null without a limit. */
  cpuQuotaCores: number | null;
  /** Whether the processor says that it is a virtual one; null where it does not tell. */
  isVirtualMachine: boolean | null;
  memoryBytes: number;
  /** Of the largest cache that the first core reads through. */
  lastLevelCacheBytes: number | null;
  platform: string;
  systemRelease: string;
  architecture: string;
  nodeVersion: string;
}

/** Circumstances that change; read before and after. */
export interface MomentaryConditions {
  /** Over 1, 5 and 15 minutes; null on systems without (Windows). */
  loadAverage: [number, number, number] | null;
  governor: string | null;
  frequencyDriver: string | null;
  frequencyMHz: number | null;
  powerSource: 'mains' | 'battery' | null;
  /** Highest of the processor's sensors. */
  temperatureCelsius: number | null;
  freeMemoryBytes: number;
}

const reportedInstructionSets = [
  'sse4_2',
  'avx',
  'f16c',
  'fma',
  'avx2',
  'avx_vnni',
  'avx512f',
  'avx512bw',
  'avx512vl',
  'avx512_vnni',
  'avx512_bf16',
  'avx512_fp16',
  'amx_tile',
  'amx_int8',
  'asimd',
  'asimddp',
  'i8mm',
  'bf16',
  'sve',
  'sve2',
];

/** Reads what the system tells; a missing or odd file gives null. `root` is replaced in tests only. */
export function machineConditions(root = '/'): MachineConditions {
  const cpuinfo = readText(root, 'proc/cpuinfo') ?? '';
  const flags = new Set(
    (/^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(/\s+/).filter((flag) => flag !== ''),
  );
  return {
    cpuModel: os.cpus()[0]?.model.trim() || 'unknown',
    instructionSets: reportedInstructionSets.filter((flag) => flags.has(flag)),
    logicalCores: os.cpus().length,
    availableCores: os.availableParallelism(),
    cpuQuotaCores: cpuQuota(root),
    isVirtualMachine: flags.size === 0 ? null : flags.has('hypervisor'),
    memoryBytes: os.totalmem(),
    lastLevelCacheBytes: lastLevelCache(root),
    platform: process.platform,
    systemRelease: os.release(),
    architecture: process.arch,
    nodeVersion: process.version,
  };
}

export function momentaryConditions(root = '/'): MomentaryConditions {
  const frequency = 'sys/devices/system/cpu/cpu0/cpufreq';
  const kiloHertz = readNumber(root, `${frequency}/scaling_cur_freq`);
  const load = os.loadavg();
  return {
    loadAverage: process.platform === 'win32' ? null : [load[0] ?? 0, load[1] ?? 0, load[2] ?? 0],
    governor: readText(root, `${frequency}/scaling_governor`),
    frequencyDriver: readText(root, `${frequency}/scaling_driver`),
    frequencyMHz: kiloHertz === null ? null : kiloHertz / 1000,
    powerSource: powerSource(root),
    temperatureCelsius: temperature(root),
    freeMemoryBytes: os.freemem(),
  };
}

/** What all processors have done since the system began, and this process. Milliseconds of processor time, `atMs` of the clock. */
export interface ProcessorTimes {
  atMs: number;
  cores: number;
  busyMs: number;
  ownMs: number;
  /** Time in which a processor had work and the virtual machine's host gave it to others; null where the system does not tell (elsewhere than Linux). */
  stolenMs: number | null;
}

/** Linux counts in hundredths of a second, whatever the kernel's own clock is. */
const millisecondsPerTick = 10;

/** See `ProcessorTimes`; null where the system does not tell. */
export function processorTimes(root = '/'): ProcessorTimes | null {
  const processors = os.cpus();
  if (processors.length === 0) return null;
  const own = process.cpuUsage();
  const stolenTicks = Number(
    (readText(root, 'proc/stat') ?? '').split('\n')[0]?.split(/\s+/)[8] ?? Number.NaN,
  );
  return {
    atMs: performance.now(),
    cores: processors.length,
    busyMs: processors.reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0),
    ownMs: (own.user + own.system) / 1000,
    stolenMs: Number.isFinite(stolenTicks) ? stolenTicks * millisecondsPerTick : null,
  };
}

/** Share of all processors' time that other processes worked between the two; null where it cannot be told. */
export function othersBusyShare(earlier: ProcessorTimes | null, later: ProcessorTimes | null): number | null {
  const work = workBetween(earlier, later);
  if (work === null) return null;
  return Math.min(1, Math.max(0, (work.busyMs - work.ownMs) / (work.durationMs * work.cores)));
}

/** Linux counts stolen time in whole ticks: of less wanted time than this one tick would be a large share. */
const leastWantedMs = 1000;

/** Share of the processor time that was wanted between the two and that the virtual machine's host gave to others; null where it cannot be told. */
export function stolenShare(earlier: ProcessorTimes | null, later: ProcessorTimes | null): number | null {
  const work = workBetween(earlier, later);
  if (work === null || work.stolenMs === null || work.stolenMs < 0) return null;
  const wantedMs = work.busyMs + work.stolenMs;
  return wantedMs >= leastWantedMs ? work.stolenMs / wantedMs : null;
}

/** What was done between the two; null where either is not known or they are not of the same processors, whose times they are sums over. */
function workBetween(earlier: ProcessorTimes | null, later: ProcessorTimes | null) {
  if (earlier === null || later === null || earlier.cores !== later.cores) return null;
  const work = {
    cores: later.cores,
    durationMs: later.atMs - earlier.atMs,
    busyMs: later.busyMs - earlier.busyMs,
    ownMs: later.ownMs - earlier.ownMs,
    stolenMs: earlier.stolenMs === null || later.stolenMs === null ? null : later.stolenMs - earlier.stolenMs,
  };
  return work.durationMs > 0 && work.busyMs >= 0 ? work : null;
}

/** Control groups: version 2 says "quota period" in one file, version 1 in two; "max" or −1 is no limit. */
function cpuQuota(root: string): number | null {
  const [quota, period] = (readText(root, 'sys/fs/cgroup/cpu.max') ?? '').split(' ').map(Number);
  if (quota !== undefined && period !== undefined && quota > 0 && period > 0) return quota / period;
  const oldQuota = readNumber(root, 'sys/fs/cgroup/cpu/cpu.cfs_quota_us');
  const oldPeriod = readNumber(root, 'sys/fs/cgroup/cpu/cpu.cfs_period_us');
  return oldQuota !== null && oldPeriod !== null && oldQuota > 0 && oldPeriod > 0
    ? oldQuota / oldPeriod
    : null;
}

/** The cache of the highest level, in sizes such as `32768K`. */
function lastLevelCache(root: string): number | null {
  const folder = 'sys/devices/system/cpu/cpu0/cache';
  let found: { level: number; bytes: number } | null = null;
  for (const name of list(root, folder)) {
    const level = readNumber(root, `${folder}/${name}/level`);
    const size = /^(\d+)([KMG]?)$/.exec(readText(root, `${folder}/${name}/size`) ?? '');
    if (level === null || size === null) continue;
    const bytes =
      Number(size[1]) * { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[size[2] as '' | 'K' | 'M' | 'G'];
    if (found === null || level > found.level) found = { level, bytes };
  }
  return found?.bytes ?? null;
}

/** `mains` if an adapter is online, `battery` if the system's battery discharges. */
function powerSource(root: string): 'mains' | 'battery' | null {
  const folder = 'sys/class/power_supply';
  let isDischarging = false;
  for (const name of list(root, folder)) {
    const type = readText(root, `${folder}/${name}/type`);
    if (type === 'Mains' && readText(root, `${folder}/${name}/online`) === '1') return 'mains';
    // Mice and headsets have batteries too; their scope is "Device".
    const isSystemBattery = type === 'Battery' && readText(root, `${folder}/${name}/scope`) !== 'Device';
    if (isSystemBattery && readText(root, `${folder}/${name}/status`) === 'Discharging') isDischarging = true;
  }
  return isDischarging ? 'battery' : null;
}

const processorSensors = /^(x86_pkg_temp|coretemp|k10temp|zenpower|cpu[-_]?thermal|cpu.*|soc.*|acpitz)$/i;

function temperature(root: string): number | null {
  const zones = list(root, 'sys/class/thermal')
    .filter((name) => name.startsWith('thermal_zone'))
    .map((name) => `sys/class/thermal/${name}`)
    .filter((zone) => processorSensors.test(readText(root, `${zone}/type`) ?? ''))
    .map((zone) => readNumber(root, `${zone}/temp`));
  const monitors = list(root, 'sys/class/hwmon')
    .map((name) => `sys/class/hwmon/${name}`)
    .filter((monitor) => processorSensors.test(readText(root, `${monitor}/name`) ?? ''))
    .flatMap((monitor) =>
      list(root, monitor)
        .filter((name) => /^temp\d+_input$/.test(name))
        .map((name) => readNumber(root, `${monitor}/${name}`)),
    );
  // Sensors give thousandths; broken ones zero or absurd values.
  const degrees = [...zones, ...monitors].flatMap((value) =>
    value !== null && value > 0 && value < 150_000 ? [value / 1000] : [],
  );
  return degrees.length === 0 ? null : Math.max(...degrees);
}

function list(root: string, folder: string): string[] {
  try {
    return readdirSync(path.join(root, folder)).sort();
  } catch {
    return [];
  }
}

function readText(root: string, file: string): string | null {
  try {
    return readFileSync(path.join(root, file), 'utf8').trim();
  } catch {
    return null;
  }
}

function readNumber(root: string, file: string): number | null {
  const text = readText(root, file);
  if (text === null || text === '') return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}
