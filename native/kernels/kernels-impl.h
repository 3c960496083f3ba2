// The kernels' bodies, compiled once per instruction set. The including file defines ELANUS_NAME and ELANUS_WIDTH (floats
// per register). No std:: templates here: an inline function compiled for AVX-512 must not become everybody's copy.
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "kernels.h"

namespace elanus {
namespace {

constexpr size_t kWidth = ELANUS_WIDTH;
typedef float Vec __attribute__((vector_size(ELANUS_WIDTH * 4)));
typedef int VecInt __attribute__((vector_size(ELANUS_WIDTH * 4)));

inline Vec Load(const float* p) {
  Vec v;
  memcpy(&v, p, sizeof v);
  return v;
}
/** The first n < kWidth floats, the rest zero. */
inline Vec LoadTail(const float* p, size_t n) {
#if defined(__AVX512F__) && ELANUS_WIDTH == 16
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__) && ELANUS_WIDTH == 8
  alignas(32) static const int kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  return (Vec)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i*)(kMask + 8 - n)));
#else
  Vec v = {};
  memcpy(&v, p, n * sizeof(float));
  return v;
#endif
}
inline float Sum(Vec v) {
#if defined(__AVX512F__) && ELANUS_WIDTH == 16
  return _mm512_reduce_add_ps((__m512)v);
#else
  float s = 0;
  for (size_t i = 0; i < kWidth; i++) s += v[i];
  return s;
#endif
}
inline Vec Abs(Vec v) { return (Vec)((VecInt)v & 0x7fffffff); }

struct L2 {
  static inline Vec Step(Vec acc, Vec a, Vec b) {
    Vec d = a - b;
    return acc + d * d;
  }
};
struct Dot {
  static inline Vec Step(Vec acc, Vec a, Vec b) { return acc + a * b; }
};
struct L1 {
  static inline Vec Step(Vec acc, Vec a, Vec b) { return acc + Abs(a - b); }
};

template <class Op>
float One(const float* q, const float* row, size_t dim) {
  Vec a0 = {}, a1 = {};
  size_t i = 0;
  for (; i + 2 * kWidth <= dim; i += 2 * kWidth) {
    a0 = Op::Step(a0, Load(q + i), Load(row + i));
    a1 = Op::Step(a1, Load(q + i + kWidth), Load(row + i + kWidth));
  }
  for (; i + kWidth <= dim; i += kWidth) a0 = Op::Step(a0, Load(q + i), Load(row + i));
  if (i < dim) a1 = Op::Step(a1, LoadTail(q + i, dim - i), LoadTail(row + i, dim - i));
  return Sum(a0 + a1);
}

template <class Op>
void Four(const float* q, const float* const* rows, size_t dim, float* out) {
  const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
  Vec a0 = {}, a1 = {}, a2 = {}, a3 = {};
  size_t i = 0;
  for (; i + kWidth <= dim; i += kWidth) {
    Vec v = Load(q + i);
    a0 = Op::Step(a0, v, Load(r0 + i));
    a1 = Op::Step(a1, v, Load(r1 + i));
    a2 = Op::Step(a2, v, Load(r2 + i));
    a3 = Op::Step(a3, v, Load(r3 + i));
  }
  if (i < dim) {
    size_t n = dim - i;
    Vec v = LoadTail(q + i, n);
    a0 = Op::Step(a0, v, LoadTail(r0 + i, n));
    a1 = Op::Step(a1, v, LoadTail(r1 + i, n));
    a2 = Op::Step(a2, v, LoadTail(r2 + i, n));
    a3 = Op::Step(a3, v, LoadTail(r3 + i, n));
  }
  out[0] = Sum(a0);
  out[1] = Sum(a1);
  out[2] = Sum(a2);
  out[3] = Sum(a3);
}

void DotNormFour(const float* q, const float* const* rows, size_t dim, float* out, float* norms) {
  const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
  Vec a0 = {}, a1 = {}, a2 = {}, a3 = {}, n0 = {}, n1 = {}, n2 = {}, n3 = {};
  size_t i = 0;
  for (; i < dim; i += kWidth) {
    size_t left = dim - i;
    bool whole = left >= kWidth;
    Vec v = whole ? Load(q + i) : LoadTail(q + i, left);
    Vec x0 = whole ? Load(r0 + i) : LoadTail(r0 + i, left);
    Vec x1 = whole ? Load(r1 + i) : LoadTail(r1 + i, left);
    Vec x2 = whole ? Load(r2 + i) : LoadTail(r2 + i, left);
    Vec x3 = whole ? Load(r3 + i) : LoadTail(r3 + i, left);
    a0 += v * x0;
    a1 += v * x1;
    a2 += v * x2;
    a3 += v * x3;
    n0 += x0 * x0;
    n1 += x1 * x1;
    n2 += x2 * x2;
    n3 += x3 * x3;
  }
  out[0] = Sum(a0);
  out[1] = Sum(a1);
  out[2] = Sum(a2);
  out[3] = Sum(a3);
  norms[0] = Sum(n0);
  norms[1] = Sum(n1);
  norms[2] = Sum(n2);
  norms[3] = Sum(n3);
}

