/** How long a call waits for another program that writes to the history before it gives up: longer than any write of ours takes. */
export const busyTimeoutMs = 10_000;

/** Deletions that can be undone, newest first; what lies behind is gone for good with the next deletion. */
export const undoableDeletions = 20;

/** An exported history larger than this is refused unread: 100,000 runs with all their layers stay below it. */
export const maximumImportBytes = 512 * 2 ** 20;

/** Measurements of one package that are shown with the run that made it: more than a report has room for. */
export const mostMeasurements = 100;

/** Refused runs of an import that are named one by one; the rest is counted. */
export const mostRefusals = 20;

/** Levels of an exported history's JSON: ours have about ten. Far deeper ones would overflow the stack of what reads, shows and exports them. */
export const maximumImportDepth = 64;
