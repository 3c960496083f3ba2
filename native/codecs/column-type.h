// Types and column kinds as codecs see them; src/engine/columnar/column.ts is the contract for kinds.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace elanus::codecs {

enum class Kind : uint8_t { kBool, kInt16, kInt32, kInt64, kFloat32, kFloat64, kFixed, kVector, kBytes };

/** Types with codecs of their own; kOther: bytes in send format. */
enum class Type : uint8_t {
  kBool,
  kInt2,
  kInt4,
  kInt8,
  kOid,
  kFloat4,
  kFloat8,
  kText,
  kVarchar,
  kBpchar,
  kName,
  kJson,
  kJsonb,
  kUuid,
  kBytea,
  kNumeric,
  kDate,
  kTime,
  kTimestamp,
  kTimestamptz,
  kVector,
  kOther,
};

/** 'bool', 'int16', …; false when unknown. */
bool KindOf(std::string_view name, Kind* kind);
const char* NameOf(Kind kind);
Type TypeOf(std::string_view type_name);
/** Whether the values of a type are kept in columns of this kind (bytes always: send format). */
bool Fits(Type type, Kind kind);
/** Bytes per row of a kind's values (dimensions × 4 for vector); 0 for bytes. */
size_t StrideOf(Kind kind, size_t width);
/** Whether text output of the type is native. */
bool HasTextOutput(Type type);

}  // namespace elanus::codecs
