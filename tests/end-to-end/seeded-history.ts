import type { RunDetail } from '../../engine/contract/history.ts';
import { openHistory } from '../../engine/history/history.ts';
import { historyFile } from '../../engine/service/home.ts';

/** A run as the history keeps it; what a test does not care about is filled in. */
export function runOf(run: Partial<RunDetail> & Pick<RunDetail, 'runId'>): RunDetail {
  return {
    kind: 'quantize',
    state: 'finished',
    createdAt: '2026-03-01T10:00:00.000Z',
    endedAt: '2026-03-01T10:01:00.000Z',
    modelName: 'stories-7m',
    recipe: 'gptq-4',
    activationBits: 8,
    metrics: {},
    tags: [],
    note: '',
    modelPath: '/models/stories-7m',
    modelFingerprint: 'a'.repeat(64),
    packageFingerprint: null,
    settings: {},
    environment: { cpuModel: 'test processor' },
    results: {},
    layers: [],
    artifacts: [],
    error: null,
    ...run,
  };
}

/** Puts runs into the history that a studio's service uses; it need not be stopped for that. */
export function fillHistory(home: string, runs: RunDetail[]): void {
  const history = openHistory(historyFile(home));
  history.import(runs);
  history.close();
}
