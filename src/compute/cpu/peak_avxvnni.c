/* peak_avxvnni.c - peak of vpdpbusd on 256 bits. */
#include "compute/cpu/peak.h"

#include <immintrin.h>

#include "compute/cpu/peak_loop.h"

#define DOT(c, one) _mm256_dpbusd_avx_epi32(c, one, one)

PEAK(es_peak_dot_avxvnni, __m256i, _mm256_set1_epi8(1), "x", 64, DOT)
