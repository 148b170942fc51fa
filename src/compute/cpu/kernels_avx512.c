/* kernels_avx512.c - the words of AVX-512 (F, DQ, BW, VL) for kernels_vector.h. */
#include "compute/cpu/kernels.h"

#include <immintrin.h>

#define VL 16
#define MR 12 /* 12 x 32: 24 sums, two weights and one x of 32 registers */
#define NR 32

typedef __m512 vf;
typedef __m512i vi;
typedef __m512d vd;

#define v_set _mm512_set1_ps
#define v_load _mm512_loadu_ps
#define v_store _mm512_storeu_ps
#define v_add _mm512_add_ps
#define v_sub _mm512_sub_ps
#define v_mul _mm512_mul_ps
#define v_fma _mm512_fmadd_ps
#define v_max _mm512_max_ps
#define v_min _mm512_min_ps
#define v_round(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_scale2 _mm512_scalef_ps
#define v_scale2_near _mm512_scalef_ps
#define v_above_floor(x) _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)
#define v_scale2_floor _mm512_scalef_ps
#define v_where_negative(x, a, b) _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), b, a)
#define v_largest _mm512_reduce_max_ps
#define v_load_halves(p) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p)))
#define v_store_halves(p, v) _mm256_storeu_si256((void *)(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define vi_load(p) _mm512_loadu_si512((const void *)(p))
#define vi_zero _mm512_setzero_si512
#define vi_set(bits) _mm512_set1_epi32((int)(bits))
#define vi_and _mm512_and_si512
#define vi_or _mm512_or_si512
#define vi_left(a, n) _mm512_slli_epi32(a, (unsigned)(n))
#define vi_right(a, n) _mm512_srli_epi32(a, (unsigned)(n))
#define vi_as_float _mm512_castsi512_ps
#define vi_to_float _mm512_cvtepi32_ps
#define vi_half_to_float(a) _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a))
#define vd_set _mm512_set1_pd
#define vd_add _mm512_add_pd
#define vd_sub _mm512_sub_pd
#define vd_mul _mm512_mul_pd
#define vd_fma _mm512_fmadd_pd
#define vd_sum _mm512_reduce_add_pd
#define vd_low(v) _mm512_cvtps_pd(_mm512_castps512_ps256(v))
#define vd_high(v) _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))
#define vd_narrow(low, high) _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1)

/* By the processor's estimate of 1 / b, 2^-14 off, and a step of Newton's: a third of what a division takes. */
static inline __attribute__((always_inline)) vf v_quotient(vf a, vf b)
{
    vf r = _mm512_rcp14_ps(b);
    return _mm512_mul_ps(a, _mm512_fmadd_ps(r, _mm512_fnmadd_ps(b, r, _mm512_set1_ps(1.0f)), r));
}

static inline __attribute__((always_inline)) void v_store_fours(int8_t *p, const vf four[4])
{
    enum { A_AND_B_OR_C = 0xea, ANY = 0xfe };
    vi low = _mm512_castps_si512(four[0]), second = _mm512_slli_epi32(_mm512_castps_si512(four[1]), 8);
    vi third = _mm512_slli_epi32(_mm512_castps_si512(four[2]), 16);
    vi last = _mm512_slli_epi32(_mm512_castps_si512(four[3]), 24);
    low = _mm512_ternarylogic_epi32(low, _mm512_set1_epi32(255), last, A_AND_B_OR_C);
    /* what stands above the bytes is that of 2^23, whose bits but the highest nine are 0, and is shifted out */
    _mm512_storeu_si512(p, _mm512_ternarylogic_epi32(low, second, third, ANY));
}

