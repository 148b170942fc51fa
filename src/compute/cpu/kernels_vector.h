/* kernels_vector.h - every kernel once, in the words of a vector unit. Included by one file per instruction set.
 *
 * That file first defines VL (lanes of a vector of floats), MR and NR (the tile of mul) and these words:
 *   vf, vi              VL floats; VL 32-bit integers
 *   v_set v_load v_store v_add v_sub v_mul v_fma(a, b, c) = a b + c   on vf
 *   v_quotient(a, b)    a / b to 2 ulp for b in [1, 2^126], or NaN; infinity in a comes through
 *   v_max v_min         of (bound, x): a NaN in x comes through
 *   v_round             to the nearest integer, ties to even
 *   v_scale2(p, n)      p * 2^n for whole n in [-150, 129], rounded once
 *   v_scale2_near(p, n) the same where p and what comes out are normal numbers, or p is none
 *   v_above_floor(x), v_scale2_floor(p, x)   x - floor(x); p * 2^floor(x). Not everywhere
 *   v_where_negative(x, a, b)   a where x < 0, b elsewhere
 *   v_largest           the largest lane
 *   v_store_fours(int8_t *, const vf four[4])   of each lane the lowest byte of all four, side by side
 *   v_load_halves, v_store_halves(uint16_t *, vf)   to nearest even
 *   v_transpose(vi t[VL])   in place
 *   vi_load(const uint8_t *), vi_zero, vi_set, vi_and, vi_or, vi_left(a, n), vi_right(a, n)
 *   vi_as_float (the bits), vi_to_float (the number), vi_half_to_float (the low 16 bits as a half)
 *   vd, vd_set, vd_sub, vd_mul, vd_add, vd_fma, vd_sum, vd_low(vf), vd_high(vf), vd_narrow(low, high)
 *                       VL / 2 doubles; of the first and the second half of a vf, and back; the lanes' sum
 * Unaligned addresses everywhere. Sums over lanes have a fixed order, so a result depends on its row alone.
 */
#ifndef ES_COMPUTE_CPU_KERNELS_VECTOR_H
#define ES_COMPUTE_CPU_KERNELS_VECTOR_H

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

/* The first n < VL floats, zeros behind; and back. */
INLINE vf load_part(const float *p, size_t n)
{
    float buffer[VL] = {0};
    memcpy(buffer, p, n * sizeof *p);
    return v_load(buffer);
}

INLINE void store_part(float *p, vf v, size_t n)
{
    float buffer[VL];
    v_store(buffer, v);
    memcpy(p, buffer, n * sizeof *p);
}

INLINE vf load_some(const float *p, size_t n)
{
    return n >= VL ? v_load(p) : load_part(p, n);
}

INLINE void store_some(float *p, vf v, size_t n)
{
    if (n >= VL)
        v_store(p, v);
    else
        store_part(p, v, n);
}

/* --- products --- */

/* rows and vectors are constants where this is called, so the sums stay in registers. */
INLINE void mul_tile(const es_mul *m, const size_t rows, const size_t vectors, const size_t x_row)
{
    vf sums[MR][NR / VL];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < vectors; j++)
            sums[i][j] = m->add ? v_load(m->c + i * m->c_row + j * VL) : v_set(0.0f);
    const float *panel = m->panel;
    const float *x[(MR + 2) / 3]; /* a base for every three rows: the others lie one or two strides from it */
    for (size_t i = 0; i < rows; i += 3)
        x[i / 3] = m->x + i * x_row;
    size_t panel_row = m->panel_row, x_k = m->x_k;
    for (size_t k = 0; k < m->k; k++) {
        vf w[NR / VL];
#pragma GCC unroll 8
        for (size_t j = 0; j < vectors; j++)
            w[j] = v_load(panel + j * VL);
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; i++) {
            vf value = v_set(x[i / 3][i % 3 * x_row]);
#pragma GCC unroll 8
            for (size_t j = 0; j < vectors; j++)
                sums[i][j] = v_fma(value, w[j], sums[i][j]);
        }
        panel += panel_row;
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i += 3)
            x[i / 3] += x_k;
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < vectors; j++)
            v_store(m->c + i * m->c_row + j * VL, sums[i][j]);
}

