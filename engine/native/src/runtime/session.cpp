#include "runtime/session.h"

#include <algorithm>
#include <cmath>

#include "common/thread_pool.h"
#include "runtime/error.h"
#include "runtime/norm.h"

namespace dbell {
namespace {

/// Tokens of one task of element-wise work.
constexpr std::size_t kTokensPerTask = 16;

void add_rows(float* sum, const float* addend, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) sum[i] += addend[i];
}

}  // namespace

std::size_t Workspace::bytes() const {
  std::size_t total = 0;
  for (const AlignedBuffer<float>* buffer :
       {&cosine, &sine, &hidden, &normed, &query, &key, &value, &attention, &projected, &gate, &up, &embedded,
        &head_scales, &head_rows, &logits, &input.scales, &input.block_scales, &input.scaled}) {
    total += buffer->bytes();
  }
  total += head_input.bytes() + head_sums.bytes() + input.rows.bytes() + input.values.bytes() + input.block_sums.bytes();
  total += grid_head_input.rows.bytes() + grid_head_input.values.bytes() + grid_head_input.block_sums.bytes() +
           grid_head_input.scales.bytes() + grid_head_input.block_scales.bytes();
  for (const StageInput::Gathered& gathered : input.gathered)
    total += gathered.values.bytes() + gathered.block_sums.bytes() + gathered.block_scales.bytes() +
             gathered.floats.bytes();
  for (const StageInput::Salient& salient : input.salient) total += salient.values.bytes() + salient.sums.bytes();
  return total;
}

Session::Session(const Model& model, std::size_t context_length, int activation_bits, CacheType cache_type)
    : model_(model),
      context_length_(context_length),
      activation_bits_(activation_bits),
      cache_type_(cache_type),
      cache_(model.blocks.size()) {
  if (context_length == 0 || context_length > model.context_length) {
    throw RuntimeError("invalid-input", "context length is " + std::to_string(context_length) +
                                            "; the model allows 1 to " + std::to_string(model.context_length));
  }
  if (activation_bits != 16 && activation_bits != 8 && activation_bits != 6 && activation_bits != 4) {
    throw RuntimeError("invalid-input",
                       "activation bits are " + std::to_string(activation_bits) + "; 16, 8, 6 and 4 are possible");
  }
}

std::size_t Session::cache_bytes() const {
  std::size_t total = 0;
  for (const BlockCache& cache : cache_) {
    for (const CacheSegment& segment : cache) total += segment.bytes();
  }
  return total;
}

