#pragma once
#include <napi.h>

#include "runtime/description.h"

namespace dbell {

/// A number argument that must be a whole one from 0 to 2^53 - 1; throws RuntimeError `invalid-input` naming it.
std::uint64_t to_count(const Napi::Value& value, const std::string& what);

/// A NativeModelDescription (engine/native/runtime.ts). Types and counts are checked here, sizes and offsets by
/// open_model. Throws RuntimeError.
ModelDescription description_of(const Napi::Object& object);

}  // namespace dbell