/* One instance for each number of rows, for the two widths, for rows side by side and rows apart. */
#define MUL_ROWS(R)                                                                                                    \
    static void mul_##R(const es_mul *m)                                                                               \
    {                                                                                                                  \
        if (m->cols == NR && m->x_row == 1)                                                                            \
            mul_tile(m, R, NR / VL, 1);                                                                                \
        else if (m->cols == NR)                                                                                        \
            mul_tile(m, R, NR / VL, m->x_row);                                                                         \
        else                                                                                                           \
            mul_tile(m, R, ES_LANES / VL, m->x_row);                                                                   \
    }
MUL_ROWS(1)
MUL_ROWS(2)
MUL_ROWS(3)
MUL_ROWS(4)
MUL_ROWS(5)
MUL_ROWS(6)
#if MR > 6
MUL_ROWS(7)
MUL_ROWS(8)
MUL_ROWS(9)
MUL_ROWS(10)
MUL_ROWS(11)
MUL_ROWS(12)
#endif

static void mul(const es_mul *m)
{
    static void (*const by_rows[])(const es_mul *) = {
        mul_1,
        mul_2,
        mul_3,
        mul_4,
        mul_5,
        mul_6,
#if MR > 6
        mul_7,
        mul_8,
        mul_9,
        mul_10,
        mul_11,
        mul_12,
#endif
    };
    by_rows[m->rows - 1](m);
}

/* --- weights to panels --- */

/* VL 32-bit words of each of `rows` <= VL rows, transposed: t[i] holds word i of every row. Words past `bytes` and rows
 * past `rows` are zero; nothing past them is read. */
INLINE void load_words(vi t[VL], const uint8_t *w, size_t row_bytes, size_t rows, size_t bytes)
{
    for (size_t r = 0; r < VL; r++) {
        if (r >= rows) {
            t[r] = vi_zero();
        } else if (bytes >= 4 * VL) {
            t[r] = vi_load(w + r * row_bytes);
        } else {
            uint8_t buffer[4 * VL] = {0};
            memcpy(buffer, w + r * row_bytes, bytes);
            t[r] = vi_load(buffer);
        }
    }
    v_transpose(t);
}

static void pack_f32(float *panel, const uint8_t *w, size_t row_bytes, size_t rows, size_t k)
{
    for (size_t lane = 0; lane < NR; lane += VL) {
        size_t some = rows > lane ? rows - lane : 0;
        for (size_t first = 0; first < k; first += VL) {
            vi t[VL];
            load_words(t, w + lane * row_bytes + first * 4, row_bytes, some, (k - first) * 4);
            size_t words = k - first < VL ? k - first : VL;
            for (size_t i = 0; i < words; i++)
                v_store(panel + (first + i) * NR + lane, vi_as_float(t[i]));
        }
    }
}

INLINE vf bf16_low(vi pair)
{
    return vi_as_float(vi_left(pair, 16));
}

INLINE vf bf16_high(vi pair)
{
    return vi_as_float(vi_and(pair, vi_set(0xffff0000u)));
}

INLINE vf f16_low(vi pair)
{
    return vi_half_to_float(pair);
}

INLINE vf f16_high(vi pair)
{
    return vi_half_to_float(vi_right(pair, 16));
}

/* Two 16-bit weights lie in a word. */
#define PACK_HALVES(NAME, LOW, HIGH)                                                                                   \
    static void NAME(float *panel, const uint8_t *w, size_t row_bytes, size_t rows, size_t k)                          \
    {                                                                                                                  \
        for (size_t lane = 0; lane < NR; lane += VL) {                                                                 \
            size_t some = rows > lane ? rows - lane : 0;                                                               \
            for (size_t first = 0; first < k; first += 2 * VL) {                                                       \
                vi t[VL];                                                                                              \
                load_words(t, w + lane * row_bytes + first * 2, row_bytes, some, (k - first) * 2);                     \
                float *to = panel + first * NR + lane;                                                                 \
                size_t pairs = (k - first) / 2 < VL ? (k - first) / 2 : VL;                                            \
                for (size_t i = 0; i < pairs; i++) {                                                                   \
                    v_store(to + 2 * i * NR, LOW(t[i]));                                                               \
                    v_store(to + (2 * i + 1) * NR, HIGH(t[i]));                                                        \
                }                                                                                                      \
                if (pairs < VL && k % 2 != 0)                                                                          \
                    v_store(to + 2 * pairs * NR, LOW(t[pairs]));                                                       \
            }                                                                                                          \
        }                                                                                                              \
    }
