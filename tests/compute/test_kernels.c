/* test_kernels.c - every kernel of every instruction set usable here against its scalar twin, on random shapes with
 * tails and odd addresses; then each one's speed beside scalar's. The bounds are what docs/speed.md states. */
#include "help.h"

#include <float.h>
#include <time.h>

static void table_of(es_kernels *k, es_isa isa)
{
    es_kernels_scalar(k);
#if defined(__x86_64__)
    if (isa == ES_ISA_AVX2)
        es_kernels_avx2(k);
    if (isa == ES_ISA_AVX512)
        es_kernels_avx512(k);
#elif defined(__aarch64__)
    if (isa == ES_ISA_NEON)
        es_kernels_neon(k);
#endif
}

/* The instruction sets with kernels of their own: AVX-VNNI's are AVX2's. */
static size_t kernel_isas(es_isa isas[ISAS])
{
    size_t n = 0;
    for (es_isa isa = ES_ISA_SCALAR; isa < ISAS; isa++)
        if (isa != ES_ISA_AVXVNNI && es_cpu_has_isa(isa))
            isas[n++] = isa;
    return n;
}

/* The largest |a - b| / (|a| + floor). */
static double drift_of(const float *a, const float *b, size_t n, double floor)
{
    double worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)a[i] - (double)b[i]) / (fabs((double)a[i]) + floor);
        if (!(off <= worst))
            worst = off;
    }
    return worst;
}

typedef void (*compare_fn)(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift);

static void for_each_isa(compare_fn compare, const char *name, double bound)
{
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    es_kernels scalar;
    es_kernels_scalar(&scalar);
    for (size_t i = 1; i < count; i++) {
        es_kernels fast;
        table_of(&fast, isas[i]);
        rng r = {i};
        double drift = 0.0;
        for (size_t trial = 0; trial < 40; trial++)
            compare(&scalar, &fast, &r, &drift);
        printf("  %-16s %-7s drift %.2g (bound %.2g)\n", name, es_isa_name(isas[i]), drift, bound);
        if (!(drift <= bound))
            fail_msg("%s of %s drifts by %g from scalar, bound %g", name, es_isa_name(isas[i]), drift, bound);
    }
}

static void keep(double *drift, double found)
{
    if (!(found <= *drift))
        *drift = found;
}

/* --- products --- */

static void compare_mul(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    size_t rows = 1 + rng_below(r, fast->mr), cols = rng_below(r, 2) == 0 ? ES_LANES : fast->nr;
    size_t k = rng_below(r, 300), panel_row = cols + rng_below(r, 5), c_row = cols + rng_below(r, 5);
    bool packed = rng_below(r, 2) == 0;
    float *x = need_floats(rows * (k + 3) + 1), *panel = need_floats(k * panel_row + cols + 1);
    float *a = need_floats(rows * c_row), *b = need_floats(rows * c_row);
    rng_fill(r, x, rows * (k + 3) + 1, 1.0f);
    rng_fill(r, panel, k * panel_row + cols + 1, 1.0f);
    rng_fill(r, a, rows * c_row, 1.0f);
    memcpy(b, a, rows * c_row * sizeof *a);
    es_mul m = {.rows = rows,
                .cols = cols,
                .k = k,
                .x = x + 1,
                .x_row = packed ? 1 : k + 3,
                .x_k = packed ? rows : 1,
                .panel = panel + 1,
                .panel_row = panel_row,
                .c_row = c_row,
                .add = rng_below(r, 2) == 0};
    m.c = b;
    fast->mul(&m);
    m.c = a;
    size_t all = rows;
    for (size_t row = 0; row < all; row += scalar->mr) { /* in scalar's own tiles */
        es_mul part = m;
        part.rows = all - row < scalar->mr ? all - row : scalar->mr;
        part.x += row * m.x_row;
        part.c += row * c_row;
        scalar->mul(&part);
    }
    for (size_t i = 0; i < rows; i++) {
        keep(drift, drift_of(a + i * c_row, b + i * c_row, cols, sqrt((double)k) + 1.0));
        expect_same_bits("beyond the tile", a + i * c_row + cols, b + i * c_row + cols, c_row - cols);
    }
    free(x);
    free(panel);
    free(a);
    free(b);
}

