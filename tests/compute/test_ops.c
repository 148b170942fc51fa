/* test_ops.c - every operation of compute.h on a device of this machine, against the scalar one, on random shapes.
 *
 *     test_ops cpu | mlx-cpu | mlx-gpu [f32 | f16 | bf16 [TEST]]
 *
 * Exit 77 when there is no such device here.
 */
#include "help.h"

#include "compute/mlx/mlx.h"

#define SKIPPED 77
#define ROOM ((size_t)1 << 20)

static const char *wanted = "cpu", *numbers = "f32";

/* One operation: makes its inputs from r on device d, reads the result to out, and tells how many numbers that is. All
 * choices come from r, so that two devices get the same. */
typedef size_t (*op_fn)(es_device *d, rng *r, float *out);

static float *random_floats(rng *r, size_t n, float scale)
{
    float *x = need_floats(n);
    rng_fill(r, x, n, scale);
    return x;
}

static es_tensor *random_tensor(es_device *d, rng *r, size_t rows, size_t cols, float scale)
{
    float *x = random_floats(r, rows * cols, scale);
    es_tensor *t = tensor_of(d, rows, cols, x);
    free(x);
    return t;
}

static size_t read_all(es_device *d, es_tensor *t, float *out)
{
    assert_true((size_t)(t->rows * t->cols) <= ROOM);
    es_op_read(d, t, 0, t->rows, out);
    check_device(d);
    return (size_t)(t->rows * t->cols);
}

static size_t data(es_device *d, rng *r, float *out)
{
    es_tensor *a = random_tensor(d, r, 12, 10, 1.0f), *b = tensor_of(d, 40, 10, NULL), *c = tensor_of(d, 40, 10, NULL);
    const int32_t some[] = {3, 0, 3, 7}, places[] = {9, 2, 5};
    es_op_copy(d, b, a);
    es_op_add(d, b, a);
    es_op_reshape(d, b, 8, 15);
    es_op_reshape(d, b, 12, 10);
    es_op_gather(d, c, b, some, 4);
    es_op_scatter(d, b, c, 1, places, 3, rng_below(r, 2) == 0);
    es_op_scatter(d, b, c, 0, (const int32_t[]){4, 5, 6, 7}, 4, rng_below(r, 2) == 0);
    es_op_scatter(d, b, c, 0, places, 1, true);
    es_op_reshape(d, b, 5, 20); /* a cut */
    size_t n = read_all(d, b, out);
    es_op_read(d, b, 2, 2, out); /* rows of it */
    check_device(d);
    es_tensor_free(d, a);
    es_tensor_free(d, b);
    es_tensor_free(d, c);
    return n;
}

static size_t embed(es_device *d, rng *r, float *out)
{
    const int all_bits[] = {0, 4, 5, 6, 8};
    weight w;
    int bits = all_bits[rng_below(r, 5)], group = 32 << rng_below(r, 3);
    int32_t ids[70];
    weight_make(&w, r, 50, (size_t)group * 2, (es_dtype)rng_below(r, 3), bits, group);
    for (size_t i = 0; i < 70; i++)
        ids[i] = (int32_t)rng_below(r, 50);
    es_matrix *table = matrix_of(d, &w.source);
    es_tensor *y = tensor_of(d, 70, (size_t)group * 2, NULL);
    es_op_embed(d, y, table, ids, 70);
    size_t n = read_all(d, y, out);
    es_tensor_free(d, y);
    es_matrix_free(d, table);
    weight_free(&w);
    return n;
}

static size_t norms(es_device *d, rng *r, float *out)
{
    size_t runs = 1 + rng_below(r, 4), run = 8 * (1 + rng_below(r, 20)), rows = 1 + rng_below(r, 60);
    es_tensor *x = random_tensor(d, r, rows, runs * run, 3.0f), *y = tensor_of(d, rows, runs * run, NULL);
    es_tensor *gain = random_tensor(d, r, 1, run, 1.0f), *whole = random_tensor(d, r, 1, runs * run, 1.0f);
    es_tensor *bias = random_tensor(d, r, 1, runs * run, 1.0f);
    es_op_norm_layer(d, y, x, whole, bias, 1e-6f);
    size_t n = read_all(d, y, out);
    es_op_norm_rms(d, x, x, gain, 1e-6f);
    n += read_all(d, x, out + n);
    es_tensor *all[] = {x, y, gain, whole, bias};
    for (size_t i = 0; i < 5; i++)
        es_tensor_free(d, all[i]);
    return n;
}