PACK_HALVES(pack_bf16, bf16_low, bf16_high)
PACK_HALVES(pack_f16, f16_low, f16_high)

/* 32 values of `bits` bits from `bits` words. */
INLINE void unpack_32(float *panel, const vi *words, const unsigned bits, vf scale, vf bias)
{
    vi mask = vi_set((1u << bits) - 1u);
#pragma GCC unroll 32
    for (unsigned i = 0; i < 32; i++) {
        const unsigned word = i * bits / 32, shift = i * bits % 32;
        vi q = vi_right(words[word], shift);
        if (shift + bits > 32)
            q = vi_or(q, vi_left(words[word + 1], 32 - shift));
        vf value = v_mul(scale, vi_to_float(vi_and(q, mask)));
        v_store(panel + i * NR, v_add(value, bias));
    }
}

/* One column of vectors of the panel. */
INLINE void pack_affine_lane(float *panel, const es_affine *w, const unsigned bits, size_t lane, size_t rows, size_t k)
{
    vi words[ES_PANEL_K / 32 * 8 + VL]; /* the most that bits <= 8 need, in whole transposes */
    size_t bytes = k * bits / 8;
    for (size_t at = 0; at < bytes; at += 4 * VL)
        load_words(words + at / 4, w->words + lane * w->row_bytes + at, w->row_bytes, rows, bytes - at);
    for (size_t first = 0; first < k; first += 32) {
        size_t at = first / w->group * NR + lane;
        unpack_32(panel + first * NR + lane, words + first / 32 * bits, bits, v_load(w->scales + at),
                  v_load(w->biases + at));
    }
}

#define PACK_AFFINE(BITS)                                                                                              \
    static void pack_affine_##BITS(float *panel, const es_affine *w, size_t lane, size_t rows, size_t k)               \
    {                                                                                                                  \
        pack_affine_lane(panel, w, BITS, lane, rows, k);                                                               \
    }
PACK_AFFINE(4)
PACK_AFFINE(5)
PACK_AFFINE(6)
PACK_AFFINE(8)

static void pack_affine(float *panel, const es_affine *w, size_t rows, size_t k)
{
    for (size_t lane = 0; lane < NR; lane += VL) {
        size_t some = rows > lane ? rows - lane : 0;
        if (w->bits == 4)
            pack_affine_4(panel, w, lane, some, k);
        else if (w->bits == 5)
            pack_affine_5(panel, w, lane, some, k);
        else if (w->bits == 6)
            pack_affine_6(panel, w, lane, some, k);
        else
            pack_affine_8(panel, w, lane, some, k);
    }
}

/* --- exponential and what is made of it --- */

/* e^r and n of e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q the Chebyshev fit of
 * degree 4 over that range (8e-9 off). The kernel test holds it to 2 ulp and finds 1; 0 below -104, infinity
 * above 88.73, e^0 is 1.
 */
INLINE vf v_exp_parts(vf x, vf *exponent)
{
    vf n = v_round(v_mul(x, v_set(1.44269504f)));
    vf r = v_fma(n, v_set(-0.693359375f), x); /* ln 2 in two parts: 355/512, and the rest */
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf q = v_fma(v_set(1.39269268e-3f), r, v_set(8.36377405e-3f));
    q = v_fma(q, r, v_set(4.16665487e-2f));
    q = v_fma(q, r, v_set(1.66665733e-1f));
    q = v_fma(q, r, v_set(0.5f));
    *exponent = n;
    return v_add(v_fma(v_mul(q, r), r, r), v_set(1.0f));
}

INLINE vf v_exp(vf x)
{
    vf n, p = v_exp_parts(v_min(v_set(89.0f), v_max(v_set(-104.0f), x)), &n);
    return v_scale2(p, n);
}

/* Where it is added to 1 or divides: no subnormal numbers, which processors take hundreds of turns for, no infinity. */
INLINE vf v_exp_near(vf x)
{
    vf n, p = v_exp_parts(v_min(v_set(87.0f), v_max(v_set(-87.0f), x)), &n);
    return v_scale2_near(p, n);
}

/* For x <= 0; e^-87 below -87. */
INLINE vf v_exp_weight(vf x)
{
    vf n, p = v_exp_parts(v_max(v_set(-87.0f), x), &n);
    return v_scale2_near(p, n);
}

INLINE vf v_silu(vf x)
{
    x = v_max(v_set(-100.0f), x); /* there it is 0 */
    return v_quotient(x, v_add(v_set(1.0f), v_exp_near(v_sub(v_set(0.0f), x))));
}