static void mul_matches_scalar_and_stays_inside_its_tile(void **state)
{
    (void)state;
    for_each_isa(compare_mul, "mul", 2e-6);
}

/* A row's sums are the same bits in any tile. */
static void mul_gives_a_row_the_same_bits_in_every_tile(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    rng r = {5};
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        float x[ES_MR_MAX * 100], panel[100 * ES_NR_MAX], c[ES_MR_MAX * ES_NR_MAX], one[ES_NR_MAX];
        rng_fill(&r, x, ES_MR_MAX * 100, 1.0f);
        rng_fill(&r, panel, 100 * ES_NR_MAX, 1.0f);
        for (size_t rows = 1; rows <= k.mr; rows++) {
            es_mul m = {.rows = rows,
                        .cols = k.nr,
                        .k = 100,
                        .x = x,
                        .x_row = 100,
                        .x_k = 1,
                        .panel = panel,
                        .panel_row = k.nr,
                        .c = c,
                        .c_row = k.nr};
            k.mul(&m);
            for (size_t row = 0; row < rows; row++) {
                m.rows = 1;
                m.x = x + row * 100;
                m.c = one;
                for (size_t col = 0; col < k.nr; col += ES_LANES) { /* narrow tiles too, in two depths */
                    es_mul half = m;
                    half.cols = ES_LANES;
                    half.panel = panel + col;
                    half.c = one + col;
                    half.k = 37;
                    k.mul(&half);
                    half.x += 37;
                    half.panel += 37 * k.nr;
                    half.k = 63;
                    half.add = true;
                    k.mul(&half);
                }
                expect_same_bits("a row in a tile", one, c + row * k.nr, k.nr);
            }
        }
    }
}

/* --- panels: exact --- */

static void (*pack_of(const es_kernels *k, es_dtype dtype))(float *, const uint8_t *, size_t, size_t, size_t)
{
    return dtype == ES_F32 ? k->pack_f32 : dtype == ES_F16 ? k->pack_f16 : k->pack_bf16;
}

static void panels_hold_the_weights_exactly(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16};
    rng r = {6};
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        for (size_t trial = 0; trial < 90; trial++) {
            es_dtype dtype = dtypes[trial % 3];
            size_t rows = 1 + rng_below(&r, k.nr), depth = 1 + rng_below(&r, ES_PANEL_K);
            weight w;
            weight_make(&w, &r, rows, depth, dtype, 0, 0);
            float *panel = need_floats(depth * k.nr);
            pack_of(&k, dtype)(panel, w.source.data, depth * es_dtype_size(dtype), rows, depth);
            for (size_t d = 0; d < depth; d++)
                for (size_t row = 0; row < k.nr; row++) {
                    float want = row < rows ? w.plain[row * depth + d] : 0.0f;
                    expect_same_bits("panel", &panel[d * k.nr + row], &want, 1);
                }
            free(panel);
            weight_free(&w);
        }
    }
}

static void every_half_unpacks_to_its_value(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    uint16_t *halves = need(65536 * sizeof *halves);
    for (size_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        float *panel = need_floats(ES_PANEL_K * k.nr);
        for (size_t first = 0; first < 65536; first += ES_PANEL_K) {
            k.pack_f16(panel, (const uint8_t *)(halves + first), 0, 1, ES_PANEL_K);
            for (size_t d = 0; d < ES_PANEL_K; d++) {
                size_t bits = first + d;
                double fraction = (double)(bits & 1023), sign = bits >= 32768 ? -1.0 : 1.0;
                int exponent = (int)(bits >> 10 & 31);
                double want = exponent == 0 ? fraction * 0x1p-24 : ldexp(1.0 + fraction / 1024.0, exponent - 15);
                float got = panel[d * k.nr];
                if (exponent == 31)
                    assert_true(fraction != 0 ? isnan(got) : isinf(got) && (got < 0) == (sign < 0));
                else
                    assert_true((double)got == sign * want && (signbit(got) != 0) == (sign < 0));
            }
        }
        free(panel);
    }
    free(halves);
}

