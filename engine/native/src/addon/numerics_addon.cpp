// numerics.ts in C++: arguments are checked here, the work is done in src/numerics.
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "addon/addon.h"
#include "common/thread_pool.h"
#include "numerics/dequantize.h"
#include "numerics/grid_fit.h"
#include "numerics/inverse_cholesky.h"
#include "numerics/layer_errors.h"
#include "numerics/loops.h"
#include "numerics/ltdb.h"
#include "numerics/multiply.h"
#include "numerics/solve.h"
#include "numerics/structured_binarization.h"
#include "numerics/table_quantization.h"
#include "numerics/uniform_grid.h"

namespace dbell {
namespace {

using numerics::Compensation;

/// Arguments of one call, checked one after another with the call's name in the message.
class Arguments {
 public:
  Arguments(const Napi::CallbackInfo& info, const char* function) : info_(info), function_(function) {}

  [[noreturn]] void fail(const std::string& message) const {
    throw Napi::TypeError::New(info_.Env(), std::string(function_) + ": " + message);
  }

  std::size_t count(std::size_t index, const char* name, double least = 0) const {
    return static_cast<std::size_t>(integer(info_[index], name, least, 9007199254740991.0));
  }

  template <class Array>
  Array array(std::size_t index, const char* name, napi_typedarray_type type, std::size_t length) const {
    const Napi::Value value = info_[index];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
      fail(std::string(name) + " has the wrong type");
    const Array result = value.As<Array>();
    if (result.ElementLength() != length)
      fail(std::string(name) + " has " + std::to_string(result.ElementLength()) + " elements, but " +
           std::to_string(length) + " are expected");
    return result;
  }

  const float* floats(std::size_t index, const char* name, std::size_t length) const {
    return array<Napi::Float32Array>(index, name, napi_float32_array, length).Data();
  }
  const float* floats_or_null(std::size_t index, const char* name, std::size_t length) const {
    return absent(index) ? nullptr : floats(index, name, length);
  }
  const double* doubles(std::size_t index, const char* name, std::size_t length) const {
    return array<Napi::Float64Array>(index, name, napi_float64_array, length).Data();
  }
  const std::uint16_t* halves(std::size_t index, const char* name, std::size_t length) const {
    return array<Napi::Uint16Array>(index, name, napi_uint16_array, length).Data();
  }
  const std::uint8_t* bytes(std::size_t index, const char* name, std::size_t length) const {
    return array<Napi::Uint8Array>(index, name, napi_uint8_array, length).Data();
  }
  bool absent(std::size_t index) const { return info_[index].IsNull() || info_[index].IsUndefined(); }

  Napi::Object options(std::size_t index) const {
    if (!info_[index].IsObject()) fail("options are missing");
    return info_[index].As<Napi::Object>();
  }
  double number(const Napi::Object& options, const char* name) const {
    const Napi::Value value = options.Get(name);
    if (!value.IsNumber() || !std::isfinite(value.As<Napi::Number>().DoubleValue()))
      fail(std::string(name) + " must be a finite number");
    return value.As<Napi::Number>().DoubleValue();
  }
  std::size_t integer(const Napi::Object& options, const char* name, double least, double most) const {
    return static_cast<std::size_t>(integer(options.Get(name), name, least, most));
  }
  /// The index of an option's word in `words`.
  std::size_t word(const Napi::Object& options, const char* name, std::initializer_list<const char*> words) const {
    const Napi::Value value = options.Get(name);
    const std::string given = value.IsString() ? value.As<Napi::String>().Utf8Value() : "(no string)";
    std::size_t index = 0;
    for (const char* candidate : words) {
      if (given == candidate) return index;
      ++index;
    }
    fail(std::string(name) + " " + given + " is unknown");
  }

 private:
  double integer(const Napi::Value& value, const char* name, double least, double most) const {
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
    if (!(number >= least && number <= most) || number != std::floor(number))
      fail(std::string(name) + " must be an integer from " + std::to_string(static_cast<long long>(least)) + " to " +
           std::to_string(static_cast<long long>(most)));
    return number;
  }

