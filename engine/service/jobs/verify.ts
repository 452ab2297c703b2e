import { randomUUID } from 'node:crypto';
import path from 'node:path';
import type { VerifyInput, VerifyResult } from '../../contract/quantization.ts';
import { type RunStore, recordMeasurement } from '../run-store.ts';
import { fingerprintsOf, identityMetrics, toJson } from '../runs.ts';
import { type JobDefinition, readOnlySubject } from './job.ts';

/** Verification of one package, remembered whatever it found. */
export function verifyJob(runs: RunStore, { remember, ...input }: VerifyInput): JobDefinition<'verify'> {
  const runId = remember ? randomUUID() : null;
  return {
    kind: 'verify',
    runId,
    tasks: ['verify'],
    subject: readOnlySubject(input.package, ...(input.against === undefined ? [] : [input.against])),
    async run({ runTask }) {
      const createdAt = new Date().toISOString();
      const { identity, recipe, activationBits, ...found } = await runTask('verify', input);
      const result: VerifyResult = { ...found, runId };
      recordMeasurement(
        runs,
        result,
        {
          kind: 'verify',
          createdAt,
          modelPath: path.resolve(result.package),
          ...(identity === null
            ? { modelFingerprint: null, packageFingerprint: null }
            : fingerprintsOf(identity)),
          recipe,
          activationBits,
          settings: toJson(input),
        },
        {
          metrics: identity === null ? {} : identityMetrics(identity),
          results: toJson({ verify: result }),
        },
      );
      return result;
    },
  };
}
