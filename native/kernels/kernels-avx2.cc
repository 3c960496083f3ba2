#if defined(__AVX2__)
#define ELANUS_NAME "avx2"
#define ELANUS_WIDTH 8
#include "kernels-impl.h"

namespace elanus {
const Kernels* KernelsAvx2() { return &kTable; }
}  // namespace elanus
#else
#include "kernels.h"

namespace elanus {
const Kernels* KernelsAvx2() { return nullptr; }
}  // namespace elanus
#endif
