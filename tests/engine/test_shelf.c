/* test_shelf.c - the vision cache on the disk: the same answers, never trusted, never needed, never waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../remove_tree.h"
#include "base/file.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/shelf.h"
#include "fixture.h"
#include "model/identity.h"

#define TOKENS 8 /* of an answer */
#define HEAD 152 /* bytes of a file before its numbers */
#define MANY 12

/* A disk that hangs: reading and writing of pictures stop while this is set. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hangs;
    int stopped; /* threads that wait here */
} disk = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

static void touch_disk(void)
{
    pthread_mutex_lock(&disk.lock);
    disk.stopped += disk.hangs;
    bool stopped = disk.hangs;
    while (disk.hangs)
        pthread_cond_wait(&disk.changed, &disk.lock);
    disk.stopped -= stopped;
    pthread_mutex_unlock(&disk.lock);
}

static void hang_disk(bool hangs)
{
    pthread_mutex_lock(&disk.lock);
    disk.hangs = hangs;
    pthread_cond_broadcast(&disk.changed);
    pthread_mutex_unlock(&disk.lock);
}

es_status __real_es_file_read(const char *path, size_t limit, char **data, size_t *size, es_error *err);
es_status __wrap_es_file_read(const char *path, size_t limit, char **data, size_t *size, es_error *err);
void __real_es_new_file_begin(es_new_file *file, const char *path);
void __wrap_es_new_file_begin(es_new_file *file, const char *path);

static bool is_picture(const char *path)
{
    size_t n = strlen(path);
    return n > 8 && strcmp(path + n - 8, ".picture") == 0;
}

es_status __wrap_es_file_read(const char *path, size_t limit, char **data, size_t *size, es_error *err)
{
    if (is_picture(path))
        touch_disk();
    return __real_es_file_read(path, limit, data, size, err);
}

void __wrap_es_new_file_begin(es_new_file *file, const char *path)
{
    if (is_picture(path))
        touch_disk();
    __real_es_new_file_begin(file, path);
}

/* An answer, and how often it came. */
typedef struct asked {
    int finished;
    es_status status;
    size_t id_count;
    int32_t ids[TOKENS];
} asked;

typedef struct world {
    fixture f;
    fixture_prompt prompts[FIXTURE_PROMPTS];
    asked alone[FIXTURE_PROMPTS]; /* without any cache */
    size_t shown;                 /* different pictures that they show */
    size_t seeing, plain;         /* a prompt with one picture, one without any */
    char folder[64], dir[80];
    es_str notes;
    int note_count;
} world;

static void must(es_status status, const es_error *err)
{
    if (status != ES_OK)
        fail_msg("%s", err->message);
}

static void on_finished(void *context, const es_answer *answer)
{
    asked *a = context;
    a->finished++;
    a->status = answer->status;
    a->id_count = answer->id_count;
    memcpy(a->ids, answer->ids, answer->id_count * sizeof *a->ids);
}

static void on_note(void *context, const char *line)
{
    world *w = context;
    w->note_count++;
    es_str_append(&w->notes, line);
}

static const es_engine_options no_caches = {
    .vision_cache_bytes = -1, .no_prefix_cache = true, .no_answer_cache = true, .no_drafts = true};

/* All caches off but the one on the disk. */
static es_engine *make(world *w, const char *dir, int64_t bytes)
{
    es_engine *e;
    es_error err = {0};
    es_engine_options options = no_caches;
    options.vision_dir = dir;
    options.vision_dir_bytes = bytes;
    options.note = on_note;
    options.note_context = w;
    must(es_engine_create(&e, w->f.model, &options, &err), &err);
    return e;
}

static void ask(es_engine *e, const fixture_prompt *p, const es_patches *pictures, asked *a)
{
    es_error err = {0};
    es_request request = {.prompt = {p->messages, p->message_count, pictures, p->picture_count},
                          .generation = {.max_tokens = TOKENS, .ignore_eos = true},
                          .context = a,
                          .finished = on_finished};
    es_sampling_init(&request.generation.sampling);
    *a = (asked){0};
    must(es_engine_add(e, &request, NULL, &err), &err);
}