/* 0.5 x (1 + tanh(u)) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
INLINE vf v_gelu_tanh(vf x)
{
    x = v_max(v_set(-100.0f), x); /* there it is 0 */
    vf u = v_mul(x, v_fma(v_mul(x, x), v_set(0.044715f), v_set(1.0f)));
    return v_quotient(x, v_add(v_set(1.0f), v_exp_near(v_mul(u, v_set(-1.5957691216f)))));
}

/* x Phi(x), with Phi(-|x|) = erfc(z) / 2, z = |x| / sqrt 2, and erfc(z) = e^-z^2 t P(t), t = 1 / (1 + 0.4 z): P is the
 * Chebyshev fit of degree 8 to e^z^2 erfc(z) / t for z in [0, 4.5] (6e-9 off; beyond, e^-z^2 leaves nothing). */
INLINE vf v_gelu_erf(vf x)
{
    static const float fit[] = {1.23989395e-2f, 1.09681850e-2f, -2.56636202e-1f, 5.17733216e-1f, -2.52354890e-1f,
                                3.54265988e-1f, 1.54200450e-1f, 2.34352171e-1f,  2.25072131e-1f};
    vf size = v_min(v_set(100.0f), v_where_negative(x, v_sub(v_set(0.0f), x), x));
    vf t = v_quotient(v_set(1.0f), v_fma(size, v_set(0.4f * 0.70710678f), v_set(1.0f)));
    vf p = v_set(fit[0]);
#pragma GCC unroll 8
    for (size_t i = 1; i < sizeof fit / sizeof fit[0]; i++)
        p = v_fma(p, t, v_set(fit[i]));
    vf below = v_mul(v_mul(v_exp(v_mul(v_mul(x, x), v_set(-0.5f))), t), v_mul(p, v_set(0.5f)));
    return v_mul(x, v_where_negative(x, below, v_sub(v_set(1.0f), below)));
}

/* --- rows --- */

INLINE void finish_row(float *y, const float *c, const float *bias, const float *residual, size_t n,
                       const es_activation act)
{
#pragma GCC unroll 4
    for (size_t i = 0; i < n; i += VL) {
        vf value = load_some(c + i, n - i);
        if (bias != NULL)
            value = v_add(value, load_some(bias + i, n - i));
        if (act == ES_ACT_GELU_TANH)
            value = v_gelu_tanh(value);
        else if (act == ES_ACT_GELU_ERF)
            value = v_gelu_erf(value);
        else if (act == ES_ACT_SILU)
            value = v_silu(value);
        if (residual != NULL)
            value = v_add(value, load_some(residual + i, n - i));
        store_some(y + i, value, n - i);
    }
}

/* 32 numbers a row are the usual case: a strip of a product. */
INLINE void finish_rows(float *y, size_t y_row, const float *c, size_t c_row, const float *bias, const float *residual,
                        size_t rows, size_t n, const es_activation act)
{
    for (size_t i = 0; i < rows; i++) {
        if (n == 32)
            finish_row(y, c, bias, residual, 32, act);
        else
            finish_row(y, c, bias, residual, n, act);
        y += y_row;
        c += c_row;
        residual = residual != NULL ? residual + y_row : NULL;
    }
}

static void finish(float *y, size_t y_row, const float *c, size_t c_row, const float *bias, const float *residual,
                   size_t rows, size_t n, es_activation act)
{
    switch (act) {
    case ES_ACT_NONE:
        finish_rows(y, y_row, c, c_row, bias, residual, rows, n, ES_ACT_NONE);
        break;
    case ES_ACT_GELU_TANH:
        finish_rows(y, y_row, c, c_row, bias, residual, rows, n, ES_ACT_GELU_TANH);
        break;
    case ES_ACT_GELU_ERF:
        finish_rows(y, y_row, c, c_row, bias, residual, rows, n, ES_ACT_GELU_ERF);
        break;
    case ES_ACT_SILU:
        finish_rows(y, y_row, c, c_row, bias, residual, rows, n, ES_ACT_SILU);
        break;
    }
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        store_some(y + i, v_add(load_some(y + i, n - i), load_some(x + i, n - i)), n - i);
}

static void scale(float *y, const float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        store_some(y + i, v_mul(load_some(x + i, n - i), v_set(factor)), n - i);
}

