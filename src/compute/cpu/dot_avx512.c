/* dot_avx512.c - tiles of up to 12 x 32 by vpdpbusd on 512 bits.
 *
 * A group's whole sums stay in registers (24 of 32 for a whole tile); the float ones too where a tile is small, else
 * they wait in c. The instruction is spelled out because compilers copy the sum before each of its steps and then run
 * out of registers: with the intrinsic the same loop reaches 40 to 70 % of what it does now.
 */
#include "compute/cpu/dot.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define HELD 5 /* rows of a tile whose float sums stay in registers */
/* Bytes of weights to look ahead: the processor by itself does not look far enough, least where a few rows leave it
 * much to compute with each. */
#define AHEAD 8192
#define FEW                                                                                                            \
    4 /* rows at most of a tile with two sets of sums, so that an instruction need not wait for the one before */

/* sum += four unsigned bytes of w times four signed ones of x, in each lane. */
INLINE void dot_step(__m512i *sum, __m512i w, __m512i x)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(w), "v"(x));
}

INLINE __m512i load_step(const int8_t *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm512_set1_epi32(four);
}

/* One step of four inputs. */
INLINE void step(__m512i sums[ES_DOT_ROWS][2], __m512i left, __m512i right, const int8_t *a, const size_t rows)
{
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++) {
        __m512i x = load_step(a + 4 * i);
        dot_step(&sums[i][0], left, x);
        dot_step(&sums[i][1], right, x);
    }
}

/* Two steps. */
INLINE void two_steps(__m512i first[ES_DOT_ROWS][2], __m512i second[ES_DOT_ROWS][2], const uint8_t *w, const int8_t *a,
                      const size_t next, const size_t rows, const size_t bits)
{
    __m512i left = _mm512_load_si512(w), right = _mm512_load_si512(w + 64);
    if (bits == 8) {
        step(first, left, right, a, rows);
        left = _mm512_load_si512(w + 128);
        right = _mm512_load_si512(w + 192);
        step(rows <= FEW ? second : first, left, right, a + next, rows);
        return;
    }
    const __m512i low = _mm512_set1_epi8(15);
    step(first, _mm512_and_si512(left, low), _mm512_and_si512(right, low), a, rows);
    left = _mm512_and_si512(_mm512_srli_epi16(left, 4), low);
    right = _mm512_and_si512(_mm512_srli_epi16(right, 4), low);
    step(rows <= FEW ? second : first, left, right, a + next, rows);
}

INLINE __m512 load_scales(const uint8_t *p, size_t i, bool bf16)
{
    if (bf16)
        return _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p + 2 * i))), 16));
    return _mm512_loadu_ps((const void *)(p + 4 * i));
}

/* c += (scale * dot + bias * sum) * s */
INLINE __m512 fold(__m512 c, __m512i dot, __m512 scale, __m512 bias, __m512 sum, __m512 s)
{
    __m512 inner = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot), _mm512_mul_ps(bias, sum));
    return _mm512_fmadd_ps(inner, s, c);
}

INLINE __m512 start(const es_dot *d, size_t at, bool from_zero)
{
    return from_zero ? _mm512_setzero_ps() : _mm512_loadu_ps(d->c + at);
}

