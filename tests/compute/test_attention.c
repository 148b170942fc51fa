/* test_attention.c - both attentions and the paged cache against plain sums in double. */
#include "help.h"

/* y [dim] = softmax(q . keys / sqrt(dim)) values, keys and values `stride` floats apart. */
static void attend_plainly(double *y, const float *q, const float *keys, const float *values, size_t n, size_t stride,
                           size_t dim)
{
    double *weights = need(n * sizeof *weights);
    double largest = -INFINITY, sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double score = 0.0;
        for (size_t j = 0; j < dim; j++)
            score += (double)q[j] * (double)keys[i * stride + j];
        weights[i] = score / sqrt((double)dim);
        largest = fmax(largest, weights[i]);
    }
    memset(y, 0, dim * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        double share = exp(weights[i] - largest);
        sum += share;
        for (size_t j = 0; j < dim; j++)
            y[j] += share * (double)values[i * stride + j];
    }
    for (size_t j = 0; j < dim; j++)
        y[j] /= sum;
    free(weights);
}

/* Values are about 1; scores reach some tens, so their float32 error of 1e-6 weighs a few 1e-6 in the result. */
#define ATTENTION_BOUND 2e-5

static void expect_near(const char *what, const float *got, const double *want, size_t n, double bound)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= bound))
            fail_msg("%s: element %zu is %.9g, should be %.9g", what, i, (double)got[i], want[i]);
}

static void run_segments(es_device *d, const float *qkv, size_t n, size_t heads, size_t dim, const es_segment *list,
                         size_t count, float *y)
{
    es_tensor *in = tensor_of(d, n, 3 * heads * dim, qkv), *out = tensor_of(d, n, heads * dim, NULL);
    es_op_attend_segments(d, out, in, (int64_t)heads, (int64_t)dim, list, count);
    es_op_read(d, out, 0, (int64_t)n, y);
    check_device(d);
    es_tensor_free(d, in);
    es_tensor_free(d, out);
}

static void one_segments_case(es_device *d, rng *r, size_t heads, size_t dim, const es_segment *list, size_t count)
{
    size_t n = (size_t)(list[count - 1].first + list[count - 1].count), width = heads * dim;
    float *qkv = need_floats(n * 3 * width), *y = need_floats(n * width), *alone = need_floats(n * width);
    double *want = need(dim * sizeof *want);
    rng_fill(r, qkv, n * 3 * width, 1.5f);
    run_segments(d, qkv, n, heads, dim, list, count, y);
    for (size_t s = 0; s < count; s++) {
        size_t first = (size_t)list[s].first, rows = (size_t)list[s].count;
        const float *keys = qkv + first * 3 * width + width;
        for (size_t i = first; i < first + rows; i++) {
            for (size_t h = 0; h < heads; h++) {
                attend_plainly(want, qkv + i * 3 * width + h * dim, keys + h * dim, keys + width + h * dim, rows,
                               3 * width, dim);
                expect_near("attend_segments", y + i * width + h * dim, want, dim, ATTENTION_BOUND);
            }
        }
        es_segment only = {0, list[s].count};
        if (rows > 0) {
            run_segments(d, qkv + first * 3 * width, rows, heads, dim, &only, 1, alone);
            expect_same_bits("a segment alone", alone, y + first * width, rows * width);
        }
    }
    free(qkv);
    free(y);
    free(alone);
    free(want);
}

static void segments_attend_to_themselves_only(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    const size_t dims[] = {16, 18, 64, 72, 80, 128, 2};
    rng r = {11};
    for (size_t i = 0; i < count; i++) {
        for (size_t trial = 0; trial < 7; trial++) {
            es_device *d = device_of(isas[i], 1 + trial % 3);
            int32_t a = 1 + (int32_t)rng_below(&r, 300), b = (int32_t)rng_below(&r, 30);
            es_segment list[] = {{0, a}, {a, b}, {a + b, 1}, {a + b + 1, 97}};
            one_segments_case(d, &r, 1 + trial % 3, dims[trial], list, 4);
            es_device_free(d);
        }
    }
}

