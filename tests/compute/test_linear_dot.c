/* test_linear_dot.c - the device's products under balanced and fast: against the exact product of what the panels hold,
 * the same bits whatever the batch, the threads and the instruction set, and sources that must stay exact or be
 * refused. */
#include "help.h"

#include "compute/cpu/device.h"

typedef struct problem {
    size_t n, in, out;
    weight w;
    float *x, *bias, *residual; /* [n, in], [out], [n, out] */
    es_activation act;
} problem;

static void problem_make(problem *p, rng *r, size_t n, size_t in, size_t out, es_dtype dtype, int bits, int group)
{
    *p = (problem){.n = n, .in = in, .out = out};
    weight_make(&p->w, r, out, in, dtype, bits, group);
    p->w.source.use = ES_USE_TEXT;
    p->x = need_floats(n * in);
    p->bias = need_floats(out);
    p->residual = need_floats(n * out);
    rng_fill(r, p->x, n * in, 1.0f);
    rng_fill(r, p->bias, out, 1.0f);
    rng_fill(r, p->residual, n * out, 1.0f);
}

static void problem_free(problem *p)
{
    weight_free(&p->w);
    free(p->x);
    free(p->bias);
    free(p->residual);
}

static es_device *device_with(es_isa isa, size_t threads, es_precision precision)
{
    es_device *d = NULL;
    es_error err = {0};
    es_cpu_options options = {.threads = threads, .isa_given = true, .isa = isa, .precision = precision};
    if (es_cpu_device_create(&d, &options, &err) != ES_OK)
        fail_msg("%s", err.message);
    return d;
}

/* y [rows, out] of rows [first, first + rows); with_residual also tries y being the residual. */
static void run(es_device *d, const problem *p, size_t first, size_t rows, bool with_residual, float *y)
{
    es_tensor *x = tensor_of(d, rows, p->in, p->x + first * p->in), *bias = tensor_of(d, 1, p->out, p->bias);
    es_tensor *result = tensor_of(d, rows, p->out, p->residual + first * p->out);
    es_matrix *w = matrix_of(d, &p->w.source);
    es_op_linear(d, result, x, w, with_residual ? bias : NULL, p->act, with_residual ? result : NULL);
    es_op_read(d, result, 0, (int64_t)rows, y);
    check_device(d);
    es_matrix_free(d, w);
    es_tensor_free(d, x);
    es_tensor_free(d, bias);
    es_tensor_free(d, result);
}

/* Rows as panels are multiplied by them: turned where those are. */
static float *rows_for(const es_panels *panels, const float *x, size_t n)
{
    float *rows = need_floats(n * panels->in);
    memcpy(rows, x, n * panels->in * sizeof *rows);
    for (size_t i = 0; i < n && panels->turned; i++)
        es_turn(rows + i * panels->in, x + i * panels->in, panels->in);
    return rows;
}