  const Napi::CallbackInfo& info_;
  const char* function_;
};

template <class Array, class Element>
Array to_array(Napi::Env env, const std::vector<Element>& values) {
  Array array = Array::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(Element));
  return array;
}

/// Standard exceptions of the numerics become JavaScript errors.
template <class Body>
Napi::Value guarded(const Arguments& arguments, const Napi::CallbackInfo& info, Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(info.Env(), "not enough memory for the quantization numerics");
  } catch (const std::invalid_argument& error) {
    arguments.fail(error.what());
  }
}

constexpr double largest_block = 1 << 16;

Compensation compensation_option(const Arguments& arguments, const Napi::Object& options) {
  return static_cast<Compensation>(
      arguments.word(options, "compensation", {"none", "reference", "block", "column"}));
}

std::size_t optional_block_size(const Arguments& arguments, std::size_t index) {
  return arguments.absent(index) ? 128 : arguments.count(index, "blockSize", 1);
}

Napi::Value inverse_cholesky(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "inverseCholesky");
  const std::size_t size = arguments.count(1, "size");
  const double* hessian = arguments.doubles(0, "hessian", size * size);
  const Napi::Object options = arguments.options(2);
  const double damping = arguments.number(options, "damping");
  const double maximum_damping = arguments.number(options, "maximumDamping");
  if (damping < 0) arguments.fail("damping must not be negative");
  return guarded(arguments, info, [&]() -> Napi::Value {
    const auto result = numerics::inverse_cholesky(hessian, size, damping, maximum_damping);
    Napi::Object object = Napi::Object::New(info.Env());
    if (result.factor.empty() && size > 0)
      object.Set("factor", info.Env().Null());
    else
      object.Set("factor", to_array<Napi::Float32Array>(info.Env(), result.factor));
    object.Set("dampingUsed", result.damping_used);
    object.Set("deadColumns", to_array<Napi::Uint8Array>(info.Env(), result.dead_columns));
    return object;
  });
}

Napi::Value train_ltdb(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "trainLtdb");
  const std::size_t out_features = arguments.count(1, "outFeatures");
  const std::size_t in_features = arguments.count(2, "inFeatures");
  const float* weight = arguments.floats(0, "weight", out_features * in_features);
  const float* abs_max = arguments.floats(3, "absMax", in_features);
  const float* weight_maximum = arguments.floats_or_null(4, "weightMaximum", in_features);
  const Napi::Object given = arguments.options(5);
  numerics::LtdbOptions options;
  options.epsilon = arguments.number(given, "epsilon");
  options.trained = arguments.word(given, "training", {"start", "trained"}) == 1;
  options.learning_rate = arguments.number(given, "learningRate");
  options.maximum_epochs = arguments.integer(given, "maximumEpochs", 0, 1e6);
  options.loss = static_cast<numerics::LtdbLoss>(arguments.word(given, "loss", {"l2", "l1"}));
  options.block_size = arguments.integer(given, "blockSize", 1, largest_block);
  return guarded(arguments, info, [&]() -> Napi::Value {
    const auto result = numerics::train_ltdb(weight, out_features, in_features, abs_max, weight_maximum, options);
    const std::size_t blocks = result.blocks.size();
    Napi::Array curves = Napi::Array::New(info.Env(), blocks);
    Napi::Int32Array epochs = Napi::Int32Array::New(info.Env(), blocks);
    Napi::Uint8Array stopped = Napi::Uint8Array::New(info.Env(), blocks);
    Napi::Uint8Array kept = Napi::Uint8Array::New(info.Env(), blocks);
    for (std::size_t b = 0; b < blocks; ++b) {
      const numerics::LtdbBlock& block = result.blocks[b];
      curves.Set(static_cast<std::uint32_t>(b), to_array<Napi::Float32Array>(info.Env(), block.loss_curve));
      epochs[b] = static_cast<std::int32_t>(block.loss_curve.size());
      stopped[b] = block.stopped_early;
      kept[b] = block.kept_start;
    }
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("scale", to_array<Napi::Float32Array>(info.Env(), result.scale));
    object.Set("lossCurves", curves);
    object.Set("epochs", epochs);
    object.Set("stoppedEarly", stopped);
    object.Set("keptStart", kept);
    return object;
  });
}

