#pragma once
// Memory that starts at a cache line, zeroed.
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace dbell {

template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t count) { resize(count); }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : values_(std::exchange(other.values_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(values_, other.values_);
    std::swap(count_, other.count_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { std::free(values_); }

  /// Makes room for `count` values, all zero; what was there is lost unless the size is the same. Throws
  /// std::bad_alloc.
  void resize(std::size_t count) {
    if (count == count_) return;
    std::free(values_);
    values_ = nullptr;
    count_ = 0;
    if (count == 0) return;
    if (count > (static_cast<std::size_t>(-1) - kAlignment) / sizeof(T)) throw std::bad_alloc();
    const std::size_t bytes = (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    values_ = static_cast<T*>(std::aligned_alloc(kAlignment, bytes));
    if (values_ == nullptr) throw std::bad_alloc();
    std::memset(values_, 0, bytes);
    count_ = count;
  }

  /// At least `count` values; keeps a larger buffer (contents are then undefined).
  void reserve(std::size_t count) {
    if (count > count_) resize(count);
  }

  T* data() { return values_; }
  const T* data() const { return values_; }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  T& operator[](std::size_t i) { return values_[i]; }
  const T& operator[](std::size_t i) const { return values_[i]; }

 private:
  static constexpr std::size_t kAlignment = 64;
  T* values_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace dbell