static void swiglu(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        store_some(y + i, v_mul(v_silu(load_some(gate + i, n - i)), load_some(up + i, n - i)), n - i);
}

static void norm_rms(float *y, const float *x, const float *gain, float eps, size_t n)
{
    vd low = vd_set(0.0), high = vd_set(0.0);
    for (size_t i = 0; i < n; i += VL) {
        vf v = load_some(x + i, n - i);
        low = vd_fma(vd_low(v), vd_low(v), low);
        high = vd_fma(vd_high(v), vd_high(v), high);
    }
    double squares = vd_sum(vd_add(low, high));
    vf factor = v_set((float)(1.0 / sqrt(squares / (double)n + (double)eps)));
    for (size_t i = 0; i < n; i += VL)
        store_some(y + i, v_mul(v_mul(load_some(x + i, n - i), factor), load_some(gain + i, n - i)), n - i);
}

static void norm_layer(float *y, const float *x, const float *gain, const float *bias, float eps, size_t n)
{
    vd sum = vd_set(0.0), squares = vd_set(0.0);
    for (size_t i = 0; i < n; i += VL) {
        vf v = load_some(x + i, n - i);
        sum = vd_add(sum, vd_add(vd_low(v), vd_high(v)));
    }
    double mean = vd_sum(sum) / (double)n;
    size_t whole = n / VL * VL;
    for (size_t i = 0; i < whole; i += VL) {
        vf v = v_load(x + i);
        vd low = vd_sub(vd_low(v), vd_set(mean)), high = vd_sub(vd_high(v), vd_set(mean));
        squares = vd_fma(high, high, vd_fma(low, low, squares));
    }
    double total = vd_sum(squares);
    for (size_t i = whole; i < n; i++) /* padding would count as far from the mean */
        total += ((double)x[i] - mean) * ((double)x[i] - mean);
    vd factor = vd_set(1.0 / sqrt(total / (double)n + (double)eps));
    for (size_t i = 0; i < n; i += VL) {
        vf v = load_some(x + i, n - i);
        vd low = vd_mul(vd_sub(vd_low(v), vd_set(mean)), factor);
        vd high = vd_mul(vd_sub(vd_high(v), vd_set(mean)), factor);
        v = v_add(v_mul(vd_narrow(low, high), load_some(gain + i, n - i)), load_some(bias + i, n - i));
        store_some(y + i, v, n - i);
    }
}

static void rope(float *x, const float *cosines, const float *sines, size_t half)
{
    for (size_t i = 0; i < half; i += VL) {
        vf a = load_some(x + i, half - i), b = load_some(x + half + i, half - i);
        vf c = load_some(cosines + i, half - i), s = load_some(sines + i, half - i);
        store_some(x + i, v_sub(v_mul(a, c), v_mul(b, s)), half - i);
        store_some(x + half + i, v_add(v_mul(b, c), v_mul(a, s)), half - i);
    }
}

static float softmax(float *s, size_t n, float *max, float *sum)
{
    if (n == 0)
        return 1.0f;
    size_t whole = n / VL * VL;
    vf top = v_set(*max), tops[4] = {top, top, top, top}; /* which need not wait for each other */
    size_t fours = whole / (4 * VL) * (4 * VL);
    for (size_t i = 0; i < fours; i += 4 * VL)
#pragma GCC unroll 4
        for (size_t c = 0; c < 4; c++)
            tops[c] = v_max(tops[c], v_load(s + i + c * VL));
    for (size_t i = fours; i < whole; i += VL)
        top = v_max(top, v_load(s + i));
    for (size_t c = 0; c < 4; c++)
        top = v_max(top, tops[c]);
    float largest = v_largest(top);
    for (size_t i = whole; i < n; i++)
        largest = s[i] > largest ? s[i] : largest;
    vf total = v_set(0.0f), m = v_set(largest);
    for (size_t i = 0; i < whole; i += VL) {
        vf e = v_exp_weight(v_sub(v_load(s + i), m));
        v_store(s + i, e);
        total = v_add(total, e);
    }
    if (whole < n) {
        store_part(s + whole, v_exp_weight(v_sub(load_part(s + whole, n - whole), m)), n - whole);
        total = v_add(total, load_part(s + whole, n - whole));
    }
    float lanes[VL], block = 0.0f;
    v_store(lanes, total);
    for (size_t i = 0; i < VL; i++)
        block += lanes[i];
    float first[VL];
    v_store(first, v_exp(v_set(*max - largest)));
    *max = largest;
    *sum = *sum * first[0] + block;
    return first[0];
}

