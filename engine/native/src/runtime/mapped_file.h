#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace dbell {

/// Where a tensor's values stand in the file, in bytes, without padding.
struct ByteRange {
  std::uint64_t offset = 0, bytes = 0;
  /// What the range holds, for messages.
  std::string what;
};

/// A file mapped read-only for as long as the object lives. Pages come from the file when they are first touched, and
/// are shared between processes.
class MappedFile {
 public:
  /// Throws RuntimeError `disk-error` where the file cannot be opened or mapped, `invalid-package` where it is empty or
  /// no regular file.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::size_t size() const { return size_; }
  /// Start of a range that must lie in the file, hold exactly `expected_bytes` and start at a multiple of `alignment`;
  /// throws RuntimeError `invalid-package` with the numbers otherwise.
  const void* at(const ByteRange& range, std::uint64_t expected_bytes, std::size_t alignment) const;

 private:
  std::string path_;
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace dbell
