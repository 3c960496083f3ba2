// SSE2 on x86-64, NEON on arm64 (through the compiler's vectors), anything elsewhere.
#define ELANUS_NAME "baseline"
#define ELANUS_WIDTH 4
#include "kernels-impl.h"

namespace elanus {
const Kernels* KernelsBaseline() { return &kTable; }
}  // namespace elanus