static size_t linear_of(es_device *d, rng *r, float *out, int bits)
{
    int group = 32 << rng_below(r, 3);
    size_t in = bits == 0 ? 1 + rng_below(r, 500) : (size_t)group * (1 + rng_below(r, 4));
    size_t rows = 1 + rng_below(r, rng_below(r, 2) == 0 ? 4 : 90), outs = 8 * (1 + rng_below(r, 40));
    weight w;
    weight_make(&w, r, outs, in, (es_dtype)rng_below(r, 3), bits, group);
    es_matrix *m = matrix_of(d, &w.source);
    es_tensor *x = random_tensor(d, r, rows, in, 1.0f / sqrtf((float)in));
    es_tensor *bias = random_tensor(d, r, 1, outs, 1.0f), *residual = random_tensor(d, r, rows, outs, 1.0f);
    es_tensor *y = rng_below(r, 2) == 0 ? residual : tensor_of(d, rows * outs + 5, 1, NULL);
    bool with_bias = rng_below(r, 2) == 0, with_residual = y == residual || rng_below(r, 2) == 0;
    es_op_linear(d, y, x, m, with_bias ? bias : NULL, (es_activation)rng_below(r, 4), with_residual ? residual : NULL);
    size_t n = read_all(d, y, out);
    if (y != residual)
        es_tensor_free(d, y);
    es_tensor_free(d, residual);
    es_tensor_free(d, bias);
    es_tensor_free(d, x);
    es_matrix_free(d, m);
    weight_free(&w);
    return n;
}

static size_t linear_plain(es_device *d, rng *r, float *out)
{
    return linear_of(d, r, out, 0);
}

static size_t linear_4_bit(es_device *d, rng *r, float *out)
{
    return linear_of(d, r, out, 4);
}

static size_t linear_5_bit(es_device *d, rng *r, float *out)
{
    return linear_of(d, r, out, 5);
}

static size_t linear_6_bit(es_device *d, rng *r, float *out)
{
    return linear_of(d, r, out, 6);
}

static size_t linear_8_bit(es_device *d, rng *r, float *out)
{
    return linear_of(d, r, out, 8);
}

static size_t swiglu(es_device *d, rng *r, float *out)
{
    size_t rows = 1 + rng_below(r, 50), cols = 1 + rng_below(r, 300);
    es_tensor *gate = random_tensor(d, r, rows, cols, 2.0f), *up = random_tensor(d, r, rows, cols, 2.0f);
    es_op_swiglu(d, gate, gate, up);
    size_t n = read_all(d, gate, out);
    es_tensor_free(d, gate);
    es_tensor_free(d, up);
    return n;
}

static size_t rope(es_device *d, rng *r, float *out)
{
    size_t rows = 1 + rng_below(r, 40), heads = 1 + rng_below(r, 5), dim = 2 * (1 + rng_below(r, 40));
    size_t before = rng_below(r, 2) * 6, after = rng_below(r, 2) * dim;
    es_tensor *x = random_tensor(d, r, rows, before + heads * dim + after, 1.0f);
    es_tensor *table = random_tensor(d, r, rows, dim, 0.7f);
    es_op_rope(d, x, (int64_t)before, (int64_t)heads, (int64_t)dim, table);
    size_t n = read_all(d, x, out);
    es_tensor_free(d, x);
    es_tensor_free(d, table);
    return n;
}