static void step(es_engine *e, bool *idle)
{
    es_error err = {0};
    must(es_engine_step(e, NULL, idle, &err), &err);
}

static void run_dry(es_engine *e)
{
    for (bool idle = false; !idle;)
        step(e, &idle);
}

static bool equal(const asked *a, const asked *b)
{
    return a->finished == 1 && a->status == ES_OK && a->id_count == b->id_count &&
           memcmp(a->ids, b->ids, a->id_count * sizeof *a->ids) == 0;
}

/* Asks everything of a new engine; the answers must be those without a cache. */
static es_engine_stats ask_all(world *w, const char *dir, int64_t bytes)
{
    asked all[FIXTURE_PROMPTS];
    es_engine_stats stats;
    es_engine *e = make(w, dir, bytes);
    for (size_t k = 0; k < w->f.prompt_count; k++)
        ask(e, &w->prompts[k], w->prompts[k].pictures, &all[k]);
    run_dry(e);
    es_engine_get_stats(e, &stats);
    es_engine_free(e);
    for (size_t k = 0; k < w->f.prompt_count; k++)
        assert_true(equal(&all[k], &w->alone[k]));
    return stats;
}

/* Asks about one picture, of a new engine that keeps in the folder. */
static es_engine_stats ask_one(world *w)
{
    asked one;
    es_engine_stats stats;
    es_engine *e = make(w, w->dir, 0);
    ask(e, &w->prompts[w->seeing], w->prompts[w->seeing].pictures, &one);
    run_dry(e);
    es_engine_get_stats(e, &stats);
    es_engine_free(e);
    assert_true(equal(&one, &w->alone[w->seeing]));
    return stats;
}