INLINE void tile(const es_dot *d, const size_t rows, const size_t bits)
{
    const size_t groups = d->groups, pair = bits == 8 ? 256 : 128;
    const bool held = rows <= HELD;
    __m512 c[HELD][2];
    for (size_t i = 0; i < rows && held; i++)
        for (size_t j = 0; j < 2; j++)
            c[i][j] = start(d, i * ES_DOT_COLS + 16 * j, !d->add);
    const uint8_t *w = d->panel;
    const int8_t *a = d->a;
    const size_t pairs = d->group / 8, stride = d->stride, next = 4 * stride;
    /* Variables of their own, which no store can change: what d points at would be read again after each. */
    const float *row_scale = d->scale, *row_sum = d->sum; /* of the group at hand */
    const bool bf16 = d->bf16, add = d->add;
    const size_t width = bf16 ? 2 : 4;
    float *to = d->c;
    for (size_t g = 0; g < groups; g++, row_scale += stride, row_sum += stride) {
        __m512i sums[ES_DOT_ROWS][2], others[ES_DOT_ROWS][2];
#pragma GCC unroll 12
        for (size_t i = 0; i < rows; i++)
            sums[i][0] = sums[i][1] = others[i][0] = others[i][1] = _mm512_setzero_si512();
        for (size_t p = 0; p < pairs; p++) {
            for (size_t i = 0; i < pair; i += 64)
                __builtin_prefetch(w + AHEAD + i, 0, 2);
            two_steps(sums, others, w, a, next, rows, bits);
            w += pair;
            a += 2 * next;
        }
        __m512 scale[2] = {load_scales(w, 0, bf16), load_scales(w, 16, bf16)};
        __m512 bias[2] = {load_scales(w, 32, bf16), load_scales(w, 48, bf16)};
        w += 2 * ES_DOT_COLS * width;
#pragma GCC unroll 12
        for (size_t i = 0; i < rows; i++) {
            __m512 sum = _mm512_set1_ps(row_sum[i]), s = _mm512_set1_ps(row_scale[i]);
#pragma GCC unroll 2
            for (size_t j = 0; j < 2; j++) {
                __m512i dot = rows <= FEW ? _mm512_add_epi32(sums[i][j], others[i][j]) : sums[i][j];
                float *at = to + i * ES_DOT_COLS + 16 * j;
                if (held)
                    c[i][j] = fold(c[i][j], dot, scale[j], bias[j], sum, s);
                else if (g == 0 && !add)
                    _mm512_storeu_ps(at, fold(_mm512_setzero_ps(), dot, scale[j], bias[j], sum, s));
                else
                    _mm512_storeu_ps(at, fold(_mm512_loadu_ps(at), dot, scale[j], bias[j], sum, s));
            }
        }
    }
    for (size_t i = 0; i < rows && held; i++)
        for (size_t j = 0; j < 2; j++)
            _mm512_storeu_ps(d->c + i * ES_DOT_COLS + 16 * j, c[i][j]);
}

/* One block of signed bytes kept with 128 added. */
INLINE void centred_tile(const es_dot *d, const size_t rows, const bool unscaled, const bool add)
{
    __m512i sums[ES_DOT_ROWS][2];
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = _mm512_set1_epi32(d->start[i]);
    const uint8_t *w = d->panel;
    const int8_t *a = d->a;
    const float *scales = d->scale;
    float *c = d->c;
    const size_t next = 4 * d->stride;
    for (size_t p = 0; p < d->group / 8; p++) {
        step(sums, _mm512_load_si512(w), _mm512_load_si512(w + 64), a, rows);
        step(sums, _mm512_load_si512(w + 128), _mm512_load_si512(w + 192), a + next, rows);
        w += 256;
        a += 2 * next;
    }
    __m512 scale[2] = {load_scales(w, 0, d->bf16), load_scales(w, 16, d->bf16)};
#pragma GCC unroll 12
    for (size_t i = 0; i < rows; i++) {
        __m512 s = _mm512_set1_ps(scales[i]);
#pragma GCC unroll 2
        for (size_t j = 0; j < 2; j++, c += 16) {
            __m512 whole = _mm512_cvtepi32_ps(sums[i][j]), scaled = unscaled ? whole : _mm512_mul_ps(whole, scale[j]);
            _mm512_storeu_ps(c, _mm512_fmadd_ps(scaled, s, add ? _mm512_loadu_ps(c) : _mm512_setzero_ps()));
        }
    }
}