static void packed_weights_unpack_to_the_same_bits_everywhere(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    const size_t all_bits[] = {4, 5, 6, 8};
    rng r = {7};
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        for (size_t trial = 0; trial < 60; trial++) {
            size_t bits = all_bits[trial % 4], group = (size_t)32 << trial % 3;
            size_t rows = 1 + rng_below(&r, k.nr), depth = group * (1 + rng_below(&r, ES_PANEL_K / group));
            weight w;
            weight_make(&w, &r, rows, depth, ES_F32, (int)bits, (int)group);
            size_t groups = depth / group;
            float *panel = need_floats(depth * k.nr);
            float *scales = need_floats(groups * k.nr), *biases = need_floats(groups * k.nr);
            k.pack_f32(scales, w.source.scales, groups * 4, rows, groups);
            k.pack_f32(biases, w.source.biases, groups * 4, rows, groups);
            es_affine affine = {w.source.data, depth * bits / 8, scales, biases, bits, group};
            k.pack_affine(panel, &affine, rows, depth);
            for (size_t d = 0; d < depth; d++)
                for (size_t row = 0; row < rows; row++)
                    expect_same_bits("packed", &panel[d * k.nr + row], &w.plain[row * depth + d], 1);
            free(panel);
            free(scales);
            free(biases);
            weight_free(&w);
        }
    }
}

/* --- rows --- */

enum { ROW_MAX = 200 };

static void compare_finish(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    enum { ROWS = 3, MOST = ROWS * (ROW_MAX + 9) };
    float c[MOST], bias[ROW_MAX], residual[MOST], a[MOST + 1], b[MOST + 1];
    size_t n = rng_below(r, 4) == 0 ? 32 : 1 + rng_below(r, ROW_MAX), rows = 1 + rng_below(r, ROWS);
    size_t y_row = n + rng_below(r, 9), c_row = n + rng_below(r, 9), all = (rows - 1) * y_row + n;
    rng_fill(r, c, MOST, rng_below(r, 2) == 0 ? 2.0f : 200.0f);
    rng_fill(r, bias, n, 1.0f);
    rng_fill(r, residual, MOST, 1.0f);
    rng_fill(r, a, MOST + 1, 1.0f);
    memcpy(b, a, sizeof a); /* what lies between and after the rows must stay */
    const float *with_bias = rng_below(r, 2) == 0 ? bias : NULL, *with = rng_below(r, 2) == 0 ? residual : NULL;
    es_activation act = (es_activation)rng_below(r, 4);
    b[all] = a[all] = 77.0f;
    scalar->finish(a, y_row, c, c_row, with_bias, with, rows, n, act);
    fast->finish(b, y_row, c, c_row, with_bias, with, rows, n, act);
    assert_true(b[all] == 77.0f);
    /* tanhf's 1 + tanh loses what is left of far negative x: absolute there */
    keep(drift, drift_of(a, b, all, 1.0));
}

static void activations_match_scalar(void **state)
{
    (void)state;
    for_each_isa(compare_finish, "finish", 6e-7);
}

static void compare_add(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    float x[ROW_MAX], a[ROW_MAX + 1], b[ROW_MAX + 1];
    size_t n = rng_below(r, ROW_MAX + 1);
    rng_fill(r, x, ROW_MAX, 1.0f);
    rng_fill(r, a, ROW_MAX + 1, 1.0f);
    memcpy(b, a, sizeof a);
    scalar->add(a, x, n);
    fast->add(b, x, n);
    expect_same_bits("add", a, b, ROW_MAX + 1);
    scalar->scale(a, x, 1.7f, n);
    fast->scale(b, x, 1.7f, n);
    expect_same_bits("scale", a, b, ROW_MAX + 1);
    keep(drift, 0.0);
}

static void add_and_scale_are_exact(void **state)
{
    (void)state;
    for_each_isa(compare_add, "add, scale", 0.0);
}

static void compare_swiglu(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    float gate[ROW_MAX], up[ROW_MAX], a[ROW_MAX], b[ROW_MAX];
    size_t n = 1 + rng_below(r, ROW_MAX);
    rng_fill(r, gate, n, 4.0f);
    rng_fill(r, up, n, 1.0f);
    scalar->swiglu(a, gate, up, n);
    fast->swiglu(b, gate, up, n);
    keep(drift, drift_of(a, b, n, 1e-6));
}

