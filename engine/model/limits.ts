/**
 * Bounds on what a model file may claim, checked before anything is allocated or computed from the claim. A file that needs more is
 * refused with the number and the limit. Each bound is far above every published model and far below what would exhaust the machine.
 */

/** A header without its padding: 128 MiB describe a million tensors, and JavaScript's strings end near 2^29 characters. */
export const MAX_JSON_HEADER_BYTES = 128 * 2 ** 20;

/** config.json, generation_config.json and tokenizer_config.json are hand-sized; the largest published are below 2 MiB. */
export const MAX_CONFIG_BYTES = 16 * 2 ** 20;

/** Largest published tokenizer.json: about 40 MiB (vocabularies of 262,144 tokens). */
export const MAX_TOKENIZER_BYTES = 256 * 2 ** 20;

/** An index of shards lists every tensor once; indexes of 30 MB exist. */
export const MAX_INDEX_BYTES = 256 * 2 ** 20;

/** Nested deeper than any configuration; keeps a header of brackets from eating memory in the parser. */
export const MAX_JSON_DEPTH = 64;

/**
 * Values in one JSON text: each becomes an object of some 50 bytes, so this bounds a hostile text to about 1 GB. The largest published
 * tokenizer.json has below 3 million.
 */
export const MAX_JSON_VALUES = 2 ** 24;

/** The deepest published decoder has about 130 layers with 9 tensors each; mixtures of experts reach 100,000. */
export const MAX_TENSORS = 2 ** 20;

/** Hugging Face tensor names stay below 100 bytes, ggml allows 64. */
export const MAX_NAME_BYTES = 1024;

/** ggml allows 4 dimensions; no linear, norm or embedding has more than 2. */
export const MAX_DIMENSIONS = 8;
export const MAX_GGUF_DIMENSIONS = 4;

/** Up to here file positions and element counts are exact in a JavaScript number. */
export const MAX_EXACT = Number.MAX_SAFE_INTEGER;

/** More shards than any published model has (the largest have a few hundred). */
export const MAX_SHARDS = 10_000;

/** Metadata and tensor list of a GGUF together; the largest vocabularies with their merges take about 20 MiB. */
export const MAX_GGUF_HEADER_BYTES = 256 * 2 ** 20;

/** Metadata pairs of a GGUF: real files have fewer than 100. */
export const MAX_GGUF_METADATA = 2 ** 16;

/** The longest real metadata strings are chat templates of some 10 kB. */
export const MAX_GGUF_STRING_BYTES = 16 * 2 ** 20;

/** The longest real arrays are vocabularies and merges (below 600,000 items). */
export const MAX_GGUF_ARRAY_ITEMS = 2 ** 24;

/** Arrays of arrays do not occur in real files; one level is enough to read what the format allows in practice. */
export const MAX_GGUF_ARRAY_DEPTH = 2;

/** Real alignments are 32 or 64 bytes. */
export const MAX_GGUF_ALIGNMENT = 2 ** 20;

/** Sizes in config.json. Largest published: hidden 53,248 (feed-forward), 131,072 (context 10 million), vocabulary 262,144, 128 heads, 130 layers. */
export const MAX_LAYERS = 4096;
export const MAX_HEADS = 4096;
export const MAX_HEAD_DIMENSION = 2 ** 14;
export const MAX_HIDDEN_SIZE = 2 ** 20;
export const MAX_VOCABULARY_SIZE = 2 ** 24;
export const MAX_CONTEXT_LENGTH = 2 ** 30;

/** Stored bytes that are widened to float32 at a time: bounds the scratch memory of reading a tensor. */
export const READ_CHUNK_BYTES = 4 * 2 ** 20;
