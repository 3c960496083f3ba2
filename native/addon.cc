// The add-on's exports; src/engine/index/native.ts is their contract.
#include <napi.h>

#include "job.h"
#ifdef ELANUS_CODECS
#include "codecs/codecs.h"
#endif

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  elanus::EnvState::Get(env);
#ifdef ELANUS_CODECS
  using namespace elanus;
  InitCodecs(env, exports);
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(elanus, Init)