/* 127 * 2^x for x <= 0, to 1e-4 of itself; 0 below -64. 2^x = 2^n 2^f, by a polynomial fitted for the least relative
 * error: with n = floor(x) where the instruction set has that split, else n = round(x), 2^f = 1 + f p(f). 127 at 0 at
 * least after rounding to whole numbers. */
INLINE vf v_weight(vf x)
{
    x = v_max(v_set(-64.0f), x);
#ifdef v_above_floor
    vf f = v_above_floor(x);
    vf p = v_fma(v_set(127.0f * 7.80245227e-2f), f, v_set(127.0f * 2.26067155e-1f));
    p = v_fma(p, f, v_set(127.0f * 6.95833541e-1f));
    return v_scale2_floor(v_fma(p, f, v_set(127.0f * 9.99925219e-1f)), x);
#else
    vf n = v_round(x), f = v_sub(x, n);
    vf p = v_fma(v_set(127.0f * 5.50089338e-2f), f, v_set(127.0f * 2.42210969e-1f));
    p = v_fma(p, f, v_set(127.0f * 6.93282928e-1f));
    return v_scale2_near(v_fma(p, f, v_set(127.0f)), n);
#endif
}

INLINE vf v_exp2(vf x)
{
    return v_exp(v_mul(x, v_set(0.693147181f)));
}

/* Bytes of VL queries from s on, and their sums. Added to 2^23, a whole number stands in a float's lowest bits. */
INLINE vf weigh_bytes(int8_t *a, const float *s, vf top, vf factor, size_t seen)
{
    const vf whole = v_set(0x1p23f);
    vf total = v_set(0.0f);
    for (size_t j = 0; j < ES_WEIGH; j += 4) {
        vf four[4];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            four[i] = whole;
            if (j + i >= seen)
                continue;
            four[i] = v_add(v_weight(v_mul(v_sub(v_load(s + (j + i) * ES_WEIGH_QUERIES), top), factor)), whole);
            total = v_add(total, v_sub(four[i], whole)); /* whole numbers: exact in any order */
        }
        v_store_fours(a + j * ES_WEIGH_QUERIES, four);
    }
    return total;
}

/* What lies behind the bytes: the groups' scales and all that is gathered. top and sum [queries] are known. */
INLINE bool weigh_sums(float *scale, const float *sum, float *rescale, const float *top, const float *factor,
                       float *max, float *sum_all)
{
    vf m[ES_WEIGH_QUERIES / VL], most = v_set(-INFINITY);
    for (size_t i = 0; i < ES_WEIGH_QUERIES; i += VL) {
        vf now = v_load(top + i), old = v_load(max + i), f = v_load(factor + i);
        vf behind = v_sub(v_set(ES_WEIGH_RISE), v_mul(v_sub(now, old), f));
        m[i / VL] = v_where_negative(behind, now, old);
        most = v_max(most, v_where_negative(behind, v_set(1.0f), v_set(0.0f)));
        v_store(scale + i, v_mul(v_exp2(v_mul(v_sub(now, m[i / VL]), f)), v_set(1.0f / 127.0f)));
    }
    bool risen = v_largest(most) > 0.0f;
    for (size_t i = 0; i < ES_WEIGH_QUERIES; i += VL) {
        vf all = v_load(sum_all + i);
        if (risen) {
            vf back = v_exp2(v_mul(v_sub(v_load(max + i), m[i / VL]), v_load(factor + i)));
            v_store(rescale + i, back);
            v_store(max + i, m[i / VL]);
            all = v_mul(all, back);
        }
        v_store(sum_all + i, v_add(all, v_mul(v_load(scale + i), v_load(sum + i))));
    }
    return risen;
}

#define CHAINS 4 /* maxima that need not wait for each other */

