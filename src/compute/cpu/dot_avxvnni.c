/* dot_avxvnni.c - 6 x 16 tiles by vpdpbusd on 256 bits. */
#include "compute/cpu/dot_ymm.h"

#ifdef __AVXVNNI__
#define DPBUSD _mm256_dpbusd_avx_epi32
#else /* the same operation as AVX-512 spells it: for trying this file on processors without AVX-VNNI */
#define DPBUSD _mm256_dpbusd_epi32
#endif

INLINE void step(__m256i sums[ES_DOT_ROWS][2], __m256i left, __m256i right, const int8_t *a, const size_t rows)
{
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        __m256i x = load_step(a + 4 * i);
        sums[i][0] = DPBUSD(sums[i][0], left, x);
        sums[i][1] = DPBUSD(sums[i][1], right, x);
    }
}

INLINE void group_half(const es_dot *d, size_t g, const uint8_t *w, size_t col, const size_t rows, const size_t bits)
{
    const __m256i low = _mm256_set1_epi8(15);
    const uint8_t *scales = w + es_dot_weight_bytes(d->group, bits);
    const int8_t *a = d->a + g * d->group * rows;
    __m256i sums[ES_DOT_ROWS][2];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = _mm256_setzero_si256();
    w += 4 * col;
    for (size_t k = 0; k < d->group; k += bits == 8 ? 4 : 8) {
        __m256i left = load_weights(w), right = load_weights(w + 32);
        if (bits == 8) {
            step(sums, left, right, a, rows);
            a += 4 * rows;
        } else {
            step(sums, _mm256_and_si256(left, low), _mm256_and_si256(right, low), a, rows);
            left = _mm256_and_si256(_mm256_srli_epi16(left, 4), low);
            right = _mm256_and_si256(_mm256_srli_epi16(right, 4), low);
            step(sums, left, right, a + 4 * rows, rows);
            a += 8 * rows;
        }
        w += 4 * ES_DOT_COLS;
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        fold(d, scales, g, i, col, sums[i][0]);
        fold(d, scales, g, i, col + 8, sums[i][1]);
    }
}

INLINE void tile(const es_dot *d, const size_t rows, const size_t bits)
{
    size_t block = es_dot_block_bytes(d->group, bits, d->bf16);
    if (!d->add)
        memset(d->c, 0, rows * ES_DOT_COLS * sizeof *d->c);
    for (size_t g = 0; g < d->groups; g++) {
        group_half(d, g, d->panel + g * block, 0, rows, bits);
        group_half(d, g, d->panel + g * block, 16, rows, bits);
    }
}

#define TILE(R)                                                                                                        \
    static void tile_##R(const es_dot *d)                                                                              \
    {                                                                                                                  \
        if (d->bits == 8)                                                                                              \
            tile(d, R, 8);                                                                                             \
        else                                                                                                           \
            tile(d, R, 4);                                                                                             \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

static void multiply(const es_dot *d)
{
    static void (*const by_rows[])(const es_dot *) = {tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
    by_rows[d->rows - 1](d);
}

void es_dot_avxvnni(es_dot_kernels *k)
{
    *k = (es_dot_kernels){.name = "avxvnni", .quick_bytes = true, .quantise = quantise, .multiply = multiply};
}
