/* kernels_scalar.c - what every kernel computes, in plain C. The other instruction sets are measured against this. */
#include "compute/cpu/kernels.h"

#include <math.h>

#define MR 4
#define NR 16

/* One row over one vector's worth of columns; the compiler may use whatever the base architecture has. */
static void mul_row(const es_mul *m, size_t row, size_t first)
{
    float *c = m->c + row * m->c_row + first;
    const float *x = m->x + row * m->x_row;
    float sums[ES_LANES] = {0};
    if (m->add)
        memcpy(sums, c, sizeof sums);
    for (size_t k = 0; k < m->k; k++) {
        const float *w = m->panel + k * m->panel_row + first;
        for (size_t j = 0; j < ES_LANES; j++)
            sums[j] += x[k * m->x_k] * w[j];
    }
    memcpy(c, sums, sizeof sums);
}

static void mul(const es_mul *m)
{
    for (size_t row = 0; row < m->rows; row++)
        for (size_t first = 0; first < m->cols; first += ES_LANES)
            mul_row(m, row, first);
}

/* Writes value(row, k) for all of a panel; the zero columns keep tails out of every other loop. */
#define PACK(NAME, LOAD, BYTES)                                                                                        \
    static void NAME(float *panel, const uint8_t *w, size_t row_bytes, size_t rows, size_t k)                          \
    {                                                                                                                  \
        memset(panel, 0, k *NR * sizeof *panel);                                                                       \
        for (size_t r = 0; r < rows; r++)                                                                              \
            for (size_t i = 0; i < k; i++)                                                                             \
                panel[i * NR + r] = LOAD(w + r * row_bytes + i * (BYTES));                                             \
    }
PACK(pack_f32, es_load_f32, 4)
PACK(pack_f16, es_load_f16, 2)
PACK(pack_bf16, es_load_bf16, 2)

static void pack_affine(float *panel, const es_affine *w, size_t rows, size_t k)
{
    memset(panel, 0, k * NR * sizeof *panel);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < k; i++) {
            float q = (float)es_load_bits(w->words + r * w->row_bytes, i, w->bits);
            size_t at = i / w->group * NR + r;
            float product = w->scales[at] * q;
            panel[i * NR + r] = product + w->biases[at];
        }
    }
}

static float activate(float x, es_activation act)
{
    switch (act) {
    case ES_ACT_GELU_TANH: /* 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3) */
        return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case ES_ACT_GELU_ERF: /* x times the normal distribution's integral up to x */
        return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
    case ES_ACT_SILU:
        return x / (1.0f + expf(-x));
    case ES_ACT_NONE:
        break;
    }
    return x;
}

static void finish(float *y, size_t y_row, const float *c, size_t c_row, const float *bias, const float *residual,
                   size_t rows, size_t n, es_activation act)
{
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < n; i++) {
            float value = c[row * c_row + i];
            value = activate(bias != NULL ? value + bias[i] : value, act);
            y[row * y_row + i] = residual != NULL ? value + residual[row * y_row + i] : value;
        }
    }
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void scale(float *y, const float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

static void swiglu(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = activate(gate[i], ES_ACT_SILU) * up[i];
}

/* Norms add in double: their sums are short against the products', and the parity they buy is free. */
static void norm_rms(float *y, const float *x, const float *gain, float eps, size_t n)
{
    double squares = 0.0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    float factor = (float)(1.0 / sqrt(squares / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * factor * gain[i];
}

static void norm_layer(float *y, const float *x, const float *gain, const float *bias, float eps, size_t n)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double factor = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - mean) * factor) * gain[i] + bias[i];
}

static void rope(float *x, const float *cosines, const float *sines, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cosines[i] - b * sines[i];
        x[half + i] = b * cosines[i] + a * sines[i];
    }
}

static float softmax(float *s, size_t n, float *max, float *sum)
{
    if (n == 0)
        return 1.0f;
    float old = *max, largest = *max;
    for (size_t i = 0; i < n; i++)
        largest = s[i] > largest ? s[i] : largest;
    float rescale = expf(old - largest), block = 0.0f;
    for (size_t i = 0; i < n; i++) {
        s[i] = expf(s[i] - largest);
        block += s[i];
    }
    *max = largest;
    *sum = *sum * rescale + block;
    return rescale;
}

