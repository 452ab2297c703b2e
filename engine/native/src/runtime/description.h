#pragma once
// What JavaScript says about a package: geometry, and where each tensor stands in the file. Nothing here is trusted
// (model.cpp checks all of it).
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/packed_linear.h"
#include "runtime/mapped_file.h"

namespace dbell {

enum class Activation { silu, relu, relu_squared, gelu, gelu_tanh, quick_gelu };

struct LinearDescription {
  std::string name;
  LinearLayout layout = LinearLayout::grid;
  std::uint64_t out_features = 0, in_features = 0;
  int levels = 0, plane_count = 0;
  ByteRange planes;
  bool is_base3 = false;                                     // grid of three levels: `planes` holds base-3 bytes
  std::optional<ByteRange> scales, offsets, row_scale;       // grid
  std::uint64_t residual_count = 0;                          // grid: columns that have a residual
  std::optional<ByteRange> residual_columns, residual_planes, residual_scales;
  std::optional<ByteRange> structured_values, salient_mask;  // structured
  std::optional<ByteRange> column_scale, bias;
};

struct NormDescription {
  bool is_rms = true;
  double epsilon = 0;
  std::optional<ByteRange> weight, bias;
};

struct TableDescription {
  std::optional<LinearDescription> grid;  ///< stored as a grid linear; then nothing else here counts
  TableType type = TableType::f16;
  std::uint64_t rows = 0, columns = 0;
  ByteRange values;
  std::optional<ByteRange> scales;  // q8, q6, q4
};

struct BlockDescription {
  NormDescription attention_norm, mlp_norm;
  std::optional<NormDescription> query_norm, key_norm, attention_sub_norm, mlp_sub_norm;
  LinearDescription q, k, v, o, up, down;
  std::optional<LinearDescription> gate;
};

struct ModelDescription {
  std::string path;
  std::uint64_t hidden_size = 0, intermediate_size = 0, head_count = 0, key_value_head_count = 0, head_dimension = 0;
  std::uint64_t vocabulary_size = 0, context_length = 0, embedding_size = 0;
  std::uint64_t sliding_window = 0;  ///< 0: none
  bool scales_by_block = false;      ///< activations are rounded with a step for each token and block
  bool has_post_norms = false;
  Activation activation = Activation::silu;
  /// Rotary embedding: inverse frequencies [rotary dimensions / 2]; empty where positions are learned.
  std::vector<float> inverse_frequencies;
  std::optional<TableDescription> positions;  ///< learned, [context + offset, hidden]
  std::uint64_t position_offset = 0;
  TableDescription embedding, head;
  std::optional<ByteRange> head_bias;
  std::optional<TableDescription> project_in, project_out;
  std::optional<NormDescription> final_norm;
  std::vector<BlockDescription> blocks;
};

}  // namespace dbell
