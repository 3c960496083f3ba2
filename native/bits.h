// Bitsets: bit i of word i / 64, LSB first (the same bytes as Arrow's validity on little-endian machines).
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace elanus {

static_assert(std::endian::native == std::endian::little, "columns and files are little-endian");

inline size_t WordsFor(size_t bits) { return (bits + 63) / 64; }

inline bool TestBit(const uint64_t* words, size_t i) { return words[i >> 6] >> (i & 63) & 1; }
inline bool TestByteBit(const uint8_t* bytes, size_t i) { return bytes[i >> 3] >> (i & 7) & 1; }

class Bitset {
 public:
  Bitset() = default;
  explicit Bitset(size_t bits, bool value = false) { Reset(bits, value); }
  void Reset(size_t bits, bool value) {
    bits_ = bits;
    words_.assign(WordsFor(bits), value ? ~uint64_t{0} : 0);
    if (value) Trim();
  }
  size_t size() const { return bits_; }
  uint64_t* data() { return words_.data(); }
  const uint64_t* data() const { return words_.data(); }
  size_t words() const { return words_.size(); }
  bool Test(size_t i) const { return TestBit(words_.data(), i); }
  void Set(size_t i) { words_[i >> 6] |= uint64_t{1} << (i & 63); }
  void Clear(size_t i) { words_[i >> 6] &= ~(uint64_t{1} << (i & 63)); }
  size_t Count() const {
    size_t n = 0;
    for (uint64_t w : words_) n += std::popcount(w);
    return n;
  }
  void And(const Bitset& other) {
    for (size_t i = 0; i < words_.size(); i++) words_[i] &= other.words_[i];
  }
  /** ANDs bytes (LSB first); bits beyond `bits` in them are ignored. */
  void AndBytes(const uint8_t* bytes) {
    size_t whole = bits_ / 64;
    for (size_t i = 0; i < whole; i++) {
      uint64_t w;
      std::memcpy(&w, bytes + 8 * i, 8);
      words_[i] &= w;
    }
    if (size_t left = bits_ % 64) {
      uint64_t w = 0;
      std::memcpy(&w, bytes + 8 * whole, (left + 7) / 8);
      words_[whole] &= w;
    }
  }
  /** Clears bits at and beyond size(). */
  void Trim() {
    if (size_t left = bits_ % 64) words_.back() &= (uint64_t{1} << left) - 1;
  }

 private:
  size_t bits_ = 0;
  std::vector<uint64_t> words_;
};

/** Calls f(i) for every set bit in [begin, end). */
template <class F>
inline void ForEachBit(const uint64_t* words, size_t begin, size_t end, F f) {
  for (size_t w = begin / 64; w * 64 < end; w++) {
    uint64_t word = words[w];
    if (w == begin / 64) word &= ~uint64_t{0} << (begin % 64);
    if (w * 64 + 64 > end) word &= (uint64_t{1} << (end % 64)) - 1;
    while (word) {
      f(w * 64 + std::countr_zero(word));
      word &= word - 1;
    }
  }
}

}  // namespace elanus
