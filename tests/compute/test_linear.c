/* test_linear.c - linear and embed of the cpu device against sums in double, for every instruction set and format. */
#include "help.h"

static double apply(double x, es_activation act)
{
    switch (act) {
    case ES_ACT_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case ES_ACT_GELU_ERF:
        return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case ES_ACT_SILU:
        return x / (1.0 + exp(-x));
    case ES_ACT_NONE:
        break;
    }
    return x;
}

typedef struct problem {
    size_t n, in, out;
    weight w;
    float *x, *bias, *residual; /* [n, in], [out], [n, out] */
    bool with_bias, with_residual, in_place;
    es_activation act;
} problem;

static void problem_make(problem *p, rng *r, size_t n, size_t in, size_t out, es_dtype dtype, int bits, int group)
{
    memset(p, 0, sizeof *p);
    p->n = n;
    p->in = in;
    p->out = out;
    weight_make(&p->w, r, out, in, dtype, bits, group);
    p->x = need_floats(n * in);
    p->bias = need_floats(out);
    p->residual = need_floats(n * out);
    rng_fill(r, p->x, n * in, 1.0f);
    rng_fill(r, p->bias, out, 1.0f);
    rng_fill(r, p->residual, n * out, 1.0f);
    p->with_bias = rng_below(r, 2) == 0;
    p->with_residual = rng_below(r, 2) == 0;
    p->in_place = rng_below(r, 2) == 0;
    p->act = (es_activation)rng_below(r, 4);
}

static void problem_free(problem *p)
{
    weight_free(&p->w);
    free(p->x);
    free(p->bias);
    free(p->residual);
}

/* y [rows, out] for rows [first, first + rows) of the problem. */
static void run(es_device *d, const problem *p, size_t first, size_t rows, float *y)
{
    es_tensor *x = tensor_of(d, rows, p->in, p->x + first * p->in);
    es_tensor *bias = tensor_of(d, 1, p->out, p->bias);
    es_tensor *residual = tensor_of(d, rows, p->out, p->residual + first * p->out);
    es_tensor *other = tensor_of(d, rows * p->out + 7, 1, NULL); /* room, in another shape */
    es_tensor *result = p->in_place && p->with_residual ? residual : other;
    es_matrix *w = matrix_of(d, &p->w.source);
    es_op_linear(d, result, x, w, p->with_bias ? bias : NULL, p->act, p->with_residual ? residual : NULL);
    assert_int_equal(result->rows, rows);
    assert_int_equal(result->cols, p->out);
    es_op_read(d, result, 0, (int64_t)rows, y);
    check_device(d);
    es_matrix_free(d, w);
    es_tensor_free(d, x);
    es_tensor_free(d, bias);
    es_tensor_free(d, residual);
    es_tensor_free(d, other);
}

/* Within the bound of a chain of `in` rounded steps, through an activation whose slope is at most 1.13, plus the
 * activation's own error. */
static void expect_close(const problem *p, const float *y, const char *isa)
{
    for (size_t i = 0; i < p->n; i++) {
        for (size_t o = 0; o < p->out; o++) {
            double sum = 0.0, size = 0.0;
            for (size_t k = 0; k < p->in; k++) {
                double product = (double)p->x[i * p->in + k] * (double)p->w.plain[o * p->in + k];
                sum += product;
                size += fabs(product);
            }
            if (p->with_bias) {
                sum += (double)p->bias[o];
                size += fabs((double)p->bias[o]);
            }
            double want = apply(sum, p->act);
            double bound = 1.13 * ((double)p->in + 1.0) * 0x1p-24 * size + 4e-7 * (fabs(want) + 1.0);
            if (p->with_residual)
                want += (double)p->residual[i * p->out + o];
            bound += 0x1p-24 * fabs(want);
            double got = (double)y[i * p->out + o];
            if (!(fabs(got - want) <= bound))
                fail_msg("%s: n %zu in %zu out %zu act %d bits %d: y[%zu,%zu] is %.9g, should be %.9g +- %.3g", isa,
                         p->n, p->in, p->out, (int)p->act, p->w.source.bits, i, o, got, want, bound);
        }
    }
}

