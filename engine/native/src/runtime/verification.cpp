#include "runtime/verification.h"

#include <algorithm>
#include <cstring>

#include "runtime/error.h"

namespace dbell {
namespace {

void copy_rows(const float* in, std::size_t in_stride, std::size_t rows, std::size_t width, float* out,
               std::size_t out_stride) {
  for (std::size_t t = 0; t < rows; ++t) std::memcpy(out + t * out_stride, in + t * in_stride, width * sizeof(float));
}

}  // namespace

std::vector<float> verify_linear(const KernelTable& kernels, const Linear& linear, const float* x, std::size_t tokens,
                                 int activation_bits) {
  // A stage of this linear alone; it borrows the mapped tensors.
  Stage stage;
  stage.in_features = linear.packed.in_features;
  stage.linears.emplace_back();
  Linear& copy = stage.linears.front();
  copy.name = linear.name;
  copy.packed = linear.packed;
  copy.residual = linear.residual;
  copy.scales_by_block = linear.scales_by_block;
  copy.column_scale = linear.column_scale;
  copy.salient_mask = linear.salient_mask;
  copy.salient_quads = linear.salient_quads;
  copy.salient_bytes.resize(linear.salient_bytes.size());
  if (linear.salient_bytes.size() > 0)
    std::memcpy(copy.salient_bytes.data(), linear.salient_bytes.data(), linear.salient_bytes.size());
  if (linear.row_scale.size() > 0) {
    for (auto [from, to] : {std::pair{&linear.row_scale, &copy.row_scale}, std::pair{&linear.bias, &copy.bias}}) {
      to->resize(from->size());
      std::memcpy(to->data(), from->data(), from->size() * sizeof(float));
    }
  }
  const std::size_t out = linear.packed.out_features, stride = padded(out);
  AlignedBuffer<float> y(tokens * stride);
  StageInput input;
  float* outputs[] = {y.data()};
  run_stage(kernels, stage, x, stage.in_features, tokens, activation_bits, input, outputs, &stride);
  std::vector<float> result(tokens * out);
  copy_rows(y.data(), stride, tokens, out, result.data(), out);
  return result;
}

QuantizedRows verify_quantization(const KernelTable& kernels, const Linear& linear, const float* x, std::size_t tokens,
                                  int activation_bits) {
  const std::size_t in = linear.packed.in_features, blocks = linear.packed.blocks, width = blocks * kColumnsPerBlock;
  StageInput input;
  quantize_stage_input(kernels, rounding_of(linear, activation_bits), x, in, tokens, input);
  QuantizedRows rows;
  if (linear.scales_by_block) {
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t block = 0; block < blocks; ++block)
        rows.scales.push_back(input.block_scales[block * tokens + t]);
  } else {
    rows.scales.assign(input.scales.data(), input.scales.data() + tokens);
  }
  rows.values.resize(tokens * in);
  for (std::size_t t = 0; t < tokens; ++t) std::memcpy(rows.values.data() + t * in, input.rows.data() + t * width, in);
  return rows;
}

std::vector<std::int32_t> verify_integers(const KernelTable& kernels, const Linear& linear, const std::int8_t* values,
                                          std::size_t tokens) {
  const PackedLinear& packed = linear.packed;
  const std::size_t in = packed.in_features, stride = packed.row_groups * kRowsPerGroup;
  StageInput input;
  input.values.resize(packed.blocks * tokens * kColumnsPerBlock);
  input.block_sums.resize(packed.blocks * tokens);
  input.scales.resize(tokens);
  input.block_scales.resize(packed.blocks * tokens);
  std::fill_n(input.block_scales.data(), packed.blocks * tokens, 1.0f);
  for (std::size_t t = 0; t < tokens; ++t) {
    input.scales[t] = 1.0f;
    for (std::size_t j = 0; j < in; ++j) {
      const std::int8_t value = values[t * in + j];
      if (value == -128)
        throw RuntimeError("invalid-input", "an activation is -128; quantized ones lie between -127 and 127");
      const std::size_t row = j / kColumnsPerBlock * tokens + t;
      input.values[row * kColumnsPerBlock + j % kColumnsPerBlock] = value;
      input.block_sums[row] += value;
    }
  }
  if (uses_sum_tables(packed)) make_sum_tables(kernels, packed.blocks, tokens, input);
  const bool is_grid = packed.layout == LinearLayout::grid;
  const std::size_t count = is_grid ? kGridIntegers : kStructuredIntegers, row_values = packed.blocks * count;
  AlignedBuffer<float> y(tokens * stride);
  std::vector<std::int32_t> integers(tokens * stride * row_values), result(tokens * packed.out_features * row_values);
  (is_grid ? kernels.grid : kernels.structured)(packed, view_for(linear, 0, tokens, input), 0, packed.row_groups,
                                                y.data(), stride, integers.data());
  for (std::size_t t = 0; t < tokens; ++t) {
    std::copy_n(integers.data() + t * stride * row_values, packed.out_features * row_values,
                result.data() + t * packed.out_features * row_values);
  }
  return result;
}

