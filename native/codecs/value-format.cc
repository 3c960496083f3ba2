#include "value-format.h"

#include <charconv>

#include "datetime-text.h"
#include "float-format.h"
#include "numeric-text.h"
#include "vector-text.h"

namespace elanus::codecs {
namespace {

struct Span {
  const uint8_t* data;
  size_t size;
};

[[noreturn]] void Incorrect() { throw NativeError("22P03", "incorrect binary data format"); }

Span BytesAt(const ColumnView& column, size_t row) {
  if (column.kind != Kind::kBytes) return {column.At(row), column.stride};
  const int32_t begin = column.offsets[row], end = column.offsets[row + 1];
  if (begin < 0 || end < begin || static_cast<size_t>(end) > column.value_bytes) {
    throw NativeError("XX001", "offsets of a column are out of bounds");
  }
  return {column.values + begin, static_cast<size_t>(end - begin)};
}

template <class T>
T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

int64_t IntegerAt(const ColumnView& column, size_t row) {
  const uint8_t* at = column.At(row);
  switch (column.kind) {
    case Kind::kBool:
      return *at;
    case Kind::kInt16:
      return Load<int16_t>(at);
    case Kind::kInt32:
      return Load<int32_t>(at);
    case Kind::kInt64:
      return Load<int64_t>(at);
    default:
      break;
  }
  const Span bytes = BytesAt(column, row);
  switch (bytes.size) {
    case 1:
      return bytes.data[0];
    case 2:
      return static_cast<int16_t>(LoadBig16(bytes.data));
    case 4:
      return static_cast<int32_t>(LoadBig32(bytes.data));
    case 8:
      return static_cast<int64_t>(LoadBig64(bytes.data));
    default:
      Incorrect();
  }
}

void AppendInteger(int64_t value, Bytes* out) {
  char* room = reinterpret_cast<char*>(out->Room(24));
  out->Advance(std::to_chars(room, room + 24, value).ptr - room);
}

void AppendFloat4(const ColumnView& column, size_t row, Bytes* out) {
  float value;
  if (column.kind == Kind::kFloat32) {
    value = Load<float>(column.At(row));
  } else {
    const Span bytes = BytesAt(column, row);
    if (bytes.size != 4) Incorrect();
    const uint32_t bits = LoadBig32(bytes.data);
    std::memcpy(&value, &bits, 4);
  }
  out->Advance(FormatFloat4(value, reinterpret_cast<char*>(out->Room(kFloat4TextMax))));
}

void AppendFloat8(const ColumnView& column, size_t row, Bytes* out) {
  double value;
  if (column.kind == Kind::kFloat64) {
    value = Load<double>(column.At(row));
  } else {
    const Span bytes = BytesAt(column, row);
    if (bytes.size != 8) Incorrect();
    const uint64_t bits = LoadBig64(bytes.data);
    std::memcpy(&value, &bits, 8);
  }
  out->Advance(FormatFloat8(value, reinterpret_cast<char*>(out->Room(kFloat8TextMax))));
}

constexpr char kHex[] = "0123456789abcdef";

void AppendUuid(Span bytes, Bytes* out) {
  if (bytes.size != 16) Incorrect();
  uint8_t* p = out->Room(36);
  for (int i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *p++ = '-';
    *p++ = kHex[bytes.data[i] >> 4];
    *p++ = kHex[bytes.data[i] & 15];
  }
  out->Advance(36);
}

void AppendBytea(Span bytes, Bytes* out) {
  uint8_t* p = out->Room(2 + 2 * bytes.size);
  *p++ = '\\';
  *p++ = 'x';
  for (size_t i = 0; i < bytes.size; i++) {
    *p++ = kHex[bytes.data[i] >> 4];
    *p++ = kHex[bytes.data[i] & 15];
  }
  out->Advance(2 + 2 * bytes.size);
}

void AppendNumeric(Span bytes, Bytes* out) {
  if (!FormatNumeric(bytes.data, bytes.size, out)) Incorrect();
}

void AppendVector(const ColumnView& column, size_t row, Bytes* out) {
  if (column.kind == Kind::kVector) {
    return FormatVector(reinterpret_cast<const float*>(column.At(row)), column.width, out);
  }
  const Span bytes = BytesAt(column, row);
  if (bytes.size < 4) Incorrect();
  const size_t count = LoadBig16(bytes.data);
  if (bytes.size != 4 + 4 * count) Incorrect();
  Bytes floats;
  uint8_t* values = floats.Room(4 * count);
  for (size_t i = 0; i < count; i++) {
    const uint32_t bits = LoadBig32(bytes.data + 4 + 4 * i);
    std::memcpy(values + 4 * i, &bits, 4);
  }
  FormatVector(reinterpret_cast<const float*>(values), count, out);
}

void SendVector(const ColumnView& column, size_t row, Bytes* out) {
  const uint8_t* from = column.At(row);
  uint8_t* to = out->Grow(4 + 4 * column.width);
  StoreBig16(to, static_cast<uint16_t>(column.width));
  StoreBig16(to + 2, 0);
  for (size_t i = 0; i < column.width; i++) StoreBig32(to + 4 + 4 * i, Load<uint32_t>(from + 4 * i));
}

}  // namespace

void FormatValue(const ColumnView& column, size_t row, Bytes* out) {
  char* room;
  switch (column.type) {
    case Type::kBool:
      return out->Push(IntegerAt(column, row) ? 't' : 'f');
    case Type::kInt2:
    case Type::kInt4:
    case Type::kInt8:
      return AppendInteger(IntegerAt(column, row), out);
    case Type::kOid:
      return AppendInteger(static_cast<uint32_t>(IntegerAt(column, row)), out);
    case Type::kFloat4:
      return AppendFloat4(column, row, out);
    case Type::kFloat8:
      return AppendFloat8(column, row, out);
    case Type::kUuid:
      return AppendUuid(BytesAt(column, row), out);
    case Type::kVector:
      return AppendVector(column, row, out);
    case Type::kNumeric:
      return AppendNumeric(BytesAt(column, row), out);
    case Type::kBytea:
      return AppendBytea(BytesAt(column, row), out);
    case Type::kDate:
      room = reinterpret_cast<char*>(out->Room(kDateTimeTextMax));
      return out->Advance(FormatDate(static_cast<int32_t>(IntegerAt(column, row)), room));
    case Type::kTime:
      room = reinterpret_cast<char*>(out->Room(kDateTimeTextMax));
      return out->Advance(FormatTime(IntegerAt(column, row), room));
    case Type::kTimestamp:
    case Type::kTimestamptz:
      room = reinterpret_cast<char*>(out->Room(kDateTimeTextMax));
      return out->Advance(FormatTimestamp(IntegerAt(column, row), column.type == Type::kTimestamptz, room));
    case Type::kText:
    case Type::kVarchar:
    case Type::kBpchar:
    case Type::kName:
    case Type::kJson: {
      const Span bytes = BytesAt(column, row);
      return out->Append(bytes.data, bytes.size);
    }
    case Type::kJsonb: {
      const Span bytes = BytesAt(column, row);
      if (bytes.size < 1 || bytes.data[0] != 1) Incorrect();
      return out->Append(bytes.data + 1, bytes.size - 1);
    }
    case Type::kOther:
      throw NativeError("0A000", "the type has no native text output");
  }
}

void SendValue(const ColumnView& column, size_t row, Bytes* out) {
  const uint8_t* at = column.At(row);
  switch (column.kind) {
    case Kind::kBool:
      return out->Push(*at ? 1 : 0);
    case Kind::kInt16:
      return StoreBig16(out->Grow(2), Load<uint16_t>(at));
    case Kind::kInt32:
    case Kind::kFloat32:
      return StoreBig32(out->Grow(4), Load<uint32_t>(at));
    case Kind::kInt64:
      if (column.type == Type::kOid) return StoreBig32(out->Grow(4), Load<uint32_t>(at));
      return StoreBig64(out->Grow(8), Load<uint64_t>(at));
    case Kind::kFloat64:
      return StoreBig64(out->Grow(8), Load<uint64_t>(at));
    case Kind::kFixed:
      return out->Append(at, column.stride);
    case Kind::kVector:
      return SendVector(column, row, out);
    case Kind::kBytes: {
      const Span bytes = BytesAt(column, row);
      return out->Append(bytes.data, bytes.size);
    }
  }
}

}  // namespace elanus::codecs
