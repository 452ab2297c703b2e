#include "addon/addon.h"
#include "common/base3_packing.h"
#include "common/plane_packing.h"
#include "common/table_packing.h"

namespace dbell {

namespace {

/// The argument as a typed array of exactly `expected` elements; throws TypeError naming it otherwise.
template <typename Array>
Array typed_array(const Napi::CallbackInfo& info, std::size_t index, napi_typedarray_type type, std::size_t expected,
                  const char* name) {
  const bool fits = info[index].IsTypedArray() && info[index].As<Napi::TypedArray>().TypedArrayType() == type;
  if (!fits) throw Napi::TypeError::New(info.Env(), std::string(name) + ": wrong type of array");
  const Array array = info[index].As<Array>();
  if (array.ElementLength() != expected) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + ": has " + std::to_string(array.ElementLength()) +
                                               " elements, expected " + std::to_string(expected));
  }
  return array;
}

std::size_t extent(const Napi::CallbackInfo& info, std::size_t index, const char* name) {
  const double value = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : -1;
  if (!(value >= 0 && value <= 9007199254740991.0)) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + ": must be a count");
  }
  return static_cast<std::size_t>(value);
}

int plane_count(const Napi::CallbackInfo& info, std::size_t index) {
  const std::size_t planes = extent(info, index, "planes");
  if (planes < 1 || planes > 8) throw Napi::TypeError::New(info.Env(), "planes: must be 1 to 8");
  return static_cast<int>(planes);
}

std::size_t element_count(const Napi::CallbackInfo& info, std::size_t index, const char* name) {
  if (!info[index].IsTypedArray()) throw Napi::TypeError::New(info.Env(), std::string(name) + ": must be a typed array");
  return info[index].As<Napi::TypedArray>().ElementLength();
}

Napi::Value js_pack_planes(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows");
  const std::size_t columns = extent(info, 2, "columns");
  const int planes = plane_count(info, 3);
  const auto codes = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array, rows * columns, "codes");
  auto target = Napi::Uint8Array::New(info.Env(), packed_plane_bytes(rows, columns, planes));
  pack_planes(codes.Data(), rows, columns, planes, target.Data());
  return target;
}

Napi::Value js_unpack_planes(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows");
  const std::size_t columns = extent(info, 2, "columns");
  const int planes = plane_count(info, 3);
  const auto source = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array,
                                                    packed_plane_bytes(rows, columns, planes), "planes");
  auto codes = Napi::Uint8Array::New(info.Env(), rows * columns);
  unpack_planes(source.Data(), rows, columns, planes, codes.Data());
  return codes;
}

Napi::Value js_check_planes(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows");
  const std::size_t columns = extent(info, 2, "columns");
  const int planes = plane_count(info, 3);
  const int levels = static_cast<int>(extent(info, 4, "levels"));
  const auto source = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array,
                                                    packed_plane_bytes(rows, columns, planes), "planes");
  const PlaneFault fault = check_planes(source.Data(), rows, columns, planes, levels);
  if (fault.kind == PlaneFault::Kind::none) return info.Env().Null();
  auto result = Napi::Object::New(info.Env());
  result.Set("kind", fault.kind == PlaneFault::Kind::padding_not_zero ? "padding-not-zero" : "code-out-of-range");
  result.Set("row", static_cast<double>(fault.row));
  result.Set("column", static_cast<double>(fault.column));
  result.Set("code", fault.code);
  return result;
}

Napi::Value js_pack_base3(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows");
  const std::size_t columns = extent(info, 2, "columns");
  const auto codes = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array, rows * columns, "codes");
  auto target = Napi::Uint8Array::New(info.Env(), packed_base3_bytes(rows, columns));
  pack_base3(codes.Data(), rows, columns, target.Data());
  return target;
}

Napi::Value js_unpack_base3(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows");
  const std::size_t columns = extent(info, 2, "columns");
  const auto source =
      typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array, packed_base3_bytes(rows, columns), "bytes");
  auto codes = Napi::Uint8Array::New(info.Env(), rows * columns);
  unpack_base3(source.Data(), rows, columns, codes.Data());
  return codes;
}

