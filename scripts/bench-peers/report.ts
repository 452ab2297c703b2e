import { formatBytes, formatDuration, formatSpeed } from '../../engine/cli/format.ts';
import { sumOfBytes } from '../../engine/contract/itemised-bytes.ts';
import type {
  BenchmarkPeer,
  BenchmarkResult,
  BenchmarkSubject,
  SpeedRatio,
} from '../../engine/contract/measurement.ts';
import { machineConditions } from '../../engine/measure/conditions.ts';
import type { CaseRun } from './results.ts';

/** Rows of a table, the first its titles. */
type Rows = string[][];

const none = '–';
const share = (value: number | null | undefined): string =>
  value == null ? none : `${(100 * value).toFixed(0)}%`;

function ratioText(ratio: SpeedRatio | undefined, weightRatio: number): string {
  if (ratio === undefined) return none;
  const of = (value: number): string => (value / weightRatio).toFixed(2);
  return `${of(ratio.median)} (${of(ratio.smallest)} … ${of(ratio.largest)})`;
}

/** Speeds of each case, ours and the peers', with ratios, repetition by repetition, and what was aimed at. */
export function speedRows(runs: readonly CaseRun[]): Rows {
  const rows: Rows = [
    ['case', 'threads', 'subject', 'decode', 'ours / its', 'aim', 'prefill', 'ours / its', 'aim', 'verdict'],
  ];
  for (const { case: item, threads, result, problem } of runs) {
    if (result === null) {
      rows.push([item.title, String(threads), problem ?? 'not measured', ...Array<string>(7).fill(none)]);
      continue;
    }
    const length = String(item.promptTokens);
    rows.push([
      ...[item.title, String(threads), `ours, ${result.kernelPath}`],
      ...[formatSpeed(result.decodeTokensPerSecond['0'] ?? 0), none, none],
      ...[formatSpeed(result.prefillTokensPerSecond[length] ?? 0), none, none],
      result.stable ? 'stable' : 'unstable',
    ]);
    for (const [index, peer] of (result.peers ?? []).entries())
      rows.push(peerRow(peer, index === 0 ? item : null, length));
  }
  return rows;
}

function peerRow(peer: BenchmarkPeer, item: CaseRun['case'] | null, length: string): string[] {
  const name = `${peer.engine} ${peer.type}`;
  if (peer.subject === null)
    return ['', '', `${name}: ${peer.problem?.message ?? 'not measured'}`, ...Array<string>(7).fill(none)];
  const aim = (value: number | null | undefined): string => (value == null ? none : `≥ ${value}`);
  return [
    ...['', '', name],
    formatSpeed(peer.subject.decodeTokensPerSecond['0'] ?? 0),
    ratioText(peer.decodeRatio['0'], peer.weightRatio),
    aim(item?.aims.decode),
    formatSpeed(peer.subject.prefillTokensPerSecond[length] ?? 0),
    ratioText(peer.prefillRatio[length], peer.weightRatio),
    aim(item?.aims.prefill),
    peer.subject.stable ? 'stable' : 'unstable',
  ];
}

/** What was measured of a case: ours, and the peers that ran. */
function subjectsOf(result: BenchmarkResult | null): BenchmarkSubject[] {
  if (result === null) return [];
  const peers = (result.peers ?? []).map(({ subject }) => subject);
  return [result, ...peers.filter((subject) => subject !== null)];
}

/** What a token reads, what the memory allows, and what was reached. */
export function rooflineRows(runs: readonly CaseRun[]): Rows {
  const rows: Rows = [['case', 'threads', 'subject', 'read per token', 'memory', 'reached', 'aim']];
  for (const { case: item, threads, result } of runs)
    for (const subject of subjectsOf(result)) {
      const read = subject.bytesReadPerToken['0'];
      const isOurs = subject === result;
      rows.push([
        ...[item.title, String(threads), isOurs ? 'ours' : subject.model],
        read === undefined ? none : formatBytes(sumOfBytes(read)),
        subject.memoryBandwidth ? `${formatBytes(subject.memoryBandwidth.bytesPerSecond)}/s` : none,
        subject.memoryBandwidthShare['0'] === undefined
          ? 'in cache'
          : share(subject.memoryBandwidthShare['0']),
        isOurs && item.aims.roofline !== null ? `≥ ${share(item.aims.roofline)}` : none,
      ]);
    }
  return rows;
}