#define TILE(R)                                                                                                        \
    static void tile_##R(const es_dot *d)                                                                              \
    {                                                                                                                  \
        if (d->bits == 8)                                                                                              \
            tile(d, R, 8);                                                                                             \
        else                                                                                                           \
            tile(d, R, 4);                                                                                             \
    }                                                                                                                  \
    static void centred_##R(const es_dot *d)                                                                           \
    {                                                                                                                  \
        if (d->unscaled && !d->add)                                                                                    \
            centred_tile(d, R, true, false);                                                                           \
        else if (d->add && !d->unscaled)                                                                               \
            centred_tile(d, R, false, true);                                                                           \
        else                                                                                                           \
            centred_tile(d, R, d->unscaled, d->add);                                                                   \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)

static void multiply(const es_dot *d)
{
    static void (*const by_rows[ES_DOT_ROWS])(const es_dot *) = {tile_1, tile_2, tile_3, tile_4,  tile_5,  tile_6,
                                                                 tile_7, tile_8, tile_9, tile_10, tile_11, tile_12};
    by_rows[d->rows - 1](d);
}

static void centred(const es_dot *d)
{
    static void (*const by_rows[ES_DOT_ROWS])(const es_dot *) = {centred_1, centred_2,  centred_3,  centred_4,
                                                                 centred_5, centred_6,  centred_7,  centred_8,
                                                                 centred_9, centred_10, centred_11, centred_12};
    by_rows[d->rows - 1](d);
}

static void unpack(uint8_t *wide, const uint8_t *panel, size_t group, size_t groups, bool bf16)
{
    const __m512i low = _mm512_set1_epi8(15);
    size_t scales = es_dot_block_bytes(group, 4, bf16) - es_dot_weight_bytes(group, 4);
    for (size_t g = 0; g < groups; g++) {
        for (size_t k = 0; k < group; k += 8) {
            for (size_t j = 0; j < 2; j++) {
                __m512i both = _mm512_load_si512(panel + 64 * j);
                _mm512_store_si512(wide + 64 * j, _mm512_and_si512(both, low));
                _mm512_store_si512(wide + 128 + 64 * j, _mm512_and_si512(_mm512_srli_epi16(both, 4), low));
            }
            panel += 128;
            wide += 256;
        }
        memcpy(wide, panel, scales);
        panel += scales;
        wide += scales;
    }
}

static void quantise_group(int8_t *a, float *scale, float *sum, const float *x, size_t stride, size_t group)
{
    __m512i top = _mm512_setzero_si512(), magnitude = _mm512_set1_epi32(0x7fffffff), total = _mm512_setzero_si512();
    for (size_t k = 0; k < group; k += 16)
        top = _mm512_max_epi32(top, _mm512_and_si512(_mm512_loadu_si512(x + k), magnitude));
    float reciprocal;
    es_dot_scales((uint32_t)_mm512_reduce_max_epi32(top), scale, &reciprocal);
    int32_t four[ES_DOT_GROUP / 4] = {0};
    __m512 factor = _mm512_set1_ps(reciprocal);
    for (size_t k = 0; k < group && reciprocal != 0.0f; k += 16) {
        __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + k), factor));
        total = _mm512_add_epi32(total, q);
        _mm_storeu_si128((void *)(four + k / 4), _mm512_cvtsepi32_epi8(q));
    }
    for (size_t i = 0; i < group / 4; i++)
        memcpy(a + i * stride * 4, &four[i], sizeof four[i]);
    *sum = (float)_mm512_reduce_add_epi32(total);
}

static void quantise(int8_t *a, float *scale, float *sum, const float *x, size_t x_row, size_t rows, size_t k,
                     size_t group, size_t stride)
{
    for (size_t g = 0; g < k / group; g++)
        for (size_t i = 0; i < rows; i++)
            quantise_group(a + g * group * stride + i * 4, scale + g * stride + i, sum + g * stride + i,
                           x + i * x_row + g * group, stride, group);
}

void es_dot_avx512(es_dot_kernels *k)
{
    *k = (es_dot_kernels){.name = "avx512vnni",
                          .quick_bytes = true,
                          .quantise = quantise,
                          .multiply = multiply,
                          .centred = centred,
                          .unpack = unpack};
}
