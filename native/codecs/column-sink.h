// A column being filled row by row, and a column being read.
#pragma once
#include <string>

#include "bytes.h"
#include "column-type.h"
#include "error.h"

namespace elanus::codecs {

class ColumnSink {
 public:
  Kind kind = Kind::kBytes;
  Type type = Type::kOther;
  int typmod = -1;
  size_t width = 0;
  std::string name;
  /** Values are raw text, for PostgreSQL to convert: always kind bytes. */
  bool textual = false;
  /** Values are send format that nobody has checked. */
  bool unchecked = false;

  Bytes values;
  Bytes offsets;
  Bytes validity;

  size_t rows() const { return rows_; }
  bool has_nulls() const { return null_count_ > 0; }
  size_t stride() const { return stride_; }

  /** Before the first row; again to begin anew. */
  void Start() {
    stride_ = StrideOf(kind, width);
    rows_ = 0;
    null_count_ = 0;
    values.Truncate(0);
    offsets.Truncate(0);
    validity.Truncate(0);
    if (kind == Kind::kBytes) PushOffset();
  }
  void PushNull() {
    if (kind == Kind::kBytes) {
      PushOffset();
    } else {
      std::memset(values.Grow(stride_), 0, stride_);
    }
    Mark(false);
  }
  /** Fixed-width kinds: where the next row's value goes, stride() bytes; the row counts with Commit. */
  uint8_t* Next() { return values.Room(stride_); }
  void Commit() {
    values.Advance(stride_);
    Mark(true);
  }
  /** Kind bytes: value bytes are appended to `values`, then the row is ended. */
  void EndBytes() {
    PushOffset();
    Mark(true);
  }
  void PushBytes(const void* from, size_t size) {
    values.Append(from, size);
    EndBytes();
  }
  /** Takes back the rows from `rows` on. */
  void TruncateRows(size_t rows) {
    if (rows_ <= rows) {
      // A value may have been begun.
      values.Truncate(kind == Kind::kBytes ? LastOffset() : rows_ * stride_);
      return;
    }
    for (size_t row = rows; row < rows_; row++) {
      if (!(validity.data()[row >> 3] >> (row & 7) & 1)) null_count_--;
    }
    rows_ = rows;
    validity.Truncate((rows + 7) / 8);
    if (rows & 7) validity.data()[rows >> 3] &= (1 << (rows & 7)) - 1;
    if (kind == Kind::kBytes) offsets.Truncate(4 * (rows + 1));
    values.Truncate(kind == Kind::kBytes ? LastOffset() : rows * stride_);
  }

 private:
  size_t LastOffset() const {
    int32_t offset;
    std::memcpy(&offset, offsets.data() + offsets.size() - 4, 4);
    return offset;
  }
  void PushOffset() {
    if (values.size() > 0x7fffffff) throw NativeError("54000", "column of a batch exceeds 2 GB");
    const int32_t offset = static_cast<int32_t>(values.size());
    offsets.Append(&offset, 4);
  }
  void Mark(bool valid) {
    if ((rows_ & 7) == 0) validity.Push(0);
    if (valid) {
      validity.data()[rows_ >> 3] |= 1 << (rows_ & 7);
    } else {
      null_count_++;
    }
    rows_++;
  }
  size_t stride_ = 0;
  size_t rows_ = 0;
  size_t null_count_ = 0;
};

/** A column of JavaScript's, looked at; sizes were checked against `length`. */
struct ColumnView {
  Kind kind;
  Type type;
  /** 0 text, 1 binary (where both are possible). */
  int format = 1;
  size_t width = 0;
  size_t stride = 0;
  size_t length = 0;
  const uint8_t* values = nullptr;
  const int32_t* offsets = nullptr;
  const uint8_t* validity = nullptr;
  size_t value_bytes = 0;

  bool IsNull(size_t row) const { return validity && !(validity[row >> 3] >> (row & 7) & 1); }
  const uint8_t* At(size_t row) const { return values + row * stride; }
};

}  // namespace elanus::codecs