/** Peak memory of each process, and what of ours is neither weights nor cache nor was there before. */
export function memoryRows(runs: readonly CaseRun[]): Rows {
  const rows: Rows = [
    ['case', 'threads', 'subject', 'file', 'peak memory', 'before loading', 'cache', 'load', 'the rest'],
  ];
  for (const { case: item, threads, result } of runs)
    for (const subject of subjectsOf(result)) {
      const { processBeforeLoad = 0, kvCache = 0 } = subject.memoryBytes;
      const isOurs = subject === result;
      rows.push([
        ...[item.title, String(threads), isOurs ? 'ours' : subject.model],
        ...[subject.modelBytes, subject.peakRssBytes, processBeforeLoad, kvCache].map((bytes) =>
          formatBytes(bytes),
        ),
        formatDuration(subject.loadMs),
        isOurs
          ? formatBytes(Math.max(0, subject.peakRssBytes - subject.modelBytes - kvCache - processBeforeLoad))
          : none,
      ]);
    }
  return rows;
}

/** From opening a package in a running engine to its first token, beside reading the file once and the prefill. */
export function openingRows(runs: readonly CaseRun[]): Rows {
  const rows: Rows = [
    [
      ...['case', 'threads', 'open to first token', 'file read once', 'prefill', 'times as long', 'aim'],
      ...['cold dbell generate', 'aim'],
    ],
  ];
  for (const { case: item, threads, result, coldGenerateMs } of runs) {
    const { openToFirstToken, fileReadMs } = result ?? {};
    const speed = result?.prefillTokensPerSecond[String(item.promptTokens)];
    if (openToFirstToken === undefined || fileReadMs === undefined || speed === undefined) continue;
    const prefillMs = (1000 * openToFirstToken.promptTokens) / speed;
    rows.push([
      ...[item.title, String(threads)],
      ...[openToFirstToken.durationMs, fileReadMs, prefillMs].map((value) => formatDuration(value)),
      (openToFirstToken.durationMs / (fileReadMs + prefillMs)).toFixed(2),
      '≤ 1.3',
      ...[coldGenerateMs == null ? none : formatDuration(coldGenerateMs), '≤ 1.0 s'],
    ]);
  }
  return rows;
}

/** What each peer really ran, and in which cases. */
export function peerFacts(runs: readonly CaseRun[]): string[] {
  const casesOf = new Map<string, Set<string>>();
  for (const { case: item, result } of runs)
    for (const { engine, type, version, weights, weightRatio, settings } of result?.peers ?? []) {
      if (version === null) continue;
      const { cpuLibrary, operator, flashAttention } = settings as Record<string, string | undefined>;
      const details = [
        cpuLibrary,
        operator,
        flashAttention === undefined ? undefined : `flash attention ${flashAttention}`,
      ];
      const wider =
        weightRatio === 1
          ? ''
          : `; ${weightRatio.toFixed(3)} times the weights, for which its ratios are corrected`;
      const fact = `${engine} ${type}: ${[version, ...details.filter((detail) => detail)].join(', ')}; weights ${weights}${wider}`;
      casesOf.set(fact, (casesOf.get(fact) ?? new Set()).add(item.title));
    }
  return [...casesOf].map(([fact, titles]) => `${fact} (${[...titles].join('; ')})`);
}

/** Peers that decode slower with more threads: their ratio there says as much of them as of us. */
export function slowedPeers(runs: readonly CaseRun[]): string[] {
  const speedsOf = new Map<string, { threads: number; speed: number }[]>();
  for (const { case: item, threads, result } of runs)
    for (const { engine, type, subject } of result?.peers ?? []) {
      const speed = subject?.decodeTokensPerSecond['0'];
      const label = `${engine} ${type} (${item.title})`;
      if (speed !== undefined) speedsOf.set(label, [...(speedsOf.get(label) ?? []), { threads, speed }]);
    }
  return [...speedsOf].flatMap(([label, speeds]) => {
    const [fewest, ...more] = speeds.toSorted((a, b) => a.threads - b.threads);
    const slower = more.filter(({ speed }) => fewest !== undefined && speed < fewest.speed);
    return slower.map(
      ({ threads, speed }) =>
        `${label} decodes slower with ${threads} threads than with ${fewest?.threads}, as it is run here: ${formatSpeed(speed)}, not ${formatSpeed(fewest?.speed ?? 0)}; its ratio there says as much of it as of ours`,
    );
  });
}