/* A new folder for every test, with nothing in it. */
static int begin_test(void **state)
{
    world *w = *state;
    strcpy(w->folder, "/tmp/escriba-shelf-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->dir, sizeof w->dir, "%s/vision/here", w->folder);
    es_str_clear(&w->notes);
    w->note_count = 0;
    return 0;
}

static int end_test(void **state)
{
    world *w = *state;
    remove_tree(w->folder);
    return 0;
}

static size_t different_pictures(const world *w)
{
    size_t n = 0;
    bool seen[FIXTURE_PICTURES] = {false};
    for (size_t k = 0; k < w->f.prompt_count; k++)
        for (size_t i = 0; i < w->prompts[k].picture_count; i++) {
            n += !seen[w->prompts[k].used[i]];
            seen[w->prompts[k].used[i]] = true;
        }
    return n;
}

static int set_up(void **state)
{
    static world w;
    fixture_open(&w.f, "sharded-bf16", es_cpu_best_isa());
    w.seeing = w.plain = FIXTURE_PROMPTS;
    for (size_t k = 0; k < w.f.prompt_count; k++) {
        fixture_prompt_get(&w.prompts[k], &w.f, k);
        es_engine *e = make(&w, NULL, 0);
        ask(e, &w.prompts[k], w.prompts[k].pictures, &w.alone[k]);
        run_dry(e);
        es_engine_free(e);
        assert_int_equal(w.alone[k].id_count, TOKENS);
        if (w.prompts[k].picture_count == 1)
            w.seeing = k;
        if (w.prompts[k].picture_count == 0)
            w.plain = k;
    }
    w.shown = different_pictures(&w);
    assert_true(w.shown > 1 && w.seeing < FIXTURE_PROMPTS && w.plain < FIXTURE_PROMPTS);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    es_str_free(&w->notes);
    fixture_close(&w->f);
    return 0;
}

static size_t pictures_in(const world *w)
{
    es_shelf_size size;
    es_shelf_measure(w->dir, &size);
    return size.files;
}

/* The path of the folder's only picture. */
static char *only_picture(const world *w)
{
    es_error err = {0};
    es_names names;
    char *path = NULL;
    assert_int_equal(pictures_in(w), 1);
    must(es_dir_list(w->dir, &names, &err), &err);
    for (size_t i = 0; i < names.count; i++)
        if (is_picture(names.items[i]))
            path = es_path_join(w->dir, names.items[i]);
    es_names_free(&names);
    assert_non_null(path);
    return path;
}

/* --- what it does --- */

static void the_second_run_needs_no_tower(void **state)
{
    world *w = *state;
    es_engine_stats first = ask_all(w, w->dir, 0);
    assert_int_equal(first.pictures_read + first.pictures_encoded, (long)(first.pictures_encoded));
    assert_int_equal(pictures_in(w), w->shown);
    es_engine_stats second = ask_all(w, w->dir, 0);
    assert_int_equal(second.pictures_encoded, 0);
    assert_true(second.pictures_read >= (long)w->shown);
    assert_int_equal(pictures_in(w), w->shown);
    assert_int_equal(w->note_count, 0);
}

static void what_lies_there_is_its_owners_alone(void **state)
{
    world *w = *state;
    struct stat st;
    mode_t old = umask(0);
    ask_one(w);
    umask(old);
    assert_int_equal(stat(w->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    char *path = only_picture(w);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(path);
    char *key = es_path_join(w->dir, "key");
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(key);
}

/* Another precision, another instruction set: other numbers, so other files; those of the first are left alone. */
static void each_arithmetic_has_its_own(void **state)
{
    world *w = *state;
    char exact[ES_SHA256_HEX + 1], other[ES_SHA256_HEX + 1];
    const es_cpu_options ways[] = {{.threads = 3, .isa = es_cpu_best_isa(), .isa_given = true},
                                   {.precision = ES_PRECISION_BALANCED},
                                   {.precision = ES_PRECISION_FAST},
                                   {.isa = ES_ISA_SCALAR, .isa_given = true}};
    ask_one(w);
    assert_int_equal(es_vision_identity(exact, w->f.model), ES_OK);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        es_error err = {0};
        es_device *device;
        es_model *model;
        must(es_cpu_device_create(&device, &ways[i], &err), &err);
        must(es_model_open(&model, device, w->f.model->dir, &err), &err);
        assert_int_equal(es_vision_identity(other, model), ES_OK);
        bool same = i == 0 || (i == 3 && es_cpu_best_isa() == ES_ISA_SCALAR);
        assert_true((strcmp(exact, other) == 0) == same);
        if (i == 2) {
            es_model *usual = w->f.model;
            asked one;
            w->f.model = model;
            es_engine *e = make(w, w->dir, 0);
            ask(e, &w->prompts[w->seeing], w->prompts[w->seeing].pictures, &one);
            run_dry(e);
            es_engine_free(e);
            w->f.model = usual;
            assert_int_equal(pictures_in(w), 2);
        }
        es_model_free(model);
        es_device_free(device);
    }
    assert_int_equal(ask_one(w).pictures_encoded, 0);
}

/* --- nothing is trusted --- */

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(byte ^ 0x10, file);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_picture_is_made_again(void **state)
{
    world *w = *state;
    es_error err = {0};
    char *whole, *again;
    size_t size, size_again;
    ask_one(w);
    char *path = only_picture(w);
    must(es_file_read(path, (size_t)1 << 30, &whole, &size, &err), &err);
    assert_true(size > HEAD + 16);
    /* every byte of the head, then numbers; then every sort of shortness, and a byte too many */
    const long places[] = {HEAD, HEAD + 3, (long)size / 2, (long)size - 1};
    const long sizes[] = {0, 1, HEAD - 1, HEAD, (long)size / 2, (long)size - 1, (long)size + 1};
    const size_t flips = HEAD + sizeof places / sizeof *places;
    for (size_t i = 0; i < flips + sizeof sizes / sizeof *sizes; i++) {
        if (i < HEAD)
            flip(path, (long)i);
        else if (i < flips)
            flip(path, places[i - HEAD]);
        else
            assert_int_equal(truncate(path, sizes[i - flips]), 0);
        es_engine_stats stats = ask_one(w);
        assert_int_equal(stats.pictures_read, 0);
        assert_int_equal(stats.pictures_encoded, 1);
        must(es_file_read(path, (size_t)1 << 30, &again, &size_again, &err), &err);
        assert_int_equal(size, size_again); /* whole again */
        assert_memory_equal(whole, again, size);
        free(again);
    }
    free(whole);
    free(path);
    assert_int_equal(ask_one(w).pictures_read, 1);
    assert_int_equal(w->note_count, 0);
}

/* One picture's file under another's name. */
static void a_picture_is_not_taken_for_another(void **state)
{
    world *w = *state;
    es_error err = {0};
    es_names names;
    char *paths[FIXTURE_PICTURES + 1];
    size_t n = 0;
    ask_all(w, w->dir, 0);
    must(es_dir_list(w->dir, &names, &err), &err);
    for (size_t i = 0; i < names.count; i++)
        if (is_picture(names.items[i]))
            paths[n++] = es_path_join(w->dir, names.items[i]);
    es_names_free(&names);
    for (size_t i = 0; i < n; i++) {
        char *data;
        size_t size;
        must(es_file_read(paths[i], (size_t)1 << 30, &data, &size, &err), &err);
        must(es_file_write(paths[(i + 1) % n], data, size, 0600, &err), &err);
        free(data);
    }
    for (size_t i = 0; i < n; i++)
        free(paths[i]);
    ask_all(w, w->dir, 0); /* the answers are checked there */
    assert_int_equal(ask_all(w, w->dir, 0).pictures_encoded, 0);
}

static void a_damaged_key_is_drawn_again(void **state)
{
    world *w = *state;
    ask_one(w);
    char *path = es_path_join(w->dir, "key");
    const long places[] = {0, 8, 12, 20, 47};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        flip(path, places[i]);
        assert_int_equal(ask_one(w).pictures_encoded, 1); /* what was kept under the old one is not found */
        assert_int_equal(ask_one(w).pictures_read, 1);
    }
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(ask_one(w).pictures_encoded, 1);
    assert_int_equal(ask_one(w).pictures_read, 1);
    free(path);
    assert_int_equal(w->note_count, 0);
}

/* --- its bounds --- */

static void age(const char *path, time_t seconds)
{
    struct timespec then = {time(NULL) - seconds, 0};
    assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[]){then, then}, 0), 0);
}

