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

/** Room that must stay free beyond the estimate: file system metadata, other programs. */
export const diskReserveBytes = 64 * 1024 * 1024;

/** Node with its libraries and onnxruntime, before any model (measured: 150 to 190 MiB). */
export const baseProcessBytes = 190 * 1024 * 1024;

/**
 * λ of the head's metric where the embedding is the same table, against a mean diagonal of 1: how much plain closeness of a looked-up row counts beside the logits.
 * Measured in docs/method.md, section 9.
 */
export const tiedLookupWeight = 1;

/** λ where the head has a table of its own: keeps M positive definite, as the linears' damping does. */
export const headDamping = 0.01;

/** Sweeps of coordinate descent over a table's codes and scales; the third lowers the error by less than 1% of it. */
export const tableSweeps = 3;

/**
 * A token's mean square counts as at least this share of the mean over all tokens: far below any real token (massive ones lie thousands of times above
 * the others), so that only zeros are kept from weighing without bound.
 */
export const smallestTokenSquare = 1e-6;

/**
 * Tokens whose largest activation stands for all in a column scale's price of rounding: their mean square moves by about 3% from one such sample to another, a
 * sample of the widest stages is some tens of megabytes.
 */
export const activationSampleTokens = 1024;