void CodeDotFour(const int16_t* q, const uint8_t* const* rows, size_t padded, int32_t* out) {
#if defined(__AVX512VNNI__)
  const int8_t* upper = (const int8_t*)(q + padded);
  const int8_t* lower = upper + padded;
  const uint8_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
  __m512i u0 = _mm512_setzero_si512(), u1 = u0, u2 = u0, u3 = u0, l0 = u0, l1 = u0, l2 = u0, l3 = u0;
  for (size_t i = 0; i < padded; i += 64) {
    __m512i u = _mm512_loadu_si512(upper + i), l = _mm512_loadu_si512(lower + i), x;
    x = _mm512_loadu_si512(r0 + i);
    u0 = _mm512_dpbusd_epi32(u0, x, u);
    l0 = _mm512_dpbusd_epi32(l0, x, l);
    x = _mm512_loadu_si512(r1 + i);
    u1 = _mm512_dpbusd_epi32(u1, x, u);
    l1 = _mm512_dpbusd_epi32(l1, x, l);
    x = _mm512_loadu_si512(r2 + i);
    u2 = _mm512_dpbusd_epi32(u2, x, u);
    l2 = _mm512_dpbusd_epi32(l2, x, l);
    x = _mm512_loadu_si512(r3 + i);
    u3 = _mm512_dpbusd_epi32(u3, x, u);
    l3 = _mm512_dpbusd_epi32(l3, x, l);
  }
  auto fold = [](__m512i u, __m512i l) {
    __m512i s = _mm512_add_epi32(_mm512_slli_epi32(u, 7), l);
    return _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));
  };
  __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(fold(u0, l0), fold(u1, l1)), _mm256_hadd_epi32(fold(u2, l2), fold(u3, l3)));
  _mm_storeu_si128((__m128i*)out, _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
#elif defined(__AVX2__)
  __m256i a[4];
  for (int r = 0; r < 4; r++) a[r] = _mm256_setzero_si256();
  for (size_t i = 0; i < padded; i += 16) {
    __m256i v = _mm256_loadu_si256((const __m256i*)(q + i));
    for (int r = 0; r < 4; r++) {
      __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(rows[r] + i)));
      a[r] = _mm256_add_epi32(a[r], _mm256_madd_epi16(v, x));
    }
  }
  __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
  _mm_storeu_si128((__m128i*)out, _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
#elif defined(__SSE2__)
  __m128i zero = _mm_setzero_si128();
  for (int r = 0; r < 4; r++) {
    __m128i a = zero;
    for (size_t i = 0; i < padded; i += 16) {
      __m128i x = _mm_loadu_si128((const __m128i*)(rows[r] + i));
      a = _mm_add_epi32(a, _mm_madd_epi16(_mm_unpacklo_epi8(x, zero), _mm_loadu_si128((const __m128i*)(q + i))));
      a = _mm_add_epi32(a, _mm_madd_epi16(_mm_unpackhi_epi8(x, zero), _mm_loadu_si128((const __m128i*)(q + i + 8))));
    }
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    out[r] = _mm_cvtsi128_si32(a);
  }
#else
  for (int r = 0; r < 4; r++) {
    int32_t sum = 0;
    for (size_t i = 0; i < padded; i++) sum += (int32_t)q[i] * rows[r][i];
    out[r] = sum;
  }
#endif
}

void CodeL1Four(const uint8_t* q, const uint8_t* const* rows, size_t padded, int32_t* out) {
  for (int r = 0; r < 4; r++) {
#if defined(__AVX2__)
    __m256i a = _mm256_setzero_si256();
    for (size_t i = 0; i < padded; i += 32) {
      a = _mm256_add_epi64(a, _mm256_sad_epu8(_mm256_loadu_si256((const __m256i*)(q + i)),
                                              _mm256_loadu_si256((const __m256i*)(rows[r] + i))));
    }
    __m128i s = _mm_add_epi64(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    out[r] = _mm_cvtsi128_si32(_mm_add_epi64(s, _mm_unpackhi_epi64(s, s)));
#elif defined(__SSE2__)
    __m128i a = _mm_setzero_si128();
    for (size_t i = 0; i < padded; i += 16) {
      a = _mm_add_epi64(a, _mm_sad_epu8(_mm_loadu_si128((const __m128i*)(q + i)),
                                        _mm_loadu_si128((const __m128i*)(rows[r] + i))));
    }
    out[r] = _mm_cvtsi128_si32(_mm_add_epi64(a, _mm_unpackhi_epi64(a, a)));
#else
    int32_t sum = 0;
    for (size_t i = 0; i < padded; i++) sum += q[i] > rows[r][i] ? q[i] - rows[r][i] : rows[r][i] - q[i];
    out[r] = sum;
#endif
  }
}

/** 64 bytes of 0 or 0xff to 64 bits. */
inline uint64_t Pack(const uint8_t* flags) {
#if defined(__AVX512BW__)
  return _mm512_movepi8_mask(_mm512_loadu_si512(flags));
#elif defined(__AVX2__)
  uint64_t low = (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const __m256i*)flags));
  uint64_t high = (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const __m256i*)(flags + 32)));
  return low | high << 32;
