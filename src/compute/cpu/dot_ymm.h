/* dot_ymm.h - what the two kernels on 256 bits share: rows to bytes, and a group's whole sums into the float ones. */
#ifndef ES_COMPUTE_CPU_DOT_YMM_H
#define ES_COMPUTE_CPU_DOT_YMM_H

#include "compute/cpu/dot.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256i load_step(const int8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm256_set1_epi32(four);
}

INLINE __m256i load_weights(const uint8_t *w)
{
    return _mm256_loadu_si256((const void *)w);
}

INLINE __m256 load_scales(const uint8_t *p, size_t i, bool bf16)
{
    if (bf16)
        return _mm256_castsi256_ps(
            _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p + 2 * i))), 16));
    return _mm256_loadu_ps((const void *)(p + 4 * i));
}

/* 16 columns from `col` on of up to 6 rows: c += (scale * dot + bias * sum) * s, scales being those of the block. */
INLINE void fold(const es_dot *d, const uint8_t *scales, const bool bf16, size_t g, size_t row, size_t col,
                 __m256i dots[][2], const size_t rows)
{
    const float *row_sum = d->sum + g * d->stride + row, *row_scale = d->scale + g * d->stride + row;
    __m256 scale[2] = {load_scales(scales, col, bf16), load_scales(scales, col + 8, bf16)};
    __m256 bias[2] = {load_scales(scales, ES_DOT_COLS + col, bf16), load_scales(scales, ES_DOT_COLS + col + 8, bf16)};
    float *c = d->c + row * ES_DOT_COLS + col;
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++, c += ES_DOT_COLS) {
        __m256 sum = _mm256_set1_ps(row_sum[i]), s = _mm256_set1_ps(row_scale[i]);
#pragma GCC unroll 2
        for (size_t j = 0; j < 2; j++) {
            __m256 inner = _mm256_fmadd_ps(scale[j], _mm256_cvtepi32_ps(dots[i][j]), _mm256_mul_ps(bias[j], sum));
            _mm256_storeu_ps(c + 8 * j, _mm256_fmadd_ps(inner, s, _mm256_loadu_ps(c + 8 * j)));
        }
    }
}

INLINE uint32_t largest(__m256i v)
{
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(half);
}

INLINE int32_t total_of(__m256i v)
{
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return _mm_cvtsi128_si32(half);
}

static void quantise_group(int8_t *a, float *scale, float *sum, const float *x, size_t stride, size_t group)
{
    __m256i top = _mm256_setzero_si256(), magnitude = _mm256_set1_epi32(0x7fffffff), total = _mm256_setzero_si256();
    for (size_t k = 0; k < group; k += 8)
        top = _mm256_max_epi32(top, _mm256_and_si256(_mm256_loadu_si256((const void *)(x + k)), magnitude));
    float reciprocal;
    es_dot_scales(largest(top), scale, &reciprocal);
    int32_t four[ES_DOT_GROUP / 4] = {0};
    __m256 factor = _mm256_set1_ps(reciprocal);
    for (size_t k = 0; k < group && reciprocal != 0.0f; k += 32) {
        __m256i q[4];
        for (size_t i = 0; i < 4; i++) {
            q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + k + 8 * i), factor));
            total = _mm256_add_epi32(total, q[i]);
        }
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        /* packing works on halves: fours of inputs come as 0 2 4 6 1 3 5 7 */
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((void *)(four + k / 4), bytes);
    }
    for (size_t i = 0; i < group / 4; i++)
        memcpy(a + i * stride * 4, &four[i], sizeof four[i]);
    *sum = (float)total_of(total);
}

static void quantise(int8_t *a, float *scale, float *sum, const float *x, size_t x_row, size_t rows, size_t k,
                     size_t group, size_t stride)
{
    for (size_t g = 0; g < k / group; g++)
        for (size_t i = 0; i < rows; i++)
            quantise_group(a + g * group * stride + i * 4, scale + g * stride + i, sum + g * stride + i,
                           x + i * x_row + g * group, stride, group);
}

#endif