static void segment_rows_do_not_depend_on_threads(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = usable_isas(isas), n = 613, width = 3 * 40;
    rng r = {12};
    float *qkv = need_floats(n * 3 * width), *a = need_floats(n * width), *b = need_floats(n * width);
    rng_fill(&r, qkv, n * 3 * width, 1.0f);
    es_segment whole = {0, (int32_t)n};
    for (size_t i = 0; i < count; i++) {
        es_device *one = device_of(isas[i], 1), *three = device_of(isas[i], 3);
        run_segments(one, qkv, n, 3, 40, &whole, 1, a);
        run_segments(three, qkv, n, 3, 40, &whole, 1, b);
        expect_same_bits("1 and 3 threads", a, b, n * width);
        es_device_free(one);
        es_device_free(three);
    }
    free(qkv);
    free(a);
    free(b);
}

/* --- by integer products --- */

static es_device *fast_device(es_isa isa, size_t threads)
{
    es_device *d = NULL;
    es_error err = {0};
    es_cpu_options options = {.threads = threads, .isa_given = true, .isa = isa, .precision = ES_PRECISION_BALANCED};
    if (es_cpu_device_create(&d, &options, &err) != ES_OK)
        fail_msg("%s", err.message);
    return d;
}

/* Relative L2 of y [n, heads * dim] against sums in double. */
static double error_of(const float *y, const float *qkv, size_t n, size_t heads, size_t dim)
{
    size_t width = heads * dim;
    double *want = need(dim * sizeof *want), off = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        for (size_t h = 0; h < heads; h++) {
            const float *keys = qkv + width + h * dim;
            attend_plainly(want, qkv + i * 3 * width + h * dim, keys, keys + width, n, 3 * width, dim);
            for (size_t j = 0; j < dim; j++) {
                double one = (double)y[i * width + h * dim + j] - want[j];
                off += one * one;
                size += want[j] * want[j];
            }
        }
    }
    free(want);
    return sqrt(off / size);
}

/* Scores of a few units, as attention has them: a byte's step in queries and keys moves a score by 0.02, weights come
 * in steps of 1/127 of their group's largest. */
#define DOT_BOUND 0.03

static void integer_attention_is_near_and_the_same_in_company(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    const size_t dims[] = {64, 72, 128, 18, 80, 2, 32}, heads[] = {3, 2, 1, 2, 1, 4, 5};
    rng r = {21};
    double worst = 0.0;
    for (size_t i = 0; i < count; i++) {
        for (size_t trial = 0; trial < 7; trial++) {
            size_t n = trial == 3 ? 1 : 1 + rng_below(&r, trial == 0 ? 700 : 300), dim = dims[trial];
            size_t width = heads[trial] * dim, rows = n + 70 + 9;
            float *qkv = need_floats(rows * 3 * width), *all = need_floats(rows * width), *y = need_floats(n * width);
            rng_fill(&r, qkv, rows * 3 * width, 1.5f);
            for (size_t j = 0; j < rows; j++) /* what all keys have in common must not cost precision */
                for (size_t c = 0; c < width; c++)
                    qkv[(j * 3 + 1) * width + c] += c % 7 == 0 ? 30.0f : 0.0f;
            es_device *one = fast_device(isas[i], 1), *three = fast_device(isas[i], 3);
            es_segment list[] = {{0, 70}, {70, (int32_t)n}, {70 + (int32_t)n, 9}}, alone = {0, (int32_t)n};
            run_segments(three, qkv, rows, heads[trial], dim, list, 3, all);
            run_segments(one, qkv + 70 * 3 * width, n, heads[trial], dim, &alone, 1, y);
            expect_same_bits("alone, 1 thread; among others, 3 threads", y, all + 70 * width, n * width);
            double error = error_of(y, qkv + 70 * 3 * width, n, heads[trial], dim);
            worst = fmax(worst, error);
            if (!(error <= DOT_BOUND))
                fail_msg("%s, %zu rows of %zu: %.3g off", es_isa_name(isas[i]), n, dim, error);
            es_device_free(one);
            es_device_free(three);
            free(qkv);
            free(all);
            free(y);
        }
    }
    print_message("integer attention: at most %.2g off (relative L2), bound %.2g\n", worst, DOT_BOUND);
}

