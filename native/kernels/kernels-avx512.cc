#if defined(__AVX512F__)
#define ELANUS_NAME "avx512"
#define ELANUS_WIDTH 16
#include "kernels-impl.h"

namespace elanus {
const Kernels* KernelsAvx512() { return &kTable; }
}  // namespace elanus
#else
#include "kernels.h"

namespace elanus {
const Kernels* KernelsAvx512() { return nullptr; }
}  // namespace elanus
#endif
