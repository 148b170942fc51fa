/* test_dot.c - the quantised kernels: every instruction set bit for bit against scalar, and scalar against float64. */
#include "help.h"

#include "base/mem.h"
#include "compute/cpu/dot.h"

#define TABLES 5

static size_t usable_tables(es_dot_kernels k[TABLES])
{
    size_t n = 0;
    while (n < TABLES && es_dot_table(&k[n], n))
        n++;
    return n;
}

/* A tile of quantised rows. */
typedef struct bytes {
    int8_t *a;
    float *scale, *sum;
} bytes;

static bytes bytes_make(const es_dot_kernels *k, const float *x, size_t x_row, size_t rows, size_t in, size_t group)
{
    bytes b = {need(in * rows), need_floats(in / group * rows), need_floats(in / group * rows)};
    k->quantise(b.a, b.scale, b.sum, x, x_row, rows, in, group, rows);
    return b;
}

static void bytes_free(bytes *b)
{
    free(b->a);
    free(b->scale);
    free(b->sum);
}

/* Rows with large and small groups, zeros, and numbers that fall half-way. */
static void fill_rows(rng *r, float *x, size_t n)
{
    float size = 1.0f;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0)
            size = ldexpf(1.0f, (int)rng_below(r, 40) - 20);
        x[i] = rng_below(r, 10) == 0 ? 0.0f : rng_float(r) * size;
        if (rng_below(r, 20) == 0)
            x[i] = size * ((float)rng_below(r, 8) + 0.5f);
    }
}

static void every_instruction_set_makes_the_same_bytes(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k);
    rng r = {11};
    for (size_t trial = 0; trial < 200; trial++) {
        size_t group = (size_t)32 << rng_below(&r, 3), in = group * (1 + rng_below(&r, 5));
        size_t rows = 1 + rng_below(&r, ES_DOT_ROWS), x_row = in + rng_below(&r, 9);
        float *x = need_floats(rows * x_row);
        fill_rows(&r, x, rows * x_row);
        bytes want = bytes_make(&k[0], x, x_row, rows, in, group);
        for (size_t t = 1; t < count; t++) {
            bytes got = bytes_make(&k[t], x, x_row, rows, in, group);
            assert_memory_equal(got.a, want.a, in * rows);
            expect_same_bits("scales", got.scale, want.scale, in / group * rows);
            expect_same_bits("sums", got.sum, want.sum, in / group * rows);
            bytes_free(&got);
        }
        bytes_free(&want);
        free(x);
    }
}

static void bytes_are_the_nearest_and_their_sum_is_right(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k), rows = 5, in = 384, group = 64;
    rng r = {12};
    float *x = need_floats(rows * in);
    fill_rows(&r, x, rows * in);
    for (size_t t = 0; t < count; t++) {
        bytes b = bytes_make(&k[t], x, in, rows, in, group);
        for (size_t i = 0; i < rows; i++) {
            for (size_t g = 0; g < in / group; g++) {
                double scale = (double)b.scale[g * rows + i], total = 0.0;
                for (size_t j = g * group; j < (g + 1) * group; j++) {
                    double a = (double)b.a[(j / 4 * rows + i) * 4 + j % 4];
                    assert_true(fabs(a) <= 127.0);
                    assert_true(fabs((double)x[i * in + j] - scale * a) <= 0.5001 * scale);
                    total += a;
                }
                assert_true((double)b.sum[g * rows + i] == total);
            }
        }
        bytes_free(&b);
    }
    free(x);
}

static void numbers_that_are_not_finite_spoil_their_own_row_only(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, -NAN};
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k);
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < 4; i++) {
            float x[3 * 64];
            for (size_t j = 0; j < 3 * 64; j++)
                x[j] = (float)j - 90.0f;
            x[64 + 7 * i] = bad[i];
            x[128] = 3e38f;
            memset(x + 160, 0, 32 * sizeof *x);
            x[161] = 1e-42f; /* its reciprocal would be infinite */
            bytes b = bytes_make(&k[t], x, 64, 3, 64, 32);
            assert_true(isnan(b.scale[1]));
            assert_true(isfinite(b.scale[0]) && isfinite(b.scale[2]) && isfinite(b.scale[3]));
            assert_true(b.scale[5] == 0.0f && b.sum[5] == 0.0f);
            for (size_t j = 0; j < 8; j++)
                assert_int_equal(b.a[(j * 3 + 1) * 4], 0);
            bytes_free(&b);
        }
    }
}

