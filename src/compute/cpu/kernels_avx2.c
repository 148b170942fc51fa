/* kernels_avx2.c - the words of AVX2, FMA and F16C for kernels_vector.h. */
#include "compute/cpu/kernels.h"

#include <immintrin.h>

#define VL 8
#define MR 6 /* 6 x 16: 12 sums, two weights and one x of 16 registers */
#define NR 16

typedef __m256 vf;
typedef __m256i vi;
typedef __m256d vd;

#define v_set _mm256_set1_ps
#define v_load _mm256_loadu_ps
#define v_store _mm256_storeu_ps
#define v_add _mm256_add_ps
#define v_sub _mm256_sub_ps
#define v_mul _mm256_mul_ps
#define v_quotient _mm256_div_ps
#define v_fma _mm256_fmadd_ps
#define v_max _mm256_max_ps
#define v_min _mm256_min_ps
#define v_round(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_where_negative(x, a, b) _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ))
#define v_load_halves(p) _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p)))
#define v_store_halves(p, v) _mm_storeu_si128((void *)(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define vi_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vi_zero _mm256_setzero_si256
#define vi_set(bits) _mm256_set1_epi32((int)(bits))
#define vi_and _mm256_and_si256
#define vi_or _mm256_or_si256
#define vi_left(a, n) _mm256_slli_epi32(a, (int)(n))
#define vi_right(a, n) _mm256_srli_epi32(a, (int)(n))
#define vi_as_float _mm256_castsi256_ps
#define vi_to_float _mm256_cvtepi32_ps
#define vd_set _mm256_set1_pd
#define vd_add _mm256_add_pd
#define vd_sub _mm256_sub_pd
#define vd_mul _mm256_mul_pd
#define vd_fma _mm256_fmadd_pd
#define vd_low(v) _mm256_cvtps_pd(_mm256_castps256_ps128(v))
#define vd_high(v) _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))
#define vd_narrow(low, high)                                                                                           \
    _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high), 1)

#define INLINE_WORD static inline __attribute__((always_inline))

/* 2^n in two factors, each a normal number, so that only the last product rounds. */
INLINE_WORD vf v_scale2(vf p, vf n)
{
    vi whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
    vi one = _mm256_set1_epi32(127);
    vf first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23));
    vf second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, first), second);
}

INLINE_WORD vf v_scale2_near(vf p, vf n)
{
    vi bits = _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23));
    return _mm256_castsi256_ps(bits);
}

INLINE_WORD float v_largest(vf v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

INLINE_WORD void v_store_fours(int8_t *p, const vf four[4])
{
    vi low = _mm256_and_si256(_mm256_castps_si256(four[0]), _mm256_set1_epi32(255));
    for (int i = 1; i < 4; i++) /* the bits above a byte are those of 2^23, zeros where they would stay */
        low = _mm256_or_si256(low, _mm256_slli_epi32(_mm256_castps_si256(four[i]), 8 * i));
    _mm256_storeu_si256((void *)p, low);
}

INLINE_WORD double vd_sum(vd v)
{
    __m128d m = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(m, _mm_unpackhi_pd(m, m)));
}

/* The low 16 bits of each number, side by side, as halves. */
INLINE_WORD vf vi_half_to_float(vi a)
{
    vi low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    vi packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}

/* 8 x 8: within lanes of four by pairs and by pairs of pairs, then the two lanes. */
INLINE_WORD void v_transpose(vi t[VL])
{
    vi a[VL], b[VL];
    for (int i = 0; i < VL; i += 2) {
        a[i] = _mm256_unpacklo_epi32(t[i], t[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(t[i], t[i + 1]);
    }
    for (int i = 0; i < VL; i += 4) {
        b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int j = 0; j < 4; j++) {
        t[j] = _mm256_permute2x128_si256(b[j], b[j + 4], 0x20);
        t[j + 4] = _mm256_permute2x128_si256(b[j], b[j + 4], 0x31);
    }
}

#include "compute/cpu/kernels_vector.h"

void es_kernels_avx2(es_kernels *k)
{
    fill_table(k);
}
