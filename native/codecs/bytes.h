// A growing buffer from malloc that can be handed to JavaScript (freed with free()).
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace elanus::codecs {

class Bytes {
 public:
  Bytes() = default;
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  Bytes(Bytes&& other) noexcept { Swap(other); }
  Bytes& operator=(Bytes&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~Bytes() { std::free(data_); }

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  /** Forgets what lies beyond; never grows. */
  void Truncate(size_t size) {
    if (size < size_) size_ = size;
  }

  void Reserve(size_t capacity) {
    if (capacity > capacity_) Reallocate(capacity);
  }
  /** Room for `count` more bytes, not yet part of the size; valid until the next call. */
  uint8_t* Room(size_t count) {
    if (capacity_ - size_ < count) Reallocate(size_ + count > capacity_ * 2 ? size_ + count : capacity_ * 2);
    return data_ + size_;
  }
  /** `count` more bytes, contents undefined. */
  uint8_t* Grow(size_t count) {
    uint8_t* room = Room(count);
    size_ += count;
    return room;
  }
  /** After writing `count` bytes to Room. */
  void Advance(size_t count) { size_ += count; }
  void Append(const void* from, size_t count) {
    if (count) std::memcpy(Grow(count), from, count);
  }
  void Push(uint8_t byte) { *Grow(1) = byte; }

  /** Gives the memory away (free() it), trimmed to its size; null when empty. */
  uint8_t* Release() {
    if (size_ == 0) return nullptr;
    if (capacity_ - size_ > size_ / 8) Reallocate(size_);
    size_ = capacity_ = 0;
    return std::exchange(data_, nullptr);
  }

 private:
  void Swap(Bytes& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  void Reallocate(size_t capacity) {
    if (capacity < 64) capacity = 64;
    void* grown = std::realloc(data_, capacity);
    if (!grown) throw std::bad_alloc();
    data_ = static_cast<uint8_t*>(grown);
    capacity_ = capacity;
  }
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

inline uint16_t LoadBig16(const void* from) {
  uint16_t value;
  std::memcpy(&value, from, 2);
  return __builtin_bswap16(value);
}
inline uint32_t LoadBig32(const void* from) {
  uint32_t value;
  std::memcpy(&value, from, 4);
  return __builtin_bswap32(value);
}
inline uint64_t LoadBig64(const void* from) {
  uint64_t value;
  std::memcpy(&value, from, 8);
  return __builtin_bswap64(value);
}
inline void StoreBig16(void* to, uint16_t value) {
  value = __builtin_bswap16(value);
  std::memcpy(to, &value, 2);
}
inline void StoreBig32(void* to, uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(to, &value, 4);
}
inline void StoreBig64(void* to, uint64_t value) {
  value = __builtin_bswap64(value);
  std::memcpy(to, &value, 8);
}

}  // namespace elanus::codecs
