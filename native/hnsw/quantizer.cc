#include "hnsw/quantizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace elanus {

CodeLayout MakeCodeLayout(Metric metric, size_t dimensions) {
  CodeLayout layout;
  layout.dimensions = dimensions;
  layout.padded = (dimensions + 63) / 64 * 64;
  layout.norm_offset = (dimensions + 3) / 4 * 4;
  size_t used = metric == Metric::kL2 ? std::max(layout.padded, layout.norm_offset + 4) : layout.padded;
  layout.stride = (used + 63) / 64 * 64;
  return layout;
}

float Quantizer::Encode(const float* row, uint8_t* out) const {
  std::memset(out, 0, layout_.stride);
  double residual = 0, norm = 0;
  for (size_t i = 0; i < layout_.dimensions; i++) {
    float x = row[i] - middle_[i];
    float c = step_[i] > 0 ? std::nearbyint(x / step_[i]) : 0;
    if (metric_ == Metric::kL1) {
      c = std::clamp(c, 0.f, 255.f);
      out[i] = static_cast<uint8_t>(c);
      residual += std::fabs(x - c * step_[i]);
    } else {
      c = std::clamp(c, -127.f, 127.f);
      out[i] = static_cast<uint8_t>(static_cast<int>(c) + 128);
      double off = static_cast<double>(x) - static_cast<double>(c) * step_[i];
      residual += off * off;
      norm += static_cast<double>(c * step_[i]) * (c * step_[i]);
    }
  }
  if (metric_ == Metric::kL2) {
    float value = static_cast<float>(norm);
    std::memcpy(out + layout_.norm_offset, &value, 4);
  }
  return static_cast<float>(metric_ == Metric::kL1 ? residual : std::sqrt(residual));
}

void CodeQuery::Prepare(const Quantizer& quantizer, const float* query) {
  const CodeLayout& layout = quantizer.layout();
  const float *middle = quantizer.middle(), *step = quantizer.step();
  size_t dim = layout.dimensions;
  metric_ = quantizer.metric();
  kernels_ = &Kernels::Get();
  padded_ = layout.padded;
  norm_offset_ = layout.norm_offset;

  if (metric_ == Metric::kL1) {
    bytes_.assign(padded_, 0);
    scale_ = step[0];
    base_ = 0;
    double off = 0, outside = 0;
    for (size_t i = 0; i < dim; i++) {
      float x = query[i] - middle[i];
      float c = scale_ > 0 ? std::clamp(std::nearbyint(x / scale_), 0.f, 255.f) : 0;
      float in = std::clamp(x, 0.f, 255.f * scale_);
      bytes_[i] = static_cast<uint8_t>(c);
      off += std::fabs(in - c * scale_);
      outside += std::fabs(x - in);
    }
    base_ = static_cast<float>(outside);
    slack_ = static_cast<float>((off + quantizer.residual()) * 1.001);
    rounding_ = 0;
    return;
  }

  // w[i] is what multiplies code[i] - 128; as 14 bits, and so that the sum of dim products with codes stays in int32.
  words_.assign(padded_ * 2, 0);  // the words, then their upper and lower parts as bytes
  auto* upper = reinterpret_cast<int8_t*>(words_.data() + padded_);
  auto* lower = upper + padded_;
  double bias = 0, norm = 0;
  float largest = 0;
  double sum = 0;
  for (size_t i = 0; i < dim; i++) {
    float q = metric_ == Metric::kL2 ? query[i] - middle[i] : query[i];
    float w = q * step[i];
    largest = std::max(largest, std::fabs(w));
    sum += std::fabs(w);
    norm += static_cast<double>(q) * q;
    bias += static_cast<double>(query[i]) * middle[i];
  }
  double multiply = 0;
  if (largest > 0 && std::isfinite(largest)) multiply = std::min(16256.0 / largest, 2.0e9 / 256 / sum);
  double off = 0;
  int64_t total = 0;
  for (size_t i = 0; i < dim && multiply > 0; i++) {
    float q = metric_ == Metric::kL2 ? query[i] - middle[i] : query[i];
    double w = static_cast<double>(q) * step[i] * multiply;
    double rounded = std::nearbyint(w);
    int word = static_cast<int>(rounded), high = (word + 64) >> 7;  // lower part: -64..63
    words_[i] = static_cast<int16_t>(word);
    upper[i] = static_cast<int8_t>(high);
    lower[i] = static_cast<int8_t>(word - 128 * high);
    total += word;
    off += std::fabs(w - rounded);
  }
  double unit = multiply > 0 ? 1 / multiply : 0;
  double rounding = off * 127 * unit, offset = 128.0 * static_cast<double>(total) * unit;
  if (metric_ == Metric::kL2) {
    base_ = static_cast<float>(norm + 2 * offset);
    scale_ = static_cast<float>(-2 * unit);
    slack_ = quantizer.residual();
    rounding_ = static_cast<float>(2 * rounding + (norm + 2 * std::fabs(offset)) * 1e-6);
  } else {
    base_ = static_cast<float>(offset - bias);
    scale_ = static_cast<float>(-unit);
    slack_ = static_cast<float>(std::sqrt(norm) * quantizer.residual());
    rounding_ = static_cast<float>(rounding + (std::fabs(bias) + std::fabs(offset)) * 1e-6);
  }
}

float CodeQuery::Reach(float d) const {
  if (metric_ == Metric::kL2) {
    // true root <= sqrt(d + rounding) + slack for the row at d; another row may be as near with a code this far.
    float root = std::sqrt(std::max(0.f, d) + rounding_) + 2 * slack_;
    return (root * root + rounding_) * 1.00001f;
  }
  return d + 2 * (slack_ + rounding_) + std::fabs(d) * 1e-5f;
}

}  // namespace elanus