/* 16 x 16: within lanes of four by pairs and by pairs of pairs, then the lanes themselves. */
static inline __attribute__((always_inline)) void v_transpose(vi t[VL])
{
    vi a[VL], b[VL];
    for (int i = 0; i < VL; i += 2) {
        a[i] = _mm512_unpacklo_epi32(t[i], t[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(t[i], t[i + 1]);
    }
    for (int i = 0; i < VL; i += 4) { /* b[i + j]: column 4 l + j of rows i .. i + 3 in lane l */
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int j = 0; j < 4; j++) {
        vi low02 = _mm512_shuffle_i32x4(b[j], b[j + 4], 0x88), low13 = _mm512_shuffle_i32x4(b[j], b[j + 4], 0xdd);
        vi top02 = _mm512_shuffle_i32x4(b[j + 8], b[j + 12], 0x88);
        vi top13 = _mm512_shuffle_i32x4(b[j + 8], b[j + 12], 0xdd);
        t[j] = _mm512_shuffle_i32x4(low02, top02, 0x88);
        t[j + 8] = _mm512_shuffle_i32x4(low02, top02, 0xdd);
        t[j + 4] = _mm512_shuffle_i32x4(low13, top13, 0x88);
        t[j + 12] = _mm512_shuffle_i32x4(low13, top13, 0xdd);
    }
}

#include "compute/cpu/kernels_vector.h"

/* --- weights as bytes, 32 at a time in words of 16 bits --- */

/* 2^-(i / 32) * 127 * 2^8, rounded. */
static const uint16_t powers[32] = {
    32512, 31815, 31134, 30466, 29814, 29175, 28550, 27938, 27339, 26753, 26180, 25619, 25070, 24533, 24007, 23493,
    22989, 22497, 22015, 21543, 21081, 20630, 20188, 19755, 19332, 18918, 18512, 18115, 17727, 17347, 16976, 16612,
};

/* How many 32nds of a power of two each of 32 scores lies below the top, whose own are `high`: 16 of one key, 16 of the
 * next, four by four. */
static inline __attribute__((always_inline)) vi v_steps_below(const float *s, vf high, vf factor)
{
    vi one = _mm512_cvtps_epu32(_mm512_fnmadd_ps(_mm512_loadu_ps(s), factor, high));
    vi next = _mm512_cvtps_epu32(_mm512_fnmadd_ps(_mm512_loadu_ps(s + ES_WEIGH_QUERIES), factor, high));
    return _mm512_packs_epi32(one, next); /* too many become 2^15 - 1, or 2^16 - 1 */
}

/* 127 * 2^-(steps / 32), to the nearest: by a table of 2^-f, and a shift. */
static inline __attribute__((always_inline)) vi v_words(vi steps)
{
    vi power = _mm512_permutexvar_epi16(steps, _mm512_loadu_si512(powers)); /* by the lowest five bits */
    vi word = _mm512_srlv_epi16(power, _mm512_srli_epi16(steps, 5));
    return _mm512_mulhrs_epi16(word, _mm512_set1_epi16(128)); /* 2^-8, rounded */
}

/* Bytes of VL queries and all keys of a group, and their sums. */
static inline __attribute__((always_inline)) vi v_weigh_words(int8_t *a, const float *s, vf high, vf factor)
{
    /* within lanes: four queries of a key, of the next ... to four keys of a query, of the next ... */
    const vi turn = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    vi pairs = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (size_t j = 0; j < ES_WEIGH; j += 4) {
        vi first = v_words(v_steps_below(s + j * ES_WEIGH_QUERIES, high, factor));
        vi second = v_words(v_steps_below(s + (j + 2) * ES_WEIGH_QUERIES, high, factor));
        vi bytes = _mm512_shuffle_epi8(_mm512_packus_epi16(first, second), turn);
        pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1))); /* 16 * 254 at most */
        _mm512_storeu_si512(a + j * ES_WEIGH_QUERIES, bytes);
    }
    return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

static bool weigh_words(int8_t *a, float *scale, float *sum, float *rescale, const float *s, const float *factor,
                        size_t seen, float *max, float *sum_all)
{
    float top[ES_WEIGH_QUERIES];
    vf high[ES_WEIGH_QUERIES / VL], steps[ES_WEIGH_QUERIES / VL];
    unsigned coarse = 0; /* rounded by more than a part of a step, or no number */
    if (seen < ES_WEIGH)
        return weigh(a, scale, sum, rescale, s, factor, seen, max, sum_all);
    weigh_tops(top, s, ES_WEIGH);
    for (size_t i = 0; i < ES_WEIGH_QUERIES / VL; i++) {
        steps[i] = v_mul(v_load(factor + i * VL), v_set(32.0f));
        /* never less than the product itself, so that no score lies above it */
        high[i] = _mm512_mul_round_ps(v_load(top + i * VL), steps[i], _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
        coarse |= _mm512_cmp_ps_mask(_mm512_abs_ps(high[i]), v_set(0x1p20f), _CMP_NLT_UQ);
    }
    if (coarse != 0)
        return weigh(a, scale, sum, rescale, s, factor, seen, max, sum_all);
    for (size_t i = 0; i < ES_WEIGH_QUERIES / VL; i++)
        v_store(sum + i * VL, _mm512_cvtepi32_ps(v_weigh_words(a + 4 * i * VL, s + i * VL, high[i], steps[i])));
    return weigh_sums(scale, sum, rescale, top, factor, max, sum_all);
}

void es_kernels_avx512(es_kernels *k)
{
    fill_table(k);
    k->weigh = weigh_words;
}
