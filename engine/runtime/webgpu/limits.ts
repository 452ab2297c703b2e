/** Sizes that the WebGPU runtime works with, each with its reason. */
export const gpuLimits = {
  /** Tokens that go through the blocks together, the most first: many read weights once and keep every unit of a large device busy; what a model takes is told by the two limits below. */
  tokensPerChunk: [512, 256, 128, 64],
  /** Bytes of the rows of a chunk. */
  chunkBytes: 64 * 2 ** 20,
  /** Multiplications and additions of a chunk: a submission that keeps a small device busy for more than a second or two is taken for a hang by its driver. */
  chunkOperations: 1.5e12,
  /** Positions whose attention counts in that: of a model with a longer context most sequences stay shorter. */
  attendedPositions: 8192,
  /** Tokens that one thread of a linear's kernel carries when a chunk has more than one: their sums stay in registers. */
  tokensPerTile: 8,
  /** From so many tokens on a linear takes tiles of 64 rows and 32 tokens through workgroup memory: with fewer most of a tile would be empty. */
  rowsOfLinearTile: 16,
  /** Tokens of a thread for the structured layout, which has seven sums a token. */
  tokensPerStructuredTile: 4,
  /** Largest share of a workgroup's threads that walk the blocks of a row side by side. */
  maximumSlices: 8,
  /** The same for several tokens of the structured layout, whose eight addends a block, row and token stand in workgroup memory. */
  slicesOfStructuredTile: 2,
  /** Threads of a workgroup of everything but linears: a multiple of every adapter's subgroup size. */
  workgroupSize: 64,
  /** Subgroups of fewer threads are left alone: what is left of a reduction would be longer than the barriers that they save. */
  smallestSubgroup: 8,
  /** Every adapter has so many workgroups in a dimension (WebGPU's default limit). */
  workgroupsPerDimension: 65535,
  /** Logits held at once; rows of a window are passed through the head in so many bytes. */
  logitBytes: 16 * 2 ** 20,
  /** Positions that the cache starts with; it doubles when they are taken. */
  firstCachePositions: 256,
  /** Bytes handed to the queue at once while weights go up: bounds the host memory that uploading takes. */
  uploadBytes: 8 * 2 ** 20,
  /** After so many bytes the upload waits for the device, for the same reason. */
  uploadWindowBytes: 64 * 2 ** 20,
  /** Uniform buffers are bound at multiples of this (WebGPU's default limit). */
  uniformAlignment: 256,
  /** Bytes of a page of uniform parameters: whole multiples of the alignment. */
  uniformPageBytes: 64 * 2 ** 10,
  /** Largest head dimension: a query stands in workgroup memory, of which every adapter has 16 KiB. */
  headDimension: 1024,
} as const;

/**
 * What an adapter must have. All are WebGPU's defaults, so that only an adapter that is no full WebGPU adapter misses one.
 */
export const neededLimits = {
  maxStorageBuffersPerShaderStage: 8,
  maxComputeInvocationsPerWorkgroup: 128,
  maxComputeWorkgroupSizeX: 64,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeWorkgroupsPerDimension: 65535,
  maxUniformBufferBindingSize: 65536,
} as const;