typedef struct trial {
    size_t rows, in, out;
    weight w;
    es_panels *p;
    float *x;
} trial;

static void trial_make(trial *t, rng *r)
{
    const int all_bits[] = {0, 4, 5, 6, 8};
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16};
    int bits = all_bits[rng_below(r, 5)], group = 32 << rng_below(r, 3);
    es_error err = {0};
    t->rows = 1 + rng_below(r, ES_DOT_ROWS);
    t->in = (size_t)group * (1 + rng_below(r, 4));
    t->out = 1 + rng_below(r, 70);
    weight_make(&t->w, r, t->out, t->in, dtypes[rng_below(r, 3)], bits, group);
    if (es_panels_create(&t->p, &t->w.source, rng_below(r, 2) == 0 ? 4 : 8, NULL, &err) != ES_OK)
        fail_msg("%s", err.message);
    t->x = need_floats(t->rows * t->in);
    fill_rows(r, t->x, t->rows * t->in);
}

static void trial_free(trial *t)
{
    weight_free(&t->w);
    es_panels_free(t->p);
    free(t->x);
}

/* c [rows][32] of one panel, in two runs of blocks when `split` is not 0. */
static void multiply(const es_dot_kernels *k, const trial *t, const bytes *b, size_t panel, size_t split, float *c)
{
    const es_panels *p = t->p;
    es_dot d = {.rows = t->rows, .stride = t->rows, .group = p->group, .bits = p->bits, .bf16 = p->bf16, .c = c};
    for (size_t g = 0; g < p->groups; g += d.groups) {
        d.groups = g == 0 && split != 0 ? split : p->groups - g;
        d.add = g > 0;
        d.a = b->a + g * p->group * t->rows;
        d.scale = b->scale + g * t->rows;
        d.sum = b->sum + g * t->rows;
        d.panel = p->data + panel * p->panel_bytes + g * p->block_bytes;
        k->multiply(&d);
    }
}

static void every_instruction_set_gives_the_same_products(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k);
    rng r = {13};
    for (size_t i = 0; i < 300; i++) {
        trial t;
        trial_make(&t, &r);
        bytes b = bytes_make(&k[0], t.x, t.in, t.rows, t.in, t.p->group);
        float want[ES_DOT_ROWS * ES_DOT_COLS], got[ES_DOT_ROWS * ES_DOT_COLS + 1];
        for (size_t panel = 0; panel <= (t.out - 1) / ES_DOT_COLS; panel++) {
            multiply(&k[0], &t, &b, panel, 0, want);
            for (size_t at = 0; at < count; at++) {
                got[t.rows * ES_DOT_COLS] = 77.0f;
                multiply(&k[at], &t, &b, panel, rng_below(&r, t.p->groups), got);
                expect_same_bits(k[at].name, got, want, t.rows * ES_DOT_COLS);
                assert_true(got[t.rows * ES_DOT_COLS] == 77.0f);
            }
        }
        bytes_free(&b);
        trial_free(&t);
    }
}