/* A strange file, a directory, and what processes that were killed left half-written. */
static void what_is_not_ours_stays(void **state)
{
    world *w = *state;
    es_error err = {0};
    const char *const names[] = {"notes.txt",
                                 "0123.picture",
                                 "0123456789abcdef0123456789abcdef.picture.x",
                                 "0123456789abcdef0123456789abcdef.pictures",
                                 "0123456789abcdef0123456789abcdef.picture.abcdef",
                                 "1123456789abcdef0123456789abcdef.picture.abcdef"};
    ask_one(w);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = es_path_join(w->dir, names[i]);
        must(es_file_write(path, "x", 1, 0600, &err), &err);
        age(path, i == 5 ? 10 : 100000);
        free(path);
    }
    assert_int_equal(pictures_in(w), 1);
    ask_all(w, w->dir, 0);
    assert_int_equal(pictures_in(w), w->shown);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = es_path_join(w->dir, names[i]);
        assert_int_equal(es_file_exists(path), i != 4); /* the old half-written one */
        free(path);
    }
}

static void make_pictures(const world *w, es_patches pictures[MANY])
{
    const es_patches *p = &w->prompts[w->seeing].pictures[0];
    size_t n = (size_t)p->count * 3 * (size_t)p->area;
    for (size_t i = 0; i < MANY; i++) {
        pictures[i] = *p;
        pictures[i].data = malloc(n);
        assert_non_null(pictures[i].data);
        memcpy(pictures[i].data, p->data, n);
        pictures[i].data[i] ^= 64;
    }
}

