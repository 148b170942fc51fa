/* test_mlx.c - what the MLX device promises beyond its arithmetic: memory, failures, a cache written in place. Exit 77
 * where there is no MLX. */
#include "help.h"

#include <sys/resource.h>
#include <unistd.h>

#include "base/thread.h"
#include "compute/mlx/mlx.h"

#define SKIPPED 77

static es_device *open_as(bool mlx_products)
{
    es_device *d = NULL;
    es_error err = {0};
    es_mlx_options options = {.where = ES_MLX_CPU, .mlx_products = mlx_products};
    if (es_mlx_device_create(&d, &options, &err) != ES_OK)
        fail_msg("%s", err.message);
    return d;
}

static es_device *open_mlx(void)
{
    return open_as(false);
}

static double megabytes(const char *key)
{
    char line[256];
    double value = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtod(line + strlen(key) + 1, NULL) / 1024;
    if (file != NULL)
        fclose(file);
    return value;
}

static void memory_comes_back(bool mlx_products)
{
    enum { ROWS = 4096, COLS = 8192 }; /* 128 MB */
    if (megabytes("VmRSS:") <= 0)
        skip();
    float *data = need_floats((size_t)ROWS * COLS);
    memset(data, 0, (size_t)ROWS * COLS * sizeof *data);
    es_device *d = open_as(mlx_products);
    double before = megabytes("VmRSS:");
    for (int i = 0; i < 2; i++) {
        es_matrix_source source = {.rows = ROWS, .cols = COLS, .dtype = ES_F32, .data = data};
        es_kv_shape shape = {4, 8, 128, 64, 32};
        es_kv *kv;
        es_error err = {0};
        es_matrix *m = matrix_of(d, &source);
        assert_int_equal(es_kv_create(d, &kv, &shape, &err), ES_OK);
        es_tensor *x = tensor_of(d, 4, COLS, data), *y = tensor_of(d, 4, ROWS, NULL);
        es_op_linear(d, y, x, m, NULL, ES_ACT_NONE, NULL);
        check_device(d);
        if (d->copies_weights)
            assert_true(megabytes("VmRSS:") > before + 100);
        else
            assert_true(megabytes("VmRSS:") < before + 24);
        es_tensor_free(d, x);
        es_tensor_free(d, y);
        es_kv_free(d, kv);
        es_matrix_free(d, m);
        double after = megabytes("VmRSS:");
        if (after > before + 24)
            fail_msg("%.0f MB before, %.0f MB after a weight of 128 MB went", before, after);
    }
    es_device_free(d);
    free(data);
}

static void memory_comes_back_when_a_model_goes(void **state)
{
    (void)state;
    memory_comes_back(true);
    memory_comes_back(false); /* where the cpu device multiplies, the weight is not even copied */
}

/* What was noted down and not computed yet when its weight goes, and the weight's file after it. */
static void promises_outlive_their_weights(void **state)
{
    (void)state;
    enum { ROWS = 40, COLS = 64, N = 3 };
    for (int mlx_products = 0; mlx_products < 2; mlx_products++) {
        es_device *d = open_as(mlx_products != 0);
        float *data = need_floats(ROWS * COLS), x[N * COLS], product[N * ROWS], rows[N * COLS];
        const int32_t ids[N] = {7, 0, ROWS - 1};
        for (size_t i = 0; i < ROWS * COLS; i++)
            data[i] = (float)(i / COLS);
        for (size_t i = 0; i < N * COLS; i++)
            x[i] = 0.5f;
        es_matrix_source source = {.rows = ROWS, .cols = COLS, .dtype = ES_F32, .data = data};
        es_matrix *w = matrix_of(d, &source);
        es_tensor *in = tensor_of(d, N, COLS, x), *y = tensor_of(d, N, ROWS, NULL), *e = tensor_of(d, N, COLS, NULL);
        es_op_linear(d, y, in, w, NULL, ES_ACT_NONE, NULL);
        es_op_embed(d, e, w, ids, N);
        es_matrix_free(d, w);
        memset(data, 0xff, ROWS * COLS * sizeof *data);
        es_op_read(d, y, 0, N, product);
        es_op_read(d, e, 0, N, rows);
        check_device(d);
        for (size_t i = 0; i < N * ROWS; i++)
            assert_true(product[i] == 0.5f * COLS * (float)(i % ROWS));
        for (size_t i = 0; i < N * COLS; i++)
            assert_true(rows[i] == (float)ids[i / COLS]);
        es_tensor_free(d, in);
        es_tensor_free(d, y);
        es_tensor_free(d, e);
        es_device_free(d);
        free(data);
    }
}