/* Each query's largest score. */
INLINE void weigh_tops(float *top, const float *s, size_t seen)
{
    vf best[ES_WEIGH_QUERIES / VL][CHAINS];
    for (size_t i = 0; i < ES_WEIGH_QUERIES / VL; i++)
        for (size_t c = 0; c < CHAINS; c++)
            best[i][c] = v_load(s + i * VL + (c < seen ? c : 0) * ES_WEIGH_QUERIES);
    size_t whole = seen / CHAINS * CHAINS;
    for (size_t j = CHAINS; j < whole; j += CHAINS)
#pragma GCC unroll 4
        for (size_t c = 0; c < CHAINS; c++)
#pragma GCC unroll 8
            for (size_t i = 0; i < ES_WEIGH_QUERIES / VL; i++)
                best[i][c] = v_max(v_load(s + (j + c) * ES_WEIGH_QUERIES + i * VL), best[i][c]);
    for (size_t i = 0; i < ES_WEIGH_QUERIES / VL; i++) {
        vf all = v_max(v_max(best[i][0], best[i][1]), v_max(best[i][2], best[i][3]));
        for (size_t rest = whole; rest < seen; rest++)
            all = v_max(v_load(s + rest * ES_WEIGH_QUERIES + i * VL), all);
        v_store(top + i * VL, all);
    }
}

static bool weigh(int8_t *a, float *scale, float *sum, float *rescale, const float *s, const float *factor, size_t seen,
                  float *max, float *sum_all)
{
    float top[ES_WEIGH_QUERIES];
    weigh_tops(top, s, seen);
    for (size_t i = 0; i < ES_WEIGH_QUERIES; i += VL) {
        vf t = v_load(top + i), f = v_load(factor + i);
        vf total = seen == ES_WEIGH ? weigh_bytes(a + 4 * i, s + i, t, f, ES_WEIGH)
                                    : weigh_bytes(a + 4 * i, s + i, t, f, seen);
        v_store(sum + i, total);
    }
    return weigh_sums(scale, sum, rescale, top, factor, max, sum_all);
}

static void to_halves(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += VL) {
        vf v = v_min(v_set(65504.0f), v_max(v_set(-65504.0f), load_some(x + i, n - i)));
        uint16_t part[VL];
        uint16_t *to = n - i >= VL ? y + i : part;
        v_store_halves(to, v);
        if (to == part)
            memcpy(y + i, part, (n - i) * sizeof *y);
    }
}

static void from_halves(float *y, const uint16_t *x, size_t n)
{
    size_t whole = n / VL * VL;
    for (size_t i = 0; i < whole; i += VL)
        v_store(y + i, v_load_halves(x + i));
    if (whole < n) {
        uint16_t part[VL] = {0};
        memcpy(part, x + whole, (n - whole) * sizeof *x);
        store_some(y + whole, v_load_halves(part), n - whole);
    }
}

/* --- rows turned --- */

/* Three of the steps, over eight pieces of which the floats at x and y lie `apart`; factors NULL: 1. lanes: VL, or
 * fewer where a piece ends. */
INLINE void turn_eight(float *y, const float *x, size_t apart, const float *factors, const size_t lanes)
{
    vf v[8];
#pragma GCC unroll 8
    for (size_t p = 0; p < 8; p++) {
        v[p] = load_some(x + p * apart, lanes);
        if (factors != NULL)
            v[p] = v_mul(v[p], v_set(factors[p]));
    }
#pragma GCC unroll 3
    for (size_t step = 1; step < 8; step *= 2) {
#pragma GCC unroll 8
        for (size_t p = 0; p < 8; p++) {
            if ((p & step) != 0)
                continue;
            vf sum = v_add(v[p], v[p + step]);
            v[p + step] = v_sub(v[p], v[p + step]);
            v[p] = sum;
        }
    }
#pragma GCC unroll 8
    for (size_t p = 0; p < 8; p++)
        store_some(y + p * apart, v[p], lanes);
}

INLINE void turn_pieces(float *y, const float *x, size_t piece, size_t apart, const float *factors)
{
    size_t i = 0;
    for (; i + VL <= piece; i += VL)
        turn_eight(y + i, x + i, apart, factors, VL);
    if (i < piece)
        turn_eight(y + i, x + i, apart, factors, piece - i);
}

static void turn(float *y, const float *x, size_t n)
{
    size_t piece = n / ES_TURN;
    for (size_t p = 0; p < ES_TURN; p += 8) /* x is read as it lies */
        turn_pieces(y + p * piece, x + p * piece, piece, piece, es_turn_factors + p);
    for (size_t p = 0; p < 8; p++)
        turn_pieces(y + p * piece, y + p * piece, piece, 8 * piece, NULL);
}

INLINE void fill_table(es_kernels *k)
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
        .turn = turn,
        .to_halves = to_halves,
        .from_halves = from_halves,
    };
}

#endif
