/* kernels_neon.c - the words of aarch64 Advanced SIMD for kernels_vector.h. */
#include "compute/cpu/kernels.h"

#include <arm_neon.h>

#define VL 4
#define MR 6 /* 6 x 16: 24 sums, four weights and one x of 32 registers */
#define NR 16

typedef float32x4_t vf;
typedef uint32x4_t vi;
typedef float64x2_t vd;

#define v_set vdupq_n_f32
#define v_load vld1q_f32
#define v_store vst1q_f32
#define v_add vaddq_f32
#define v_sub vsubq_f32
#define v_mul vmulq_f32
#define v_quotient vdivq_f32
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_max vmaxq_f32
#define v_min vminq_f32
#define v_round vrndnq_f32
#define v_where_negative(x, a, b) vbslq_f32(vcltzq_f32(x), a, b)
#define v_largest vmaxvq_f32
#define v_load_halves(p) vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#define v_store_halves(p, v) vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)))
#define vi_load(p) vreinterpretq_u32_u8(vld1q_u8(p))
#define vi_zero() vdupq_n_u32(0)
#define vi_set vdupq_n_u32
#define vi_and vandq_u32
#define vi_or vorrq_u32
#define vi_left(a, n) vshlq_u32(a, vdupq_n_s32((int32_t)(n)))
#define vi_right(a, n) vshlq_u32(a, vdupq_n_s32(-(int32_t)(n)))
#define vi_as_float vreinterpretq_f32_u32
#define vi_to_float vcvtq_f32_u32
#define vi_half_to_float(a) vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(a)))
#define vd_set vdupq_n_f64
#define vd_add vaddq_f64
#define vd_sub vsubq_f64
#define vd_mul vmulq_f64
#define vd_fma(a, b, c) vfmaq_f64(c, a, b)
#define vd_sum vaddvq_f64
#define vd_low(v) vcvt_f64_f32(vget_low_f32(v))
#define vd_high(v) vcvt_high_f64_f32(v)
#define vd_narrow(low, high) vcvt_high_f32_f64(vcvt_f32_f64(low), high)

#define INLINE_WORD static inline __attribute__((always_inline))

/* 2^n in two factors, each a normal number, so that only the last product rounds. */
INLINE_WORD vf v_scale2(vf p, vf n)
{
    int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
    int32x4_t one = vdupq_n_s32(127);
    vf first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, one), 23));
    vf second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, one), 23));
    return vmulq_f32(vmulq_f32(p, first), second);
}

INLINE_WORD vf v_scale2_near(vf p, vf n)
{
    int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(vcvtq_s32_f32(n), 23));
    return vreinterpretq_f32_s32(bits);
}

INLINE_WORD void v_store_fours(int8_t *p, const vf four[4])
{
    vi bytes = vreinterpretq_u32_f32(four[0]);
    bytes = vsliq_n_u32(bytes, vreinterpretq_u32_f32(four[1]), 8);
    bytes = vsliq_n_u32(bytes, vreinterpretq_u32_f32(four[2]), 16);
    vst1q_s8(p, vreinterpretq_s8_u32(vsliq_n_u32(bytes, vreinterpretq_u32_f32(four[3]), 24)));
}

INLINE_WORD void v_transpose(vi t[VL])
{
    uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(t[0], t[1])), b = vreinterpretq_u64_u32(vtrn2q_u32(t[0], t[1]));
    uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(t[2], t[3])), d = vreinterpretq_u64_u32(vtrn2q_u32(t[2], t[3]));
    t[0] = vreinterpretq_u32_u64(vtrn1q_u64(a, c));
    t[1] = vreinterpretq_u32_u64(vtrn1q_u64(b, d));
    t[2] = vreinterpretq_u32_u64(vtrn2q_u64(a, c));
    t[3] = vreinterpretq_u32_u64(vtrn2q_u64(b, d));
}

#include "compute/cpu/kernels_vector.h"

void es_kernels_neon(es_kernels *k)
{
    fill_table(k);
}
