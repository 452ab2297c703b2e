#pragma once
// One sequence: its KV cache and the buffers that a chunk of tokens needs.
#include <functional>
#include <vector>

#include "runtime/key_value_cache.h"
#include "runtime/stage.h"

namespace dbell {

/// Tokens that go through the blocks together.
constexpr std::size_t kTokensPerChunk = 256;
/// Keys and values of one block: segment s holds positions [128 s, 128 (s + 1)).
using BlockCache = std::vector<CacheSegment>;

/// Buffers of a chunk, [tokens, padded size] each.
struct Workspace {
  AlignedBuffer<float> cosine, sine;  ///< rotary embedding at the chunk's positions, [tokens, rotary dimensions / 2]
  AlignedBuffer<float> hidden, normed, query, key, value, attention, projected, gate, up, embedded;
  StageInput input;
  StageInput grid_head_input;  ///< of a head that is stored as a grid linear
  AlignedBuffer<std::int8_t> head_input;
  AlignedBuffer<std::int32_t> head_sums;
  AlignedBuffer<float> head_scales, head_rows, logits;
  std::size_t bytes() const;
};

/// Receives the input of stage 0 … 3 of a block before column scale and quantization: rows [tokens, stride].
using StageTap = std::function<void(std::size_t stage, const float* x, std::size_t stride)>;

class Session {
 public:
  /// `context_length` at most the model's. The model must outlive the session.
  Session(const Model& model, std::size_t context_length, int activation_bits,
          CacheType cache_type = CacheType::float32);

  std::size_t position() const { return position_; }
  std::size_t context_length() const { return context_length_; }
  std::size_t cache_bytes() const;
  std::size_t workspace_bytes() const { return workspace_.bytes(); }
  void reset() { position_ = 0; }

  /// Appends 1 … kTokensPerChunk tokens; afterwards hidden() holds the last block's output. Throws RuntimeError
  /// `invalid-input` where an id or the length does not fit, `out-of-memory` where the cache cannot grow (nothing is
  /// appended then).
  void feed(const std::int32_t* ids, std::size_t count);

  // The steps of feed, for verification.
  /// Makes room in cache and buffers for `count` tokens from the current position on.
  void prepare(std::size_t count);
  /// Embeddings of the tokens to the hidden state.
  void embed(const std::int32_t* ids, std::size_t count);
  /// One block over the `count` rows of the hidden state at the current position; its keys and values go to the cache.
  /// A tap sees each stage's input.
  void run_block(std::size_t index, std::size_t count, const StageTap& tap = {});
  void advance(std::size_t count) { position_ += count; }
  float* hidden() { return workspace_.hidden.data(); }
  std::size_t hidden_stride() const { return padded(model_.hidden_size); }

  /// Logits of row `row` of the hidden state, [vocabulary_size]. Throws RuntimeError where one is not finite.
  void logits(std::size_t row, float* out);
  /// The same for `count` rows, [count, vocabulary_size], without more memory than `out` and a tile for each thread.
  void logits(std::size_t first_row, std::size_t count, float* out);
  /// Natural-log losses of targets[i] given row i of the hidden state, `count` rows.
  void losses(const std::int32_t* targets, std::size_t count, float* out);

 private:
  void attend(BlockCache& cache, std::size_t count);
  void store_keys(const Block& block, BlockCache& cache, std::size_t count);
  /// Rotary embedding of the heads [count, stride] at the chunk's positions.
  void rotate(float* heads, std::size_t stride, std::size_t head_count, std::size_t count) const;
  /// Final norm, project_out; returns rows [count, stride] that enter the head.
  const float* head_rows(std::size_t first_row, std::size_t count, std::size_t* stride);
  void head_tile(const float* rows, std::size_t stride, std::size_t count, std::size_t begin, std::size_t end,
                 float* out, std::size_t out_stride) const;
  void check_logits(const float* logits, std::size_t count) const;

  const Model& model_;
  std::size_t context_length_;
  int activation_bits_;
  CacheType cache_type_;
  std::size_t position_ = 0;
  std::vector<BlockCache> cache_;
  Workspace workspace_;
};

}  // namespace dbell
