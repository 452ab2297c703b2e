#include "runtime/model.h"

#include <cmath>
#include <cstring>

#include "common/base3_packing.h"
#include "common/half.h"
#include "common/table_packing.h"
#include "runtime/error.h"
#include "runtime/grid_shape.h"

namespace dbell {
namespace {

/// No size of a model comes near; keeps products of two sizes and an element width inside 64 bits.
constexpr std::uint64_t kMaximumExtent = std::uint64_t{1} << 28;

[[noreturn]] void refuse(const std::string& message) { throw RuntimeError("invalid-package", message); }

std::size_t extent(std::uint64_t value, const std::string& what) {
  if (value == 0 || value > kMaximumExtent)
    refuse(what + " is " + std::to_string(value) + "; it must lie between 1 and " + std::to_string(kMaximumExtent));
  return static_cast<std::size_t>(value);
}

void expect_equal(std::uint64_t value, std::uint64_t expected, const std::string& what) {
  if (value != expected)
    refuse(what + " is " + std::to_string(value) + "; the architecture needs " + std::to_string(expected));
}

const float* floats(const MappedFile& file, const std::optional<ByteRange>& range, std::size_t count) {
  if (!range) return nullptr;
  return static_cast<const float*>(file.at(*range, count * sizeof(float), alignof(float)));
}

const std::uint16_t* halves(const MappedFile& file, const std::optional<ByteRange>& range, std::size_t count,
                            const std::string& what) {
  if (!range) refuse(what + " is missing");
  return static_cast<const std::uint16_t*>(file.at(*range, count * sizeof(std::uint16_t), alignof(std::uint16_t)));
}

void check_finite(const float* values, std::size_t count, const std::string& what) {
  for (std::size_t i = 0; values != nullptr && i < count; ++i) {
    if (!std::isfinite(values[i])) refuse(what + "[" + std::to_string(i) + "] is not finite");
  }
}

/// Sizes of a grid linear, before it has any tensor.
std::size_t plane_bytes(const PackedLinear& packed) {
  return packed.row_groups * packed.lines * static_cast<std::size_t>(packed.plane_count) * kLineBytes;
}

/// Codes in planes, or three levels in base 3.
void open_codes(const MappedFile& file, const LinearDescription& description, PackedLinear& packed) {
  if (!description.is_base3) {
    packed.planes = static_cast<const std::uint8_t*>(file.at(description.planes, plane_bytes(packed), kLineBytes));
    return;
  }
  if (packed.layout != LinearLayout::grid || packed.levels != 3)
    refuse(description.name + ": codes in base 3 have three levels, not " + std::to_string(packed.levels));
  const std::size_t whole = packed.in_features / kColumnsPerBlock, rest = packed.in_features % kColumnsPerBlock;
  packed.base3_group_bytes =
      kRowsPerGroup * (whole * kBase3BlockRowBytes + ceil_div(rest, kDigitsPerByte));
  packed.base3 = static_cast<const std::uint8_t*>(
      file.at(description.planes, packed.row_groups * packed.base3_group_bytes, kLineBytes));
}

std::shared_ptr<const Residual> open_residual(const MappedFile& file, const LinearDescription& description,
                                              std::size_t out, std::size_t in) {
  if (!description.residual_columns) return nullptr;
  const std::string what = description.name + ": residual";
  if (description.residual_count == 0 || description.residual_count > in) {
    refuse(what + ": " + std::to_string(description.residual_count) + " columns of " + std::to_string(in) +
           "; at least one and at most all can have a residual");
  }
  const std::size_t count = static_cast<std::size_t>(description.residual_count);
  auto residual = std::make_shared<Residual>();
  PackedLinear& packed = residual->packed;
  packed = make_grid(out, count, 2);
  if (!description.residual_planes) refuse(what + " planes are missing");
  packed.planes =
      static_cast<const std::uint8_t*>(file.at(*description.residual_planes, plane_bytes(packed), kLineBytes));
  packed.scales = halves(file, description.residual_scales, packed.row_groups * packed.blocks * kRowsPerGroup,
                         what + " scales");
  const auto* columns = static_cast<const std::int32_t*>(
      file.at(*description.residual_columns, count * sizeof(std::int32_t), alignof(std::int32_t)));
  residual->columns.assign(columns, columns + count);
  std::int64_t before = -1;
  for (std::size_t k = 0; k < count; ++k) {
    const std::int64_t column = residual->columns[k];
    if (column <= before || column >= static_cast<std::int64_t>(in)) {
      refuse(what + " column " + std::to_string(k) + " is " + std::to_string(column) +
             "; columns must ascend and lie below " + std::to_string(in));
    }
    before = column;
  }
  return residual;
}

Linear open_linear(const MappedFile& file, const LinearDescription& description, std::size_t out, std::size_t in) {
  Linear linear;
  linear.name = description.name;
  expect_equal(description.out_features, out, description.name + ": number of rows");
  expect_equal(description.in_features, in, description.name + ": number of columns");
  const bool is_grid = description.layout == LinearLayout::grid;
  const int levels = is_grid ? description.levels : 4;
  if (levels < 2 || levels > 256)
    refuse(description.name + ": " + std::to_string(levels) + " levels; 2 to 256 are possible");
  PackedLinear& packed = linear.packed;
  packed = make_grid(out, in, levels);
  packed.layout = description.layout;
  expect_equal(static_cast<std::uint64_t>(description.plane_count), static_cast<std::uint64_t>(packed.plane_count),
               description.name + ": number of planes");
  open_codes(file, description, packed);
  if (is_grid) linear.residual = open_residual(file, description, out, in);
  const std::size_t per_row_and_block = packed.row_groups * packed.blocks * kRowsPerGroup;
  if (is_grid) {
    packed.scales = halves(file, description.scales, per_row_and_block, description.name + ": scales");
    if (description.offsets)
      packed.offsets = halves(file, description.offsets, per_row_and_block, description.name + ": offsets");
  } else {
    packed.structured_values = halves(file, description.structured_values, per_row_and_block * kStructuredValues,
                                      description.name + ": levels");
    if (!description.salient_mask) refuse(description.name + ": the mask of salient columns is missing");
    linear.salient_mask =
        static_cast<const std::uint8_t*>(file.at(*description.salient_mask, packed.blocks * kColumnsPerBlock / 8, 1));
    linear.salient_bytes.resize(packed.blocks * kColumnsPerBlock);
    linear.salient_quads.assign(packed.blocks, 0);
    for (std::size_t j = 0; j < in; ++j) {
      if (((linear.salient_mask[j / 8] >> (j % 8)) & 1) == 0) continue;
      linear.salient_bytes[j] = 0xFF;
      linear.salient_quads[j / kColumnsPerBlock] |= 1u << (j % kColumnsPerBlock / 4);
    }
  }
  linear.bias.resize(packed.row_groups * kRowsPerGroup);
  if (const float* bias = floats(file, description.bias, out)) {
    check_finite(bias, out, description.name + ".bias");
    std::memcpy(linear.bias.data(), bias, out * sizeof(float));
  }
  packed.bias = linear.bias.data();
  if (const float* row_scale = floats(file, description.row_scale, out)) {
    check_finite(row_scale, out, description.name + ".row_scale");
    if (linear.residual) refuse(description.name + ": a row scale and residual columns exclude each other");
    linear.row_scale.resize(packed.row_groups * kRowsPerGroup);
    linear.no_bias.resize(packed.row_groups * kRowsPerGroup);
    std::memcpy(linear.row_scale.data(), row_scale, out * sizeof(float));
    packed.bias = linear.no_bias.data();
  }
  linear.column_scale = floats(file, description.column_scale, in);
  check_finite(linear.column_scale, in, description.name + ".column_scale");
  return linear;
}

/// Embedding or head as a grid linear: planes or base 3 and scales, nothing else.
std::unique_ptr<const Linear> open_grid_table(const MappedFile& file, const LinearDescription& description,
                                              std::size_t rows, std::size_t columns) {
  if (description.layout != LinearLayout::grid || description.offsets || description.row_scale ||
      description.residual_columns || description.column_scale || description.bias)
    refuse(description.name + ": a table has codes and scales only");
  return std::make_unique<const Linear>(open_linear(file, description, rows, columns));
}

/// Linears that read the same input must quantize it the same way.
void add_linear(Stage& stage, Linear linear) {
  if (stage.linears.empty()) {
    stage.in_features = linear.packed.in_features;
  } else {
    const Linear& first = stage.linears.front();
    const bool is_same =
        first.column_scale == nullptr || linear.column_scale == nullptr
            ? first.column_scale == linear.column_scale
            : std::memcmp(first.column_scale, linear.column_scale, stage.in_features * sizeof(float)) == 0;
    if (!is_same) refuse(linear.name + " and " + first.name + " read the same input but have different column scales");
  }
  stage.linears.push_back(std::move(linear));
}

Norm open_norm(const MappedFile& file, const NormDescription& description, std::size_t size, const std::string& what) {
  Norm norm;
  norm.is_rms = description.is_rms;
  norm.epsilon = static_cast<float>(description.epsilon);
  if (!(norm.epsilon >= 0) || !std::isfinite(norm.epsilon)) refuse(what + ": epsilon must be a number from 0 on");
  norm.size = size;
  norm.weight = floats(file, description.weight, size);
  norm.bias = floats(file, description.bias, size);
  check_finite(norm.weight, size, what + " weight");
  check_finite(norm.bias, size, what + " bias");
  return norm;
}

Table open_table(const MappedFile& file, const TableDescription& description, std::size_t rows, std::size_t columns,
                 const std::string& what) {
  expect_equal(description.rows, rows, what + ": number of rows");
  expect_equal(description.columns, columns, what + ": number of columns");
  Table table{};
  table.type = description.type;
  table.rows = rows;
  table.columns = columns;
  switch (description.type) {
    case TableType::f32:
      table.values = file.at(description.values, std::uint64_t{rows} * columns * sizeof(float), alignof(float));
      break;
    case TableType::f16:
      table.values =
          file.at(description.values, std::uint64_t{rows} * columns * sizeof(std::uint16_t), alignof(std::uint16_t));
      break;
    case TableType::q8:
      table.groups = ceil_div(columns, kColumnsPerTableGroup);
      table.values = file.at(description.values, std::uint64_t{rows} * table.groups * kColumnsPerTableGroup, 1);
      table.scales = halves(file, description.scales, rows * table.groups, what + ": scales");
      break;
    case TableType::q6:
    case TableType::q4: {
      table.groups = ceil_div(columns, kColumnsPerTableGroup);
      const std::size_t row_groups = ceil_div(rows, kRowsPerGroup);
      const std::size_t lines = description.type == TableType::q6 ? kLinesPerTableGroup6 : kLinesPerTableGroup4;
      table.values =
          file.at(description.values, std::uint64_t{row_groups} * table.groups * lines * kLineBytes, kLineBytes);
      table.scales =
          halves(file, description.scales, row_groups * table.groups * kRowsPerGroup, what + ": scales");
      break;
    }
  }
  return table;
}

/// Structured levels are summed with one step a token, and residual columns take values from many blocks.
void scale_by_block(Linear& linear) {
  if (linear.packed.layout != LinearLayout::grid || linear.residual)
    refuse(linear.name + ": activation scales by block are for grids without residual columns");
  linear.scales_by_block = true;
}

Block open_block(const Model& model, const BlockDescription& description, std::size_t index, bool scales_by_block) {
  const MappedFile& file = *model.file;
  const std::string prefix = "block " + std::to_string(index) + ": ";
  const std::size_t query_size = model.head_count * model.head_dimension,
                    key_size = model.key_value_head_count * model.head_dimension;
  Block block;
  block.attention_norm = open_norm(file, description.attention_norm, model.hidden_size, prefix + "attention norm");
  block.mlp_norm = open_norm(file, description.mlp_norm, model.hidden_size, prefix + "mlp norm");
  if (description.attention_sub_norm) {
    block.attention_sub_norm = std::make_unique<Norm>(open_norm(
        file, *description.attention_sub_norm, model.head_count * model.head_dimension, prefix + "attention sub norm"));
  }
  if (description.mlp_sub_norm) {
    block.mlp_sub_norm = std::make_unique<Norm>(
        open_norm(file, *description.mlp_sub_norm, model.intermediate_size, prefix + "MLP sub norm"));
  }
  if (description.query_norm) {
    block.query_norm =
        std::make_unique<Norm>(open_norm(file, *description.query_norm, model.head_dimension, prefix + "query norm"));
  }
  if (description.key_norm) {
    block.key_norm =
        std::make_unique<Norm>(open_norm(file, *description.key_norm, model.head_dimension, prefix + "key norm"));
  }
  add_linear(block.attention_in, open_linear(file, description.q, query_size, model.hidden_size));
  add_linear(block.attention_in, open_linear(file, description.k, key_size, model.hidden_size));
  add_linear(block.attention_in, open_linear(file, description.v, key_size, model.hidden_size));
  add_linear(block.attention_out, open_linear(file, description.o, model.hidden_size, query_size));
  if (description.gate.has_value() != model.is_gated) refuse(prefix + "some blocks have a gate and others have none");
  if (description.gate)
    add_linear(block.mlp_in, open_linear(file, *description.gate, model.intermediate_size, model.hidden_size));
  add_linear(block.mlp_in, open_linear(file, description.up, model.intermediate_size, model.hidden_size));
  add_linear(block.mlp_out, open_linear(file, description.down, model.hidden_size, model.intermediate_size));
  if (scales_by_block) {
    for (Stage* stage : {&block.attention_in, &block.attention_out, &block.mlp_in, &block.mlp_out})
      for (Linear& linear : stage->linears) scale_by_block(linear);
  }
  return block;
}

}  // namespace

std::unique_ptr<Model> open_model(const ModelDescription& description, const KernelTable& kernels) {
  auto model = std::make_unique<Model>();
  model->file = std::make_unique<MappedFile>(description.path);
  const MappedFile& file = *model->file;
  model->kernels = &kernels;
  model->hidden_size = extent(description.hidden_size, "hidden size");
  model->intermediate_size = extent(description.intermediate_size, "intermediate size");
  model->head_count = extent(description.head_count, "number of heads");
  model->key_value_head_count = extent(description.key_value_head_count, "number of key and value heads");
  model->head_dimension = extent(description.head_dimension, "head dimension");
  model->vocabulary_size = extent(description.vocabulary_size, "vocabulary size");
  model->context_length = extent(description.context_length, "context length");
  model->embedding_size = extent(description.embedding_size, "embedding size");
  extent(std::uint64_t{model->head_count} * model->head_dimension, "heads times head dimension");
  if (model->head_count % model->key_value_head_count != 0) {
    refuse(std::to_string(model->head_count) + " heads are not a multiple of " +
           std::to_string(model->key_value_head_count) + " key and value heads");
  }
  if (description.sliding_window > kMaximumExtent)
    refuse("sliding window is " + std::to_string(description.sliding_window));
  model->sliding_window = static_cast<std::size_t>(description.sliding_window);
  model->has_post_norms = description.has_post_norms;
  model->activation = description.activation;
  model->inverse_frequencies = description.inverse_frequencies;
  if (model->inverse_frequencies.empty() == !description.positions)
    refuse("positions must be either rotary or learned");
  if (2 * model->inverse_frequencies.size() > model->head_dimension) {
    refuse("the rotary embedding has " + std::to_string(2 * model->inverse_frequencies.size()) +
           " dimensions; a head has " + std::to_string(model->head_dimension));
  }
  check_finite(model->inverse_frequencies.data(), model->inverse_frequencies.size(), "inverse frequencies");
  if (description.positions) {
    if (description.position_offset > kMaximumExtent)
      refuse("position offset is " + std::to_string(description.position_offset));
    model->position_offset = static_cast<std::size_t>(description.position_offset);
    model->positions =
        std::make_unique<Table>(open_table(file, *description.positions, model->context_length + model->position_offset,
                                           model->hidden_size, "learned positions"));
  }
  const auto open_vocabulary = [&](const TableDescription& table, const std::string& what, Table& plain,
                                   std::unique_ptr<const Linear>& grid) {
    if (table.grid) grid = open_grid_table(file, *table.grid, model->vocabulary_size, model->embedding_size);
    else plain = open_table(file, table, model->vocabulary_size, model->embedding_size, what);
  };
  open_vocabulary(description.embedding, "embedding", model->embedding, model->grid_embedding);
  open_vocabulary(description.head, "head", model->head, model->grid_head);
  model->head_bias = floats(file, description.head_bias, model->vocabulary_size);
  check_finite(model->head_bias, model->vocabulary_size, "head bias");
  if (description.project_in) {
    model->project_in = std::make_unique<Table>(
        open_table(file, *description.project_in, model->hidden_size, model->embedding_size, "project_in"));
  }
  if (description.project_out) {
    model->project_out = std::make_unique<Table>(
        open_table(file, *description.project_out, model->embedding_size, model->hidden_size, "project_out"));
  }
  for (const Table* table : {model->project_in.get(), model->project_out.get()}) {
    if (table == nullptr) {
      expect_equal(model->embedding_size, model->hidden_size, "embedding size without project_in and project_out");
    } else if (table->type != TableType::f32 && table->type != TableType::f16) {
      refuse("project_in and project_out must be float");
    }
  }
  if (description.final_norm) {
    model->final_norm =
        std::make_unique<Norm>(open_norm(file, *description.final_norm, model->hidden_size, "final norm"));
  }
  if (description.blocks.empty()) refuse("the model has no blocks");
  model->is_gated = description.blocks.front().gate.has_value();
  for (const BlockDescription& block : description.blocks)
    model->blocks.push_back(open_block(*model, block, model->blocks.size(), description.scales_by_block));
  return model;
}

const Linear& Model::linear(const std::string& name) const {
  for (const Block& block : blocks) {
    for (const Stage* stage : {&block.attention_in, &block.attention_out, &block.mlp_in, &block.mlp_out}) {
      for (const Linear& linear : stage->linears) {
        if (linear.name == name) return linear;
      }
    }
  }
  throw RuntimeError("not-found", "the package has no quantized linear named " + name);
}

std::size_t Model::copied_bytes() const {
  std::size_t bytes = 0;
  for (const Block& block : blocks) {
    for (const Stage* stage : {&block.attention_in, &block.attention_out, &block.mlp_in, &block.mlp_out}) {
      for (const Linear& linear : stage->linears) {
        bytes +=
            linear.bias.bytes() + linear.row_scale.bytes() + linear.no_bias.bytes() + linear.salient_bytes.bytes() +
            linear.salient_quads.size() * sizeof(std::uint32_t);
        if (linear.residual) bytes += linear.residual->columns.size() * sizeof(std::int32_t);
      }
    }
  }
  for (const Linear* table : {grid_embedding.get(), grid_head.get()})
    if (table != nullptr) bytes += table->bias.bytes();
  return bytes;
}

void read_grid_row(const PackedLinear& packed, std::size_t row, float* out) {
  const std::size_t group = row / kRowsPerGroup, within = row % kRowsPerGroup;
  const float centre = static_cast<float>(packed.levels - 1) / 2;
  std::vector<std::uint8_t> codes;
  if (packed.base3 != nullptr) {
    codes.resize(kRowsPerGroup * packed.in_features);
    unpack_base3(packed.base3 + group * packed.base3_group_bytes, kRowsPerGroup, packed.in_features, codes.data());
  }
  const std::size_t planes = static_cast<std::size_t>(packed.plane_count);
  for (std::size_t j = 0; j < packed.in_features; ++j) {
    int code = 0;
    if (packed.base3 != nullptr) {
      code = codes[within * packed.in_features + j];
    } else {
      const std::size_t line = j / kColumnsPerLine, column = j % kColumnsPerLine;
      const std::uint8_t* bytes = packed.planes + (group * packed.lines + line) * planes * kLineBytes;
      // Byte 4·row + j, bit b ↔ column 4b + j of the line.
      const std::size_t at = 4 * within + column % 4, bit = column / 4;
      for (std::size_t plane = 0; plane < planes; ++plane)
        code |= ((bytes[plane * kLineBytes + at] >> bit) & 1) << plane;
    }
    const std::size_t scale = (group * packed.blocks + j / kColumnsPerBlock) * kRowsPerGroup + within;
    out[j] = half_to_float(packed.scales[scale]) * (static_cast<float>(code) - centre);
  }
}

void read_table_row(const Table& table, std::size_t row, float* out) {
  for (std::size_t j = 0; j < table.columns; ++j) {
    switch (table.type) {
      case TableType::f32:
        out[j] = static_cast<const float*>(table.values)[row * table.columns + j];
        break;
      case TableType::f16:
        out[j] = half_to_float(static_cast<const std::uint16_t*>(table.values)[row * table.columns + j]);
        break;
      case TableType::q8: {
        const std::size_t group = j / kColumnsPerTableGroup;
        const std::int8_t code =
            static_cast<const std::int8_t*>(table.values)[row * table.groups * kColumnsPerTableGroup + j];
        out[j] = half_to_float(table.scales[row * table.groups + group]) * static_cast<float>(code);
        break;
      }
      case TableType::q6:
      case TableType::q4: {
        const std::size_t group = j / kColumnsPerTableGroup;
        const std::size_t at = row / kRowsPerGroup * table.groups + group;
        const int bits = table.type == TableType::q6 ? 6 : 4;
        out[j] = half_to_float(table.scales[at * kRowsPerGroup + row % kRowsPerGroup]) *
                 static_cast<float>(table_code(static_cast<const std::uint8_t*>(table.values), table.groups, bits, row, j));
        break;
      }
    }
  }
}

}  // namespace dbell
