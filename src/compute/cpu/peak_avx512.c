/* peak_avx512.c - peaks of AVX-512: float32 and VNNI. */
#include "compute/cpu/peak.h"

#include <immintrin.h>

#include "compute/cpu/peak_loop.h"

#define FMA(c, one) _mm512_fmadd_ps(one, one, c)
#define DOT(c, one) _mm512_dpbusd_epi32(c, one, one)

PEAK(es_peak_fma_avx512, __m512, _mm512_set1_ps(0.5f), "v", 32, FMA)
PEAK(es_peak_dot_avx512, __m512i, _mm512_set1_epi8(1), "v", 128, DOT)
