/* kernels.h - the inner loops, one table for each instruction set.
 *
 * A table is filled with the scalar kernels, which define what each entry computes, then upgraded by an instruction
 * set's own file. Every entry works on any address alignment and any length, tails included.
 *
 * Every matrix product is `mul`: a tile of rows times a panel, which is a k-major piece of the other operand,
 * [k][stride]. An output element is one chain c = c + x_k * w_k with k ascending (fused where the instruction set has
 * it), whatever tile it falls into; that is what makes a row alone and the row in a batch the same bit for bit.
 */
#ifndef ES_COMPUTE_CPU_KERNELS_H
#define ES_COMPUTE_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "compute/compute.h"

#define ES_LANES 16    /* panels are padded to this many columns: the widest vector of floats */
#define ES_PANEL_K 256 /* depth of a weight panel; 256 x 32 floats are a first-level cache */
#define ES_MR_MAX 16   /* bounds of `mr` and `nr` below */
#define ES_NR_MAX 32
#define ES_TURN 64          /* pieces of a row that `turn` mixes */
#define ES_WEIGH 64         /* keys of a group of weights in bytes */
#define ES_WEIGH_QUERIES 32 /* queries weighed side by side */
#define ES_WEIGH_RISE 16    /* what max of `weigh` may lag behind: sums grow by 2^16 at most before they are rescaled */

/* A tile product: c [rows, cols] (+)= x [rows, k] * panel [k, cols]. rows <= mr, cols <= nr, cols a multiple of
 * ES_LANES. */
typedef struct es_mul {
    size_t rows, cols, k;
    const float *x; /* element (i, k) at x[i * x_row + k * x_k] */
    size_t x_row, x_k;
    const float *panel; /* row k at panel + k * panel_row */
    size_t panel_row;
    float *c; /* row i at c + i * c_row */
    size_t c_row;
    bool add; /* go on from what c holds; otherwise from zero */
} es_mul;

/* Rows of an affine-packed weight that become a panel. */
typedef struct es_affine {
    const uint8_t *words; /* first row, first column wanted (a multiple of 32) */
    size_t row_bytes;
    const float *scales, *biases; /* [k / group][nr], as panels themselves */
    size_t bits, group;
} es_affine;

