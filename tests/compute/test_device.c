/* test_device.c - the cpu device as a whole: small operations, shapes that do not fit, memory that is not there. */
#include "help.h"

#include "base/mem.h"

/* --- the allocator fails on demand: every call is counted, the one numbered fail_at gives NULL --- */

void *__real_calloc(size_t count, size_t size);
void *__real_malloc(size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static long fail_at = -1; /* -1: never; else counts down */

static bool refused(void)
{
    return fail_at >= 0 && fail_at-- == 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_malloc(size_t size)
{
    return refused() ? NULL : __real_malloc(size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return refused() ? NULL : __real_aligned_alloc(alignment, size);
}

/* Sanitizers would end the program at an allocation too large to be meant; here it must fail as elsewhere. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void a_refused_allocation_anywhere_is_an_error(void **state)
{
    (void)state;
    static uint8_t words[64 * 64], scales[64 * 4 * 2];
    es_matrix_source source = {.rows = 64,
                               .cols = 128,
                               .dtype = ES_U32,
                               .data = words,
                               .bits = 4,
                               .group = 32,
                               .scales = scales,
                               .biases = scales,
                               .scale_dtype = ES_F16,
                               .use = ES_USE_TEXT};
    es_matrix_source wide = {.rows = 1, .cols = 3 << 20, .dtype = ES_F32, .data = words}; /* needs more scratch */
    es_kv_shape shape = {1, 1, 16, 2, 16};
    long n = 0;
    bool all = false;
    for (; !all; n++) {
        es_device *d = NULL;
        es_tensor *t = NULL;
        es_matrix *m = NULL, *w = NULL;
        es_kv *kv = NULL;
        es_error err = {0};
        fail_at = n;
        es_cpu_options options = {.threads = 2, .precision = ES_PRECISION_FAST}; /* panels are made too */
        es_status status = es_cpu_device_create(&d, &options, &err);
        if (status == ES_OK)
            status = es_tensor_create(d, &t, 10, 10, &err);
        if (status == ES_OK)
            status = es_matrix_create(d, &m, &source, &err);
        if (status == ES_OK)
            status = es_matrix_create(d, &w, &wide, &err);
        if (status == ES_OK)
            status = es_kv_create(d, &kv, &shape, &err);
        all = fail_at >= 0; /* not used up: nothing was refused */
        fail_at = -1;
        if (all) {
            assert_int_equal(status, ES_OK);
        } else {
            assert_int_equal(status, ES_ERR_MEMORY);
            assert_non_null(strstr(err.message, "memory"));
        }
        if (d != NULL) {
            es_kv_free(d, kv);
            es_matrix_free(d, w);
            es_matrix_free(d, m);
            es_tensor_free(d, t);
        }
        es_device_free(d);
        assert_true(n < 200);
    }
    assert_true(n > 20);
}

static void sizes_beyond_all_memory_are_errors(void **state)
{
    (void)state;
    es_device *d = device_of(ES_ISA_SCALAR, 1);
    es_error err = {0};
    es_tensor *t = NULL;
    es_kv *kv = NULL;
    es_matrix *m = NULL;
    const int64_t sizes[][2] = {{INT64_MAX, 2}, {INT64_C(1) << 40, INT64_C(1) << 40}, {INT64_C(1) << 45, 1}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(es_tensor_create(d, &t, sizes[i][0], sizes[i][1], &err), ES_ERR_MEMORY);
        assert_null(t);
    }
    assert_int_equal(es_tensor_create(d, &t, -1, 2, &err), ES_ERR_ARGUMENT);
    assert_int_equal(es_tensor_create(d, &t, 1, 0, &err), ES_ERR_ARGUMENT);
    es_kv_shape shape = {INT32_MAX, INT32_MAX, 512, INT32_MAX, 512};
    assert_int_equal(es_kv_create(d, &kv, &shape, &err), ES_ERR_MEMORY);
    shape.head_dim = INT32_MAX;
    assert_int_equal(es_kv_create(d, &kv, &shape, &err), ES_ERR_UNSUPPORTED);
    shape.pages = 0;
    assert_int_equal(es_kv_create(d, &kv, &shape, &err), ES_ERR_ARGUMENT);
    float one = 1.0f;
    es_matrix_source source = {.rows = 1, .cols = INT64_C(1) << 46, .dtype = ES_F32, .data = &one};
    assert_int_equal(es_matrix_create(d, &m, &source, &err), ES_ERR_MEMORY);
    source.rows = INT64_C(1) << 40;
    assert_int_equal(es_matrix_create(d, &m, &source, &err), ES_ERR_LIMIT);
    es_device_free(d);
}

static void weights_of_unknown_form_are_refused(void **state)
{
    (void)state;
    es_device *d = device_of(ES_ISA_SCALAR, 1);
    static const uint32_t data[64];
    const es_matrix_source good = {.rows = 2,
                                   .cols = 64,
                                   .dtype = ES_U32,
                                   .data = data,
                                   .bits = 4,
                                   .group = 32,
                                   .scales = data,
                                   .biases = data,
                                   .scale_dtype = ES_F16};
    es_matrix *m = NULL;
    es_error err = {0};
    assert_int_equal(es_matrix_create(d, &m, &good, &err), ES_OK);
    es_matrix_free(d, m);
    es_matrix_source s[9];
    for (size_t i = 0; i < 9; i++)
        s[i] = good;
    s[0].bits = 3;
    s[1].group = 48;
    s[2].cols = 80;
    s[3].scales = NULL;
    s[4].scale_dtype = ES_U32;
    s[5].dtype = ES_F32;
    s[6].bits = 0;
    s[7].data = NULL;
    s[8].rows = 0;
    for (size_t i = 0; i < 9; i++) {
        err = (es_error){0};
        assert_int_not_equal(es_matrix_create(d, &m, &s[i], &err), ES_OK);
        assert_null(m);
        assert_true(err.message[0] != '\0');
    }
    es_device_free(d);
}

/* --- instruction sets and options --- */

static void an_instruction_set_can_be_chosen_by_name(void **state)
{
    (void)state;
    const char *const names[] = {"scalar", "avx2", "avxvnni", "avx512", "neon"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        es_isa isa = ES_ISA_SCALAR;
        assert_true(es_isa_parse(names[i], &isa));
        assert_string_equal(es_isa_name(isa), names[i]);
        es_cpu_options options = {.threads = 1, .isa_given = true, .isa = isa};
        es_device *d = NULL;
        es_error err = {0};
        es_status status = es_cpu_device_create(&d, &options, &err);
        assert_int_equal(status, es_cpu_has_isa(isa) ? ES_OK : ES_ERR_UNSUPPORTED);
        if (status == ES_OK)
            assert_non_null(strstr(d->detail, names[i]));
        else
            assert_non_null(strstr(err.message, names[i]));
        es_device_free(d);
    }
    es_isa isa;
    assert_false(es_isa_parse("sse9", &isa));
    assert_true(es_cpu_has_isa(ES_ISA_SCALAR) && es_cpu_has_isa(es_cpu_best_isa()));
    assert_string_equal(es_isa_name((es_isa)99), "unknown");
}

static void a_family_multiplies_by_its_own_instructions(void **state)
{
    (void)state;
    static const struct {
        es_isa isa;
        const char *kernels;
    } own[] = {{ES_ISA_SCALAR, "products by scalar"},
               {ES_ISA_AVX2, "products by avx2)"}, /* and not AVX-VNNI where it is there */
               {ES_ISA_AVXVNNI, "products by avxvnni"}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (!es_cpu_has_isa(own[i].isa))
            continue;
        es_cpu_options options = {.threads = 1, .isa_given = true, .isa = own[i].isa, .precision = ES_PRECISION_FAST};
        es_device *d = NULL;
        es_error err = {0};
        assert_int_equal(es_cpu_device_create(&d, &options, &err), ES_OK);
        assert_non_null(strstr(d->detail, own[i].kernels));
        es_device_free(d);
        assert_true(es_cpu_best_isa() >= own[i].isa);
    }
}

static void the_processor_describes_itself_within_its_room(void **state)
{
    (void)state;
    char text[256], small[8];
    memset(small, 'x', sizeof small);
    es_cpu_describe(text, sizeof text);
    assert_true(strlen(text) > 5 && strchr(text, '\n') == NULL);
    es_cpu_describe(small, sizeof small);
    assert_int_equal(strlen(small), 7);
}

/* --- the sticky error --- */

typedef struct bed {
    es_device *d;
    es_tensor *a, *b, *gain, *wide; /* [4, 6], [4, 6], [1, 6], [4, 18] */
    es_matrix *w;                   /* [5, 6] */
    es_kv *kv;                      /* 2 layers, 1 head of 6, 3 pages of 4 */
} bed;

static void bed_make(bed *b)
{
    static const float weights[30];
    es_matrix_source source = {.rows = 5, .cols = 6, .dtype = ES_F32, .data = weights};
    es_kv_shape shape = {2, 1, 6, 3, 4};
    es_error err = {0};
    float zeros[72] = {0};
    b->d = device_of(es_cpu_best_isa(), 2);
    b->a = tensor_of(b->d, 4, 6, zeros);
    b->b = tensor_of(b->d, 4, 6, zeros);
    b->gain = tensor_of(b->d, 1, 6, zeros);
    b->wide = tensor_of(b->d, 4, 18, zeros);
    b->w = matrix_of(b->d, &source);
    assert_int_equal(es_kv_create(b->d, &b->kv, &shape, &err), ES_OK);
    check_device(b->d);
}

static void bed_free(bed *b)
{
    es_kv_free(b->d, b->kv);
    es_matrix_free(b->d, b->w);
    es_tensor_free(b->d, b->a);
    es_tensor_free(b->d, b->b);
    es_tensor_free(b->d, b->gain);
    es_tensor_free(b->d, b->wide);
    es_device_free(b->d);
}

/* The operation just asked for was refused with a line that names it; the device works again afterwards. */
static void refuses(bed *b, const char *name)
{
    es_error err = {0};
    if (es_device_check(b->d, &err) != ES_ERR_ARGUMENT)
        fail_msg("%s was not refused", name);
    if (strstr(err.message, name) == NULL)
        fail_msg("the error of %s is: %s", name, err.message);
    check_device(b->d);
}

static void shapes_that_do_not_fit_stick_and_clear(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    es_device *d = b.d;
    float host[100] = {0};
    es_op_write(d, b.a, host, 5), refuses(&b, "write");
    es_op_write(d, b.a, host, -1), refuses(&b, "write");
    es_op_read(d, b.a, 3, 2, host), refuses(&b, "read");
    es_op_read(d, b.a, -1, 1, host), refuses(&b, "read");
    es_op_reshape(d, b.a, INT64_MAX, 6), refuses(&b, "reshape");
    es_op_reshape(d, b.a, 5, 5), refuses(&b, "reshape");
    es_op_copy(d, b.gain, b.a), refuses(&b, "copy");
    es_op_add(d, b.a, b.gain), refuses(&b, "add");
    es_op_norm_rms(d, b.b, b.a, b.wide, 1e-6f), refuses(&b, "norm_rms");
    es_op_norm_layer(d, b.b, b.a, b.gain, b.a, 1e-6f), refuses(&b, "norm_layer");
    es_op_linear(d, b.b, b.wide, b.w, NULL, ES_ACT_NONE, NULL), refuses(&b, "linear");
    es_op_linear(d, b.gain, b.a, b.w, NULL, ES_ACT_NONE, NULL), refuses(&b, "linear");
    es_op_linear(d, b.a, b.a, b.w, NULL, ES_ACT_NONE, NULL), refuses(&b, "linear");
    es_op_linear(d, b.b, b.a, b.w, b.gain, ES_ACT_NONE, NULL), refuses(&b, "linear");
    es_op_linear(d, b.b, b.a, b.w, NULL, ES_ACT_NONE, b.a), refuses(&b, "linear");
    es_op_swiglu(d, b.b, b.a, b.wide), refuses(&b, "swiglu");
    es_op_rope(d, b.a, 1, 1, 6, b.b), refuses(&b, "rope");
    es_op_rope(d, b.a, 0, INT64_MAX, 6, b.b), refuses(&b, "rope");
    es_op_rope(d, b.a, 0, 1, 4, b.b), refuses(&b, "rope");
    bed_free(&b);
}

static void lists_that_do_not_fit_stick_and_clear(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    es_device *d = b.d;
    const int32_t beyond[] = {0, 5}, negative[] = {-1}, rows[] = {0, 4}, fine[] = {0, 1};
    es_op_embed(d, b.b, b.w, beyond, 2), refuses(&b, "embed");
    es_op_embed(d, b.b, b.w, negative, 1), refuses(&b, "embed");
    es_op_embed(d, b.gain, b.w, fine, 2), refuses(&b, "embed");
    es_op_embed(d, b.b, b.w, fine, -1), refuses(&b, "embed");
    es_op_gather(d, b.b, b.a, rows, 2), refuses(&b, "gather");
    es_op_gather(d, b.a, b.a, fine, 2), refuses(&b, "gather");
    es_op_scatter(d, b.b, b.a, 0, rows, 2, false), refuses(&b, "scatter");
    es_op_scatter(d, b.b, b.a, 3, fine, 2, true), refuses(&b, "scatter");
    es_op_scatter(d, b.b, b.wide, 0, fine, 2, true), refuses(&b, "scatter");
    const es_segment late = {2, 3}, twice[] = {{0, 2}, {1, 2}}, minus = {0, -1}, huge = {INT32_MAX, INT32_MAX};
    es_op_attend_segments(d, b.b, b.wide, 1, 6, &late, 1), refuses(&b, "attend_segments");
    es_op_attend_segments(d, b.b, b.wide, 1, 6, twice, 2), refuses(&b, "attend_segments");
    es_op_attend_segments(d, b.b, b.wide, 1, 6, &minus, 1), refuses(&b, "attend_segments");
    es_op_attend_segments(d, b.b, b.wide, 1, 6, &huge, 1), refuses(&b, "attend_segments");
    es_op_attend_segments(d, b.b, b.wide, 2, 6, &late, 1), refuses(&b, "attend_segments");
    const int32_t pages[] = {0, 2}, wrong[] = {0, 3};
    const es_attend past = {0, 4, 1, wrong}, none = {0, 1, 0, NULL}, before = {0, 1, -1, pages};
    const es_attend far = {0, 4, INT32_MAX, pages}, good = {0, 4, 3, pages};
    es_op_kv_write(d, b.kv, 0, b.a, b.b, &past, 1), refuses(&b, "kv_write");
    es_op_kv_write(d, b.kv, 0, b.a, b.b, &none, 1), refuses(&b, "kv_write");
    es_op_kv_write(d, b.kv, 0, b.a, b.b, &before, 1), refuses(&b, "kv_write");
    es_op_kv_write(d, b.kv, 2, b.a, b.b, &good, 1), refuses(&b, "kv_write");
    es_op_kv_write(d, b.kv, 0, b.wide, b.b, &good, 1), refuses(&b, "kv_write");
    es_op_attend_paged(d, b.b, b.a, b.kv, 0, 2, &good, 1), refuses(&b, "attend_paged");
    es_op_attend_paged(d, b.b, b.a, b.kv, 0, 1, &past, 1), refuses(&b, "attend_paged");
    es_op_attend_paged(d, b.b, b.a, b.kv, -1, 1, &good, 1), refuses(&b, "attend_paged");
    es_op_attend_paged(d, b.a, b.a, b.kv, 0, 1, &good, 1), refuses(&b, "attend_paged");
    es_op_kv_write(d, b.kv, 0, b.a, b.b, &far, 1), refuses(&b, "kv_write");
    es_op_kv_write(d, b.kv, 0, b.a, b.b, &good, 1);
    es_op_attend_paged(d, b.b, b.a, b.kv, 0, 1, &good, 1);
    check_device(d);
    bed_free(&b);
}

static void the_first_failure_is_kept_and_stops_the_rest(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    float ones[6] = {1, 1, 1, 1, 1, 1}, got[6] = {7, 7, 7, 7, 7, 7};
    es_error err = {0};
    es_op_write(b.d, b.gain, ones, 1);
    es_op_add(b.d, b.a, b.gain);              /* does not fit */
    es_op_add(b.d, b.gain, b.gain);           /* would double */
    es_op_reshape(b.d, b.wide, 1, INT64_MAX); /* would fail otherwise */
    es_op_read(b.d, b.gain, 0, 1, got);
    assert_true(got[0] == 7.0f);
    assert_int_equal(es_device_check(b.d, &err), ES_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "add: x is 1 x 6, should be 4 x 6"));
    es_op_read(b.d, b.gain, 0, 1, got);
    check_device(b.d);
    assert_true(got[0] == 1.0f);
    bed_free(&b);
}

/* --- small operations --- */

static void data_walks_through_unchanged(void **state)
{
    (void)state;
    es_device *d = device_of(es_cpu_best_isa(), 2);
    float in[60], out[60];
    for (size_t i = 0; i < 60; i++)
        in[i] = (float)i;
    es_tensor *a = tensor_of(d, 10, 6, in), *b = tensor_of(d, 30, 2, NULL);
    es_op_copy(d, b, a);
    assert_int_equal(b->rows, 10);
    es_op_reshape(d, b, 5, 12);
    es_op_read(d, b, 0, 5, out);
    expect_same_bits("copy and reshape", in, out, 60);
    const int32_t rows[] = {4, 0, 4};
    es_op_gather(d, a, b, rows, 3);
    es_op_read(d, a, 0, 3, out);
    expect_same_bits("gather", in + 48, out, 12);
    expect_same_bits("gather", in, out + 12, 12);
    const int32_t to[] = {3, 1};
    es_op_scatter(d, b, a, 1, to, 2, false); /* row 3 becomes old row 0, row 1 old row 4 */
    es_op_scatter(d, b, a, 1, to, 1, true);  /* and row 3 twice that */
    es_op_read(d, b, 0, 5, out);
    for (size_t i = 0; i < 12; i++) {
        assert_true(out[36 + i] == 2.0f * in[i] && out[12 + i] == in[48 + i]);
        assert_true(out[i] == in[i] && out[24 + i] == in[24 + i]);
    }
    es_op_read(d, b, 4, 1, out);
    expect_same_bits("one row", in + 48, out, 12);
    es_op_write(d, a, in, 0); /* nothing is something too */
    assert_int_equal(a->rows, 0);
    check_device(d);
    es_tensor_free(d, a);
    es_tensor_free(d, b);
    es_device_free(d);
}

static void norms_and_rope_match_double_in_place(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {21};
    enum { N = 37, COLS = 120, RUN = 24 };
    float *x = need_floats(N * COLS), *y = need_floats(N * COLS), gain[COLS], bias[COLS];
    rng_fill(&r, x, N * COLS, 2.0f);
    rng_fill(&r, gain, COLS, 1.0f);
    rng_fill(&r, bias, COLS, 1.0f);
    for (size_t i = 0; i < count; i++) {
        es_device *d = device_of(isas[i], 3);
        es_tensor *t = tensor_of(d, N, COLS, x), *run = tensor_of(d, 1, RUN, gain);
        es_tensor *whole = tensor_of(d, 1, COLS, gain), *shift = tensor_of(d, 1, COLS, bias);
        es_op_norm_rms(d, t, t, run, 1e-6f);
        es_op_read(d, t, 0, N, y);
        for (size_t at = 0; at < N * COLS; at += RUN) {
            double squares = 0.0;
            for (size_t j = 0; j < RUN; j++)
                squares += (double)x[at + j] * (double)x[at + j];
            for (size_t j = 0; j < RUN; j++) {
                double want = (double)x[at + j] / sqrt(squares / RUN + 1e-6) * (double)gain[j];
                assert_true(fabs((double)y[at + j] - want) <= 3e-7 * fabs(want));
            }
        }
        es_op_write(d, t, x, N);
        es_op_norm_layer(d, t, t, whole, shift, 1e-6f);
        es_op_read(d, t, 0, N, y);
        for (size_t row = 0; row < N; row++) {
            double mean = 0.0, spread = 0.0;
            for (size_t j = 0; j < COLS; j++)
                mean += (double)x[row * COLS + j] / COLS;
            for (size_t j = 0; j < COLS; j++)
                spread += ((double)x[row * COLS + j] - mean) * ((double)x[row * COLS + j] - mean) / COLS;
            for (size_t j = 0; j < COLS; j++) {
                double part = ((double)x[row * COLS + j] - mean) / sqrt(spread + 1e-6) * (double)gain[j];
                double want = part + (double)bias[j];
                assert_true(fabs((double)y[row * COLS + j] - want) <= 3e-7 * (fabs(part) + fabs(want)));
            }
        }
        check_device(d);
        es_tensor_free(d, t);
        es_tensor_free(d, run);
        es_tensor_free(d, whole);
        es_tensor_free(d, shift);
        es_device_free(d);
    }
    free(x);
    free(y);
}

static void rope_turns_only_the_heads_asked_for(void **state)
{
    (void)state;
    es_isa isas[ISAS];
    size_t count = usable_isas(isas);
    rng r = {22};
    enum { N = 5, COLS = 50, FIRST = 4, HEADS = 3, DIM = 14 };
    float x[N * COLS], y[N * COLS], angles[N * DIM];
    rng_fill(&r, x, N * COLS, 1.0f);
    rng_fill(&r, angles, N * DIM, 0.7f);
    for (size_t i = 0; i < count; i++) {
        es_device *d = device_of(isas[i], 2);
        es_tensor *t = tensor_of(d, N, COLS, x), *cos_sin = tensor_of(d, N, DIM, angles);
        es_op_rope(d, t, FIRST, HEADS, DIM, cos_sin);
        es_op_read(d, t, 0, N, y);
        check_device(d);
        for (size_t row = 0; row < N; row++) {
            for (size_t c = 0; c < COLS; c++) {
                float want = x[row * COLS + c];
                if (c >= FIRST && c < FIRST + HEADS * DIM) {
                    size_t j = (c - FIRST) % DIM, pair = j % (DIM / 2);
                    float cosine = angles[row * DIM + pair], sine = angles[row * DIM + DIM / 2 + pair];
                    size_t other = row * COLS + (j < DIM / 2 ? c + DIM / 2 : c - DIM / 2);
                    float turned = x[other] * sine;
                    want = want * cosine;
                    want = j < DIM / 2 ? want - turned : want + turned;
                }
                assert_true(fabsf(y[row * COLS + c] - want) <= 1e-6f);
            }
        }
        es_tensor_free(d, t);
        es_tensor_free(d, cos_sin);
        es_device_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_allocation_anywhere_is_an_error),
        cmocka_unit_test(sizes_beyond_all_memory_are_errors),
        cmocka_unit_test(weights_of_unknown_form_are_refused),
        cmocka_unit_test(an_instruction_set_can_be_chosen_by_name),
        cmocka_unit_test(a_family_multiplies_by_its_own_instructions),
        cmocka_unit_test(the_processor_describes_itself_within_its_room),
        cmocka_unit_test(shapes_that_do_not_fit_stick_and_clear),
        cmocka_unit_test(lists_that_do_not_fit_stick_and_clear),
        cmocka_unit_test(the_first_failure_is_kept_and_stops_the_rest),
        cmocka_unit_test(data_walks_through_unchanged),
        cmocka_unit_test(norms_and_rope_match_double_in_place),
        cmocka_unit_test(rope_turns_only_the_heads_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