static void swiglu_matches_scalar(void **state)
{
    (void)state;
    for_each_isa(compare_swiglu, "swiglu", 6e-7);
}

static void compare_norms(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    float x[ROW_MAX], gain[ROW_MAX], bias[ROW_MAX], a[ROW_MAX], b[ROW_MAX];
    size_t n = 1 + rng_below(r, ROW_MAX);
    rng_fill(r, x, n, 3.0f);
    rng_fill(r, gain, n, 1.0f);
    rng_fill(r, bias, n, 1.0f);
    scalar->norm_rms(a, x, gain, 1e-6f, n);
    fast->norm_rms(b, x, gain, 1e-6f, n);
    keep(drift, drift_of(a, b, n, 1e-6));
    for (size_t i = 0; i < n; i++)
        x[i] += 500.0f; /* a mean far larger than the spread must not cost the spread */
    scalar->norm_layer(a, x, gain, bias, 1e-6f, n);
    fast->norm_layer(b, x, gain, bias, 1e-6f, n);
    keep(drift, drift_of(a, b, n, 1e-6));
}

static void norms_match_scalar(void **state)
{
    (void)state;
    for_each_isa(compare_norms, "norms", 3e-7);
}

static void compare_rope(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    float a[2 * ROW_MAX], b[2 * ROW_MAX], angles[2 * ROW_MAX];
    size_t half = 1 + rng_below(r, ROW_MAX);
    rng_fill(r, a, 2 * half, 1.0f);
    rng_fill(r, angles, 2 * half, 0.7f);
    memcpy(b, a, sizeof a);
    scalar->rope(a, angles, angles + half, half);
    fast->rope(b, angles, angles + half, half);
    expect_same_bits("rope", a, b, 2 * half);
    keep(drift, 0.0);
}

static void rope_is_exact(void **state)
{
    (void)state;
    for_each_isa(compare_rope, "rope", 0.0);
}

static void compare_softmax(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    float s[ROW_MAX], a[ROW_MAX], b[ROW_MAX];
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
    for (size_t block = 0; block < 3; block++) {
        size_t n = rng_below(r, ROW_MAX + 1);
        rng_fill(r, s, n, 10.0f);
        memcpy(a, s, sizeof s);
        memcpy(b, s, sizeof s);
        float first = scalar->softmax(a, n, &max[0], &sum[0]), second = fast->softmax(b, n, &max[1], &sum[1]);
        assert_true(max[0] == max[1]); /* a maximum has no rounding */
        if (n == 0)
            assert_true(second == 1.0f);
        keep(drift, drift_of(&first, &second, 1, 1e-30));
        keep(drift, drift_of(a, b, n, 1e-30));
        if (max[0] > -INFINITY)
            keep(drift, drift_of(&sum[0], &sum[1], 1, 0.0));
    }
}

static void softmax_matches_scalar(void **state)
{
    (void)state;
    for_each_isa(compare_softmax, "softmax", 1e-6);
}

enum { KEYS = ES_WEIGH, QUERIES = ES_WEIGH_QUERIES };

typedef struct weighed {
    int8_t a[KEYS * QUERIES + 1];
    float factor[QUERIES], scale[QUERIES], sum[QUERIES], rescale[QUERIES], max[QUERIES], sum_all[QUERIES];
    bool risen;
} weighed;

static void weigh_begin(weighed *w)
{
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < QUERIES; i++) {
        w->factor[i] = ldexpf(1.0f, (int)(i % 5) - 2);
        w->max[i] = -INFINITY;
    }
}

static void weigh_once(const es_kernels *k, weighed *w, const float *s, size_t seen)
{
    memset(w->a, 1, sizeof w->a);
    w->risen = k->weigh(w->a, w->scale, w->sum, w->rescale, s, w->factor, seen, w->max, w->sum_all);
    assert_int_equal(w->a[KEYS * QUERIES], 1);
}