Napi::Value js_check_base3(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows");
  const std::size_t columns = extent(info, 2, "columns");
  const auto source =
      typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array, packed_base3_bytes(rows, columns), "bytes");
  const Base3Fault fault = check_base3(source.Data(), rows, columns);
  if (fault.kind == Base3Fault::Kind::none) return info.Env().Null();
  auto result = Napi::Object::New(info.Env());
  result.Set("kind", fault.kind == Base3Fault::Kind::padding_not_zero ? "padding-not-zero" : "byte-out-of-range");
  result.Set("row", static_cast<double>(fault.row));
  result.Set("column", static_cast<double>(fault.column));
  result.Set("code", fault.code);
  return result;
}

Napi::Value js_has_base3_byte_out_of_range(const Napi::CallbackInfo& info) {
  const std::size_t count = element_count(info, 0, "bytes");
  const auto source = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array, count, "bytes");
  return Napi::Boolean::New(info.Env(), has_base3_byte_out_of_range(source.Data(), count));
}

Napi::Value js_floats_to_halfs(const Napi::CallbackInfo& info) {
  const std::size_t count = element_count(info, 0, "values");
  const auto values = typed_array<Napi::Float32Array>(info, 0, napi_float32_array, count, "values");
  auto halfs = Napi::Uint16Array::New(info.Env(), count);
  const std::size_t bad = floats_to_halfs(values.Data(), count, halfs.Data());
  auto result = Napi::Object::New(info.Env());
  result.Set("halfs", halfs);
  result.Set("firstOverflow", bad == count ? -1.0 : static_cast<double>(bad));
  return result;
}

Napi::Value js_halfs_to_floats(const Napi::CallbackInfo& info) {
  const std::size_t count = element_count(info, 0, "halfs");
  const auto halfs = typed_array<Napi::Uint16Array>(info, 0, napi_uint16_array, count, "halfs");
  auto values = Napi::Float32Array::New(info.Env(), count);
  halfs_to_floats(halfs.Data(), count, values.Data());
  return values;
}

Napi::Value js_first_non_finite(const Napi::CallbackInfo& info) {
  const std::size_t count = element_count(info, 0, "values");
  std::size_t bad = count;
  if (info[0].As<Napi::TypedArray>().TypedArrayType() == napi_uint16_array) {
    bad = first_non_finite_half(info[0].As<Napi::Uint16Array>().Data(), count);
  } else {
    const auto values = typed_array<Napi::Float32Array>(info, 0, napi_float32_array, count, "values");
    bad = first_non_finite_float(values.Data(), count);
  }
  return Napi::Number::New(info.Env(), bad == count ? -1.0 : static_cast<double>(bad));
}

Napi::Value js_quantize_table_8(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows");
  const std::size_t columns = extent(info, 2, "columns");
  const auto values = typed_array<Napi::Float32Array>(info, 0, napi_float32_array, rows * columns, "values");
  const std::size_t groups = (columns + columns_per_table_group - 1) / columns_per_table_group;
  auto codes = Napi::Int8Array::New(info.Env(), rows * groups * columns_per_table_group);
  auto scales = Napi::Uint16Array::New(info.Env(), rows * groups);
  const std::size_t bad = quantize_table_8(values.Data(), rows, columns, codes.Data(), scales.Data());
  auto result = Napi::Object::New(info.Env());
  result.Set("codes", codes);
  result.Set("scales", scales);
  result.Set("firstOverflow", bad == rows * columns ? -1.0 : static_cast<double>(bad));
  return result;
}

Napi::Value js_dequantize_table_8(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 2, "rows");
  const std::size_t columns = extent(info, 3, "columns");
  const std::size_t groups = (columns + columns_per_table_group - 1) / columns_per_table_group;
  const auto codes =
      typed_array<Napi::Int8Array>(info, 0, napi_int8_array, rows * groups * columns_per_table_group, "codes");
  const auto scales = typed_array<Napi::Uint16Array>(info, 1, napi_uint16_array, rows * groups, "scales");
  auto values = Napi::Float32Array::New(info.Env(), rows * columns);
  dequantize_table_8(codes.Data(), scales.Data(), rows, columns, values.Data());
  return values;
}

