/** Times and sizes of the service, each with its reason. */
export const serviceLimits = {
  /** How long a work process may take to reach its next border after it was asked to stop. */
  stopGraceMs: 5000,
  /** Twenty progress events a second: what waits for the next one is on the page well before a fifth of a second is over, on a busy computer too. */
  progressIntervalMs: 50,
  /**
   * A work process tells a few at once: what it held back would have to wait for the end of the native call that it says is beginning, which takes seconds. At
   * most 500 messages a second cost it about one fiftieth of its time; layers as they come make a hundred.
   */
  progressBurst: 25,
  /** While a benchmark is timed, one message a second is all that may disturb it. */
  benchmarkProgressIntervalMs: 1000,
  /** Streamed text: thirty pieces a second read like a stream. */
  textIntervalMs: 33,
  /** How long a model of a conversation stays loaded: longer than a person reads and types, shorter than memory should be held for nothing. */
  keptModelMs: 10 * 60_000,
  /** Ended jobs kept in memory for `jobs.list`; the history keeps the rest. */
  keptJobs: 200,
  /** Jobs that may wait at once: months of work; more of them is a mistake in a loop, which would fill memory and disk. */
  queuedJobs: 500,
  /** How often self-written text is kept while it is written: less than a person minds to lose. */
  selfTextKeepMs: 5000,
  /** Models that the studio offers again. */
  recentModels: 24,
  /** Packages and unfinished runs of one list; older ones are found in the history. */
  listedPackages: 200,
  /** How often the free space of a working job's volume is looked at: a gigabyte is not written in a second here, and the question costs microseconds. */
  diskWatchIntervalMs: 1000,
  /** Room above the floor with which a job goes on, so that it does not pause again at once. */
  diskRoomMarginBytes: 64e6,
  /** A run.json beyond this is none of ours. */
  runFileBytes: 1024 * 1024,
  /** Requests of one client that may wait for their answers at once; the page has a handful. */
  requestsInFlight: 256,
  /** Messages of the service that were told while nobody could see them, for who comes later; the page shows four. */
  missedMessages: 20,
  /** A service process that dies more often than this within the window has a defect that another start does not mend. */
  restarts: 5,
  restartWindowMs: 60_000,
  /** Wait before the second restart; it doubles from there. */
  restartWaitMs: 500,
} as const;