static void compare_weigh(const es_kernels *scalar, const es_kernels *fast, rng *r, double *drift)
{
    float s[KEYS * QUERIES];
    weighed one, other;
    weigh_begin(&one);
    weigh_begin(&other);
    for (size_t block = 0; block < 4; block++) {
        size_t seen = block == 2 ? KEYS : 1 + rng_below(r, KEYS);
        rng_fill(r, s, sizeof s / sizeof *s, block == 3 ? 60.0f : 3.0f);
        for (size_t i = seen * QUERIES; i < KEYS * QUERIES; i++)
            s[i] = NAN; /* unseen scores are garbage */
        weigh_once(scalar, &one, s, seen);
        weigh_once(fast, &other, s, seen);
        assert_true(one.risen == other.risen && (block > 0 || one.risen));
        for (size_t q = 0; q < QUERIES; q++) {
            float sum = 0.0f;
            assert_true(one.max[q] == other.max[q]); /* a maximum has no rounding */
            keep(drift, one.risen ? drift_of(&one.rescale[q], &other.rescale[q], 1, 1e-6) : 0.0);
            for (size_t i = 0; i < KEYS; i++) {
                size_t at = (i / 4 * QUERIES + q) * 4 + i % 4;
                double most = 1.0 + 0.011 * (double)one.a[at]; /* what each may be off, and a half to either side */
                assert_true((double)abs(one.a[at] - other.a[at]) <= most);
                assert_true(i < seen || other.a[at] == 0);
                sum += (float)other.a[at];
            }
            assert_true(other.sum[q] == sum);
            keep(drift, drift_of(&one.scale[q], &other.scale[q], 1, 1e-6));
            other.sum_all[q] = one.sum_all[q]; /* rounding of the bytes need not add up */
        }
    }
}

static void weights_as_bytes_match_scalar(void **state)
{
    (void)state;
    for_each_isa(compare_weigh, "weigh", 1e-5);
}

static void weights_as_bytes_are_near_the_true_ones(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        float s[KEYS * QUERIES];
        weighed w;
        weigh_begin(&w);
        for (size_t j = 0; j < KEYS * QUERIES; j++)
            s[j] = -(float)(j / QUERIES) * 0.05f * (float)(1 + j % QUERIES) / w.factor[j % QUERIES];
        weigh_once(&k, &w, s, KEYS);
        for (size_t q = 0; q < QUERIES; q++) {
            double total = 0.0;
            for (size_t j = 0; j < KEYS; j++) {
                double want = 127.0 * exp2((double)s[j * QUERIES + q] * (double)w.factor[q]);
                double got = (double)w.a[(j / 4 * QUERIES + q) * 4 + j % 4];
                assert_true(fabs(got - want) <= 0.5 + 0.011 * want + 1e-3);
                total += got * (double)w.scale[q];
            }
            assert_true(w.risen && w.rescale[q] == 0.0f && w.max[q] == 0.0f);
            assert_true(fabs((double)w.sum_all[q] - total) <= 1e-5 * total);
        }
    }
}

/* However large scores are or how far apart, the largest counts whole, what is far below it nothing. */
static void weights_as_bytes_bear_any_score(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    const float tops[] = {0.0f, 1e6f, -1e6f, 3e30f, -3e30f, 1e38f}, below[] = {64.0f, 1e5f, 1e12f, 1e37f, 3e38f};
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        for (size_t t = 0; t < sizeof tops / sizeof *tops * (sizeof below / sizeof *below); t++) {
            float s[KEYS * QUERIES], top = tops[t / 5], low = top - 4.0f * below[t % 5];
            weighed w;
            weigh_begin(&w);
            for (size_t j = 0; j < KEYS * QUERIES; j++)
                s[j] = (j / QUERIES * 7 + j % QUERIES) % KEYS == 5 || !(low < top) ? top : low;
            weigh_once(&k, &w, s, KEYS);
            for (size_t j = 0; j < KEYS * QUERIES; j++)
                assert_int_equal(w.a[(j / QUERIES / 4 * QUERIES + j % QUERIES) * 4 + j / QUERIES % 4],
                                 s[j] == top ? 127 : 0);
        }
    }
}