Napi::Value quantize_uniform(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "quantizeUniform");
  const std::size_t out_features = arguments.count(1, "outFeatures");
  const std::size_t in_features = arguments.count(2, "inFeatures");
  const float* weight = arguments.floats(0, "weight", out_features * in_features);
  const float* factor = arguments.floats_or_null(3, "factor", in_features * in_features);
  const Napi::Object options = arguments.options(4);
  const int bits = static_cast<int>(arguments.integer(options, "bits", 1, 8));
  const std::size_t block_size = arguments.integer(options, "blockSize", 1, largest_block);
  const Compensation compensation = compensation_option(arguments, options);
  return guarded(arguments, info, [&]() -> Napi::Value {
    const auto grid =
        numerics::quantize_uniform(weight, out_features, in_features, factor, bits, compensation, block_size);
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("codes", to_array<Napi::Uint8Array>(info.Env(), grid.codes));
    object.Set("scales", to_array<Napi::Uint16Array>(info.Env(), grid.scales));
    object.Set("offsets", to_array<Napi::Uint16Array>(info.Env(), grid.offsets));
    object.Set("saturatedValues", static_cast<double>(grid.saturated));
    return object;
  });
}

numerics::StructuredOptions structured_options(const Arguments& arguments, const Napi::Object& options) {
  numerics::StructuredOptions result;
  result.importance =
      static_cast<numerics::Importance>(arguments.word(options, "importance", {"hessian", "magnitude"}));
  result.search_on = static_cast<numerics::SearchOn>(
      arguments.word(options, "searchOn", {"importance", "weight", "weighted-weight"}));
  result.maximum_salient_columns = arguments.integer(options, "maximumSalientColumns", 0, largest_block);
  const Napi::Value percentiles = options.Get("splitPercentiles");
  if (!percentiles.IsObject()) arguments.fail("splitPercentiles is missing");
  const Napi::Object split = percentiles.As<Napi::Object>();
  result.first_percentile = arguments.number(split, "first");
  result.last_percentile = arguments.number(split, "last");
  result.percentile_count = arguments.integer(split, "count", 1, largest_block);
  for (const double percentile : {result.first_percentile, result.last_percentile})
    if (percentile < 0 || percentile > 100) arguments.fail("splitPercentiles must lie within 0 to 100");
  result.percentiles_over_zeros =
      arguments.word(options, "percentilesOver", {"non-salient", "all-with-zeros"}) == 1;
  result.compensation = compensation_option(arguments, options);
  result.block_size = arguments.integer(options, "blockSize", 1, largest_block);
  return result;
}

Napi::Value quantize_structured(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "quantizeStructured");
  const std::size_t out_features = arguments.count(1, "outFeatures");
  const std::size_t in_features = arguments.count(2, "inFeatures");
  const float* weight = arguments.floats(0, "weight", out_features * in_features);
  const float* factor = arguments.floats_or_null(3, "factor", in_features * in_features);
  const numerics::StructuredOptions options = structured_options(arguments, arguments.options(4));
  return guarded(arguments, info, [&]() -> Napi::Value {
    const auto result = numerics::quantize_structured(weight, out_features, in_features, factor, options);
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("codes", to_array<Napi::Uint8Array>(info.Env(), result.codes));
    object.Set("levels", to_array<Napi::Uint16Array>(info.Env(), result.levels));
    object.Set("salientColumns", to_array<Napi::Uint8Array>(info.Env(), result.salient_columns));
    object.Set("saturatedValues", static_cast<double>(result.saturated));
    return object;
  });
}