std::vector<std::int32_t> verify_residual_integers(const KernelTable& kernels, const Linear& linear,
                                                   const std::int8_t* values, std::size_t tokens) {
  if (!linear.residual) throw RuntimeError("invalid-input", linear.name + " has no residual columns");
  const PackedLinear& packed = linear.residual->packed;
  const std::size_t in = linear.packed.in_features, stride = packed.row_groups * kRowsPerGroup;
  for (std::size_t i = 0; i < tokens * in; ++i) {
    if (values[i] == -128)
      throw RuntimeError("invalid-input", "an activation is -128; quantized ones lie between -127 and 127");
  }
  StageInput::Gathered gathered;
  const std::vector<float> scales(tokens, 1.0f);
  const QuantizedActivations view = gather_quantized(*linear.residual, values, in, scales.data(), tokens, gathered);
  AlignedBuffer<float> y(tokens * stride);
  std::vector<std::int32_t> integers(tokens * stride * packed.blocks);
  kernels.grid(packed, view, 0, packed.row_groups, y.data(), stride, integers.data());
  std::vector<std::int32_t> result(tokens * packed.out_features * packed.blocks);
  for (std::size_t t = 0; t < tokens; ++t) {
    std::copy_n(integers.data() + t * stride * packed.blocks, packed.out_features * packed.blocks,
                result.data() + t * packed.out_features * packed.blocks);
  }
  return result;
}

std::vector<float> verify_block(const Model& model, std::size_t index, const float* hidden, std::size_t tokens,
                                int activation_bits) {
  return verify_block_stages(model, index, hidden, tokens, activation_bits).hidden;
}

BlockStages verify_block_stages(const Model& model, std::size_t index, const float* hidden, std::size_t tokens,
                                int activation_bits) {
  Session session(model, model.context_length, activation_bits);
  const Block& block = model.blocks[index];
  const std::array<std::size_t, 4> widths = {block.attention_in.in_features, block.attention_out.in_features,
                                             block.mlp_in.in_features, block.mlp_out.in_features};
  const std::size_t width = model.hidden_size, stride = padded(width);
  BlockStages result;
  result.hidden.resize(tokens * width);
  for (std::size_t stage = 0; stage < widths.size(); ++stage) result.stage_inputs[stage].resize(tokens * widths[stage]);
  for (std::size_t first = 0; first < tokens; first += kTokensPerChunk) {
    const std::size_t count = std::min(kTokensPerChunk, tokens - first);
    session.prepare(count);
    copy_rows(hidden + first * width, width, count, width, session.hidden(), stride);
    session.run_block(index, count, [&](std::size_t stage, const float* x, std::size_t x_stride) {
      const std::size_t in = widths[stage];
      copy_rows(x, x_stride, count, in, result.stage_inputs[stage].data() + first * in, in);
    });
    session.advance(count);
    copy_rows(session.hidden(), stride, count, width, result.hidden.data() + first * width, width);
  }
  return result;
}

std::vector<std::vector<float>> verify_hidden_states(const Model& model, const std::int32_t* ids, std::size_t tokens,
                                                     int activation_bits) {
  Session session(model, model.context_length, activation_bits);
  const std::size_t width = model.hidden_size, stride = padded(width);
  std::vector<std::vector<float>> states(model.blocks.size() + 1, std::vector<float>(tokens * width));
  for (std::size_t first = 0; first < tokens; first += kTokensPerChunk) {
    const std::size_t count = std::min(kTokensPerChunk, tokens - first);
    session.prepare(count);
    session.embed(ids + first, count);
    copy_rows(session.hidden(), stride, count, width, states[0].data() + first * width, width);
    for (std::size_t index = 0; index < model.blocks.size(); ++index) {
      session.run_block(index, count);
      copy_rows(session.hidden(), stride, count, width, states[index + 1].data() + first * width, width);
    }
    session.advance(count);
  }
  return states;
}

}  // namespace dbell