static void halves_are_the_nearest_and_never_infinite(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    float *x = need_floats(65536 + 13), *back = need_floats(65536 + 13);
    uint16_t *halves = need((65536 + 13) * sizeof *halves);
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        for (size_t j = 0; j < 65536; j++)
            halves[j] = (uint16_t)j;
        k.from_halves(x, halves, 65536);
        memset(halves, 0, 65536 * sizeof *halves);
        k.to_halves(halves, x, 65536);
        for (size_t j = 0; j < 65536; j++) {
            size_t exponent = j >> 10 & 31, fraction = j & 1023;
            if (exponent == 31 && fraction != 0)
                assert_true((halves[j] & 0x7fff) > 0x7c00);
            else if (exponent == 31)
                assert_true((halves[j] & 0x7fff) == 0x7bff);
            else
                assert_true(halves[j] == j);
        }
        for (size_t j = 0; j + 1 < 0x7c00; j++) /* between two neighbours: to the even one */
            x[j] = (es_load_f16((const uint8_t *)&(uint16_t){(uint16_t)j}) +
                    es_load_f16((const uint8_t *)&(uint16_t){(uint16_t)(j + 1)})) *
                   0.5f;
        k.to_halves(halves, x, 0x7bff);
        for (size_t j = 0; j + 1 < 0x7bff; j++)
            assert_int_equal(halves[j], j + (j & 1));
        for (size_t n = 0; n < 40; n++) { /* tails, odd addresses */
            halves[n + 1] = 12345;
            k.to_halves(halves + 1, x + 3, n);
            assert_int_equal(halves[n + 1], 12345);
            k.from_halves(back + 1, halves + 1, n);
            for (size_t j = 0; j < n; j++)
                assert_true(fabsf(back[1 + j] - x[3 + j]) <= 0x1p-11f * x[3 + j] + 0x1p-25f);
        }
    }
    free(x);
    free(back);
    free(halves);
}

static double ulps_off(float found, float x)
{
    double want = exp((double)x), ulp = want < (double)FLT_MIN ? 0x1p-149 : ldexp(1.0, ilogb(want) - 23);
    return fabs((double)found - want) / ulp;
}

/* Through softmax, against the C library's in double: what was gathered is scaled by exp over its whole range; weights
 * are exp down to -87, and no more than that below. */
static void exp_is_within_two_ulp(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        double worst = 0.0;
        for (float x = 0.0f; x > -110.0f; x -= 0.000731f + -x * 1e-4f) {
            float s[16], max = 0.0f, sum = 0.0f, before = x;
            for (size_t j = 0; j < 16; j++)
                s[j] = x;
            k.softmax(s, 16, &max, &sum);
            if (x >= -87.0f)
                keep(&worst, ulps_off(s[3], x));
            else
                assert_true(s[3] >= 0.0f && (double)s[3] <= 1.000001 * exp(-87.0));
            s[0] = 0.0f;
            keep(&worst, ulps_off(k.softmax(s, 1, &before, &sum), x));
        }
        printf("  exp of %-7s: at most %.2f ulp off\n", es_isa_name(isas[i]), worst);
        assert_true(worst <= 2.0);
        float zero[1] = {0.0f}, max = 0.0f, sum = 0.0f;
        assert_true(k.softmax(zero, 1, &max, &sum) == 1.0f && zero[0] == 1.0f); /* attention relies on it */
    }
}

static void gelu_erf_keeps_its_far_negative_tail(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    for (size_t i = 1; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        double worst = 0.0;
        for (float x = -12.0f; x < 12.0f; x += 0.00317f) {
            float y[1];
            k.finish(y, 1, &x, 1, NULL, NULL, 1, 1, ES_ACT_GELU_ERF);
            double want = 0.5 * (double)x * erfc(-(double)x / sqrt(2.0));
            keep(&worst, fabs((double)y[0] - want) / (fabs(want) + 1e-7));
        }
        printf("  gelu (erf) of %-7s: at most %.2g off, relative\n", es_isa_name(isas[i]), worst);
        assert_true(worst <= 3e-6);
    }
}