static void linear_matches_sums_in_double_for_every_format(void **state)
{
    (void)state;
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16};
    const int all_bits[] = {0, 4, 5, 6, 8}, groups[] = {32, 64, 128};
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {1};
    for (size_t trial = 0; trial < 60; trial++) {
        int bits = all_bits[trial % 5], group = groups[trial % 3];
        es_dtype dtype = dtypes[rng_below(&r, 3)];
        size_t in = bits == 0 ? 1 + rng_below(&r, 700) : (size_t)group * (1 + rng_below(&r, 6));
        problem p;
        problem_make(&p, &r, 1 + rng_below(&r, 70), in, 1 + rng_below(&r, 150), dtype, bits, group);
        float *y = need_floats(p.n * p.out);
        for (size_t i = 0; i < count; i++) {
            es_device *d = device_of(isas[i], 1 + trial % 3);
            run(d, &p, 0, p.n, y);
            expect_close(&p, y, es_isa_name(isas[i]));
            es_device_free(d);
        }
        free(y);
        problem_free(&p);
    }
}

static void a_row_alone_equals_the_row_in_a_batch_bit_for_bit(void **state)
{
    (void)state;
    const int all_bits[] = {0, 0, 0, 4, 5, 6, 8};
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16, ES_F16, ES_F32, ES_BF16, ES_F16};
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {2};
    for (size_t i = 0; i < count; i++) {
        es_device *one = device_of(isas[i], 1), *two = device_of(isas[i], 2), *three = device_of(isas[i], 3);
        for (size_t format = 0; format < 7; format++) {
            problem p;
            size_t in = all_bits[format] == 0 ? 389 : 384;
            problem_make(&p, &r, 43, in, 117, dtypes[format], all_bits[format], 32 << (format % 3));
            float *batch = need_floats(p.n * p.out), *y = need_floats(p.n * p.out);
            run(two, &p, 0, p.n, batch);
            run(one, &p, 0, p.n, y);
            expect_same_bits("1 and 2 threads", y, batch, p.n * p.out);
            run(three, &p, 0, p.n, y);
            expect_same_bits("3 and 2 threads", y, batch, p.n * p.out);
            for (size_t rows = 1; rows <= 14; rows++) {
                size_t first = rng_below(&r, p.n - rows + 1);
                run(two, &p, first, rows, y);
                expect_same_bits("fewer rows", y, batch + first * p.out, rows * p.out);
            }
            free(batch);
            free(y);
            problem_free(&p);
        }
        es_device_free(one);
        es_device_free(two);
        es_device_free(three);
    }
}

static void more_rows_than_one_packing_holds_give_the_same_bits(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {3};
    problem p;
    problem_make(&p, &r, 3200, 33, 40, ES_BF16, 0, 0);
    float *batch = need_floats(p.n * p.out), *y = need_floats(p.n * p.out);
    for (size_t i = 0; i < count; i++) {
        es_device *d = device_of(isas[i], 2);
        run(d, &p, 0, p.n, batch);
        expect_close(&p, batch, es_isa_name(isas[i]));
        run(d, &p, 1500, 80, y);
        expect_same_bits("a part", y, batch + 1500 * p.out, 80 * p.out);
        es_device_free(d);
    }
    free(batch);
    free(y);
    problem_free(&p);
}

static void embed_unpacks_the_rows_asked_for(void **state)
{
    (void)state;
    const int all_bits[] = {0, 4, 5, 6, 8};
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16};
    rng r = {4};
    es_device *d = device_of(es_cpu_best_isa(), 2);
    for (size_t trial = 0; trial < 15; trial++) {
        int bits = all_bits[trial % 5];
        size_t cols = bits == 0 ? 1 + rng_below(&r, 300) : 256;
        weight w;
        weight_make(&w, &r, 50, cols, dtypes[trial % 3], bits, 64);
        es_matrix *table = matrix_of(d, &w.source);
        es_tensor *y = tensor_of(d, 200, cols, NULL);
        int32_t ids[200];
        for (size_t i = 0; i < 200; i++)
            ids[i] = (int32_t)rng_below(&r, 50);
        es_op_embed(d, y, table, ids, 200);
        float *got = need_floats(200 * cols);
        es_op_read(d, y, 0, 200, got);
        check_device(d);
        for (size_t i = 0; i < 200; i++)
            expect_same_bits("embed", got + i * cols, w.plain + (size_t)ids[i] * cols, cols);
        free(got);
        es_tensor_free(d, y);
        es_matrix_free(d, table);
        weight_free(&w);
    }
    es_device_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_matches_sums_in_double_for_every_format),
        cmocka_unit_test(a_row_alone_equals_the_row_in_a_batch_bit_for_bit),
        cmocka_unit_test(more_rows_than_one_packing_holds_give_the_same_bits),
        cmocka_unit_test(embed_unpacks_the_rows_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
