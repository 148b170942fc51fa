/* test_weight_cache.c - weights kept ready on the disk: the same bits, shared pages, never trusted, never needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../remove_tree.h"
#include "base/file.h"
#include "base/str.h"
#include "fixture.h"

/* A copy of a checkpoint and an empty cache, both thrown away at the end. */
typedef struct place {
    fixture f;
    char folder[64], model[80], cache[80];
} place;

static void must(es_status status, const es_error *err)
{
    if (status != ES_OK)
        fail_msg("%s", err->message);
}

static void copy_file(const char *from, const char *to)
{
    char *data;
    size_t size;
    es_error err = {0};
    must(es_file_read(from, (size_t)1 << 30, &data, &size, &err), &err);
    must(es_file_write(to, data, size, 0600, &err), &err);
    free(data);
}

static void place_open(place *p)
{
    es_error err = {0};
    es_names names = {0};
    fixture_open(&p->f, "sharded-bf16", es_cpu_best_isa());
    strcpy(p->folder, "/tmp/escriba-weights-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->model, sizeof p->model, "%s/model", p->folder);
    snprintf(p->cache, sizeof p->cache, "%s/cache/below", p->folder);
    must(es_mkdirs(p->model, &err), &err);
    must(es_dir_list(p->f.model->dir, &names, &err), &err);
    for (size_t i = 0; i < names.count; i++) {
        char *from = es_path_join(p->f.model->dir, names.items[i]), *to = es_path_join(p->model, names.items[i]);
        copy_file(from, to);
        free(from);
        free(to);
    }
    es_names_free(&names);
}

static void place_close(place *p)
{
    remove_tree(p->folder);
    fixture_close(&p->f);
}

/* An opened model and what its tower makes of the first picture. */
typedef struct opened {
    es_device *device;
    es_model *model;
    es_vision_output seen;
} opened;

static void open_model(opened *o, const place *p, const char *cache, es_precision precision)
{
    es_error err = {0};
    es_vision_scratch scratch = {0};
    es_cpu_options options = {.threads = 2, .precision = precision};
    must(es_cpu_device_create(&o->device, &options, &err), &err);
    must(es_model_open_cached(&o->model, o->device, p->model, cache, &err), &err);
    must(es_vision_encode(o->model, &scratch, &p->f.pictures[0], &o->seen, NULL, NULL, &err), &err);
    es_vision_scratch_free(&scratch, o->device);
}

static void close_model(opened *o)
{
    es_vision_output_free(&o->seen);
    es_model_free(o->model);
    es_device_free(o->device);
}

static bool same(const opened *a, const opened *b)
{
    return memcmp(a->seen.data, b->seen.data,
                  (size_t)((1 + a->seen.levels) * a->seen.tokens * a->seen.dim) * sizeof(float)) == 0;
}

/* The one file of the cache; its count must be `expected`. */
static char *cache_file(const place *p, size_t expected)
{
    es_error err = {0};
    es_names names = {0};
    if (es_dir_exists(p->cache))
        must(es_dir_list(p->cache, &names, &err), &err);
    assert_int_equal(names.count, expected);
    char *path = expected == 0 ? NULL : es_path_join(p->cache, names.items[0]);
    es_names_free(&names);
    return path;
}

static void the_second_open_maps_what_the_first_wrote(void **state)
{
    (void)state;
    place p;
    opened plain, first, second;
    place_open(&p);
    open_model(&plain, &p, NULL, ES_PRECISION_FAST);
    open_model(&first, &p, p.cache, ES_PRECISION_FAST);
    free(cache_file(&p, 1));
    open_model(&second, &p, p.cache, ES_PRECISION_FAST);
    free(cache_file(&p, 1));
    assert_true(same(&plain, &first) && same(&plain, &second));
    assert_null(plain.model->cache);
    assert_non_null(first.model->cache); /* those it made itself are gone again */
    assert_non_null(second.model->cache);
    close_model(&plain);
    close_model(&first);
    close_model(&second);
    place_close(&p);
}

static void each_precision_has_its_own_and_exact_none(void **state)
{
    (void)state;
    place p;
    opened o;
    place_open(&p);
    open_model(&o, &p, p.cache, ES_PRECISION_EXACT);
    close_model(&o);
    free(cache_file(&p, 0));
    open_model(&o, &p, p.cache, ES_PRECISION_BALANCED);
    close_model(&o);
    free(cache_file(&p, 1));
    open_model(&o, &p, p.cache, ES_PRECISION_FAST);
    close_model(&o);
    free(cache_file(&p, 2));
    place_close(&p);
}

/* Overwrites one byte, from the end when `at` is negative. */
static void damage(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(byte ^ 0x10, file);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_cache_is_made_again(void **state)
{
    (void)state;
    place p;
    opened plain, o;
    struct stat st;
    place_open(&p);
    open_model(&plain, &p, NULL, ES_PRECISION_FAST);
    open_model(&o, &p, p.cache, ES_PRECISION_FAST);
    close_model(&o);
    char *path = cache_file(&p, 1);
    assert_int_equal(stat(path, &st), 0);
    /* matrices, the table; of the head from its end: magic, order, version, key, count, size, the table's sum */
    const long places[] = {0,   140, st.st_size / 3, st.st_size / 2, -150, -115, -112, -104, -100, -92, -31, -22,
                           -12, -1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        damage(path, places[i]);
        open_model(&o, &p, p.cache, ES_PRECISION_FAST);
        assert_true(same(&plain, &o));
        assert_non_null(o.model->cache); /* whole again */
        close_model(&o);
    }
    const off_t sizes[] = {0, 5, 112, 200, st.st_size / 2, st.st_size - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        open_model(&o, &p, p.cache, ES_PRECISION_FAST);
        assert_true(same(&plain, &o));
        assert_non_null(o.model->cache);
        close_model(&o);
    }
    free(path);
    free(cache_file(&p, 1));
    close_model(&plain);
    place_close(&p);
}

/* A weight changed in place, with the file's time of change set back. */
static void change_a_weight(const place *p)
{
    es_error err = {0};
    es_tensors *tensors;
    char path[200];
    must(es_tensors_open(&tensors, p->model, &err), &err);
    const es_view *view = es_tensors_find(tensors, "model.visual.blocks.0.attn.qkv.weight");
    assert_non_null(view);
    snprintf(path, sizeof path, "%s", view->file);
    uint8_t bytes[16];
    memcpy(bytes, (const uint8_t *)view->data + 64, sizeof bytes);
    es_tensors_close(tensors);
    char *data;
    size_t size;
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    must(es_file_read(path, (size_t)1 << 30, &data, &size, &err), &err);
    uint8_t *found = memmem(data, size, bytes, sizeof bytes);
    assert_non_null(found);
    int fd = open(path, O_WRONLY);
    const uint8_t other[2] = {0x40, 0x41}; /* a bf16 of 12 */
    assert_int_equal(pwrite(fd, other, 2, found - (uint8_t *)data), 2);
    assert_int_equal(futimens(fd, (const struct timespec[]){st.st_atim, st.st_mtim}), 0);
    close(fd);
    free(data);
}

static void a_changed_model_is_noticed(void **state)
{
    (void)state;
    place p;
    opened before, plain, o;
    place_open(&p);
    open_model(&before, &p, p.cache, ES_PRECISION_BALANCED);
    change_a_weight(&p);
    open_model(&plain, &p, NULL, ES_PRECISION_BALANCED);
    open_model(&o, &p, p.cache, ES_PRECISION_BALANCED);
    assert_false(same(&before, &o));
    assert_true(same(&plain, &o));
    free(cache_file(&p, 1)); /* it took the old one's place */
    close_model(&before);
    close_model(&plain);
    close_model(&o);
    place_close(&p);
}

static void a_cache_that_cannot_be_written_is_done_without(void **state)
{
    (void)state;
    place p;
    opened plain, o;
    place_open(&p);
    open_model(&plain, &p, NULL, ES_PRECISION_FAST);
    char *config = es_path_join(p.model, "config.json/below"); /* a file stands where a folder should */
    open_model(&o, &p, config, ES_PRECISION_FAST);
    assert_true(same(&plain, &o));
    assert_null(o.model->cache);
    close_model(&o);
    free(config);

    /* Like a full disk: writing fails half-way. */
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){100000, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    open_model(&o, &p, p.cache, ES_PRECISION_FAST);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(same(&plain, &o));
    assert_null(o.model->cache);
    close_model(&o);
    free(cache_file(&p, 0)); /* nothing left behind */
    close_model(&plain);
    place_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_open_maps_what_the_first_wrote),
        cmocka_unit_test(each_precision_has_its_own_and_exact_none),
        cmocka_unit_test(a_damaged_cache_is_made_again),
        cmocka_unit_test(a_changed_model_is_noticed),
        cmocka_unit_test(a_cache_that_cannot_be_written_is_done_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