/* A block with 128 added, its biases -128 scales: `multiply` where all scales are 1, to the bit; else near it. */
static void centred_products_are_the_same(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k);
    rng r = {17};
    for (size_t i = 0; i < 300; i++) {
        size_t group = 32 * (1 + rng_below(&r, 4)), rows = 1 + rng_below(&r, ES_DOT_ROWS);
        uint8_t block[ES_DOT_GROUP * ES_DOT_COLS + 2 * ES_DOT_COLS * 4] __attribute__((aligned(64)));
        float scales[2 * ES_DOT_COLS], x[ES_DOT_ROWS * ES_DOT_GROUP], begin[ES_DOT_ROWS * ES_DOT_COLS];
        int32_t start[ES_DOT_ROWS];
        bool unscaled = rng_below(&r, 2) == 0, add = rng_below(&r, 2) == 0;
        for (size_t j = 0; j < group * ES_DOT_COLS; j++)
            block[j] = (uint8_t)(1 + rng_below(&r, 255));
        for (size_t j = 0; j < ES_DOT_COLS; j++) {
            scales[j] = unscaled ? 1.0f : 0.01f + fabsf(rng_float(&r));
            scales[ES_DOT_COLS + j] = -128.0f * scales[j];
        }
        memcpy(block + group * ES_DOT_COLS, scales, sizeof scales);
        fill_rows(&r, x, rows * group);
        rng_fill(&r, begin, rows * ES_DOT_COLS, 1.0f);
        bool positive = rng_below(&r, 2) == 0, full = rng_below(&r, 8) == 0;
        for (size_t j = 0; j < rows * group && positive; j++)
            x[j] = full ? 1.0f : fabsf(x[j]); /* bytes of 127 */
        for (size_t j = 0; j < group * ES_DOT_COLS && full; j++)
            block[j] = rng_below(&r, 4) == 0 ? 1 : 255;
        bytes b = bytes_make(&k[0], x, group, rows, group, group);
        for (size_t j = 0; j < rows; j++)
            start[j] = -128 * (int32_t)b.sum[j];
        float want[ES_DOT_ROWS * ES_DOT_COLS], plain[ES_DOT_ROWS * ES_DOT_COLS], got[ES_DOT_ROWS * ES_DOT_COLS + 1];
        es_dot d = {.rows = rows,
                    .stride = rows,
                    .group = group,
                    .groups = 1,
                    .bits = 8,
                    .a = b.a,
                    .scale = b.scale,
                    .sum = b.sum,
                    .panel = block,
                    .c = plain,
                    .add = add,
                    .start = start,
                    .unscaled = unscaled,
                    .positive = positive};
        memcpy(plain, begin, sizeof plain);
        k[0].multiply(&d);
        memcpy(want, begin, sizeof want);
        d.c = want;
        k[0].centred(&d);
        for (size_t j = 0; j < rows * ES_DOT_COLS; j++) {
            double size =
                128.0 * 127.0 * (double)group * (double)scales[j % ES_DOT_COLS] * (double)b.scale[j / ES_DOT_COLS];
            assert_true(unscaled ? memcmp(&want[j], &plain[j], sizeof *want) == 0
                                 : fabs((double)want[j] - (double)plain[j]) <= 3e-7 * (size + 1.0));
        }
        for (size_t t = 1; t < count; t++) {
            if (k[t].centred == NULL)
                continue;
            memcpy(got, begin, sizeof begin);
            got[rows * ES_DOT_COLS] = 77.0f;
            d.c = got;
            k[t].centred(&d);
            expect_same_bits(k[t].name, got, want, rows * ES_DOT_COLS);
            assert_true(got[rows * ES_DOT_COLS] == 77.0f);
        }
        bytes_free(&b);
    }
}

static void unpacked_weights_are_the_same(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k), unpacked = 0;
    rng r = {15};
    for (size_t i = 0; i < 200; i++) {
        trial t;
        trial_make(&t, &r);
        size_t wide_block = es_dot_block_bytes(t.p->group, 8, t.p->bf16), groups = t.p->groups;
        uint8_t *want = es_aligned_calloc(groups + 1, wide_block), *got = es_aligned_calloc(groups + 1, wide_block);
        assert_true(want != NULL && got != NULL);
        for (size_t at = 0; at < count && t.p->bits == 4; at++) {
            if (k[at].unpack == NULL)
                continue;
            memset(got, 77, (groups + 1) * wide_block);
            es_dot_unpack(want, t.p->data, t.p->group, groups, t.p->bf16);
            k[at].unpack(got, t.p->data, t.p->group, groups, t.p->bf16);
            assert_memory_equal(got, want, groups * wide_block);
            assert_int_equal(got[groups * wide_block], 77);
            bytes b = bytes_make(&k[at], t.x, t.in, t.rows, t.in, t.p->group);
            float packed[ES_DOT_ROWS * ES_DOT_COLS], wide[ES_DOT_ROWS * ES_DOT_COLS];
            multiply(&k[at], &t, &b, 0, 0, packed);
            es_panels eight = *t.p;
            eight.bits = 8;
            eight.data = got;
            eight.block_bytes = wide_block;
            trial other = t;
            other.p = &eight;
            multiply(&k[at], &other, &b, 0, 0, wide);
            expect_same_bits(k[at].name, wide, packed, t.rows * ES_DOT_COLS);
            bytes_free(&b);
            unpacked++;
        }
        es_aligned_free(want);
        es_aligned_free(got);
        trial_free(&t);
    }
    assert_true(unpacked > 100);
}

