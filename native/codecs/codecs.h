// Value codecs: text and binary forms of values and rows. Contract: src/engine/index/native.ts.
#pragma once
#include <napi.h>

namespace elanus {

void InitCodecs(Napi::Env env, Napi::Object exports);

}  // namespace elanus