static void products_are_those_of_the_panels(void **state)
{
    (void)state;
    const int all_bits[] = {0, 4, 5, 6, 8};
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16};
    rng r = {31};
    size_t turned = 0;
    for (size_t trial = 0; trial < 30; trial++) {
        int group = 32 << trial % 3;
        es_precision precision = trial % 2 == 0 ? ES_PRECISION_FAST : ES_PRECISION_BALANCED;
        problem p;
        problem_make(&p, &r, 1 + rng_below(&r, 20), (size_t)group * (1 + rng_below(&r, 12)), 1 + rng_below(&r, 100),
                     dtypes[rng_below(&r, 3)], all_bits[trial % 5], group);
        p.w.source.kind = trial % 3 != 0 ? ES_ROWS_PEAKED : ES_ROWS_EVEN;
        es_panels *panels = NULL;
        es_error err = {0};
        assert_int_equal(es_panels_create(&panels, &p.w.source, precision == ES_PRECISION_FAST ? 4 : 8, NULL, &err), 0);
        es_device *d = device_with(es_cpu_best_isa(), 2, precision);
        bool floats = trial % 4 == 3;
        turned += panels->turned;
        assert_true(!panels->turned || (p.w.source.bits == 0 && trial % 3 != 0));
        float *x = rows_for(panels, p.x, p.n);
        if (floats) /* nothing is left then of what bytes of rows cost */
            es_cpu_in_floats(d);
        float *y = need_floats(p.n * p.out), *w = need_floats(p.in);
        run(d, &p, 0, p.n, true, y);
        for (size_t o = 0; o < p.out; o++) {
            es_panels_row(panels, o, 0, panels->in, w);
            for (size_t i = 0; i < p.n; i++) {
                double want = (double)p.bias[o] + (double)p.residual[i * p.out + o], bound = 1e-4, top = 0.0;
                for (size_t k = 0; k < p.in; k++) {
                    if (k % panels->group == 0) {
                        top = 0.0;
                        for (size_t j = k; j < k + panels->group; j++)
                            top = fmax(top, fabs((double)x[i * p.in + j]));
                    }
                    want += (double)x[i * p.in + k] * (double)w[k];
                    bound += ((floats ? 0.0 : top / 127.0 * 0.5001) + 1e-5 * top) * fabs((double)w[k]);
                }
                double got = (double)y[i * p.out + o];
                if (!(fabs(got - want) <= bound))
                    fail_msg("y[%zu,%zu] is %g, should be %g +- %g", i, o, got, want, bound);
            }
        }
        free(x);
        free(y);
        free(w);
        es_panels_free(panels);
        es_device_free(d);
        problem_free(&p);
    }
    assert_true(turned >= 3);
}

/* A row turned: the same bits everywhere, products kept, one large number and a common mean both spread evenly. */
static void turning_keeps_products_and_spreads_peaks(void **state)
{
    (void)state;
    const size_t lengths[] = {64, 128, 192, 1152, 64 * 31, 4096, 6144};
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {38};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        size_t n = lengths[l], piece = n / ES_TURN;
        float *x = need_floats(n), *w = need_floats(n), *y = need_floats(n), *v = need_floats(n);
        rng_fill(&r, x, n, 1.0f);
        rng_fill(&r, w, n, 1.0f);
        double want = 0.0, got = 0.0, size = 0.0;
        es_turn(y, x, n);
        es_turn(v, w, n);
        for (size_t i = 0; i < n; i++) {
            want += (double)x[i] * (double)w[i];
            got += (double)y[i] * (double)v[i];
            size += fabs((double)x[i] * (double)w[i]);
        }
        assert_true(fabs(got - want) <= 1e-6 * size + 1e-6);
        for (size_t i = 0; i < count; i++) {
            es_kernels k;
            es_cpu_kernels(&k, isas[i]);
            k.turn(v, x, n);
            expect_same_bits(es_isa_name(isas[i]), v, y, n);
            memcpy(v, x, n * sizeof *v);
            k.turn(v, v, n);
            expect_same_bits("in place", v, y, n);
        }
        size_t peak = rng_below(&r, n);
        for (size_t i = 0; i < n; i++) {
            x[i] = i == peak ? 8.0f : 0.0f;
            w[i] = 1.0f;
        }
        es_turn(y, x, n);
        es_turn(v, w, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(fabsf(y[i]) == (i % piece == peak % piece ? 1.0f : 0.0f));
            assert_true(fabsf(v[i]) == 1.0f);
        }
        free(x);
        free(w);
        free(y);
        free(v);
    }
}

/* How far products are from those of the weights themselves, relative L2. */
static double off_by(problem *p, es_row_kind kind)
{
    es_device *d = device_with(es_cpu_best_isa(), 2, ES_PRECISION_BALANCED);
    float *y = need_floats(p->n * p->out);
    double square = 0.0, size = 0.0;
    p->w.source.kind = kind;
    run(d, p, 0, p->n, false, y);
    for (size_t i = 0; i < p->n; i++) {
        for (size_t o = 0; o < p->out; o++) {
            double want = 0.0;
            for (size_t k = 0; k < p->in; k++)
                want += (double)p->x[i * p->in + k] * (double)p->w.plain[o * p->in + k];
            square += ((double)y[i * p->out + o] - want) * ((double)y[i * p->out + o] - want);
            size += want * want;
        }
    }
    free(y);
    es_device_free(d);
    return sqrt(square / size);
}