static void weights_made_ready_give_the_same_products(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k), prepared[2] = {0, 0};
    rng r = {18};
    for (size_t i = 0; i < 300; i++) {
        trial t;
        trial_make(&t, &r);
        const es_panels *p = t.p;
        uint8_t *room = es_aligned_calloc(ES_DOT_READY_BYTES + 64, 1);
        assert_non_null(room);
        bytes b = bytes_make(&k[0], t.x, t.in, t.rows, t.in, p->group);
        for (size_t at = 0; at < count && t.in <= ES_DOT_DEPTH; at++) {
            if (k[at].prepare == NULL)
                continue;
            float want[ES_DOT_ROWS * ES_DOT_COLS], got[ES_DOT_ROWS * ES_DOT_COLS + 1];
            multiply(&k[0], &t, &b, 0, 0, want);
            memset(room, 77, ES_DOT_READY_BYTES + 64);
            k[at].prepare(room, p->data, p->group, p->groups, p->bits, p->bf16);
            assert_int_equal(room[ES_DOT_READY_BYTES], 77);
            es_dot d = {.rows = t.rows, .stride = t.rows, .group = p->group, .groups = p->groups, .bits = p->bits};
            d.a = b.a;
            d.scale = b.scale;
            d.sum = b.sum;
            d.bf16 = p->bf16;
            d.panel = room;
            d.ready = true;
            d.c = got;
            got[t.rows * ES_DOT_COLS] = 77.0f;
            k[at].multiply(&d);
            expect_same_bits(k[at].name, got, want, t.rows * ES_DOT_COLS);
            assert_true(got[t.rows * ES_DOT_COLS] == 77.0f);
            prepared[p->bits / 8]++;
        }
        bytes_free(&b);
        es_aligned_free(room);
        trial_free(&t);
    }
    if (es_cpu_has_isa(ES_ISA_AVX2))
        assert_true(prepared[0] > 50 && prepared[1] > 50);
}

/* A few rows out of more that lie side by side, as weights of attention do. */
static void rows_among_others_give_the_same_products(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k);
    rng r = {16};
    for (size_t i = 0; i < 200; i++) {
        trial t;
        trial_make(&t, &r);
        const es_panels *p = t.p;
        size_t stride = t.rows + rng_below(&r, 24), first = rng_below(&r, stride - t.rows + 1);
        bytes alone = bytes_make(&k[0], t.x, t.in, t.rows, t.in, p->group);
        bytes among = {need(t.in * stride), need_floats(p->groups * stride), need_floats(p->groups * stride)};
        for (size_t row = 0; row < t.rows; row++) {
            for (size_t j = 0; j < t.in; j++)
                among.a[(j / 4 * stride + first + row) * 4 + j % 4] = alone.a[(j / 4 * t.rows + row) * 4 + j % 4];
            for (size_t g = 0; g < p->groups; g++) {
                among.scale[g * stride + first + row] = alone.scale[g * t.rows + row];
                among.sum[g * stride + first + row] = alone.sum[g * t.rows + row];
            }
        }
        for (size_t at = 0; at < count; at++) {
            float want[ES_DOT_ROWS * ES_DOT_COLS], got[ES_DOT_ROWS * ES_DOT_COLS];
            multiply(&k[at], &t, &alone, 0, 0, want);
            es_dot d = {.rows = t.rows, .stride = stride, .group = p->group, .groups = p->groups, .bits = p->bits};
            d.bf16 = p->bf16;
            d.a = among.a + 4 * first;
            d.scale = among.scale + first;
            d.sum = among.sum + first;
            d.panel = p->data;
            d.c = got;
            k[at].multiply(&d);
            expect_same_bits(k[at].name, got, want, t.rows * ES_DOT_COLS);
        }
        bytes_free(&alone);
        bytes_free(&among);
        trial_free(&t);
    }
}