static size_t attend_segments(es_device *d, rng *r, float *out)
{
    const size_t dims[] = {16, 64, 72, 80, 128};
    size_t heads = 1 + rng_below(r, 4), dim = dims[rng_below(r, 5)];
    int32_t a = 1 + (int32_t)rng_below(r, 600), b = (int32_t)rng_below(r, 40);
    const es_segment list[] = {{0, a}, {a, b}, {a + b, 1}};
    size_t rows = (size_t)(a + b + 1);
    es_tensor *qkv = random_tensor(d, r, rows, 3 * heads * dim, 1.0f), *y = tensor_of(d, rows, heads * dim, NULL);
    es_op_attend_segments(d, y, qkv, (int64_t)heads, (int64_t)dim, list, 3);
    size_t n = read_all(d, y, out);
    es_tensor_free(d, qkv);
    es_tensor_free(d, y);
    return n;
}

/* Three sequences over pages in any order: their prompts in uneven pieces, then some steps of a row each. */
static size_t attend_paged(es_device *d, rng *r, float *out)
{
    enum { SEQUENCES = 3, PAGE = 16, EACH = 12 };
    const size_t dims[] = {16, 64, 80, 128};
    size_t kv_heads = 1 + rng_below(r, 3), heads = kv_heads * (1 + rng_below(r, 3)), dim = dims[rng_below(r, 4)], n = 0;
    int32_t pages[SEQUENCES][EACH], past[SEQUENCES] = {0}, order[SEQUENCES * EACH];
    bool shuffled = rng_below(r, 3) > 0;
    for (int32_t i = 0; i < SEQUENCES * EACH; i++) {
        size_t j = shuffled ? rng_below(r, (size_t)i + 1) : (size_t)i;
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < SEQUENCES; i++)
        memcpy(pages[i], order + i * EACH, sizeof pages[i]);
    es_kv_shape shape = {2, (int32_t)kv_heads, (int32_t)dim, SEQUENCES * EACH, PAGE};
    es_kv *kv;
    es_error err = {0};
    assert_int_equal(es_kv_create(d, &kv, &shape, &err), ES_OK);
    for (int step = 0; step < 6; step++) {
        es_attend list[SEQUENCES];
        int32_t rows = 0;
        for (int i = 0; i < SEQUENCES; i++) {
            int32_t count = step > 2 ? 1 : (int32_t)rng_below(r, 60);
            list[i] = (es_attend){rows, count, past[i], pages[i]};
            rows += count;
            past[i] += count;
        }
        size_t all = (size_t)rows;
        es_tensor *q = random_tensor(d, r, all, heads * dim, 1.0f), *k = random_tensor(d, r, all, kv_heads * dim, 1.0f);
        es_tensor *v = random_tensor(d, r, all, kv_heads * dim, 1.0f), *y = tensor_of(d, all, heads * dim, NULL);
        for (int32_t layer = 0; layer < 2; layer++) {
            es_op_kv_write(d, kv, layer, k, v, list, SEQUENCES);
            es_op_attend_paged(d, y, q, kv, layer, (int64_t)heads, list, SEQUENCES);
        }
        if (n + all * heads * dim <= ROOM)
            n += read_all(d, y, out + n);
        es_tensor *done[] = {q, k, v, y};
        for (size_t i = 0; i < 4; i++)
            es_tensor_free(d, done[i]);
    }
    es_kv_free(d, kv);
    return n;
}

/* --- the device --- */

static const char *const number_names[] = {"f32", "f16", "bf16"};

static es_status open_wanted(es_device **d, es_error *err)
{
    es_mlx_options o = {.where = strcmp(wanted, "mlx-gpu") == 0 ? ES_MLX_GPU : ES_MLX_CPU, .numbers_given = true};
    for (size_t i = 0; i < 3; i++)
        if (strcmp(numbers, number_names[i]) == 0)
            o.numbers = (es_dtype)i;
    return strcmp(wanted, "cpu") == 0 ? es_cpu_device_create(d, NULL, err) : es_mlx_device_create(d, &o, err);
}

/* Relative L2, of results whose inputs were rounded too. On the processor MLX adds up products of packed weights in the
 * 16 bits of its numbers: those are the worst, the others keep to a tenth of this. */
static double bound(void)
{
    return strcmp(numbers, "f32") == 0 ? 1e-5 : strcmp(numbers, "f16") == 0 ? 8e-3 : 6e-2;
}

