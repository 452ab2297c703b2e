/** Bounds of what a server may do to us, each with its reason. */
export const hubLimits = {
  /** A listing of a model's files takes some 300 bytes a file; the largest repositories have some thousands. */
  apiResponseBytes: 32 * 2 ** 20,
  /** Pages of one listing: each has up to 1,000 files. */
  listedFiles: 20_000,
  /** The Hub redirects once; a mirror in front of it once more. */
  redirects: 5,
  /** First bytes of a GGUF file, in which its architecture stands: writers put it first. */
  ggufGlanceBytes: 64 * 1024,
  /** Model cards beyond this carry pictures; only their first lines are of use here. */
  modelCardBytes: 2 ** 20,
  /** Room that must stay free beyond the download: other programs write too. */
  diskReserveBytes: 256 * 2 ** 20,
  /** Attempts in a row that bring nothing new, before the person is told. */
  attempts: 6,
  /** The same of a question that somebody sits and waits for: three attempts take three seconds where nothing answers. */
  questionAttempts: 3,
  /** A server may ask to be left alone for as long as this; beyond it the person is told. */
  retryAfterMs: 120_000,
} as const;

/** Waiting times; tests shorten them. */
export interface HubTimes {
  /** Until the first line of an answer has come. */
  answerMs: number;
  /** Without a byte while a file is transferred. */
  stallMs: number;
  /** Before the second attempt; it doubles with each further one. */
  retryMs: number;
}

export const hubTimes: HubTimes = { answerMs: 30_000, stallMs: 30_000, retryMs: 1000 };