/* The largest weights and activations: whole sums at their bounds. */
static void the_largest_sums_do_not_overflow(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k);
    for (int bits = 4; bits <= 8; bits += 4) {
        for (int sign = -1; sign <= 1; sign += 2) {
            uint8_t q[32 * 128];
            float ones[32], zeros[32] = {0}, x[6 * 128];
            memset(q, 255, sizeof q);
            for (size_t i = 0; i < 32; i++)
                ones[i] = 1.0f;
            for (size_t i = 0; i < 6 * 128; i++)
                x[i] = (float)sign * 127.0f;
            es_matrix_source source = {.rows = 32, .cols = 128, .dtype = ES_U32, .data = q, .bits = bits, .group = 128};
            source.scales = ones;
            source.biases = zeros;
            trial t = {.rows = 6, .in = 128, .out = 32};
            es_error err = {0};
            assert_int_equal(es_panels_create(&t.p, &source, 8, NULL, &err), ES_OK);
            for (size_t at = 0; at < count; at++) {
                float c[6 * 32];
                uint8_t room[ES_DOT_READY_BYTES] __attribute__((aligned(64)));
                bytes b = bytes_make(&k[at], x, 128, 6, 128, 128);
                for (int ready = 0; ready <= (k[at].prepare != NULL); ready++) {
                    es_dot d = {.rows = 6, .stride = 6, .group = 128, .groups = 1, .bits = t.p->bits, .c = c};
                    d.a = b.a;
                    d.scale = b.scale;
                    d.sum = b.sum;
                    d.bf16 = t.p->bf16;
                    d.ready = ready != 0;
                    d.panel = ready ? room : t.p->data;
                    if (ready)
                        k[at].prepare(room, t.p->data, 128, 1, t.p->bits, t.p->bf16);
                    k[at].multiply(&d);
                    for (size_t i = 0; i < 6 * 32; i++)
                        assert_true(c[i] == (float)(sign * 127 * 128 * ((1 << bits) - 1)));
                }
                bytes_free(&b);
            }
            es_panels_free(t.p);
        }
    }
}

/* docs/quantised.md: half a step of every activation times the weights it meets, and the rounding of the float sums. */
static void products_are_within_their_bound_of_float64(void **state)
{
    (void)state;
    es_dot_kernels k[TABLES];
    size_t count = usable_tables(k);
    rng r = {14};
    double closest = 1.0;
    for (size_t trial_number = 0; trial_number < 60; trial_number++) {
        trial t;
        trial_make(&t, &r);
        float *w = need_floats(t.in), c[ES_DOT_ROWS * ES_DOT_COLS];
        const es_dot_kernels *table = &k[trial_number % count];
        bytes b = bytes_make(table, t.x, t.in, t.rows, t.in, t.p->group);
        for (size_t o = 0; o < t.out; o++) {
            es_panels_row(t.p, o, 0, t.p->in, w);
            multiply(table, &t, &b, o / ES_DOT_COLS, 0, c);
            for (size_t i = 0; i < t.rows; i++) {
                double want = 0.0, bound = 0.0, size = 0.0;
                for (size_t j = 0; j < t.in; j++) {
                    double scale = (double)b.scale[j / t.p->group * t.rows + i];
                    want += (double)t.x[i * t.in + j] * (double)w[j];
                    bound += 0.5001 * scale * fabs((double)w[j]);
                    size += 128.0 * scale * fabs((double)w[j]);
                }
                /* scale * q and bias are each as large as the weights' range, which cancels: 600 covers the tests' */
                bound += ((double)t.p->groups + 3.0) * 0x1p-24 * (size + 600.0);
                double error = fabs((double)c[i * ES_DOT_COLS + o % ES_DOT_COLS] - want);
                if (!(error <= bound))
                    fail_msg("%s: off by %g, bound %g (bits %zu, in %zu)", table->name, error, bound, t.p->bits, t.in);
                closest = bound > 0.0 && 1.0 - error / bound < closest ? 1.0 - error / bound : closest;
            }
        }
        bytes_free(&b);
        free(w);
        trial_free(&t);
    }
    print_message("largest share of the bound used: %.2f\n", 1.0 - closest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_makes_the_same_bytes),
        cmocka_unit_test(bytes_are_the_nearest_and_their_sum_is_right),
        cmocka_unit_test(numbers_that_are_not_finite_spoil_their_own_row_only),
        cmocka_unit_test(every_instruction_set_gives_the_same_products),
        cmocka_unit_test(centred_products_are_the_same),
        cmocka_unit_test(unpacked_weights_are_the_same),
        cmocka_unit_test(weights_made_ready_give_the_same_products),
        cmocka_unit_test(rows_among_others_give_the_same_products),
        cmocka_unit_test(the_largest_sums_do_not_overflow),
        cmocka_unit_test(products_are_within_their_bound_of_float64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
