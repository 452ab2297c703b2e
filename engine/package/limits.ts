/** Rows of a table are read, rounded and written in pieces of about this many float32 bytes: bounds scratch memory. */
export const tableChunkBytes = 4 * 2 ** 20;

/** Bytes copied from a block file into model.safetensors at a time. */
export const copyChunkBytes = 4 * 2 ** 20;

/** Bytes hashed or checked at a time. A multiple of 64, so that no element is cut. */
export const checkChunkBytes = 4 * 2 ** 20;

/** quality.json holds about 300 bytes a layer and a measurement; the deepest models have some thousands of layers. */
export const maximumQualityBytes = 16 * 2 ** 20;

/** Attached perplexities, or comparisons, beyond this number are refused: a model card is no history. */
export const maximumMeasurements = 1000;

/** The numeric check against the source: how far a recomputed weight error may be from the one in quality.json, as a share of it. */
export const weightErrorTolerance = 1e-3;

/** And in absolute terms, for layers that are nearly exact (8 bits: errors near 1e-5, where fp16 and float32 rounding show). */
export const weightErrorFloor = 1e-7;

/** A folded norm bias is the source's times the scale; both were rounded to float32 once or twice. */
export const foldedBiasTolerance = 1e-5;

/**
 * The same where a folded scale cannot be recovered exactly because the norm's weight is zero: the scale of such columns is then fitted to the weights, which
 * only makes the error smaller.
 */
export const fittedScaleTolerance = 0.05;
