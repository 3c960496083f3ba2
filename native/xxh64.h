// XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), seed 0: checksums of our files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace elanus {

inline uint64_t Xxh64(const void* data, size_t size) {
  constexpr uint64_t kP1 = 11400714785074694791u, kP2 = 14029467366897019727u, kP3 = 1609587929392839161u,
                     kP4 = 9650029242287828579u, kP5 = 2870177450012600261u;
  auto rotate = [](uint64_t x, int r) { return x << r | x >> (64 - r); };
  auto read64 = [](const uint8_t* p) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    return v;
  };
  auto round = [&](uint64_t acc, uint64_t lane) { return rotate(acc + lane * kP2, 31) * kP1; };
  auto merge = [&](uint64_t acc, uint64_t v) { return (acc ^ round(0, v)) * kP1 + kP4; };
  auto* p = static_cast<const uint8_t*>(data);
  const uint8_t* end = p + size;
  uint64_t h;
  if (size >= 32) {
    uint64_t a = kP1 + kP2, b = kP2, c = 0, d = 0 - kP1;
    do {
      a = round(a, read64(p));
      b = round(b, read64(p + 8));
      c = round(c, read64(p + 16));
      d = round(d, read64(p + 24));
      p += 32;
    } while (p + 32 <= end);
    h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
    h = merge(merge(merge(merge(h, a), b), c), d);
  } else {
    h = kP5;
  }
  h += size;
  for (; p + 8 <= end; p += 8) h = rotate(h ^ round(0, read64(p)), 27) * kP1 + kP4;
  if (p + 4 <= end) {
    uint32_t v;
    std::memcpy(&v, p, 4);
    h = rotate(h ^ v * kP1, 23) * kP2 + kP3;
    p += 4;
  }
  for (; p < end; p++) h = rotate(h ^ *p * kP5, 11) * kP1;
  h = (h ^ h >> 33) * kP2;
  h = (h ^ h >> 29) * kP3;
  return h ^ h >> 32;
}

}  // namespace elanus
