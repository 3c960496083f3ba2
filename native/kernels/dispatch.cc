// Chooses the instruction set once: the best this CPU has, or a lower one named by ELANUS_SIMD.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

namespace elanus {
namespace {

const Kernels* Choose() {
  const char* wish = std::getenv("ELANUS_SIMD");
  int limit = 2;
  if (wish && std::strcmp(wish, "baseline") == 0) limit = 0;
  if (wish && std::strcmp(wish, "avx2") == 0) limit = 1;
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
              __builtin_cpu_supports("popcnt");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512vnni");
  if (limit >= 2 && avx512 && KernelsAvx512()) return KernelsAvx512();
  if (limit >= 1 && avx2 && KernelsAvx2()) return KernelsAvx2();
#endif
  return KernelsBaseline();
}

}  // namespace

const Kernels& Kernels::Get() {
  static const Kernels* chosen = Choose();
  return *chosen;
}

}  // namespace elanus