static void peaked_rows_lose_less_by_being_turned(void **state)
{
    (void)state;
    rng r = {39};
    problem p;
    problem_make(&p, &r, 16, 1024, 96, ES_F32, 0, 0);
    for (size_t i = 0; i < p.n * p.in; i++) /* many small, few large: up to 64 times the middle */
        p.x[i] = powf(p.x[i], 7.0f);
    double even = off_by(&p, ES_ROWS_EVEN), peaked = off_by(&p, ES_ROWS_PEAKED);
    print_message("peaked rows: %.2f %% off as they are, %.2f %% turned\n", 100.0 * even, 100.0 * peaked);
    assert_true(peaked < 0.8 * even && peaked < 0.01);
    problem_free(&p);
}

static void plain_weights_are_within_half_a_step(void **state)
{
    (void)state;
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16};
    rng r = {32};
    for (size_t trial = 0; trial < 12; trial++) {
        weight w;
        size_t cols = trial % 2 == 0 ? 192 : 160; /* groups of 64 and of 32 */
        int bits = trial % 4 < 2 ? 4 : 8;
        weight_make(&w, &r, 40, cols, dtypes[trial % 3], 0, 0);
        es_panels *p = NULL;
        es_error err = {0};
        assert_int_equal(es_panels_create(&p, &w.source, bits, NULL, &err), ES_OK);
        assert_int_equal(p->group, trial % 2 == 0 ? 64 : 32);
        float *y = need_floats(cols);
        for (size_t row = 0; row < 40; row++) {
            es_panels_row(p, row, 0, p->in, y);
            for (size_t k = 0; k < cols; k += p->group) {
                double low = INFINITY, high = -INFINITY;
                for (size_t i = k; i < k + p->group; i++) {
                    low = fmin(low, (double)w.plain[row * cols + i]);
                    high = fmax(high, (double)w.plain[row * cols + i]);
                }
                double most = fmax(fabs(low), fabs(high));
                double bound = (high - low) / (bits == 4 ? 30.0 : 510.0) + most * (bits == 4 ? 0x1p-7 : 0x1p-22);
                for (size_t i = k; i < k + p->group; i++)
                    assert_true(fabs((double)y[i] - (double)w.plain[row * cols + i]) <= bound);
            }
        }
        free(y);
        es_panels_free(p);
        weight_free(&w);
    }
}

static void quantised_files_keep_their_weights(void **state)
{
    (void)state;
    const int all_bits[] = {4, 5, 6, 8};
    const es_dtype dtypes[] = {ES_F32, ES_F16, ES_BF16};
    rng r = {33};
    for (size_t trial = 0; trial < 12; trial++) {
        weight w;
        weight_make(&w, &r, 37, 256, dtypes[trial % 3], all_bits[trial % 4], 32 << trial % 3);
        es_panels *p = NULL;
        es_error err = {0};
        float y[256];
        assert_int_equal(es_panels_create(&p, &w.source, 4, NULL, &err), ES_OK);
        assert_int_equal(p->bits, trial % 4 == 0 ? 4 : 8);
        for (size_t row = 0; row < 37; row++) {
            es_panels_row(p, row, 0, p->in, y);
            for (size_t i = 0; i < 256; i++) /* fused here, rounded twice there */
                assert_true(fabs((double)y[i] - (double)w.plain[row * 256 + i]) <= 4e-6 * (fabs((double)y[i]) + 32.0));
        }
        es_panels_free(p);
        weight_free(&w);
    }
}