/* Small whole numbers, which every type holds, many of them equal; some are none, or infinite. */
static size_t best(es_device *d, rng *r, float *out)
{
    enum { ROWS = 9, COLS = 301 };
    float x[ROWS * COLS];
    int32_t columns[ROWS];
    for (size_t i = 0; i < ROWS * COLS; i++)
        x[i] = (float)rng_below(r, 40) - 20.0f;
    for (size_t i = 0; i < 40; i++)
        x[rng_below(r, ROWS * COLS)] = i % 2 == 0 ? NAN : -INFINITY;
    x[0] = NAN;
    for (size_t i = 0; i < COLS; i++)
        x[8 * COLS + i] = i % 3 == 0 ? NAN : -INFINITY;
    es_tensor *t = tensor_of(d, ROWS, COLS, x);
    es_op_best(d, t, columns);
    check_device(d);
    es_tensor_free(d, t);
    for (size_t i = 0; i < ROWS; i++) {
        int32_t at = 0;
        for (int32_t j = 1; j < COLS; j++)
            if (x[i * COLS + (size_t)j] > (isnan(x[i * COLS + (size_t)at]) ? -INFINITY : x[i * COLS + (size_t)at]))
                at = j;
        assert_int_equal(columns[i], at);
        out[i] = (float)at;
    }
    return ROWS;
}

static void compare(const char *name, op_fn op, size_t trials)
{
    es_device *scalar = device_of(ES_ISA_SCALAR, 1), *other = NULL;
    es_error err = {0};
    if (open_wanted(&other, &err) != ES_OK)
        fail_msg("%s", err.message);
    float *want = need_floats(ROOM), *got = need_floats(ROOM);
    double worst = 0.0;
    for (size_t trial = 0; trial < trials; trial++) {
        rng a = {trial * 7919 + 1}, b = a;
        size_t n = op(scalar, &a, want), m = op(other, &b, got);
        double off = 0.0, size = 1e-30;
        assert_int_equal(n, m);
        for (size_t i = 0; i < n; i++) {
            double difference = (double)got[i] - (double)want[i];
            off += difference * difference;
            size += (double)want[i] * (double)want[i];
        }
        double error = sqrt(off / size);
        if (!(error <= bound()))
            fail_msg("%s on %s, trial %zu: %.3g off (relative L2), at most %.3g", name, wanted, trial, error, bound());
        worst = fmax(worst, error);
    }
    print_message("%-16s %s: at most %.2g off\n", name, wanted, worst);
    free(want);
    free(got);
    es_device_free(other);
    es_device_free(scalar);
}

#define OP_TEST(op)                                                                                                    \
    static void test_##op(void **state)                                                                                \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        compare(#op, op, 12);                                                                                          \
    }
OP_TEST(data)
OP_TEST(embed)
OP_TEST(norms)
OP_TEST(linear_plain)
OP_TEST(linear_4_bit)
OP_TEST(linear_5_bit)
OP_TEST(linear_6_bit)
OP_TEST(linear_8_bit)
OP_TEST(swiglu)
OP_TEST(rope)
OP_TEST(attend_segments)
OP_TEST(attend_paged)
OP_TEST(best)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_linear_plain),
        cmocka_unit_test(test_linear_4_bit),
        cmocka_unit_test(test_linear_5_bit),
        cmocka_unit_test(test_linear_6_bit),
        cmocka_unit_test(test_linear_8_bit),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_attend_segments),
        cmocka_unit_test(test_attend_paged),
        cmocka_unit_test(test_best),
    };
    es_device *d = NULL;
    es_error err = {0};
    wanted = argc > 1 ? argv[1] : wanted;
    numbers = argc > 2 ? argv[2] : numbers;
    if (argc > 3)
        cmocka_set_test_filter(argv[3]);
    if (open_wanted(&d, &err) != ES_OK) {
        printf("no %s here: %s\n", wanted, err.message);
        return SKIPPED;
    }
    printf("%s: %s\n", wanted, d->detail);
    es_device_free(d);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
