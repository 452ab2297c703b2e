#include "addon/packed_description.h"

#include <cmath>

#include "runtime/error.h"

namespace dbell {

std::uint64_t to_count(const Napi::Value& value, const std::string& what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0) || number > 9007199254740991.0 || std::floor(number) != number) {
    throw RuntimeError("invalid-input", what + " must be a whole number from 0 on");
  }
  return static_cast<std::uint64_t>(number);
}

namespace {

std::uint64_t count_of(const Napi::Object& object, const char* key) { return to_count(object.Get(key), key); }

int small_count_of(const Napi::Object& object, const char* key) {
  const std::uint64_t value = count_of(object, key);
  if (value > 65536) throw RuntimeError("invalid-input", std::string(key) + " is too large");
  return static_cast<int>(value);
}

std::string text_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) throw RuntimeError("invalid-input", std::string(key) + " must be a text");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object object_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsObject()) throw RuntimeError("invalid-input", std::string(key) + " must be an object");
  return value.As<Napi::Object>();
}

bool has(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return !value.IsNull() && !value.IsUndefined();
}

ByteRange range_of(const Napi::Object& object, const char* key) {
  const Napi::Object range = object_of(object, key);
  return {count_of(range, "offset"), count_of(range, "valueBytes"), text_of(range, "name")};
}

std::optional<ByteRange> optional_range(const Napi::Object& object, const char* key) {
  if (!has(object, key)) return std::nullopt;
  return range_of(object, key);
}

LinearDescription linear_of(const Napi::Object& parent, const char* key) {
  const Napi::Object object = object_of(parent, key);
  LinearDescription linear;
  linear.name = text_of(object, "name");
  const std::string layout = text_of(object, "layout");
  if (layout != "grid" && layout != "structured") throw RuntimeError("invalid-input", "unknown layout " + layout);
  linear.layout = layout == "grid" ? LinearLayout::grid : LinearLayout::structured;
  linear.out_features = count_of(object, "outFeatures");
  linear.in_features = count_of(object, "inFeatures");
  linear.plane_count = small_count_of(object, "planeCount");
  linear.planes = range_of(object, "codes");
  linear.column_scale = optional_range(object, "columnScale");
  linear.bias = optional_range(object, "bias");
  if (linear.layout == LinearLayout::grid) {
    linear.levels = small_count_of(object, "levels");
    linear.scales = range_of(object, "scales");
    linear.offsets = optional_range(object, "offsets");
    linear.row_scale = optional_range(object, "rowScale");
    linear.is_base3 = text_of(object, "codeLayout") == "base-3";
    if (has(object, "residual")) {
      const Napi::Object residual = object_of(object, "residual");
      linear.residual_count = count_of(residual, "count");
      linear.residual_columns = range_of(residual, "columns");
      linear.residual_planes = range_of(residual, "planes");
      linear.residual_scales = range_of(residual, "scales");
    }
  } else {
    linear.structured_values = range_of(object, "levels");
    linear.salient_mask = range_of(object, "salientMask");
  }
  return linear;
}

NormDescription norm_of(const Napi::Object& parent, const char* key) {
  const Napi::Object object = object_of(parent, key);
  const Napi::Value epsilon = object.Get("epsilon");
  if (!epsilon.IsNumber()) throw RuntimeError("invalid-input", "epsilon must be a number");
  return {text_of(object, "kind") == "rms", epsilon.As<Napi::Number>().DoubleValue(), optional_range(object, "weight"),
          optional_range(object, "bias")};
}

std::optional<NormDescription> optional_norm(const Napi::Object& object, const char* key) {
  if (!has(object, key)) return std::nullopt;
  return norm_of(object, key);
}

