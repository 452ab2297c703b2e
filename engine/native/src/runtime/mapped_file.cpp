#include "runtime/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"

namespace dbell {

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw RuntimeError("disk-error", path + " cannot be opened: " + std::strerror(errno));
  struct stat status;
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0) {
    ::close(descriptor);
    throw RuntimeError("invalid-package", path + " is empty or no regular file");
  }
  size_ = static_cast<std::size_t>(status.st_size);
  void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  const int map_error = errno;
  ::close(descriptor);
  if (mapping == MAP_FAILED) throw RuntimeError("disk-error", path + " cannot be mapped: " + std::strerror(map_error));
  data_ = static_cast<const std::uint8_t*>(mapping);
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::uint8_t*>(data_), size_); }

const void* MappedFile::at(const ByteRange& range, std::uint64_t expected_bytes, std::size_t alignment) const {
  const std::string where = path_ + ": " + range.what + " at byte " + std::to_string(range.offset);
  if (range.bytes != expected_bytes) {
    throw RuntimeError("invalid-package", where + " has " + std::to_string(range.bytes) + " bytes; its shape needs " +
                                              std::to_string(expected_bytes));
  }
  if (range.offset > size_ || range.bytes > size_ - range.offset) {
    throw RuntimeError("invalid-package", where + " with " + std::to_string(range.bytes) +
                                              " bytes ends beyond the file, which has " + std::to_string(size_));
  }
  if (range.offset % alignment != 0) {
    throw RuntimeError("invalid-package", where + " does not start at a multiple of " + std::to_string(alignment));
  }
  return data_ + range.offset;
}

}  // namespace dbell
