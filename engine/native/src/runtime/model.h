#pragma once
// A packed model, checked and mapped. Nothing is repacked: kernels read the mapped file; only biases, norms and column
// masks are copied.
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "runtime/aligned_buffer.h"
#include "runtime/description.h"

namespace dbell {

/// Rows of activation matrices are padded to whole row groups, so that kernels write 16 values at a time.
constexpr std::size_t padded(std::size_t size) { return (size + kRowsPerGroup - 1) / kRowsPerGroup * kRowsPerGroup; }

/// A second linear of two levels over a few columns of the first one's input; its products are added.
struct Residual {
  PackedLinear packed{};              ///< [out_features, columns.size()], no bias
  std::vector<std::int32_t> columns;  ///< ascending
};

struct Linear {
  std::string name;
  PackedLinear packed{};
  std::shared_ptr<const Residual> residual;    ///< grid, or null
  bool scales_by_block = false;                ///< its input is rounded with a step for each block of a token
  AlignedBuffer<float> bias;                   ///< [row_groups · 16]
  const float* column_scale = nullptr;         ///< [in_features] or null
  AlignedBuffer<float> row_scale;              ///< grid: [row_groups · 16], or empty; the kernel's bias is zero then
  AlignedBuffer<float> no_bias;                ///< zeros, [row_groups · 16], where there is a row scale
  const std::uint8_t* salient_mask = nullptr;  ///< structured: [blocks, 16]
  AlignedBuffer<std::uint8_t> salient_bytes;   ///< structured: [blocks · 128], 0xFF for salient columns
  std::vector<std::uint32_t> salient_quads;    ///< structured: [blocks]
};

struct Norm {
  bool is_rms = true;
  float epsilon = 0;
  std::size_t size = 0;
  const float* weight = nullptr;  ///< [size] or null
  const float* bias = nullptr;    ///< [size] or null
};

/// Linears that read the same input; they agree about the column scale.
struct Stage {
  std::vector<Linear> linears;
  std::size_t in_features = 0;
};

struct Block {
  Norm attention_norm, mlp_norm;
  std::unique_ptr<Norm> query_norm, key_norm;
  std::unique_ptr<Norm> attention_sub_norm, mlp_sub_norm;  ///< in front of o and of down, or null
  Stage attention_in, attention_out, mlp_in, mlp_out;  ///< q k v | o | [gate] up | down
};

struct Model {
  std::unique_ptr<MappedFile> file;
  const KernelTable* kernels = nullptr;
  std::size_t hidden_size = 0, intermediate_size = 0, head_count = 0, key_value_head_count = 0, head_dimension = 0;
  std::size_t vocabulary_size = 0, context_length = 0, embedding_size = 0, sliding_window = 0;
  bool has_post_norms = false, is_gated = false;
  Activation activation = Activation::silu;
  std::vector<float> inverse_frequencies;
  std::unique_ptr<Table> positions, project_in, project_out;
  std::size_t position_offset = 0;
  Table embedding{}, head{};
  /// In place of the table where it is stored as a grid linear, else null.
  std::unique_ptr<const Linear> grid_embedding, grid_head;
  const float* head_bias = nullptr;
  std::unique_ptr<Norm> final_norm;
  std::vector<Block> blocks;

  /// The linear of that module name; throws RuntimeError `not-found`.
  const Linear& linear(const std::string& name) const;
  /// Bytes of what was copied out of the file.
  std::size_t copied_bytes() const;
};

/// Maps the file and checks every size, offset and count against it and against each other. Throws RuntimeError.
std::unique_ptr<Model> open_model(const ModelDescription& description, const KernelTable& kernels);

/// A row of a table as float32, [columns].
void read_table_row(const Table& table, std::size_t row, float* out);

/// A row of a table that is stored as a grid linear, r·(q − (levels − 1)/2) as float32, [in_features].
void read_grid_row(const PackedLinear& packed, std::size_t row, float* out);

}  // namespace dbell