static void the_limit_holds_and_the_oldest_goes(void **state)
{
    world *w = *state;
    es_patches pictures[MANY];
    es_shelf_size size;
    asked one;
    make_pictures(w, pictures);
    ask_one(w);
    char *path = only_picture(w);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    free(path);
    int64_t limit = 4 * (int64_t)st.st_size + 100;
    for (size_t i = 0; i < MANY; i++) {
        es_engine *e = make(w, w->dir, limit);
        if (i > 0) { /* the first is asked for again each time, and so it stays */
            ask(e, &w->prompts[w->seeing], &pictures[0], &one);
            run_dry(e);
        }
        ask(e, &w->prompts[w->seeing], &pictures[i], &one);
        run_dry(e);
        es_engine_stats stats;
        es_engine_get_stats(e, &stats);
        es_engine_free(e);
        assert_int_equal(stats.pictures_read, i > 0);
        assert_int_equal(stats.pictures_encoded, 1);
        es_shelf_measure(w->dir, &size);
        assert_true(size.bytes <= limit);
        nanosleep(&(struct timespec){0, 20000000}, NULL); /* times of files are as fine as the system's tick */
    }
    assert_true(size.files >= 3);
    for (size_t i = 0; i < MANY; i++)
        free(pictures[i].data);
    /* A limit below a single picture keeps none, and says nothing. */
    remove_tree(w->dir);
    ask_all(w, w->dir, st.st_size - 1 > 300 ? 300 : st.st_size - 1);
    assert_int_equal(pictures_in(w), 0);
    assert_int_equal(w->note_count, 0);
}

/* --- nothing needs it --- */

static void a_folder_that_cannot_be_used_is_said_once(void **state)
{
    world *w = *state;
    es_error err = {0};
    char below[120], open_to_all[120];
    snprintf(below, sizeof below, "%s/file", w->folder);
    must(es_file_write(below, "x", 1, 0600, &err), &err);
    ask_all(w, below, 0);
    assert_int_equal(w->note_count, 1);
    assert_non_null(strstr(es_str_text(&w->notes), "not a directory"));
    strcat(below, "/folder");
    ask_all(w, below, 0);
    assert_int_equal(w->note_count, 2);

    snprintf(open_to_all, sizeof open_to_all, "%s/open", w->folder);
    assert_int_equal(mkdir(open_to_all, 0700), 0);
    assert_int_equal(chmod(open_to_all, 0777), 0);
    ask_all(w, open_to_all, 0);
    assert_int_equal(w->note_count, 3);
    assert_non_null(strstr(es_str_text(&w->notes), "chmod go-w"));
    assert_int_equal(rmdir(open_to_all), 0); /* nothing was put there */
}