Napi::Value dequantize_grid(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "dequantizeGrid");
  const std::size_t out_features = arguments.count(4, "outFeatures");
  const std::size_t in_features = arguments.count(5, "inFeatures");
  const std::size_t block_size = optional_block_size(arguments, 6);
  const std::size_t blocks = (in_features + block_size - 1) / block_size;
  const std::uint8_t* codes = arguments.bytes(0, "codes", out_features * in_features);
  const std::uint16_t* scales = arguments.halves(1, "scales", out_features * blocks);
  const std::uint16_t* offsets =
      arguments.absent(2) ? nullptr : arguments.halves(2, "offsets", out_features * blocks);
  const std::size_t levels = arguments.count(3, "levels", 2);
  if (levels > 256) arguments.fail("levels must be at most 256");
  Napi::Float32Array weight = Napi::Float32Array::New(info.Env(), out_features * in_features);
  numerics::dequantize_grid(codes, scales, offsets, static_cast<int>(levels), out_features, in_features, block_size,
                            weight.Data());
  return weight;
}

Napi::Value dequantize_structured(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "dequantizeStructured");
  const std::size_t out_features = arguments.count(3, "outFeatures");
  const std::size_t in_features = arguments.count(4, "inFeatures");
  const std::size_t block_size = optional_block_size(arguments, 5);
  const std::size_t blocks = (in_features + block_size - 1) / block_size;
  const std::uint8_t* codes = arguments.bytes(0, "codes", out_features * in_features);
  const std::uint16_t* levels = arguments.halves(1, "levels", out_features * blocks * numerics::levels_per_block);
  const std::uint8_t* salient = arguments.bytes(2, "salientColumns", in_features);
  Napi::Float32Array weight = Napi::Float32Array::New(info.Env(), out_features * in_features);
  numerics::dequantize_structured(codes, levels, salient, out_features, in_features, block_size, weight.Data());
  return weight;
}

Napi::Value layer_errors(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "layerErrors");
  const std::size_t out_features = arguments.count(3, "outFeatures");
  const std::size_t in_features = arguments.count(4, "inFeatures");
  const float* weight = arguments.floats(0, "weight", out_features * in_features);
  const float* quantized = arguments.floats(1, "quantized", out_features * in_features);
  const double* hessian = arguments.doubles(2, "hessian", in_features * in_features);
  return guarded(arguments, info, [&]() -> Napi::Value {
    const auto errors = numerics::layer_errors(weight, quantized, hessian, out_features, in_features);
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("weightedError", errors.weighted_error);
    object.Set("weightedNorm", errors.weighted_norm);
    object.Set("squaredError", errors.squared_error);
    object.Set("squaredNorm", errors.squared_norm);
    return object;
  });
}

Napi::Value solve_targets(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "solveTargets");
  const std::size_t out_features = arguments.count(3, "outFeatures");
  const std::size_t in_features = arguments.count(4, "inFeatures");
  const std::size_t length = out_features * in_features;
  const float* weight = arguments.floats(0, "weight", length);
  const double* hessian = arguments.doubles(2, "hessian", in_features * in_features);
  const Napi::Object options = arguments.options(5);
  const double damping = arguments.number(options, "damping");
  const double maximum_damping = arguments.number(options, "maximumDamping");
  if (damping < 0) arguments.fail("damping must not be negative");
  const bool single =
      info[1].IsTypedArray() && info[1].As<Napi::TypedArray>().TypedArrayType() == napi_float32_array;
  const float* singles = single ? arguments.floats(1, "crossProduct", length) : nullptr;
  const double* doubles = single ? nullptr : arguments.doubles(1, "crossProduct", length);
  return guarded(arguments, info, [&]() -> Napi::Value {
    const auto result = single ? numerics::solve_targets(weight, singles, hessian, out_features, in_features, damping,
                                                         maximum_damping)
                               : numerics::solve_targets(weight, doubles, hessian, out_features, in_features, damping,
                                                         maximum_damping);
    Napi::Object object = Napi::Object::New(info.Env());
    if (result.target.empty() && length > 0)
      object.Set("target", info.Env().Null());
    else
      object.Set("target", to_array<Napi::Float32Array>(info.Env(), result.target));
    object.Set("dampingUsed", result.damping_used);
    return object;
  });
}

