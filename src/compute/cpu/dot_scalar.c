/* dot_scalar.c - what the quantised kernels compute, in plain C. The others give the same bits. */
#include "compute/cpu/dot.h"

#include <math.h>

static float load_scale(const uint8_t *p, size_t i, bool bf16)
{
    return bf16 ? es_load_bf16(p + 2 * i) : es_load_f32(p + 4 * i);
}

static int32_t weight(const uint8_t *w, size_t k, size_t col, size_t bits)
{
    if (bits == 8)
        return w[(k / 4 * ES_DOT_COLS + col) * 4 + k % 4];
    uint8_t both = w[(k / 8 * ES_DOT_COLS + col) * 4 + k % 4];
    return k % 8 < 4 ? both & 15 : both >> 4;
}

static int32_t dot(const es_dot *d, const int8_t *a, const uint8_t *w, size_t row, size_t col)
{
    int32_t sum = 0;
    for (size_t k = 0; k < d->group; k++)
        sum += weight(w, k, col, d->bits) * a[(k / 4 * d->stride + row) * 4 + k % 4];
    return sum;
}

static void multiply(const es_dot *d)
{
    size_t weights = es_dot_weight_bytes(d->group, d->bits), block = es_dot_block_bytes(d->group, d->bits, d->bf16);
    for (size_t row = 0; row < d->rows; row++) {
        for (size_t col = 0; col < ES_DOT_COLS; col++) {
            float c = d->add ? d->c[row * ES_DOT_COLS + col] : 0.0f;
            for (size_t g = 0; g < d->groups; g++) {
                const uint8_t *w = d->panel + g * block;
                float scale = load_scale(w + weights, col, d->bf16);
                float bias = load_scale(w + weights, ES_DOT_COLS + col, d->bf16);
                float whole = (float)dot(d, d->a + g * d->group * d->stride, w, row, col);
                float offset = bias * d->sum[g * d->stride + row];
                c = fmaf(fmaf(scale, whole, offset), d->scale[g * d->stride + row], c);
            }
            d->c[row * ES_DOT_COLS + col] = c;
        }
    }
}

static void centred(const es_dot *d)
{
    const uint8_t *scales = d->panel + es_dot_weight_bytes(d->group, 8);
    for (size_t row = 0; row < d->rows; row++) {
        for (size_t col = 0; col < ES_DOT_COLS; col++) {
            float *c = &d->c[row * ES_DOT_COLS + col];
            float whole = (float)(d->start[row] + dot(d, d->a, d->panel, row, col));
            float scaled = d->unscaled ? whole : load_scale(scales, col, d->bf16) * whole;
            *c = fmaf(scaled, d->scale[row], d->add ? *c : 0.0f);
        }
    }
}

void es_dot_unpack(uint8_t *wide, const uint8_t *panel, size_t group, size_t groups, bool bf16)
{
    const size_t step = 4 * ES_DOT_COLS;
    size_t scales = es_dot_block_bytes(group, 4, bf16) - es_dot_weight_bytes(group, 4);
    for (size_t g = 0; g < groups; g++) {
        for (size_t k = 0; k < group; k += 8, panel += step, wide += 2 * step) {
            for (size_t i = 0; i < step; i++) {
                wide[i] = panel[i] & 15;
                wide[step + i] = panel[i] >> 4;
            }
        }
        memcpy(wide, panel, scales);
        panel += scales;
        wide += scales;
    }
}

static void quantise_group(int8_t *a, float *scale, float *sum, const float *x, size_t stride, size_t group)
{
    uint32_t top = 0;
    for (size_t k = 0; k < group; k++) {
        uint32_t bits;
        memcpy(&bits, x + k, sizeof bits);
        bits &= 0x7fffffffu;
        top = bits > top ? bits : top;
    }
    float reciprocal;
    int32_t total = 0;
    es_dot_scales(top, scale, &reciprocal);
    for (size_t k = 0; k < group; k++) {
        int8_t q = reciprocal == 0.0f ? 0 : (int8_t)lrintf(x[k] * reciprocal);
        a[k / 4 * stride * 4 + k % 4] = q;
        total += q;
    }
    *sum = (float)total;
}

static void quantise(int8_t *a, float *scale, float *sum, const float *x, size_t x_row, size_t rows, size_t k,
                     size_t group, size_t stride)
{
    for (size_t g = 0; g < k / group; g++)
        for (size_t i = 0; i < rows; i++)
            quantise_group(a + g * group * stride + i * 4, scale + g * stride + i, sum + g * stride + i,
                           x + i * x_row + g * group, stride, group);
}

void es_dot_scalar(es_dot_kernels *k)
{
    *k = (es_dot_kernels){
        .name = "scalar", .quantise = quantise, .multiply = multiply, .centred = centred, .unpack = es_dot_unpack};
}
