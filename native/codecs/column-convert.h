// Columns and options between JavaScript and C++: the one place of codecs that knows both.
#pragma once
#include <napi.h>

#include <vector>

#include "column-sink.h"
#include "copy-read.h"
#include "rows-write.h"

namespace elanus::codecs {

/** A Uint8Array's bytes; TypeError for anything else. Valid while the value is kept alive and not detached. */
CopyInput ReadInput(const Napi::Value& value);
/** CopyColumn[] */
std::vector<ColumnSink> ReadSinks(const Napi::Value& value);
CopyTextFormat ReadTextFormat(const Napi::Value& value);
/** (Column & {typeName, format?})[], the row count and ordinals, all checked against each other. */
RowSet ReadRowSet(const Napi::Value& columns, const Napi::Value& row_count, const Napi::Value& rows);

/** Memory goes to JavaScript, which frees it. */
Napi::Value ToUint8Array(Napi::Env env, Bytes* bytes);
Napi::Value ToColumn(Napi::Env env, ColumnSink* sink);
Napi::Value ToCopyBlock(Napi::Env env, CopyOutput* output);

}  // namespace elanus::codecs
