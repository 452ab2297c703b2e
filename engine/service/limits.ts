/** Times and sizes of the service, each with its reason. */
export const serviceLimits = {
  /** How long a work process may take to reach its next border after it was asked to stop. */
  stopGraceMs: 5000,
  /** Ten progress events a second look continuous and cost nothing. */
  progressIntervalMs: 100,
  /** Streamed text: thirty pieces a second read like a stream. */
  textIntervalMs: 33,
  /** Ended jobs kept in memory for `jobs.list`; the history keeps the rest. */
  keptJobs: 200,
} as const;
