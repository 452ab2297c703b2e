#pragma once
#include <napi.h>

namespace dbell {
// Each part of the addon registers its functions on `exports`; one file a part.
void register_threads(Napi::Env env, Napi::Object exports);
void register_package(Napi::Env env, Napi::Object exports);
void register_numerics(Napi::Env env, Napi::Object exports);
void register_machine(Napi::Env env, Napi::Object exports);
void register_runtime(Napi::Env env, Napi::Object exports);
}  // namespace dbell
