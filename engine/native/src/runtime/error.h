#pragma once
#include <stdexcept>
#include <string>

namespace dbell {

/// What went wrong in the packed runtime; `code` is one of the stable codes of engine/contract/errors.ts.
struct RuntimeError : std::runtime_error {
  RuntimeError(const char* error_code, const std::string& message) : std::runtime_error(message), code(error_code) {}
  const char* code;
};

}  // namespace dbell