static void numbers_that_are_none_come_through(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    for (size_t i = 0; i < count; i++) {
        es_kernels k;
        table_of(&k, isas[i]);
        for (int act = ES_ACT_GELU_TANH; act <= ES_ACT_SILU; act++) {
            float c[20], y[20];
            for (size_t j = 0; j < 20; j++)
                c[j] = j % 3 == 0 ? NAN : j % 3 == 1 ? INFINITY : -1e30f;
            k.finish(y, 20, c, 20, NULL, NULL, 1, 20, (es_activation)act);
            for (size_t j = 0; j < 20; j++)
                assert_true(j % 3 == 0 ? isnan(y[j]) : j % 3 == 1 ? isinf(y[j]) && y[j] > 0 : fabsf(y[j]) < 1e-35f);
        }
    }
}

/* --- speed --- */

static double seconds(void) /* of this thread's own work, so that a busy machine tells the same */
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct bench {
    es_kernels k;
    float *x, *panel, *c, *y;
    uint8_t *bytes;
    es_affine affine;
    es_mul product;
} bench;

typedef struct timed {
    const char *name;
    void (*run)(bench *b);
    double amount; /* operations or numbers a run, per column of the tile where it says so */
    bool per_tile;
    const char *unit;
} timed;

static void run_mul(bench *b)
{
    b->k.mul(&b->product);
}
static void run_f32(bench *b)
{
    b->k.pack_f32(b->panel, b->bytes, 1040, b->k.nr, 256);
}
static void run_f16(bench *b)
{
    b->k.pack_f16(b->panel, b->bytes, 1040, b->k.nr, 256);
}
static void run_bf16(bench *b)
{
    b->k.pack_bf16(b->panel, b->bytes, 1040, b->k.nr, 256);
}
static void run_q4(bench *b)
{
    b->affine.bits = 4;
    b->k.pack_affine(b->panel, &b->affine, b->k.nr, 256);
}
static void run_q5(bench *b)
{
    b->affine.bits = 5;
    b->k.pack_affine(b->panel, &b->affine, b->k.nr, 256);
}
static void run_q6(bench *b)
{
    b->affine.bits = 6;
    b->k.pack_affine(b->panel, &b->affine, b->k.nr, 256);
}
static void run_q8(bench *b)
{
    b->affine.bits = 8;
    b->k.pack_affine(b->panel, &b->affine, b->k.nr, 256);
}
static void run_tanh(bench *b)
{
    b->k.finish(b->y, 1024, b->x, 1024, NULL, NULL, 1, 1024, ES_ACT_GELU_TANH);
}
static void run_erf(bench *b)
{
    b->k.finish(b->y, 1024, b->x, 1024, NULL, NULL, 1, 1024, ES_ACT_GELU_ERF);
}
static void run_swiglu(bench *b)
{
    b->k.swiglu(b->y, b->x, b->x, 1024);
}
static void run_rms(bench *b)
{
    b->k.norm_rms(b->y, b->x, b->x, 1e-6f, 1024);
}
static void run_layer(bench *b)
{
    b->k.norm_layer(b->y, b->x, b->x, b->x, 1e-6f, 1024);
}
static void run_rope(bench *b)
{
    b->k.rope(b->y, b->x, b->x, 512);
}
static void run_softmax(bench *b)
{
    float max = 0.0f, sum = 0.0f;
    memcpy(b->y, b->x, 1024 * sizeof *b->y);
    b->k.softmax(b->y, 1024, &max, &sum);
}

static const timed kernels[] = {
    {"mul", run_mul, 2.0 * 256, true, "GFLOP/s"},        {"pack_f32", run_f32, 256, true, "Gweight/s"},
    {"pack_f16", run_f16, 256, true, "Gweight/s"},       {"pack_bf16", run_bf16, 256, true, "Gweight/s"},
    {"pack_affine 4", run_q4, 256, true, "Gweight/s"},   {"pack_affine 5", run_q5, 256, true, "Gweight/s"},
    {"pack_affine 6", run_q6, 256, true, "Gweight/s"},   {"pack_affine 8", run_q8, 256, true, "Gweight/s"},
    {"gelu tanh", run_tanh, 1024, false, "Gnumber/s"},   {"gelu erf", run_erf, 1024, false, "Gnumber/s"},
    {"swiglu", run_swiglu, 1024, false, "Gnumber/s"},    {"norm_rms", run_rms, 1024, false, "Gnumber/s"},
    {"norm_layer", run_layer, 1024, false, "Gnumber/s"}, {"rope", run_rope, 1024, false, "Gnumber/s"},
    {"softmax", run_softmax, 1024, false, "Gnumber/s"},
};