/* One key that draws half of the weight: what the others hold together must not be lost, but for the 63 that share its
 * group, which are less than half a byte's step beside it (0.053 of the weight). */
static void integer_attention_keeps_many_small_weights_beside_a_large_one(void **state)
{
    (void)state;
    size_t n = 600, dim = 64;
    rng r = {22};
    float *qkv = need_floats(n * 3 * dim), *y = need_floats(n * dim);
    rng_fill(&r, qkv, n * 3 * dim, 0.05f);
    for (size_t i = 0; i < n; i++) {
        qkv[i * 3 * dim] = 8.0f; /* every query asks for the first key: 8 * 6.4 / 8 = ln 600 */
        qkv[(i * 3 + 2) * dim + 5] = 1.0f;
    }
    qkv[dim] = 6.4f;
    qkv[2 * dim + 5] = -1.0f;
    es_device *d = fast_device(es_cpu_best_isa(), 2);
    es_segment whole = {0, (int32_t)n};
    run_segments(d, qkv, n, 1, dim, &whole, 1, y);
    double *want = need(dim * sizeof *want);
    attend_plainly(want, qkv, qkv + dim, qkv + 2 * dim, n, 3 * dim, dim);
    for (size_t i = 0; i < n; i += 37)
        if (!(fabs((double)y[i * dim + 5] - want[5]) <= 0.08))
            fail_msg("query %zu gives %.3g, should be %.3g", i, (double)y[i * dim + 5], want[5]);
    es_device_free(d);
    free(want);
    free(qkv);
    free(y);
}

static void integer_attention_passes_on_what_is_no_number(void **state)
{
    (void)state;
    size_t n = 130, dim = 32;
    rng r = {23};
    float *qkv = need_floats(n * 3 * dim), *y = need_floats(n * dim);
    es_device *d = fast_device(es_cpu_best_isa(), 1);
    es_segment whole = {0, (int32_t)n};
    for (int part = 0; part < 3; part++) {
        rng_fill(&r, qkv, n * 3 * dim, 1.0f);
        qkv[(100 * 3 + (size_t)part) * dim + 3] = part == 1 ? INFINITY : NAN;
        run_segments(d, qkv, n, 1, dim, &whole, 1, y);
        assert_true(isnan(y[100 * dim + 3]));
        assert_true(part == 0 ? isfinite(y[99 * dim + 3]) : isnan(y[99 * dim + 3]));
        assert_true(part == 1 || isfinite(y[99 * dim + 4]));
    }
    es_device_free(d);
    free(qkv);
    free(y);
}

/* --- paged --- */

enum { SEQUENCES = 3, TOKENS = 150, PAGES_EACH = 160 };

typedef struct paged {
    size_t heads, kv_heads, dim, page_tokens, pages;
    int32_t tables[SEQUENCES][PAGES_EACH];
    float *q, *k, *v, *y; /* [SEQUENCES][TOKENS][...]; y is what one token at a time gives */
    es_kv *kv;
} paged;

static void paged_make(paged *p, es_device *d, rng *r, size_t heads, size_t kv_heads, size_t dim, size_t page_tokens)
{
    es_error err = {0};
    *p = (paged){.heads = heads, .kv_heads = kv_heads, .dim = dim, .page_tokens = page_tokens};
    size_t each = (TOKENS + page_tokens - 1) / page_tokens;
    p->pages = each * SEQUENCES + 2;
    int32_t *order = need(p->pages * sizeof *order);
    for (size_t i = 0; i < p->pages; i++)
        order[i] = (int32_t)i;
    for (size_t i = p->pages - 1; i > 0; i--) { /* pages anywhere */
        size_t j = rng_below(r, i + 1);
        int32_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (size_t s = 0; s < SEQUENCES; s++)
        for (size_t i = 0; i < each; i++)
            p->tables[s][i] = order[s * each + i];
    free(order);
    size_t n = (size_t)SEQUENCES * TOKENS;
    p->q = need_floats(n * heads * dim);
    p->y = need_floats(n * heads * dim);
    p->k = need_floats(n * kv_heads * dim);
    p->v = need_floats(n * kv_heads * dim);
    rng_fill(r, p->q, n * heads * dim, 1.5f);
    rng_fill(r, p->k, n * kv_heads * dim, 1.5f);
    rng_fill(r, p->v, n * kv_heads * dim, 1.0f);
    es_kv_shape shape = {2, (int32_t)kv_heads, (int32_t)dim, (int32_t)p->pages, (int32_t)page_tokens};
    assert_int_equal(es_kv_create(d, &p->kv, &shape, &err), ES_OK);
}

static void paged_free(paged *p, es_device *d)
{
    es_kv_free(d, p->kv);
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->y);
}

