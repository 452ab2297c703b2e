#include "addon/addon.h"
#include "common/memory_read.h"
#include "cpu/int8_peak.h"
#include "cpu/kernel_choice.h"
#include "runtime/kernel_timing.h"

namespace dbell {

namespace {

/// More than any machine's cache by far, and what every machine that runs this can spare.
constexpr double kMostBytes = 4.0 * 1024 * 1024 * 1024;
constexpr int kMostPasses = 1000;

Napi::Value js_measure_memory_read(const Napi::CallbackInfo& info) {
  const double bytes = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
  const double passes = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : -1;
  if (!(bytes >= 8 && bytes <= kMostBytes)) throw Napi::TypeError::New(info.Env(), "bytes: must be 8 to 4 GiB");
  if (!(passes >= 1 && passes <= kMostPasses)) throw Napi::TypeError::New(info.Env(), "passes: must be 1 to 1000");
  MemoryReadMeasurement measured;
  try {
    measured = measure_memory_read(static_cast<std::size_t>(bytes), static_cast<int>(passes));
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(info.Env(), "bad_alloc");
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("seconds", measured.seconds);
  result.Set("sum", Napi::BigInt::New(info.Env(), measured.sum));
  result.Set("threads", measured.threads);
  return result;
}

/// A number argument between two bounds.
double number_at(const Napi::CallbackInfo& info, std::size_t index, const char* name, double least, double most) {
  const double value = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : -1;
  if (!(value >= least && value <= most)) {
    throw Napi::TypeError::New(info.Env(), std::string(name) + ": must be " + std::to_string(static_cast<long long>(least)) +
                                               " to " + std::to_string(static_cast<long long>(most)));
  }
  return value;
}

const KernelTable& kernels_at(const Napi::CallbackInfo& info, std::size_t index) {
  if (!info[index].IsString()) throw Napi::TypeError::New(info.Env(), "kernels: must be a name");
  try {
    return kernels_by_name(info[index].As<Napi::String>().Utf8Value());
  } catch (const std::invalid_argument& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
}

Napi::Value js_measure_int8_peak(const Napi::CallbackInfo& info) {
  const KernelTable& kernels = kernels_at(info, 0);
  const Int8Peak peak = measure_int8_peak(kernels.name, static_cast<int>(number_at(info, 1, "passes", 1, kMostPasses)));
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("operationsPerSecond", peak.operations_per_second);
  result.Set("threads", peak.threads);
  result.Set("instruction", std::string(peak.instruction));
  return result;
}

/// No matrix of a model comes near.
constexpr double kMostExtent = 1 << 20;

Napi::Value js_time_grid_kernel(const Napi::CallbackInfo& info) {
  const KernelTable& kernels = kernels_at(info, 0);
  const int levels = static_cast<int>(number_at(info, 1, "levels", 2, 256));
  const bool is_base3 = info[2].ToBoolean().Value();
  if (is_base3 && levels != 3) throw Napi::TypeError::New(info.Env(), "base 3 has three levels");
  const auto rows = static_cast<std::size_t>(number_at(info, 3, "rows", 1, kMostExtent)),
             columns = static_cast<std::size_t>(number_at(info, 4, "columns", 1, kMostExtent)),
             tokens = static_cast<std::size_t>(number_at(info, 5, "tokens", 1, 256)),
             bytes = static_cast<std::size_t>(number_at(info, 6, "totalBytes", 0, kMostBytes));
  KernelTiming timing;
  try {
    timing = time_grid_kernel(kernels, levels, is_base3, rows, columns, tokens, bytes,
                              static_cast<int>(number_at(info, 7, "passes", 1, kMostPasses)));
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(info.Env(), "bad_alloc");
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("seconds", timing.seconds);
  result.Set("bytes", static_cast<double>(timing.bytes));
  result.Set("matrices", static_cast<double>(timing.matrices));
  result.Set("threads", timing.threads);
  return result;
}

}  // namespace

void register_machine(Napi::Env env, Napi::Object exports) {
  exports.Set("measureMemoryRead", Napi::Function::New(env, js_measure_memory_read));
  exports.Set("measureInt8Peak", Napi::Function::New(env, js_measure_int8_peak));
  exports.Set("timeGridKernel", Napi::Function::New(env, js_time_grid_kernel));
}

}  // namespace dbell
