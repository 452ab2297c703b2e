#include "addon/addon.h"
#include "common/memory_read.h"

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

}  // namespace

void register_machine(Napi::Env env, Napi::Object exports) {
  exports.Set("measureMemoryRead", Napi::Function::New(env, js_measure_memory_read));
}

}  // namespace dbell