TableDescription table_of(const Napi::Object& parent, const char* key) {
  const Napi::Object object = object_of(parent, key);
  TableDescription table;
  const std::string type = text_of(object, "type");
  if (type == "grid") {
    table.grid = linear_of(object, "grid");
    return table;
  }
  if (type == "F32") table.type = TableType::f32;
  else if (type == "F16") table.type = TableType::f16;
  else if (type == "I8") table.type = TableType::q8;
  else if (type == "Q6") table.type = TableType::q6;
  else if (type == "Q4") table.type = TableType::q4;
  else throw RuntimeError("invalid-input", "unknown element type " + type);
  table.rows = count_of(object, "rows");
  table.columns = count_of(object, "columns");
  table.values = range_of(object, "values");
  table.scales = optional_range(object, "scales");
  return table;
}

std::optional<TableDescription> optional_table(const Napi::Object& object, const char* key) {
  if (!has(object, key)) return std::nullopt;
  return table_of(object, key);
}

Activation activation_of(const std::string& name) {
  if (name == "silu") return Activation::silu;
  if (name == "relu") return Activation::relu;
  if (name == "relu_squared") return Activation::relu_squared;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "quick_gelu") return Activation::quick_gelu;
  throw RuntimeError("invalid-input", "unknown activation " + name);
}

}  // namespace

ModelDescription description_of(const Napi::Object& object) {
  ModelDescription model;
  model.path = text_of(object, "path");
  model.hidden_size = count_of(object, "hiddenSize");
  model.intermediate_size = count_of(object, "intermediateSize");
  model.head_count = count_of(object, "headCount");
  model.key_value_head_count = count_of(object, "keyValueHeadCount");
  model.head_dimension = count_of(object, "headDimension");
  model.vocabulary_size = count_of(object, "vocabularySize");
  model.context_length = count_of(object, "contextLength");
  model.embedding_size = count_of(object, "embeddingSize");
  model.sliding_window = count_of(object, "slidingWindow");
  model.scales_by_block = text_of(object, "activationScales") == "block";
  model.has_post_norms = text_of(object, "normPlacement") == "post";
  model.activation = activation_of(text_of(object, "activation"));
  const Napi::Value frequencies = object.Get("inverseFrequencies");
  if (frequencies.IsTypedArray() && frequencies.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array) {
    const auto values = frequencies.As<Napi::Float32Array>();
    model.inverse_frequencies.assign(values.Data(), values.Data() + values.ElementLength());
  }
  model.positions = optional_table(object, "positions");
  model.position_offset = count_of(object, "positionOffset");
  model.embedding = table_of(object, "embedding");
  model.head = table_of(object, "head");
  model.head_bias = optional_range(object, "headBias");
  model.project_in = optional_table(object, "projectIn");
  model.project_out = optional_table(object, "projectOut");
  model.final_norm = optional_norm(object, "finalNorm");
  const Napi::Value blocks = object.Get("blocks");
  if (!blocks.IsArray()) throw RuntimeError("invalid-input", "blocks must be a list");
  for (std::uint32_t i = 0; i < blocks.As<Napi::Array>().Length(); ++i) {
    const Napi::Value value = blocks.As<Napi::Array>().Get(i);
    if (!value.IsObject()) throw RuntimeError("invalid-input", "a block must be an object");
    const Napi::Object entry = value.As<Napi::Object>();
    BlockDescription block;
    block.attention_norm = norm_of(entry, "attentionNorm");
    block.mlp_norm = norm_of(entry, "mlpNorm");
    block.query_norm = optional_norm(entry, "queryNorm");
    block.attention_sub_norm = optional_norm(entry, "attentionSubNorm");
    block.mlp_sub_norm = optional_norm(entry, "mlpSubNorm");
    block.key_norm = optional_norm(entry, "keyNorm");
    block.q = linear_of(entry, "q");
    block.k = linear_of(entry, "k");
    block.v = linear_of(entry, "v");
    block.o = linear_of(entry, "o");
    block.up = linear_of(entry, "up");
    block.down = linear_of(entry, "down");
    if (has(entry, "gate")) block.gate = linear_of(entry, "gate");
    model.blocks.push_back(std::move(block));
  }
  return model;
}

}  // namespace dbell