/* A step of sequences with `counts` new tokens each after `pasts`; y goes to out as [rows, heads * dim]. */
static void step(paged *p, es_device *d, const size_t *which, const size_t *pasts, const size_t *counts, size_t n,
                 float *out)
{
    es_attend list[SEQUENCES];
    size_t rows = 0, qw = p->heads * p->dim, kw = p->kv_heads * p->dim;
    for (size_t i = 0; i < n; i++) {
        list[i] = (es_attend){(int32_t)rows, (int32_t)counts[i], (int32_t)pasts[i], p->tables[which[i]]};
        rows += counts[i];
    }
    float *q = need_floats(rows * qw), *k = need_floats(rows * kw), *v = need_floats(rows * kw);
    for (size_t i = 0; i < n; i++) {
        size_t from = which[i] * TOKENS + pasts[i], to = (size_t)list[i].first;
        memcpy(q + to * qw, p->q + from * qw, counts[i] * qw * sizeof *q);
        memcpy(k + to * kw, p->k + from * kw, counts[i] * kw * sizeof *k);
        memcpy(v + to * kw, p->v + from * kw, counts[i] * kw * sizeof *v);
    }
    es_tensor *tq = tensor_of(d, rows, qw, q), *tk = tensor_of(d, rows, kw, k), *tv = tensor_of(d, rows, kw, v);
    es_tensor *ty = tensor_of(d, rows, qw, NULL);
    es_op_kv_write(d, p->kv, 1, tk, tv, list, n);
    es_op_attend_paged(d, ty, tq, p->kv, 1, (int64_t)p->heads, list, n);
    es_op_read(d, ty, 0, (int64_t)rows, out);
    check_device(d);
    es_tensor_free(d, tq);
    es_tensor_free(d, tk);
    es_tensor_free(d, tv);
    es_tensor_free(d, ty);
    free(q);
    free(k);
    free(v);
}

static void expect_causal(paged *p, double bound)
{
    size_t qw = p->heads * p->dim, kw = p->kv_heads * p->dim, group = p->heads / p->kv_heads;
    double *want = need(p->dim * sizeof *want);
    for (size_t s = 0; s < SEQUENCES; s++) {
        for (size_t t = 0; t < TOKENS; t++) {
            for (size_t h = 0; h < p->heads; h++) {
                size_t at = (s * TOKENS + t) * qw + h * p->dim;
                size_t head = s * TOKENS * kw + h / group * p->dim;
                attend_plainly(want, p->q + at, p->k + head, p->v + head, t + 1, kw, p->dim);
                expect_near("attend_paged", p->y + at, want, p->dim, bound);
            }
        }
    }
    free(want);
}

/* All three sequences at once, in pieces of random length, give the bits that single tokens gave. */
static void expect_chunks_equal_steps(paged *p, es_device *d, rng *r)
{
    size_t qw = p->heads * p->dim, done[SEQUENCES] = {0};
    float *out = need_floats((size_t)SEQUENCES * TOKENS * qw);
    for (;;) {
        size_t which[SEQUENCES], pasts[SEQUENCES], counts[SEQUENCES], n = 0, rows = 0;
        for (size_t s = 0; s < SEQUENCES; s++) {
            if (done[s] == TOKENS || rng_below(r, 4) == 0)
                continue;
            size_t most = TOKENS - done[s];
            which[n] = s;
            pasts[n] = done[s];
            counts[n] = 1 + rng_below(r, rng_below(r, 2) == 0 ? 2 : most);
            counts[n] = counts[n] > most ? most : counts[n];
            n++;
        }
        if (done[0] == TOKENS && done[1] == TOKENS && done[2] == TOKENS)
            break;
        if (n == 0)
            continue;
        step(p, d, which, pasts, counts, n, out);
        for (size_t i = 0; i < n; i++) {
            size_t at = (which[i] * TOKENS + pasts[i]) * qw;
            expect_same_bits("chunks and single tokens", out + rows * qw, p->y + at, counts[i] * qw);
            rows += counts[i];
            done[which[i]] += counts[i];
        }
    }
    free(out);
}

