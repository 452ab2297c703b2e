/** Limits and constants of the quantization pipeline, each with its reason. */

/**
 * Where a Hessian's factorization fails, damping is raised tenfold up to this share of the mean diagonal; beyond it H is all but the identity and
 * compensation means nothing, so the layer is rounded plainly.
 */
export const maximumDamping = 1;

/** Points of a loss curve that a progress event carries: enough for a picture, small enough for a message. */
export const ltdbCurvePoints = 32;

/** Bins of a weight histogram: two bells are seen clearly, and an event stays a few kilobytes. */
export const histogramBins = 96;

/** How often a paused job looks whether it may go on. */
export const pausePollMs = 100;

/** Two processes may find the same stale lock; the one whose lock file stands after this time owns it. */
export const lockSettleMs = 200;

/** Room that must stay free beyond the estimate: file system metadata, other programs. */
export const diskReserveBytes = 64 * 1024 * 1024;

/** Node with its libraries and onnxruntime, before any model (measured: 150 to 190 MiB). */
export const baseProcessBytes = 190 * 1024 * 1024;