static void batch_threads_and_instruction_set_change_no_bit(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {34};
    for (size_t format = 0; format < 5; format++) {
        static const int bits[] = {0, 0, 4, 8, 0};
        size_t in = format < 4 ? 1152 : 128, out = format < 4 ? 117 : 1110; /* at last more panels than tasks */
        problem p;
        problem_make(&p, &r, 43, in, out, ES_BF16, bits[format], 64);
        p.w.source.kind = format % 2 == 0 ? ES_ROWS_PEAKED : ES_ROWS_EVEN;
        es_precision precision = format == 0 ? ES_PRECISION_BALANCED : ES_PRECISION_FAST;
        float *want = need_floats(p.n * p.out), *y = need_floats(p.n * p.out);
        es_device *first = device_with(ES_ISA_SCALAR, 1, precision);
        run(first, &p, 0, p.n, true, want);
        es_device_free(first);
        for (size_t i = 0; i < count; i++) {
            for (size_t threads = 1; threads <= 3; threads++) {
                es_device *d = device_with(isas[i], threads, precision);
                run(d, &p, 0, p.n, true, y);
                expect_same_bits(d->detail, y, want, p.n * p.out);
                for (size_t rows = 1; rows <= 9; rows += threads) {
                    size_t from = rng_below(&r, p.n - rows + 1);
                    run(d, &p, from, rows, true, y);
                    expect_same_bits("fewer rows", y, want + from * p.out, rows * p.out);
                }
                es_device_free(d);
            }
        }
        free(want);
        free(y);
        problem_free(&p);
    }
}

static void more_rows_than_fit_at_once_give_the_same_bits(void **state)
{
    (void)state;
    rng r = {35};
    problem p;
    problem_make(&p, &r, 1700, 64, 40, ES_F32, 0, 0);
    p.act = ES_ACT_GELU_TANH;
    float *want = need_floats(p.n * p.out), *y = need_floats(p.n * p.out);
    es_device *d = device_with(es_cpu_best_isa(), 2, ES_PRECISION_BALANCED);
    run(d, &p, 0, p.n, true, want);
    for (size_t first = 0; first < p.n; first += 340) {
        run(d, &p, first, 340, true, y);
        expect_same_bits("a part", y, want + first * p.out, 340 * p.out);
    }
    es_device_free(d);
    free(want);
    free(y);
    problem_free(&p);
}

/* Exact devices, uses that must be exact, and columns that are not whole groups compute in float32. */
static void what_must_stay_exact_does(void **state)
{
    (void)state;
    rng r = {36};
    for (size_t trial = 0; trial < 3; trial++) {
        problem p;
        problem_make(&p, &r, 5, trial == 2 ? 90 : 128, 50, ES_F32, 0, 0);
        es_device *exact = device_with(es_cpu_best_isa(), 1, ES_PRECISION_EXACT);
        es_device *other = device_with(es_cpu_best_isa(), 1, trial == 0 ? ES_PRECISION_EXACT : ES_PRECISION_FAST);
        float want[5 * 50], y[5 * 50];
        run(exact, &p, 0, 5, false, want);
        if (trial == 1)
            p.w.source.use = ES_USE_EXACT;
        run(other, &p, 0, 5, false, y);
        expect_same_bits("exact", y, want, 5 * 50);
        es_device_free(exact);
        es_device_free(other);
        problem_free(&p);
    }
}

static void weights_and_rows_that_are_not_finite_never_look_right(void **state)
{
    (void)state;
    rng r = {37};
    problem p;
    problem_make(&p, &r, 4, 128, 40, ES_F32, 0, 0);
    const float bad[] = {NAN, INFINITY};
    for (size_t i = 0; i < 2; i++) {
        memcpy(p.w.blocks[0] + 1 + (3 * 128 + 70) * sizeof(float), &bad[i], sizeof(float));
        p.x[2 * 128 + 5] = bad[1 - i];
        es_device *d = device_with(es_cpu_best_isa(), 1, ES_PRECISION_FAST);
        float y[4 * 40];
        run(d, &p, 0, 4, true, y);
        for (size_t at = 0; at < 4 * 40; at++)
            assert_true(isfinite(y[at]) == (at % 40 != 3 && at / 40 != 2));
        es_device_free(d);
    }
    problem_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_panels),
        cmocka_unit_test(turning_keeps_products_and_spreads_peaks),
        cmocka_unit_test(peaked_rows_lose_less_by_being_turned),
        cmocka_unit_test(plain_weights_are_within_half_a_step),
        cmocka_unit_test(quantised_files_keep_their_weights),
        cmocka_unit_test(batch_threads_and_instruction_set_change_no_bit),
        cmocka_unit_test(more_rows_than_fit_at_once_give_the_same_bits),
        cmocka_unit_test(what_must_stay_exact_does),
        cmocka_unit_test(weights_and_rows_that_are_not_finite_never_look_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