void Session::prepare(std::size_t count) {
  if (count == 0 || count > kTokensPerChunk)
    throw RuntimeError("internal", "a chunk has " + std::to_string(count) + " tokens; 1 to " +
                                       std::to_string(kTokensPerChunk) + " are possible");
  if (count > context_length_ - position_) {
    throw RuntimeError("invalid-input", std::to_string(count) +
                                            " more tokens do not fit: " + std::to_string(position_) + " of " +
                                            std::to_string(context_length_) + " positions are taken");
  }
  try {
    const std::size_t segments = (position_ + count + kPositionsPerSegment - 1) / kPositionsPerSegment;
    for (BlockCache& cache : cache_) {
      while (cache.size() < segments)
        cache.emplace_back(cache_type_, model_.key_value_head_count, model_.head_dimension);
    }
    const std::size_t query_size = model_.head_count * model_.head_dimension,
                      key_size = model_.key_value_head_count * model_.head_dimension;
    workspace_.hidden.reserve(count * padded(model_.hidden_size));
    workspace_.normed.reserve(count * padded(model_.hidden_size));
    workspace_.projected.reserve(count * padded(model_.hidden_size));
    workspace_.query.reserve(count * padded(query_size));
    workspace_.attention.reserve(count * padded(query_size));
    workspace_.key.reserve(count * padded(key_size));
    workspace_.value.reserve(count * padded(key_size));
    workspace_.up.reserve(count * padded(model_.intermediate_size));
    if (model_.is_gated) workspace_.gate.reserve(count * padded(model_.intermediate_size));
    workspace_.cosine.reserve(count * model_.inverse_frequencies.size());
    workspace_.sine.reserve(count * model_.inverse_frequencies.size());
  } catch (const std::bad_alloc&) {
    throw RuntimeError("out-of-memory", "no memory for the cache of " + std::to_string(position_ + count) +
                                            " positions; use a shorter context");
  }
  const std::size_t half = model_.inverse_frequencies.size();
  for (std::size_t t = 0; t < count; ++t) {
    // Angles are rounded to float32 before cosine and sine, as models are trained with.
    const float position = static_cast<float>(position_ + t);
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position * model_.inverse_frequencies[i]);
      workspace_.cosine[t * half + i] = static_cast<float>(std::cos(angle));
      workspace_.sine[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void Session::embed(const std::int32_t* ids, std::size_t count) {
  const std::size_t stride = hidden_stride();
  for (std::size_t t = 0; t < count; ++t) {
    if (ids[t] < 0 || static_cast<std::size_t>(ids[t]) >= model_.vocabulary_size) {
      throw RuntimeError("invalid-input", "token id " + std::to_string(ids[t]) + " is outside the vocabulary of " +
                                              std::to_string(model_.vocabulary_size));
    }
  }
  float* hidden = workspace_.hidden.data();
  const auto read_row = [&](std::int32_t id, float* out) {
    if (model_.grid_embedding) read_grid_row(model_.grid_embedding->packed, static_cast<std::size_t>(id), out);
    else read_table_row(model_.embedding, static_cast<std::size_t>(id), out);
  };
  if (model_.project_in == nullptr) {
    for (std::size_t t = 0; t < count; ++t) read_row(ids[t], hidden + t * stride);
  } else {
    const std::size_t width = model_.embedding_size;
    workspace_.embedded.reserve(count * width);
    for (std::size_t t = 0; t < count; ++t) read_row(ids[t], workspace_.embedded.data() + t * width);
    multiply_table(*model_.kernels, *model_.project_in, workspace_.embedded.data(), width, count, 0,
                   stride / kRowsPerGroup, hidden, stride);
  }
  if (model_.positions != nullptr) {
    std::vector<float> row(model_.hidden_size);
    for (std::size_t t = 0; t < count; ++t) {
      read_table_row(*model_.positions, position_ + t + model_.position_offset, row.data());
      add_rows(hidden + t * stride, row.data(), model_.hidden_size);
    }
  }
}

void Session::feed(const std::int32_t* ids, std::size_t count) {
  prepare(count);
  embed(ids, count);
  for (std::size_t index = 0; index < model_.blocks.size(); ++index) run_block(index, count);
  position_ += count;
}

void Session::rotate(float* heads, std::size_t stride, std::size_t head_count, std::size_t count) const {
  const std::size_t half = model_.inverse_frequencies.size(), head_size = model_.head_dimension;
  if (half == 0) return;
  for (std::size_t t = 0; t < count; ++t) {
    const float *cosine = workspace_.cosine.data() + t * half, *sine = workspace_.sine.data() + t * half;
    for (std::size_t head = 0; head < head_count; ++head) {
      float* first = heads + t * stride + head * head_size;
      float* second = first + half;
      for (std::size_t i = 0; i < half; ++i) {
        const float a = first[i], b = second[i];
        first[i] = a * cosine[i] - b * sine[i];
        second[i] = b * cosine[i] + a * sine[i];
      }
    }
  }
}

void Session::store_keys(const Block& block, BlockCache& cache, std::size_t count) {
  const std::size_t head_size = model_.head_dimension, heads = model_.key_value_head_count;
  const std::size_t stride = padded(heads * head_size);
  float* key = workspace_.key.data();
  const float* value = workspace_.value.data();
  if (block.key_norm) {
    for (std::size_t t = 0; t < count; ++t)
      apply_norm(*block.key_norm, key + t * stride, head_size, heads, key + t * stride, head_size);
  }
  rotate(key, stride, heads, count);
  for (std::size_t t = 0; t < count; ++t) {
    const std::size_t position = position_ + t;
    CacheSegment& segment = cache[position / kPositionsPerSegment];
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t at = t * stride + head * head_size;
      segment.store(*model_.kernels, head, position % kPositionsPerSegment, key + at, value + at);
    }
  }
}

void Session::run_block(std::size_t index, std::size_t count, const StageTap& tap) {
  const Block& block = model_.blocks[index];
  BlockCache& cache = cache_[index];
  const KernelTable& kernels = *model_.kernels;
  const std::size_t hidden_stride = padded(model_.hidden_size),
                    query_stride = padded(model_.head_count * model_.head_dimension);
  const std::size_t key_stride = padded(model_.key_value_head_count * model_.head_dimension),
                    mlp_stride = padded(model_.intermediate_size);
  Workspace& w = workspace_;
  float* hidden = w.hidden.data();
  const auto norm_rows = [&](const Norm& norm, const float* in, float* out) {
    parallel_for(count, kTokensPerTask, [&](std::size_t begin, std::size_t end) {
      apply_norm(norm, in + begin * hidden_stride, hidden_stride, end - begin, out + begin * hidden_stride,
                 hidden_stride);
    });
  };
  const auto stage_input = [&](const Norm& norm) -> const float* {
    if (model_.has_post_norms) return hidden;
    norm_rows(norm, hidden, w.normed.data());
    return w.normed.data();
  };
  const auto run = [&](std::size_t number, const Stage& stage, const float* x, std::size_t x_stride,
                       float* const* outputs, const std::size_t* strides) {
    if (tap) tap(number, x, x_stride);
    run_stage(kernels, stage, x, x_stride, count, activation_bits_, w.input, outputs, strides);
  };
  const auto normalize = [&](const Norm& norm, float* rows, std::size_t stride) {
    parallel_for(count, kTokensPerTask, [&](std::size_t begin, std::size_t end) {
      apply_norm(norm, rows + begin * stride, stride, end - begin, rows + begin * stride, stride);
    });
  };
  const auto add_to_residual = [&](const Norm& norm) {
    add_rows(hidden, w.projected.data(), count * hidden_stride);
    if (model_.has_post_norms) norm_rows(norm, hidden, hidden);
  };

  float* attention_outputs[] = {w.query.data(), w.key.data(), w.value.data()};
  const std::size_t attention_strides[] = {query_stride, key_stride, key_stride};
  run(0, block.attention_in, stage_input(block.attention_norm), hidden_stride, attention_outputs, attention_strides);
  if (block.query_norm) {
    for (std::size_t t = 0; t < count; ++t) {
      float* row = w.query.data() + t * query_stride;
      apply_norm(*block.query_norm, row, model_.head_dimension, model_.head_count, row, model_.head_dimension);
    }
  }
  rotate(w.query.data(), query_stride, model_.head_count, count);
  store_keys(block, cache, count);
  attend(cache, count);
  float* projected[] = {w.projected.data()};
  if (block.attention_sub_norm) normalize(*block.attention_sub_norm, w.attention.data(), query_stride);
  run(1, block.attention_out, w.attention.data(), query_stride, projected, &hidden_stride);
  add_to_residual(block.attention_norm);

  float* mlp_outputs[] = {model_.is_gated ? w.gate.data() : w.up.data(), w.up.data()};
  const std::size_t mlp_strides[] = {mlp_stride, mlp_stride};
  run(2, block.mlp_in, stage_input(block.mlp_norm), hidden_stride, mlp_outputs, mlp_strides);
  parallel_for(count, kTokensPerTask, [&](std::size_t begin, std::size_t end) {
    apply_activation(kernels, model_.activation, w.up.data() + begin * mlp_stride,
                     model_.is_gated ? w.gate.data() + begin * mlp_stride : nullptr, (end - begin) * mlp_stride);
  });
  if (block.mlp_sub_norm) normalize(*block.mlp_sub_norm, w.up.data(), mlp_stride);
  run(3, block.mlp_out, w.up.data(), mlp_stride, projected, &hidden_stride);
  add_to_residual(block.mlp_norm);
}

}  // namespace dbell
