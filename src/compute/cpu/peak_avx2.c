/* peak_avx2.c - peaks of AVX2 and FMA. */
#include "compute/cpu/peak.h"

#include <immintrin.h>

#include "compute/cpu/peak_loop.h"

#define FMA(c, one) _mm256_fmadd_ps(one, one, c)
#define DOT(c, one) _mm256_add_epi16(c, _mm256_maddubs_epi16(one, one))
#define WIDE(c, one) _mm256_add_epi32(c, _mm256_madd_epi16(one, one))

PEAK(es_peak_fma_avx2, __m256, _mm256_set1_ps(0.5f), "x", 16, FMA)
PEAK(es_peak_dot_avx2, __m256i, _mm256_set1_epi8(1), "x", 64, DOT)
PEAK(es_peak_wide_avx2, __m256i, _mm256_set1_epi8(1), "x", 32, WIDE)
