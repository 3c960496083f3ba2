// The add-on's exports; src/engine/index/native.ts is their contract.
#include <napi.h>

#include "job.h"
#include "kernels/kernels.h"
#include "request.h"
#include "segment.h"
#ifdef ELANUS_CODECS
#include "codecs/codecs.h"
#endif

namespace {

using namespace elanus;

/** Errors of ours become Error objects with `code`. */
template <Napi::Value (*Call)(const Napi::CallbackInfo&)>
Napi::Value Guarded(const Napi::CallbackInfo& info) {
  try {
    return Call(info);
  } catch (const NativeError& error) {
    throw MakeError(info.Env(), error.sql_state(), error.what());
  } catch (const std::bad_alloc&) {
    throw MakeError(info.Env(), "53200", "out of memory");
  } catch (const std::length_error& error) {
    throw MakeError(info.Env(), "XX000", error.what());
  }
}

Napi::Value CreateSegment(const Napi::CallbackInfo& info) {
  return EnvState::Get(info.Env())->segment_constructor.New({});
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  EnvState::Get(env);
  SegmentObject::Init(env);
  IndexObject::Init(env);
  InterimObject::Init(env);
  exports.Set("simd", Napi::String::New(env, Kernels::Get().name));
  exports.Set("createSegment", Napi::Function::New<Guarded<CreateSegment>>(env, "createSegment"));
  exports.Set("createInterim", Napi::Function::New<Guarded<InterimObject::Create>>(env, "createInterim"));
  exports.Set("buildHnsw", Napi::Function::New<Guarded<BuildHnsw>>(env, "buildHnsw"));
  exports.Set("loadHnsw", Napi::Function::New<Guarded<LoadHnsw>>(env, "loadHnsw"));
  exports.Set("search", Napi::Function::New<Guarded<Search>>(env, "search"));
  exports.Set("filter", Napi::Function::New<Guarded<FilterRows>>(env, "filter"));
  exports.Set("top", Napi::Function::New<Guarded<Top>>(env, "top"));
  exports.Set("aggregate", Napi::Function::New<Guarded<Aggregate>>(env, "aggregate"));
  exports.Set("distance", Napi::Function::New<Guarded<Distance>>(env, "distance"));
  exports.Set("mapFile", Napi::Function::New<Guarded<MapFile>>(env, "mapFile"));
  exports.Set("releasePages", Napi::Function::New<Guarded<ReleasePages>>(env, "releasePages"));
#ifdef ELANUS_CODECS
  InitCodecs(env, exports);
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(elanus, Init)
