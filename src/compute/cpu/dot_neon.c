/* dot_neon.c - 6 x 16 tiles by sdot, two of them where a tile has more rows. Weights of 8 bits become signed by taking
 * 128 off; 128 * sum is added again. */
#include "compute/cpu/dot.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

INLINE int8x16_t load_step(const int8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

INLINE void step(int32x4_t sums[ES_DOT_PART][4], const int8x16_t w[4], const int8_t *a, const size_t rows)
{
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        int8x16_t x = load_step(a + 4 * i);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++)
            sums[i][j] = vdotq_s32(sums[i][j], w[j], x);
    }
}

INLINE float32x4_t load_scales(const uint8_t *p, size_t i, bool bf16)
{
    if (bf16)
        return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p + 2 * i)), 16));
    return vreinterpretq_f32_u8(vld1q_u8(p + 4 * i));
}

INLINE void fold(const es_dot *d, const uint8_t *scales, size_t g, size_t row, size_t col, int32x4_t dot)
{
    float *c = d->c + row * ES_DOT_COLS + col;
    float32x4_t scale = load_scales(scales, col, d->bf16), bias = load_scales(scales, ES_DOT_COLS + col, d->bf16);
    float32x4_t sum = vdupq_n_f32(d->sum[g * d->stride + row]), s = vdupq_n_f32(d->scale[g * d->stride + row]);
    float32x4_t inner = vfmaq_f32(vmulq_f32(bias, sum), scale, vcvtq_f32_s32(dot));
    vst1q_f32(c, vfmaq_f32(vld1q_f32(c), inner, s));
}

/* Rows [row, row + rows) and 16 columns of one group. */
INLINE void group_half(const es_dot *d, size_t g, const uint8_t *w, size_t row, size_t col, const size_t rows,
                       const size_t bits)
{
    const uint8_t *scales = w + es_dot_weight_bytes(d->group, bits);
    const size_t next = 4 * d->stride;
    const int8_t *a = d->a + g * d->group * d->stride + 4 * row;
    int32x4_t sums[ES_DOT_PART][4];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < 4; j++)
            sums[i][j] = vdupq_n_s32(bits == 8 ? 128 * (int32_t)d->sum[g * d->stride + row + i] : 0);
    w += 4 * col;
    for (size_t k = 0; k < d->group; k += bits == 8 ? 4 : 8) {
        int8x16_t first[4], second[4];
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            uint8x16_t v = vld1q_u8(w + 16 * j);
            first[j] = vreinterpretq_s8_u8(bits == 8 ? veorq_u8(v, vdupq_n_u8(128)) : vandq_u8(v, vdupq_n_u8(15)));
            second[j] = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
        }
        step(sums, first, a, rows);
        if (bits == 4)
            step(sums, second, a + next, rows);
        a += bits == 8 ? next : 2 * next;
        w += 4 * ES_DOT_COLS;
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < 4; j++)
            fold(d, scales, g, row + i, col + 4 * j, sums[i][j]);
}

#include "compute/cpu/dot_halves.h"

static void quantise_group(int8_t *a, float *scale, float *sum, const float *x, size_t stride, size_t group)
{
    uint32x4_t top = vdupq_n_u32(0);
    int32x4_t total = vdupq_n_s32(0);
    for (size_t k = 0; k < group; k += 4)
        top = vmaxq_u32(top, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + k)), vdupq_n_u32(0x7fffffffu)));
    float reciprocal;
    es_dot_scales(vmaxvq_u32(top), scale, &reciprocal);
    for (size_t k = 0; k < group; k += 4) {
        int32_t four = 0;
        if (reciprocal != 0.0f) {
            int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + k), reciprocal));
            total = vaddq_s32(total, q);
            int16x4_t half = vqmovn_s32(q);
            four = vget_lane_s32(vreinterpret_s32_s8(vqmovn_s16(vcombine_s16(half, half))), 0);
        }
        memcpy(a + k / 4 * stride * 4, &four, sizeof four);
    }
    *sum = (float)vaddvq_s32(total);
}

static void quantise(int8_t *a, float *scale, float *sum, const float *x, size_t x_row, size_t rows, size_t k,
                     size_t group, size_t stride)
{
    for (size_t g = 0; g < k / group; g++)
        for (size_t i = 0; i < rows; i++)
            quantise_group(a + g * group * stride + i * 4, scale + g * stride + i, sum + g * stride + i,
                           x + i * x_row + g * group, stride, group);
}

void es_dot_neon(es_dot_kernels *k)
{
    *k = (es_dot_kernels){
        .name = "neondot", .quick_bytes = true, .quantise = quantise, .multiply = multiply, .unpack = es_dot_unpack};
}
