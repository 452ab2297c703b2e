/** Rows of a table are read, rounded and written in pieces of about this many float32 bytes: bounds scratch memory. */
export const tableChunkBytes = 4 * 2 ** 20;

/** Bytes copied from a block file into model.safetensors at a time. */
export const copyChunkBytes = 4 * 2 ** 20;

/** Bytes hashed or checked at a time. A multiple of 64, so that no element is cut. */
export const checkChunkBytes = 4 * 2 ** 20;

/** quality.json holds about 300 bytes a layer and a measurement; the deepest models have some thousands of layers. */
export const maximumQualityBytes = 16 * 2 ** 20;

/** Attached perplexities beyond this number are refused: a model card is no history. */
export const maximumPerplexities = 1000;

/** The numeric check against the source: how far a recomputed weight error may be from the one in quality.json, as a share of it. */
export const weightErrorTolerance = 1e-3;

/** And in absolute terms, for layers that are nearly exact (8 bits: errors near 1e-5, where fp16 and float32 rounding show). */
export const weightErrorFloor = 1e-7;

/** Norms that nothing was folded into are stored unchanged; a folded norm is checked through the weights. */
export const halfRelativeTolerance = 2 ** -11;

/** Half of fp16's smallest step near zero. */
export const halfAbsoluteTolerance = 2 ** -25;