/* Halves hold a value of 3 to 0.001, and move a score of 10 by as much as 0.01. */
#define HALVES_BOUND 2e-2

static void expect_paged(bool halves)
{
    const size_t shapes[][4] = {/* heads, kv_heads, dim, page_tokens */
                                {4, 2, 32, 16},
                                {3, 1, 18, 5},
                                {2, 2, 80, 64},
                                {8, 1, 16, 1},
                                {4, 4, 7, 300}};
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {13};
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < sizeof shapes / sizeof shapes[0]; c++) {
            es_device *d = halves ? fast_device(isas[i], 2) : device_of(isas[i], 2);
            assert_int_equal(d->kv_number_size, halves ? 2 : 4);
            paged p;
            paged_make(&p, d, &r, shapes[c][0], shapes[c][1], shapes[c][2], shapes[c][3]);
            for (size_t s = 0; s < SEQUENCES; s++)
                for (size_t t = 0; t < TOKENS; t++)
                    step(&p, d, &s, &t, (const size_t[]){1}, 1, p.y + (s * TOKENS + t) * p.heads * p.dim);
            expect_causal(&p, halves ? HALVES_BOUND : ATTENTION_BOUND);
            expect_chunks_equal_steps(&p, d, &r);
            paged_free(&p, d);
            es_device_free(d);
        }
    }
}

static void paged_attention_is_causal_and_the_same_in_chunks(void **state)
{
    (void)state;
    expect_paged(false);
}

static void a_cache_of_halves_is_causal_and_the_same_in_chunks(void **state)
{
    (void)state;
    expect_paged(true);
}

static void two_sequences_may_share_pages(void **state)
{
    (void)state;
    rng r = {14};
    es_device *d = device_of(es_cpu_best_isa(), 2);
    paged p;
    paged_make(&p, d, &r, 2, 1, 16, 16);
    const size_t none[] = {0, 0};
    float *first = need_floats(64 * 32), *both = need_floats(2 * 32);
    step(&p, d, none, none, (const size_t[]){48}, 1, first);
    memcpy(p.tables[1], p.tables[0], 3 * sizeof p.tables[0][0]); /* 48 tokens are three whole pages */
    memcpy(p.q + (TOKENS + 48) * 32, p.q + 48 * 32, 32 * sizeof *p.q);
    memcpy(p.k + (TOKENS + 48) * 16, p.k + 48 * 16, 16 * sizeof *p.k);
    memcpy(p.v + (TOKENS + 48) * 16, p.v + 48 * 16, 16 * sizeof *p.v);
    step(&p, d, (const size_t[]){0, 1}, (const size_t[]){48, 48}, (const size_t[]){1, 1}, 2, both);
    expect_same_bits("sequences with one past", both, both + 32, 32);
    free(first);
    free(both);
    paged_free(&p, d);
    es_device_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_attend_to_themselves_only),
        cmocka_unit_test(segment_rows_do_not_depend_on_threads),
        cmocka_unit_test(integer_attention_is_near_and_the_same_in_company),
        cmocka_unit_test(integer_attention_keeps_many_small_weights_beside_a_large_one),
        cmocka_unit_test(integer_attention_passes_on_what_is_no_number),
        cmocka_unit_test(paged_attention_is_causal_and_the_same_in_chunks),
        cmocka_unit_test(a_cache_of_halves_is_causal_and_the_same_in_chunks),
        cmocka_unit_test(two_sequences_may_share_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
