#include "column-type.h"

#include <iterator>
#include <utility>

namespace elanus::codecs {
namespace {

constexpr const char* kKindNames[] = {"bool",    "int16", "int32",  "int64", "float32",
                                      "float64", "fixed", "vector", "bytes"};

constexpr std::pair<const char*, Type> kTypeNames[] = {
    {"bool", Type::kBool},       {"int2", Type::kInt2},           {"int4", Type::kInt4},
    {"int8", Type::kInt8},       {"oid", Type::kOid},             {"float4", Type::kFloat4},
    {"float8", Type::kFloat8},   {"text", Type::kText},           {"varchar", Type::kVarchar},
    {"bpchar", Type::kBpchar},   {"name", Type::kName},           {"json", Type::kJson},
    {"jsonb", Type::kJsonb},     {"uuid", Type::kUuid},           {"bytea", Type::kBytea},
    {"numeric", Type::kNumeric}, {"date", Type::kDate},           {"time", Type::kTime},
    {"timestamp", Type::kTimestamp}, {"timestamptz", Type::kTimestamptz}, {"vector", Type::kVector},
};

}  // namespace

bool KindOf(std::string_view name, Kind* kind) {
  for (size_t i = 0; i < std::size(kKindNames); i++) {
    if (name == kKindNames[i]) {
      *kind = static_cast<Kind>(i);
      return true;
    }
  }
  return false;
}

const char* NameOf(Kind kind) { return kKindNames[static_cast<size_t>(kind)]; }

Type TypeOf(std::string_view type_name) {
  for (const auto& [name, type] : kTypeNames) {
    if (type_name == name) return type;
  }
  return Type::kOther;
}

bool Fits(Type type, Kind kind) {
  if (kind == Kind::kBytes) return true;
  switch (type) {
    case Type::kBool:
      return kind == Kind::kBool;
    case Type::kInt2:
      return kind == Kind::kInt16;
    case Type::kInt4:
    case Type::kDate:
      return kind == Kind::kInt32;
    case Type::kInt8:
    case Type::kOid:
    case Type::kTime:
    case Type::kTimestamp:
    case Type::kTimestamptz:
      return kind == Kind::kInt64;
    case Type::kFloat4:
      return kind == Kind::kFloat32;
    case Type::kFloat8:
      return kind == Kind::kFloat64;
    case Type::kUuid:
      return kind == Kind::kFixed;
    case Type::kVector:
      return kind == Kind::kVector;
    default:
      return false;
  }
}

size_t StrideOf(Kind kind, size_t width) {
  switch (kind) {
    case Kind::kBool:
      return 1;
    case Kind::kInt16:
      return 2;
    case Kind::kInt32:
    case Kind::kFloat32:
      return 4;
    case Kind::kInt64:
    case Kind::kFloat64:
      return 8;
    case Kind::kFixed:
      return width;
    case Kind::kVector:
      return width * 4;
    case Kind::kBytes:
      return 0;
  }
  return 0;
}

bool HasTextOutput(Type type) { return type != Type::kOther; }

}  // namespace elanus::codecs
