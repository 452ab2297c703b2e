#include "addon/addon.h"

#include "common/thread_pool.h"

namespace dbell {

void register_threads(Napi::Env env, Napi::Object exports) {
  exports.Set("setThreadCount", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                set_thread_count(info[0].As<Napi::Number>().Int32Value());
              }));
  exports.Set("threadCount", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Napi::Number::New(info.Env(), thread_count());
              }));
}

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  register_threads(env, exports);
  register_package(env, exports);
  register_numerics(env, exports);
  register_machine(env, exports);
  register_runtime(env, exports);
  return exports;
}

}  // namespace dbell

static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) { return dbell::initialize(env, exports); }
NODE_API_MODULE(dbell_native, initialize_addon)
