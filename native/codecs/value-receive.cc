#include "value-receive.h"

#include "utf8.h"
#include "vector-text.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ELANUS_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define ELANUS_CLONES
#endif

namespace elanus::codecs {
namespace {

constexpr int kHeaderSize = 4;

Outcome Fail(ValueError* error, const char* sql_state, std::string message) {
  *error = {sql_state, std::move(message), {}};
  return Outcome::kError;
}

Outcome Incorrect(ValueError* error) { return Fail(error, "22P03", "incorrect binary data format"); }

/** pq_copymsgbytes: the value ends before the function has what it wants. */
Outcome Short(ValueError* error) { return Fail(error, "08P01", "insufficient data left in message"); }

/** Big-endian floats into `out`; returns whether all are finite. */
ELANUS_CLONES bool SwapFloats(const uint8_t* from, size_t count, uint32_t* out) {
  uint32_t special = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, from + 4 * i, 4);
    bits = __builtin_bswap32(bits);
    out[i] = bits;
    special |= (bits & 0x7f800000u) == 0x7f800000u;
  }
  return special == 0;
}

Outcome ReceiveVector(const uint8_t* data, size_t size, ColumnSink* sink, ValueError* error) {
  if (size < 2) return Short(error);
  const int dimensions = static_cast<int16_t>(LoadBig16(data));
  if (size < 4) return Short(error);
  const int unused = static_cast<int16_t>(LoadBig16(data + 2));
  if (dimensions < 1) return Fail(error, "22000", "vector must have at least 1 dimension");
  if (dimensions > kVectorDimensionsMax) {
    return Fail(error, "54000",
                "vector cannot have more than " + std::to_string(kVectorDimensionsMax) + " dimensions");
  }
  if (sink->typmod > 0 && dimensions != sink->typmod) {
    return Fail(error, "22000",
                "expected " + std::to_string(sink->typmod) + " dimensions, not " + std::to_string(dimensions));
  }
  if (unused != 0) return Fail(error, "22000", "expected unused to be 0, not " + std::to_string(unused));
  const size_t wanted = 4 + 4 * static_cast<size_t>(dimensions);
  if (size < wanted) return Short(error);
  const bool column = sink->kind == Kind::kVector;
  Bytes scratch;
  auto* out = reinterpret_cast<uint32_t*>(column ? sink->Next() : scratch.Room(4 * dimensions));
  if (!SwapFloats(data + 4, dimensions, out)) {
    for (int i = 0; i < dimensions; i++) {
      if ((out[i] & 0x7f800000u) != 0x7f800000u) continue;
      return Fail(error, "22000",
                  out[i] & 0x7fffffu ? "NaN not allowed in vector" : "infinite value not allowed in vector");
    }
  }
  if (size != wanted) return Incorrect(error);
  if (column) {
    sink->Commit();
  } else {
    sink->PushBytes(data, size);
  }
  return Outcome::kFine;
}

Outcome ReceiveText(const uint8_t* data, size_t size, ColumnSink* sink, ValueError* error) {
  const size_t valid = ValidUtf8Prefix(data, size);
  if (valid != size) return Fail(error, "22021", InvalidUtf8Message(data + valid, size - valid));
  const bool sized = sink->type == Type::kVarchar || sink->type == Type::kBpchar;
  if (sink->type == Type::kName && size > 63) return Fail(error, "42622", "identifier too long");
  if (!sized || sink->typmod < kHeaderSize) {
    sink->PushBytes(data, size);
    return Outcome::kFine;
  }
  const size_t limit = sink->typmod - kHeaderSize;
  size_t characters = CountCharacters(data, size);
  while (characters > limit) {
    if (data[size - 1] != ' ') {
      return Fail(error, "22001",
                  std::string("value too long for type character") + (sink->type == Type::kVarchar ? " varying(" : "(") +
                      std::to_string(limit) + ")");
    }
    size--;
    characters--;
  }
  sink->values.Append(data, size);
  if (sink->type == Type::kBpchar && characters < limit) {
    std::memset(sink->values.Grow(limit - characters), ' ', limit - characters);
  }
  sink->EndBytes();
  return Outcome::kFine;
}

}  // namespace

bool HasBinaryInput(Type type) {
  return type != Type::kOther && type != Type::kJson && type != Type::kJsonb && type != Type::kNumeric;
}

Outcome ReceiveValue(const uint8_t* data, size_t size, ColumnSink* sink, ValueError* error) {
  switch (sink->type) {
    case Type::kVector:
      return ReceiveVector(data, size, sink, error);
    case Type::kText:
    case Type::kVarchar:
    case Type::kBpchar:
    case Type::kName:
      return ReceiveText(data, size, sink, error);
    default:
      break;
  }
  if (sink->kind == Kind::kBytes) {
    sink->PushBytes(data, size);
    return Outcome::kFine;
  }
  const size_t wanted = sink->type == Type::kOid ? 4 : sink->stride();
  if (size < wanted) return Short(error);
  if (size > wanted) return Incorrect(error);
  uint8_t* out = sink->Next();
  switch (wanted) {
    case 1:
      *out = sink->kind == Kind::kBool ? *data != 0 : *data;
      break;
    case 2: {
      const uint16_t value = LoadBig16(data);
      std::memcpy(out, &value, 2);
      break;
    }
    case 4: {
      const uint64_t value = LoadBig32(data);
      std::memcpy(out, &value, sink->stride());
      break;
    }
    case 8: {
      const uint64_t value = LoadBig64(data);
      // timestamp_recv and time_recv check their range.
      const int64_t micros = static_cast<int64_t>(value);
      if (sink->type == Type::kTime && (micros < 0 || micros > 86400000000)) {
        return Fail(error, "22008", "time out of range");
      }
      const bool moment = sink->type == Type::kTimestamp || sink->type == Type::kTimestamptz;
      // MIN_TIMESTAMP and END_TIMESTAMP, timestamp.h; the outermost values are the infinities.
      if (moment && (micros < -211813488000000000 || micros >= 9223371331200000000) && value != (1ull << 63) &&
          value != (1ull << 63) - 1) {
        return Fail(error, "22008", "timestamp out of range");
      }
      std::memcpy(out, &value, 8);
      break;
    }
    default:
      std::memcpy(out, data, wanted);
  }
  sink->Commit();
  return Outcome::kFine;
}

}  // namespace elanus::codecs