typedef struct es_kernels {
    size_t mr, nr; /* the largest tile of mul; nr a multiple of ES_LANES */

    void (*mul)(const es_mul *m);

    /* `rows` <= nr rows of k weights, row_bytes apart, to panel [k][nr]; columns beyond `rows` become 0. Exact. */
    void (*pack_f32)(float *panel, const uint8_t *w, size_t row_bytes, size_t rows, size_t k);
    void (*pack_f16)(float *panel, const uint8_t *w, size_t row_bytes, size_t rows, size_t k);
    void (*pack_bf16)(float *panel, const uint8_t *w, size_t row_bytes, size_t rows, size_t k);
    /* k a multiple of 32; w = scale * q, rounded, + bias, rounded: the same bits from every instruction set. */
    void (*pack_affine)(float *panel, const es_affine *w, size_t rows, size_t k);

    /* y = act(c + bias) + residual for `rows` rows of n, those of y and residual y_row apart, those of c c_row; bias
     * and residual may be NULL, y may be c or the residual. */
    void (*finish)(float *y, size_t y_row, const float *c, size_t c_row, const float *bias, const float *residual,
                   size_t rows, size_t n, es_activation act);
    void (*add)(float *y, const float *x, size_t n);
    void (*scale)(float *y, const float *x, float factor, size_t n); /* y = x * factor; in place is fine */
    void (*swiglu)(float *y, const float *gate, const float *up, size_t n);
    void (*norm_rms)(float *y, const float *x, const float *gain, float eps, size_t n);
    void (*norm_layer)(float *y, const float *x, const float *gain, const float *bias, float eps, size_t n);
    void (*rope)(float *x, const float *cosines, const float *sines, size_t half);

    /* One more block of a running softmax: s[0..n) becomes exp(s - m), where m is the larger of *max and the block's
     * largest (what is below e^-87 may become that), *max becomes m and *sum becomes *sum * r + the block's sum.
     * Returns r = exp(old *max - m), by which what was gathered before must be scaled. n 0 changes nothing and
     * returns 1. */
    float (*softmax)(float *s, size_t n, float *max, float *sum);

    /* The same for ES_WEIGH keys and ES_WEIGH_QUERIES queries at once, with weights as bytes for an integer product.
     * s [keys][queries], numbers; the first `seen` keys count (1 to ES_WEIGH). s * factor is a logarithm to base 2,
     * factor being a query's own and above 0. Of each query: byte = 127 * 2^((s - top) * factor), top being its largest
     * s, off by at most half a unit and 1.1 % of itself (0 where unseen); scale = 2^((top - m) * factor) / 127; sum =
     * the bytes' sum. m is its max, or top once that is worth more than ES_WEIGH_RISE more: then max becomes it. Bytes
     * of key j and query i go to a[(j / 4 * ES_WEIGH_QUERIES + i) * 4 + j % 4]. sum_all becomes sum_all * rescale +
     * scale * sum, with rescale = 2^((old max - m) * factor). Returns whether a max has risen; else rescale is not
     * written. factor, scale, sum, rescale, max, sum_all [queries]. */
    bool (*weigh)(int8_t *a, float *scale, float *sum, float *rescale, const float *s, const float *factor, size_t seen,
                  float *max, float *sum_all);

    /* A row of n numbers, n a multiple of ES_TURN, as ES_TURN pieces of n / ES_TURN: y = 1/8 H S x over the pieces, S
     * being signs (es_turn_factors) and H Hadamard's matrix, by sums and differences of pieces 1, 2, 4, ... 32 apart:
     * the same bits from every instruction set. Orthonormal, so that products of two rows turned are those of the rows;
     * a number far larger than the others is spread over ES_TURN of them. In place is fine. */
    void (*turn)(float *y, const float *x, size_t n);

    /* float32 to halves, to nearest even, sizes above 65,504 becoming that; and back, exactly. */
    void (*to_halves)(uint16_t *y, const float *x, size_t n);
    void (*from_halves)(float *y, const uint16_t *x, size_t n);
} es_kernels;

/* By the bent function of six bits i0 i1 + i2 i3 + i4 i5: all numbers' mean, too, is spread evenly. 1/8 in size. */
extern const float es_turn_factors[ES_TURN];

void es_turn(float *y, const float *x, size_t n); /* `turn` in plain C */

void es_kernels_scalar(es_kernels *k);
void es_kernels_avx2(es_kernels *k);
void es_kernels_avx512(es_kernels *k);
void es_kernels_neon(es_kernels *k);

/* --- numbers as files hold them: any address, little-endian --- */

static inline float es_load_f32(const uint8_t *p)
{
    float value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline float es_float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float es_load_bf16(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return es_float_of_bits((uint32_t)half << 16);
}

static inline float es_load_f16(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact in float32 */
        float value = (float)fraction * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    if (exponent == 31) /* infinity, or a NaN made quiet as the processor's own conversion does */
        return es_float_of_bits(sign | 0x7f800000u | (fraction << 13) | (fraction != 0 ? 0x400000u : 0u));
    return es_float_of_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
}

/* Value k of a row of `bits`-bit numbers: a little-endian bit stream, so a value lies in at most two bytes. */
static inline uint32_t es_load_bits(const uint8_t *row, size_t k, size_t bits)
{
    size_t at = k * bits;
    size_t shift = at & 7;
    uint32_t value = row[at >> 3];
    if (shift + bits > 8)
        value |= (uint32_t)row[(at >> 3) + 1] << 8;
    return (value >> shift) & ((1u << bits) - 1u);
}

#endif