/* The best of several short runs, in `unit`. */
static double speed_of(bench *b, const timed *t)
{
    double best = INFINITY, amount = t->amount;
    if (t->per_tile)
        amount *= (double)b->k.nr * (t->run == run_mul ? (double)b->k.mr : 1.0);
    size_t turns = (size_t)(300000.0 / amount) + 1;
    for (int trial = 0; trial < 12; trial++) {
        double start = seconds();
        for (size_t i = 0; i < turns; i++)
            t->run(b);
        double spent = (seconds() - start) / (double)turns;
        best = spent < best ? spent : best;
    }
    return amount / best * 1e-9;
}

static void bench_set(bench *b, es_isa isa)
{
    table_of(&b->k, isa);
    b->affine = (es_affine){.words = b->bytes, .row_bytes = 1040, .scales = b->x, .biases = b->x, .group = 64};
    b->product = (es_mul){.rows = b->k.mr,
                          .cols = b->k.nr,
                          .k = 256,
                          .x = b->x,
                          .x_row = 1,
                          .x_k = b->k.mr,
                          .panel = b->panel,
                          .panel_row = b->k.nr,
                          .c = b->c,
                          .c_row = b->k.nr};
}

static void speeds_beside_scalar(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = kernel_isas(isas);
    rng r = {8};
    bench b = {.x = need_floats(8192),
               .panel = need_floats(ES_PANEL_K * ES_NR_MAX),
               .c = need_floats(ES_MR_MAX * ES_NR_MAX),
               .y = need_floats(2048),
               .bytes = need(1040 * ES_NR_MAX)};
    rng_fill(&r, b.x, 8192, 1.0f);
    memset(b.bytes, 0x3c, 1040 * ES_NR_MAX);
    memset(b.y, 0, 2048 * sizeof *b.y);
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        double base = 0.0;
        printf("  %-14s", kernels[i].name);
        for (size_t j = 0; j < count; j++) {
            bench_set(&b, isas[j]);
            memset(b.panel, 0, ES_PANEL_K * ES_NR_MAX * sizeof *b.panel);
            double speed = speed_of(&b, &kernels[i]);
            base = j == 0 ? speed : base;
            printf("  %s %6.2f (x%.1f)", es_isa_name(isas[j]), speed, speed / base);
        }
        printf("  %s\n", kernels[i].unit);
    }
    free(b.x);
    free(b.panel);
    free(b.c);
    free(b.y);
    free(b.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mul_matches_scalar_and_stays_inside_its_tile),
        cmocka_unit_test(mul_gives_a_row_the_same_bits_in_every_tile),
        cmocka_unit_test(panels_hold_the_weights_exactly),
        cmocka_unit_test(every_half_unpacks_to_its_value),
        cmocka_unit_test(packed_weights_unpack_to_the_same_bits_everywhere),
        cmocka_unit_test(activations_match_scalar),
        cmocka_unit_test(add_and_scale_are_exact),
        cmocka_unit_test(swiglu_matches_scalar),
        cmocka_unit_test(norms_match_scalar),
        cmocka_unit_test(rope_is_exact),
        cmocka_unit_test(softmax_matches_scalar),
        cmocka_unit_test(weights_as_bytes_match_scalar),
        cmocka_unit_test(weights_as_bytes_are_near_the_true_ones),
        cmocka_unit_test(weights_as_bytes_bear_any_score),
        cmocka_unit_test(halves_are_the_nearest_and_never_infinite),
        cmocka_unit_test(exp_is_within_two_ulp),
        cmocka_unit_test(gelu_erf_keeps_its_far_negative_tail),
        cmocka_unit_test(numbers_that_are_none_come_through),
        cmocka_unit_test(speeds_beside_scalar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