/// The option `activations`: null or { inputs, weights, bits, columnsPerStep }; without the last, all columns share a step.
numerics::ActivationSample activation_sample(const Arguments& arguments, const Napi::Object& options,
                                             std::size_t in_features) {
  numerics::ActivationSample sample;
  const Napi::Value value = options.Get("activations");
  if (value.IsNull() || value.IsUndefined()) return sample;
  if (!value.IsObject()) arguments.fail("activations must be an object or null");
  const Napi::Object given = value.As<Napi::Object>();
  sample.bits = static_cast<int>(arguments.integer(given, "bits", 2, 16));
  if (!given.Get("columnsPerStep").IsUndefined())
    sample.columns_per_step = arguments.integer(given, "columnsPerStep", 1, largest_block);
  const auto floats = [&](const char* name) {
    const Napi::Value array = given.Get(name);
    if (!array.IsTypedArray() || array.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
      arguments.fail(std::string("activations.") + name + " has the wrong type");
    return array.As<Napi::Float32Array>();
  };
  const Napi::Float32Array inputs = floats("inputs"), weights = floats("weights");
  sample.tokens = weights.ElementLength();
  if (inputs.ElementLength() != sample.tokens * in_features)
    arguments.fail("activations.inputs has " + std::to_string(inputs.ElementLength()) + " elements, but " +
                   std::to_string(sample.tokens * in_features) + " are expected");
  if (sample.tokens == 0) return {};
  sample.inputs = inputs.Data();
  sample.weights = weights.Data();
  return sample;
}

Napi::Value fit_grid(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "fitGrid");
  const std::size_t out_features = arguments.count(2, "outFeatures", 1);
  const std::size_t in_features = arguments.count(3, "inFeatures", 1);
  const float* target = arguments.floats(0, "target", out_features * in_features);
  const double* hessian = arguments.doubles(1, "hessian", in_features * in_features);
  const Napi::Object given = arguments.options(4);
  numerics::GridFitOptions options;
  options.levels = static_cast<int>(arguments.integer(given, "levels", 2, 16));
  options.rounds = static_cast<int>(arguments.integer(given, "rounds", 0, 1000));
  options.sweeps = static_cast<int>(arguments.integer(given, "sweeps", 0, 1000));
  options.block_size = arguments.integer(given, "blockSize", 1, largest_block);
  options.damping = arguments.number(given, "damping");
  options.maximum_damping = arguments.number(given, "maximumDamping");
  options.row_ridge = arguments.number(given, "rowRidge");
  options.column_ridge = arguments.number(given, "columnRidge");
  options.column_scale = arguments.word(given, "columnScale", {"none", "free"}) == 1;
  if (!given.Get("residualColumns").IsUndefined())
    options.residual_columns = arguments.integer(given, "residualColumns", 0, static_cast<double>(in_features));
  if (options.residual_columns > 0 && options.rounds == 0) arguments.fail("residualColumns need at least one round");
  options.activations = activation_sample(arguments, given, in_features);
  for (const double fraction : {options.damping, options.row_ridge, options.column_ridge})
    if (fraction < 0) arguments.fail("damping and ridges must not be negative");
  return guarded(arguments, info, [&]() -> Napi::Value {
    const auto fit = numerics::fit_grid(target, hessian, out_features, in_features, options);
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("codes", to_array<Napi::Uint8Array>(info.Env(), fit.codes));
    object.Set("scales", to_array<Napi::Uint16Array>(info.Env(), fit.scales));
    if (options.column_scale)
      object.Set("columnScale", to_array<Napi::Float32Array>(info.Env(), fit.column_scale));
    else
      object.Set("columnScale", info.Env().Null());
    object.Set("startLoss", fit.start_loss);
    object.Set("losses", to_array<Napi::Float64Array>(info.Env(), fit.losses));
    object.Set("loss", fit.loss);
    object.Set("dampingUsed", fit.damping_used);
    object.Set("deadColumns", static_cast<double>(fit.dead_columns));
    object.Set("saturatedValues", static_cast<double>(fit.saturated));
    if (fit.residual_columns.empty()) {
      object.Set("residual", info.Env().Null());
    } else {
      Napi::Object residual = Napi::Object::New(info.Env());
      residual.Set("columns", to_array<Napi::Int32Array>(info.Env(), fit.residual_columns));
      residual.Set("codes", to_array<Napi::Uint8Array>(info.Env(), fit.residual_codes));
      residual.Set("scales", to_array<Napi::Uint16Array>(info.Env(), fit.residual_scales));
      object.Set("residual", residual);
    }
    return object;
  });
}