/** The machine and its state at the first run. */
export function machineFacts(runs: readonly CaseRun[]): Record<string, unknown> {
  const machine = machineConditions();
  const bandwidth: Record<string, number> = {};
  for (const { threads, result } of runs)
    if (result?.memoryBandwidth) bandwidth[threads] = Math.round(result.memoryBandwidth.bytesPerSecond);
  return {
    ...machine,
    readBytesPerSecond: bandwidth,
    kernels: kernelPaths(runs),
    stable: runs.every(({ result }) => result?.stable === true),
  };
}

function kernelPaths(runs: readonly CaseRun[]): string[] {
  return [...new Set(runs.flatMap(({ result }) => (result === null ? [] : [result.kernelPath])))];
}

export function markdownTable(rows: Rows): string {
  const [titles = [], ...body] = rows;
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(titles), `|${titles.map(() => '---').join('|')}|`, ...body.map(line)].join('\n');
}

/** docs/performance.md. */
export function performanceDocument(
  runs: readonly CaseRun[],
  facts: {
    commit: string;
    measuredAt: string;
    repetitions: number;
    generateTokens: number;
    kernels: string | null;
  },
): string {
  const machine = machineConditions();
  const notes = runs.flatMap(({ case: item, threads, result }) =>
    (result?.stabilityNotes ?? []).map((note) => `${item.title}, threads ${threads}: ${note}`),
  );
  const first = runs.find(({ result }) => result !== null)?.result as BenchmarkResult | undefined;
  return [
    '# Performance beside other programs',
    '',
    "Written by `npm run bench:peers -- --write`; no number here is typed by hand. Models of random weights in the shape of real ones (`dbell benchmark --shape`): speed and memory depend on the shape and on how weights are stored, not on their values. Ours and each peer are loaded side by side, each in a process of its own, and measured in turns, one measurement each (A B A B …); a ratio is the median over the repetitions of ours divided by the peer's that came right behind it, with the smallest and the largest beside it. All sides use the same number of threads. Decoding starts with an empty cache, the most probable token is taken.",
    '',
    '## The machine',
    '',
    `${machine.cpuModel}, ${machine.availableCores} cores${machine.isVirtualMachine ? ' of a virtual machine' : ''}, ${formatBytes(machine.memoryBytes)} of memory, ${machine.lastLevelCacheBytes === null ? 'a last cache of unknown size' : `${formatBytes(machine.lastLevelCacheBytes)} of last cache`}; ${machine.instructionSets.join(', ')}. ${machine.platform} ${machine.systemRelease}, Node ${machine.nodeVersion}.`,
    `Measured ${facts.measuredAt} at commit ${facts.commit}, ${facts.repetitions} repetitions of ${facts.generateTokens} decoded tokens${first ? `, kernels ${kernelPaths(runs).join(', ')}` : ''}.`,
    notes.length === 0
      ? 'Every run of ours was stable.'
      : `Not every run of ours was stable (${notes.join('; ')}).`,
    '',
    '## Speed',
    '',
    markdownTable(speedRows(runs)),
    '',
    ...[...peerFacts(runs), ...slowedPeers(runs)].map((fact) => `- ${fact}`),
    '',
    '## What the memory allows',
    '',
    'Bytes that a decoded token reads (weights, head, cache) times tokens a second, as a share of what this machine reads from memory in order with so many threads, measured in turns with them, as other machines on the same host may take some of it.',
    '',
    markdownTable(rooflineRows(runs)),
    '',
    '## Memory',
    '',
    'Peak resident memory of each process (VmHWM). "The rest" of ours is what is neither the mapped weights nor the cache nor was there before loading; that of onnxruntime has the making of its graph in it.',
    '',
    markdownTable(memoryRows(runs)),
    '',
    '## From opening to the first token',
    '',
    'Loading a package in a running engine and its very first prefill, nothing warmed up, beside reading the weight file once from the page cache and that prefill warmed up. "Cold dbell generate" is a whole command that writes one token behind a prompt of one word (the other columns are of the whole prompt), from its start to its end, the files in the page cache.',
    '',
    markdownTable(openingRows(runs)),
    '',
    ...(facts.kernels === null ? [] : ['## Kernels', '', facts.kernels, '']),
  ].join('\n');
}