static void a_full_disk_is_said_once_and_costs_nothing(void **state)
{
    world *w = *state;
    struct rlimit old, limit;
    ask_one(w); /* the key is there */
    char *path = only_picture(w);
    unlink(path);
    free(path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){200, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ask_all(w, w->dir, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    es_names names;
    es_error err = {0};
    must(es_dir_list(w->dir, &names, &err), &err);
    assert_int_equal(names.count, 1); /* the key: nothing half-written is left */
    es_names_free(&names);
    assert_int_equal(w->note_count, 1);
    ask_all(w, w->dir, 0);
    assert_int_equal(pictures_in(w), w->shown);
}

/* While the disk hangs, a sequence that needs none of it is answered whole; then so is the one that waits for it. */
static void nobody_waits_for_a_disk_that_hangs(void **state)
{
    world *w = *state;
    asked seeing, plain;
    bool idle;
    ask_one(w);
    for (int again = 0; again < 2; again++) {
        es_engine_stats stats;
        es_engine *e = make(w, w->dir, 0);
        hang_disk(true);
        ask(e, &w->prompts[w->seeing], w->prompts[w->seeing].pictures, &seeing);
        step(e, &idle);
        ask(e, &w->prompts[w->plain], NULL, &plain);
        while (plain.finished == 0)
            step(e, &idle);
        assert_true(equal(&plain, &w->alone[w->plain]));
        if (again == 0)
            hang_disk(false);
        run_dry(e); /* the second time nothing comes, and the tower is asked after a while */
        assert_int_equal(w->note_count, again);
        assert_true(equal(&seeing, &w->alone[w->seeing]));
        es_engine_get_stats(e, &stats);
        assert_int_equal(stats.pictures_read, again == 0);
        assert_int_equal(stats.pictures_encoded, again);
        hang_disk(false);
        es_engine_free(e);
    }
}

static void nobody_waits_for_writing(void **state)
{
    world *w = *state;
    asked one;
    es_engine *e = make(w, w->dir, 0);
    hang_disk(true);
    for (int i = 0; i < 3; i++) {
        ask(e, &w->prompts[w->seeing], w->prompts[w->seeing].pictures, &one);
        ask(e, &w->prompts[w->plain], NULL, &one);
        run_dry(e);
    }
    assert_int_equal(pictures_in(w), 0);
    hang_disk(false);
    es_engine_free(e); /* waits until it is written */
    assert_int_equal(pictures_in(w), 1);
}

/* Sequences that are dropped while their pictures are on the way. */
static void who_leaves_takes_nothing_along(void **state)
{
    world *w = *state;
    asked one;
    bool idle;
    ask_one(w);
    for (int i = 0; i < 4; i++) {
        es_engine *e = make(w, w->dir, 0);
        hang_disk(i % 2 == 0);
        ask(e, &w->prompts[w->seeing], w->prompts[w->seeing].pictures, &one);
        step(e, &idle);
        es_engine_drop(e, 1);
        if (i < 2) {
            ask(e, &w->prompts[w->plain], NULL, &one);
            run_dry(e);
        } else {
            ask(e, &w->prompts[w->seeing], w->prompts[w->seeing].pictures, &one); /* freed with the engine */
            step(e, &idle);
        }
        hang_disk(false);
        es_engine_free(e);
    }
}

/* --- many processes --- */

static const char *program;

static void processes_share_a_folder(void **state)
{
    world *w = *state;
    pid_t children[4];
    for (size_t i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            execl(program, program, "child", w->dir, (char *)NULL);
            _exit(127);
        }
        assert_true(children[i] > 0);
    }
    for (size_t i = 0; i < 4; i++) {
        int how = 0;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        assert_int_equal(how, 0);
    }
    assert_int_equal(pictures_in(w), w->shown);
    assert_int_equal(ask_all(w, w->dir, 0).pictures_encoded, 0);
}

/* What each of them does: everything, some times over, in a folder that the others clear and fill too. */
static int be_a_child(const char *dir)
{
    void *state;
    set_up(&state);
    world *w = state;
    for (int i = 0; i < 10; i++)
        ask_all(w, dir, i % 3 == 1 ? 40000 : 0);
    ask_all(w, dir, 0);
    int notes = w->note_count;
    tear_down(&state);
    return notes;
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc == 3 && strcmp(argv[1], "child") == 0)
        return be_a_child(argv[2]);
#define ONE(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
    const struct CMUnitTest tests[] = {
        ONE(the_second_run_needs_no_tower),
        ONE(what_lies_there_is_its_owners_alone),
        ONE(each_arithmetic_has_its_own),
        ONE(a_damaged_picture_is_made_again),
        ONE(a_picture_is_not_taken_for_another),
        ONE(a_damaged_key_is_drawn_again),
        ONE(what_is_not_ours_stays),
        ONE(the_limit_holds_and_the_oldest_goes),
        ONE(a_folder_that_cannot_be_used_is_said_once),
        ONE(a_full_disk_is_said_once_and_costs_nothing),
        ONE(nobody_waits_for_a_disk_that_hangs),
        ONE(nobody_waits_for_writing),
        ONE(who_leaves_takes_nothing_along),
        ONE(processes_share_a_folder),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