Napi::Value multiply(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "multiply");
  const std::size_t rows = arguments.count(2, "rows");
  const std::size_t inner = arguments.count(3, "inner");
  const std::size_t columns = arguments.count(4, "columns");
  const float* left = arguments.floats(0, "left", rows * inner);
  const double* right = arguments.doubles(1, "right", inner * columns);
  return guarded(arguments, info, [&]() -> Napi::Value {
    return to_array<Napi::Float64Array>(info.Env(), numerics::multiply(left, right, rows, inner, columns));
  });
}

Napi::Value add_to_float64(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "addToFloat64");
  if (!info[0].IsTypedArray()) arguments.fail("accumulator has the wrong type");
  const std::size_t length = info[0].As<Napi::TypedArray>().ElementLength();
  double* accumulator = arguments.array<Napi::Float64Array>(0, "accumulator", napi_float64_array, length).Data();
  const float* addend = arguments.floats(1, "addend", length);
  parallel_for(length, 1 << 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t k = begin; k < end; ++k) accumulator[k] += static_cast<double>(addend[k]);
  });
  return info.Env().Undefined();
}

Napi::Value quantize_table(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "quantizeTable");
  const std::size_t rows = arguments.count(1, "rows"), columns = arguments.count(2, "columns", 1);
  const float* weight = arguments.floats(0, "table", rows * columns);
  const float* metric = arguments.floats_or_null(3, "metric", columns * columns);
  const float* factor = arguments.floats_or_null(4, "factor", columns * columns);
  const Napi::Object options = arguments.options(5);
  const std::size_t bits = arguments.integer(options, "bits", 4, 6);
  if (bits == 5) arguments.fail("bits must be 4 or 6");
  const std::size_t sweeps = arguments.integer(options, "sweeps", 0, 1000);
  return guarded(arguments, info, [&]() -> Napi::Value {
    const numerics::QuantizedTable table = numerics::quantize_table(
        weight, rows, columns, static_cast<int>(bits), metric, factor, static_cast<int>(sweeps));
    auto result = Napi::Object::New(info.Env());
    result.Set("codes", to_array<Napi::Uint8Array>(info.Env(), table.fields));
    result.Set("scales", to_array<Napi::Uint16Array>(info.Env(), table.scales));
    result.Set("metricError", table.errors.metric_error);
    result.Set("metricNorm", table.errors.metric_norm);
    result.Set("squaredError", table.errors.squared_error);
    result.Set("squaredNorm", table.errors.squared_norm);
    result.Set("saturatedValues", static_cast<double>(table.saturated));
    result.Set("firstOverflow",
               table.first_overflow < rows * columns ? static_cast<double>(table.first_overflow) : -1.0);
    return result;
  });
}

Napi::Value numerics_instruction_set(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), numerics::loops().name);
}

}  // namespace

void register_numerics(Napi::Env env, Napi::Object exports) {
  exports.Set("inverseCholesky", Napi::Function::New(env, inverse_cholesky));
  exports.Set("trainLtdb", Napi::Function::New(env, train_ltdb));
  exports.Set("quantizeUniform", Napi::Function::New(env, quantize_uniform));
  exports.Set("quantizeTable", Napi::Function::New(env, quantize_table));
  exports.Set("quantizeStructured", Napi::Function::New(env, quantize_structured));
  exports.Set("dequantizeGrid", Napi::Function::New(env, dequantize_grid));
  exports.Set("dequantizeStructured", Napi::Function::New(env, dequantize_structured));
  exports.Set("layerErrors", Napi::Function::New(env, layer_errors));
  exports.Set("solveTargets", Napi::Function::New(env, solve_targets));
  exports.Set("fitGrid", Napi::Function::New(env, fit_grid));
  exports.Set("multiply", Napi::Function::New(env, multiply));
  exports.Set("addToFloat64", Napi::Function::New(env, add_to_float64));
  exports.Set("numericsInstructionSet", Napi::Function::New(env, numerics_instruction_set));
}

}  // namespace dbell