#elif defined(__SSE2__)
  uint64_t word = 0;
  for (int i = 0; i < 4; i++) {
    word |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i*)(flags + 16 * i))) << (16 * i);
  }
  return word;
#else
  uint64_t word = 0;
  for (int i = 0; i < 64; i++) word |= (uint64_t)(flags[i] & 1) << i;
  return word;
#endif
}

template <class F>
inline void Mask(size_t n, uint64_t* out, F judge) {
  size_t i = 0;
  alignas(64) uint8_t flags[64];
  for (; i + 64 <= n; i += 64) {
    for (size_t j = 0; j < 64; j++) flags[j] = judge(i + j) ? 0xff : 0;
    out[i / 64] = Pack(flags);
  }
  if (i < n) {
    uint64_t word = 0;
    for (size_t j = 0; i + j < n; j++) word |= (uint64_t)judge(i + j) << j;
    out[i / 64] = word;
  }
}

#if defined(__AVX512F__)
/** The common widths by compare-to-mask: no detour over bytes. */
template <class T, Predicate P>
inline uint64_t MaskWord(const T* v, T c) {
  constexpr int kOp = P == Predicate::kEqual ? _MM_CMPINT_EQ : P == Predicate::kLess ? _MM_CMPINT_LT : _MM_CMPINT_NLE;
  uint64_t word = 0;
  if constexpr (sizeof(T) == 4) {
    __m512i cv = _mm512_set1_epi32(c);
    for (int j = 0; j < 4; j++) {
      word |= (uint64_t)_mm512_cmp_epi32_mask(_mm512_loadu_si512(v + 16 * j), cv, kOp) << (16 * j);
    }
  } else {
    __m512i cv = _mm512_set1_epi64(c);
    for (int j = 0; j < 8; j++) {
      word |= (uint64_t)_mm512_cmp_epi64_mask(_mm512_loadu_si512(v + 8 * j), cv, kOp) << (8 * j);
    }
  }
  return word;
}
#endif

template <class T, Predicate P>
void CompareIntAs(const T* v, size_t n, T c, uint64_t* out) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) >= 4) {
    size_t words = n / 64;
    for (size_t w = 0; w < words; w++) out[w] = MaskWord<T, P>(v + 64 * w, c);
    v += 64 * words;
    n -= 64 * words;
    out += words;
  }
#endif
  Mask(n, out, [=](size_t i) {
    return P == Predicate::kEqual ? v[i] == c : P == Predicate::kLess ? v[i] < c : v[i] > c;
  });
}

template <class T>
void CompareInt(const T* v, size_t n, T c, Predicate p, uint64_t* out) {
  switch (p) {
    case Predicate::kEqual:
      return CompareIntAs<T, Predicate::kEqual>(v, n, c, out);
    case Predicate::kLess:
      return CompareIntAs<T, Predicate::kLess>(v, n, c, out);
    case Predicate::kGreater:
      return CompareIntAs<T, Predicate::kGreater>(v, n, c, out);
  }
}

template <class T>
void CompareFloat(const T* v, size_t n, double c, Predicate p, uint64_t* out) {
  bool nan = c != c;
  switch (p) {
    case Predicate::kEqual:
      if (nan) return Mask(n, out, [=](size_t i) { return v[i] != v[i]; });
      return Mask(n, out, [=](size_t i) { return (double)v[i] == c; });
    case Predicate::kLess:
      if (nan) return Mask(n, out, [=](size_t i) { return v[i] == v[i]; });
      return Mask(n, out, [=](size_t i) { return (double)v[i] < c; });
    case Predicate::kGreater:
      if (nan) return Mask(n, out, [](size_t) { return false; });
      return Mask(n, out, [=](size_t i) { return !((double)v[i] <= c); });
  }
}

void Visible(const double* inserted, const double* deleted, size_t n, double at, uint64_t* out) {
  Mask(n, out, [=](size_t i) { return (inserted[i] <= at) & (at < deleted[i]); });
}

const Kernels kTable = {
    ELANUS_NAME, One<L2>,       One<Dot>,    One<L1>,      Four<L2>,           Four<Dot>,           Four<L1>,
    DotNormFour, CodeDotFour,   CodeL1Four,  CompareInt<uint8_t>, CompareInt<int16_t>, CompareInt<int32_t>,
    CompareInt<int64_t>, CompareFloat<float>, CompareFloat<double>, Visible,
};

}  // namespace
}  // namespace elanus