static bool weigh(int8_t *a, float *scale, float *sum, float *rescale, const float *s, const float *factor, size_t seen,
                  float *max, float *sum_all)
{
    bool risen = false;
    float top[ES_WEIGH_QUERIES];
    for (size_t i = 0; i < ES_WEIGH_QUERIES; i++) {
        top[i] = -INFINITY;
        for (size_t j = 0; j < seen; j++)
            top[i] = s[j * ES_WEIGH_QUERIES + i] > top[i] ? s[j * ES_WEIGH_QUERIES + i] : top[i];
        risen = risen || (top[i] - max[i]) * factor[i] > ES_WEIGH_RISE;
    }
    for (size_t i = 0; i < ES_WEIGH_QUERIES; i++) {
        float old = max[i];
        sum[i] = 0.0f;
        for (size_t j = 0; j < ES_WEIGH; j++) {
            float x = j < seen ? (s[j * ES_WEIGH_QUERIES + i] - top[i]) * factor[i] : -INFINITY;
            float weight = rintf(127.0f * exp2f(x));
            int8_t byte = (int8_t)(weight <= 127.0f ? weight : 0.0f);
            a[(j / 4 * ES_WEIGH_QUERIES + i) * 4 + j % 4] = byte;
            sum[i] += (float)byte;
        }
        max[i] = (top[i] - old) * factor[i] > ES_WEIGH_RISE ? top[i] : old;
        scale[i] = exp2f((top[i] - max[i]) * factor[i]) / 127.0f;
        if (risen) {
            rescale[i] = max[i] > old ? exp2f((old - max[i]) * factor[i]) : 1.0f;
            sum_all[i] *= rescale[i];
        }
        sum_all[i] += scale[i] * sum[i];
    }
    return risen;
}

static uint16_t to_half(float x)
{
    uint32_t bits, sign;
    memcpy(&bits, &x, sizeof bits);
    sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (bits > 0x477fe000u) /* 65,504 */
        return (uint16_t)(sign | 0x7bffu);
    if (bits < 0x38800000u) { /* below 2^-14: whole multiples of 2^-24, rounded by adding 2^23 */
        float size = es_float_of_bits(bits) * 0x1p24f + 0x1p23f;
        memcpy(&bits, &size, sizeof bits);
        return (uint16_t)(sign | (bits & 0x7ffu));
    }
    bits += 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | (bits - (112u << 23)) >> 13);
}

static void to_halves(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = to_half(x[i]);
}

static void from_halves(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = es_load_f16((const uint8_t *)&x[i]);
}

#define FOUR(s) s, s, s, -(s)
#define SIXTEEN(s) FOUR(s), FOUR(s), FOUR(s), FOUR(-(s))
const float es_turn_factors[ES_TURN] = {SIXTEEN(0.125f), SIXTEEN(0.125f), SIXTEEN(0.125f), SIXTEEN(-0.125f)};

void es_turn(float *y, const float *x, size_t n)
{
    size_t piece = n / ES_TURN;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * es_turn_factors[i / piece];
    for (size_t apart = 1; apart < ES_TURN; apart *= 2) {
        for (size_t p = 0; p < ES_TURN; p += 2 * apart) {
            float *one = y + p * piece, *other = one + apart * piece;
            for (size_t i = 0; i < apart * piece; i++) {
                float sum = one[i] + other[i];
                other[i] = one[i] - other[i];
                one[i] = sum;
            }
        }
    }
}

void es_kernels_scalar(es_kernels *k)
{
    *k = (es_kernels){
        .mr = MR,
        .nr = NR,
        .mul = mul,
        .pack_f32 = pack_f32,
        .pack_f16 = pack_f16,
        .pack_bf16 = pack_bf16,
        .pack_affine = pack_affine,
        .finish = finish,
        .add = add,
        .scale = scale,
        .swiglu = swiglu,
        .norm_rms = norm_rms,
        .norm_layer = norm_layer,
        .rope = rope,
        .softmax = softmax,
        .weigh = weigh,
        .turn = es_turn,
        .to_halves = to_halves,
        .from_halves = from_halves,
    };
}