/* A hundred million numbers where the process may have no more than it has: an error, and all works afterwards. */
static void no_memory_is_an_error(void **state)
{
    (void)state;
    es_device *d = open_mlx();
    float ones[64];
    for (size_t i = 0; i < 64; i++)
        ones[i] = 1.0f;
    es_matrix_source source = {.rows = 1, .cols = 64, .dtype = ES_F32, .data = ones};
    es_matrix *w = matrix_of(d, &source);
    const int32_t zero[1] = {0};
    es_tensor *x = tensor_of(d, 1, 64, ones), *y = tensor_of(d, 1, 1, NULL), *wide = tensor_of(d, 1 << 20, 64, NULL);
    int32_t *many = calloc(1 << 20, sizeof *many);
    assert_non_null(many);
    struct rlimit old, tight;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    tight = old;
    tight.rlim_cur = (rlim_t)(megabytes("VmSize:") * 1048576) + (48u << 20);
    for (int i = 0; i < 2; i++) {
        es_error err = {0};
        assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
        es_op_gather(d, wide, x, many, 1 << 20); /* 256 MB */
        es_op_add(d, wide, wide);
        es_status status = es_device_check(d, &err);
        if (status == ES_OK)
            status = es_device_check(d, &err); /* a lazy device may tell one check later */
        assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
        print_message("said: %s\n", err.message);
        assert_int_equal(status, ES_ERR_MEMORY);
        assert_non_null(strstr(err.message, "MLX"));
        assert_true(d->lost);
        float got = 0;
        es_op_gather(d, y, x, zero, 0);
        es_op_linear(d, y, x, w, NULL, ES_ACT_NONE, NULL); /* x was computed: it is still there */
        es_op_read(d, y, 0, 1, &got);
        check_device(d);
        assert_true(got == 64.0f);
    }
    free(many);
    es_tensor_free(d, x);
    es_tensor_free(d, y);
    es_tensor_free(d, wide);
    es_matrix_free(d, w);
    es_device_free(d);
}

/* Steps of one row, written and read back, at a cache of so many pages. */
static double step_seconds(es_device *d, int32_t pages, int steps)
{
    enum { HEADS = 8, DIM = 128, PAGE = 32 };
    es_kv_shape shape = {1, HEADS, DIM, pages, PAGE};
    es_kv *kv;
    es_error err = {0};
    float row[HEADS * DIM] = {0};
    const int32_t last[1] = {pages - 1};
    assert_int_equal(es_kv_create(d, &kv, &shape, &err), ES_OK);
    es_tensor *x = tensor_of(d, 1, HEADS * DIM, row), *y = tensor_of(d, 1, HEADS * DIM, NULL);
    double best = INFINITY;
    for (int i = 0; i < steps; i++) {
        es_attend one = {0, 1, i % PAGE, last};
        double begin = es_now();
        es_op_kv_write(d, kv, 0, x, x, &one, 1);
        es_op_attend_paged(d, y, x, kv, 0, HEADS, &one, 1);
        es_op_read(d, y, 0, 1, row);
        check_device(d);
        double seconds = es_now() - begin;
        best = seconds < best ? seconds : best;
    }
    es_tensor_free(d, x);
    es_tensor_free(d, y);
    es_kv_free(d, kv);
    return best;
}

/* A step that copied the cache would take 256 times as long (67 MB an array: some 20 ms). The best of many, so that a
 * busy machine does not matter. */
static void a_step_does_not_copy_the_cache(void **state)
{
    (void)state;
    es_device *d = open_mlx();
    double small = step_seconds(d, 2, 64), large = step_seconds(d, 512, 64);
    print_message("a step: %.0f us beside a cache of 64 tokens, %.0f us beside one of 16384\n", small * 1e6,
                  large * 1e6);
    assert_true(large < 8 * small);
    es_device_free(d);
}

static void devices_can_live_side_by_side(void **state)
{
    (void)state;
    es_device *a = open_mlx(), *b = open_mlx();
    float x[3] = {1, 2, 3}, got[3];
    es_tensor *s = tensor_of(a, 1, 3, x), *t = tensor_of(b, 1, 3, x);
    es_op_add(a, s, s);
    es_op_add(b, t, t);
    es_tensor_free(a, s);
    es_device_free(a);
    es_op_read(b, t, 0, 1, got);
    check_device(b);
    assert_true(got[2] == 6.0f);
    es_tensor_free(b, t);
    es_device_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_back_when_a_model_goes),
        cmocka_unit_test(promises_outlive_their_weights),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(a_step_does_not_copy_the_cache),
        cmocka_unit_test(devices_can_live_side_by_side),
    };
    es_mlx_info info;
    es_error err = {0};
    if (es_mlx_describe(&info, &err) != ES_OK) {
        printf("no MLX here: %s\n", err.message);
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