int table_bits(const Napi::CallbackInfo& info, std::size_t index) {
  const std::size_t bits = extent(info, index, "bits");
  if (bits != 4 && bits != 6) throw Napi::TypeError::New(info.Env(), "bits: must be 4 or 6");
  return static_cast<int>(bits);
}

Napi::Value js_pack_table(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 2, "rows"), columns = extent(info, 3, "columns");
  const int bits = table_bits(info, 4);
  const std::size_t groups = (columns + columns_per_table_group - 1) / columns_per_table_group;
  const auto codes = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array, rows * columns, "codes");
  const auto scales = typed_array<Napi::Uint16Array>(info, 1, napi_uint16_array, rows * groups, "scales");
  auto lines = Napi::Uint8Array::New(info.Env(), packed_table_bytes(rows, columns, bits));
  auto packed_scales = Napi::Uint16Array::New(
      info.Env(), (rows + rows_per_group - 1) / rows_per_group * groups * rows_per_group);
  pack_table(codes.Data(), rows, columns, bits, lines.Data());
  pack_table_scales(scales.Data(), rows, groups, packed_scales.Data());
  auto result = Napi::Object::New(info.Env());
  result.Set("lines", lines);
  result.Set("scales", packed_scales);
  return result;
}

Napi::Value js_dequantize_packed_table(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 2, "rows"), columns = extent(info, 3, "columns");
  const int bits = table_bits(info, 4);
  const std::size_t groups = (columns + columns_per_table_group - 1) / columns_per_table_group;
  const auto lines = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array,
                                                   packed_table_bytes(rows, columns, bits), "lines");
  const auto scales = typed_array<Napi::Uint16Array>(
      info, 1, napi_uint16_array, (rows + rows_per_group - 1) / rows_per_group * groups * rows_per_group, "scales");
  auto values = Napi::Float32Array::New(info.Env(), rows * columns);
  dequantize_packed_table(lines.Data(), scales.Data(), rows, columns, bits, values.Data());
  return values;
}

Napi::Value js_find_table_padding(const Napi::CallbackInfo& info) {
  const std::size_t rows = extent(info, 1, "rows"), columns = extent(info, 2, "columns");
  const int bits = table_bits(info, 3);
  const auto lines = typed_array<Napi::Uint8Array>(info, 0, napi_uint8_array,
                                                   packed_table_bytes(rows, columns, bits), "lines");
  std::size_t row = 0, column = 0;
  if (!find_table_padding(lines.Data(), rows, columns, bits, &row, &column)) return info.Env().Null();
  auto result = Napi::Object::New(info.Env());
  result.Set("row", static_cast<double>(row));
  result.Set("column", static_cast<double>(column));
  return result;
}

}  // namespace

void register_package(Napi::Env env, Napi::Object exports) {
  exports.Set("packPlanes", Napi::Function::New(env, js_pack_planes));
  exports.Set("unpackPlanes", Napi::Function::New(env, js_unpack_planes));
  exports.Set("checkPlanes", Napi::Function::New(env, js_check_planes));
  exports.Set("packBase3", Napi::Function::New(env, js_pack_base3));
  exports.Set("unpackBase3", Napi::Function::New(env, js_unpack_base3));
  exports.Set("hasBase3ByteOutOfRange", Napi::Function::New(env, js_has_base3_byte_out_of_range));
  exports.Set("checkBase3", Napi::Function::New(env, js_check_base3));
  exports.Set("floatsToHalfs", Napi::Function::New(env, js_floats_to_halfs));
  exports.Set("halfsToFloats", Napi::Function::New(env, js_halfs_to_floats));
  exports.Set("firstNonFinite", Napi::Function::New(env, js_first_non_finite));
  exports.Set("quantizeTable8", Napi::Function::New(env, js_quantize_table_8));
  exports.Set("packTable", Napi::Function::New(env, js_pack_table));
  exports.Set("dequantizePackedTable", Napi::Function::New(env, js_dequantize_packed_table));
  exports.Set("findTablePadding", Napi::Function::New(env, js_find_table_padding));
  exports.Set("dequantizeTable8", Napi::Function::New(env, js_dequantize_table_8));
}

}  // namespace dbell
