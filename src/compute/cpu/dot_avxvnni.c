/* dot_avxvnni.c - 6 x 16 tiles by vpdpbusd on 256 bits. */
#include "compute/cpu/dot_ymm.h"

#ifdef __AVXVNNI__
#define DPBUSD "%{vex%} vpdpbusd"
#else /* the same operation as AVX-512 spells it: for trying this file on processors without AVX-VNNI */
#define DPBUSD "vpdpbusd"
#endif

/* Spelled out because compilers copy the sum before each step of the intrinsic, and then run out of registers. */
INLINE void dot_step(__m256i *sum, __m256i w, __m256i x)
{
    __asm__(DPBUSD " %2, %1, %0" : "+x"(*sum) : "x"(w), "x"(x));
}

INLINE void step(__m256i sums[ES_DOT_PART][2], __m256i left, __m256i right, const int8_t *a, const size_t rows)
{
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        __m256i x = load_step(a + 4 * i);
        dot_step(&sums[i][0], left, x);
        dot_step(&sums[i][1], right, x);
    }
}

/* Rows [row, row + rows) and 16 columns of one group. */
INLINE void group_half(const es_dot *d, size_t g, const uint8_t *w, size_t row, size_t col, const size_t rows,
                       const size_t bits)
{
    const __m256i low = _mm256_set1_epi8(15);
    const uint8_t *scales = w + es_dot_weight_bytes(d->group, bits);
    const size_t next = 4 * d->stride;
    const int8_t *a = d->a + g * d->group * d->stride + 4 * row;
    __m256i sums[ES_DOT_PART][2];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = _mm256_setzero_si256();
    w += 4 * col;
    for (size_t k = 0; k < d->group; k += bits == 8 ? 4 : 8) {
        __m256i left = load_weights(w), right = load_weights(w + 32);
        if (bits == 8) {
            step(sums, left, right, a, rows);
            a += next;
        } else {
            step(sums, _mm256_and_si256(left, low), _mm256_and_si256(right, low), a, rows);
            left = _mm256_and_si256(_mm256_srli_epi16(left, 4), low);
            right = _mm256_and_si256(_mm256_srli_epi16(right, 4), low);
            step(sums, left, right, a + next, rows);
            a += 2 * next;
        }
        w += 4 * ES_DOT_COLS;
    }
    fold(d, scales, d->bf16, g, row, col, sums, rows);
}

#include "compute/cpu/dot_halves.h"

void es_dot_avxvnni(es_dot_kernels *k)
{
    *k = (es_dot_kernels){
        .name = "avxvnni", .quick_bytes = true, .quantise = quantise, .multiply = multiply, .unpack = es_dot_unpack};
}
