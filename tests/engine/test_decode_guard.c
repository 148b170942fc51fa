/* test_decode_guard.c - the decode loop takes no memory, no lock and, on one thread, no system call for a token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/engine.h"
#include "fixture.h"

#define TOKENS 120
#define WATCHED 80 /* steps of the loop, each a token for every sequence */

#if defined(__linux__) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_WATCH_CALLS
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#endif

/* What our code asked of the C library while `on`. */
static struct {
    bool on;
    long memory, locks;
} guard;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);
int __real_pthread_mutex_lock(pthread_mutex_t *lock);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *block);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);

void *__wrap_malloc(size_t size)
{
    guard.memory += guard.on;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    guard.memory += guard.on;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    guard.memory += guard.on;
    return __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    guard.memory += guard.on;
    return __real_aligned_alloc(alignment, size);
}

void __wrap_free(void *block)
{
    guard.memory += guard.on;
    __real_free(block);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    guard.locks += guard.on;
    return __real_pthread_mutex_lock(lock);
}

/* A model with an engine in which three prompts are being answered. */
static char folder[] = "/tmp/escriba-guard-XXXXXX"; /* of the vision cache on the disk */

typedef struct busy {
    es_device *device;
    es_model *model;
    es_engine *engine;
    fixture_prompt prompts[3]; /* pictures are read until answers are whole */
} busy;

static void must(es_status status, const es_error *err)
{
    if (status != ES_OK)
        fail_msg("%s", err->message);
}

static void step(busy *b)
{
    es_error err = {0};
    bool idle;
    must(es_engine_step(b->engine, NULL, &idle, &err), &err);
    assert_false(idle);
}

static void ask(busy *b, const fixture *f, int32_t tokens, bool sampled)
{
    es_error err = {0};
    for (size_t k = 0; k < 3; k++) {
        fixture_prompt *p = &b->prompts[k];
        fixture_prompt_get(p, f, k);
        es_request request = {.prompt = {p->messages, p->message_count, p->pictures, p->picture_count},
                              .generation = {.max_tokens = tokens, .ignore_eos = true}};
        es_sampling_init(&request.generation.sampling);
        request.generation.sampling.temperature = sampled ? 0.8f : 0.0f;
        request.generation.sampling.top_k = sampled ? 20 : 0;
        must(es_engine_add(b->engine, &request, NULL, &err), &err);
    }
}

/* Every sequence has said something: prompts are done with, and what was to be kept on the disk is. */
static void start(busy *b, const fixture *f, size_t threads, es_precision precision, bool sampled)
{
    es_error err = {0};
    es_cpu_options options = {.threads = threads, .precision = precision};
    es_engine_options how = {.no_answer_cache = true, .vision_dir = folder};
    es_engine_stats stats = {0};
    bool idle = false;
    must(es_cpu_device_create(&b->device, &options, &err), &err);
    must(es_model_open(&b->model, b->device, f->model->dir, &err), &err);
    must(es_engine_create(&b->engine, b->model, &how, &err), &err);
    ask(b, f, 1, sampled);
    while (!idle || stats.pictures_kept < stats.pictures_encoded) {
        must(es_engine_step(b->engine, NULL, &idle, &err), &err);
        es_engine_get_stats(b->engine, &stats);
    }
    assert_true(stats.pictures_encoded + stats.pictures_read > 0);
    ask(b, f, TOKENS, sampled);
    for (int64_t before = stats.decoded_rows; stats.decoded_rows < before + 3 * 3;) {
        step(b);
        es_engine_get_stats(b->engine, &stats);
    }
}

static void finish(busy *b)
{
    es_engine_free(b->engine);
    es_model_free(b->model);
    es_device_free(b->device);
}

static void watch(const fixture *f, size_t threads, es_precision precision, bool sampled)
{
    busy b;
    es_engine_stats before, after;
    start(&b, f, threads, precision, sampled);
    guard.memory = guard.locks = 0;
    es_engine_get_stats(b.engine, &before);
    guard.on = true;
    for (int i = 0; i < WATCHED; i++)
        step(&b);
    guard.on = false;
    es_engine_get_stats(b.engine, &after);
    assert_int_equal(es_engine_count(b.engine), 3); /* nobody was finished meanwhile */
    assert_true(after.decoded_rows - before.decoded_rows >= 3 * WATCHED);
    assert_int_equal(guard.memory, 0);
    if (threads == 1)
        assert_int_equal(guard.locks, 0);
    finish(&b);
}

static void a_token_takes_no_memory_and_on_one_thread_no_lock(void **state)
{
    fixture *f = *state;
    for (es_precision p = ES_PRECISION_EXACT; p <= ES_PRECISION_FAST; p++) {
        watch(f, 1, p, false);
        watch(f, 2, p, p == ES_PRECISION_FAST);
    }
}

#ifdef CAN_WATCH_CALLS

static volatile sig_atomic_t calls, last_call;

static void on_call(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)context;
    calls++;
    last_call = info->si_syscall;
}

/* From now on every system call but a few is refused and counted. The clock's is let through: where the system cannot
 * tell the time without one, that is no work of ours. */
static bool trap_calls(void)
{
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
    const unsigned allowed[] = {SYS_rt_sigreturn, SYS_exit_group, SYS_clock_gettime, SYS_write};
    struct sock_filter filter[16] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short n = 1, count = sizeof allowed / sizeof *allowed;
    for (unsigned short i = 0; i < count; i++)
        filter[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], (unsigned char)(count - i), 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, filter};
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

enum { CHILD_OK = 0, CHILD_CALLED = 10, CHILD_CANNOT = 11, CHILD_BLIND = 12 };

/* Never returns: a process cannot take such a filter off again. */
static void watched_child(const fixture *f)
{
    busy b;
    bool idle;
    start(&b, f, 1, ES_PRECISION_FAST, false);
    if (!trap_calls())
        _exit(CHILD_CANNOT);
    for (int i = 0; i < WATCHED; i++)
        if (es_engine_step(b.engine, NULL, &idle, NULL) != ES_OK)
            _exit(CHILD_BLIND);
    int found = calls;
    getppid();
    if (calls != found + 1) /* the trap works */
        _exit(CHILD_BLIND);
    if (found > 0) {
        char line[80];
        int n = snprintf(line, sizeof line, "%d system calls, the last is number %d\n", found, (int)last_call);
        if (write(2, line, (size_t)n) < n)
            _exit(CHILD_BLIND);
    }
    _exit(found > 0 ? CHILD_CALLED : CHILD_OK);
}

static void a_token_takes_no_system_call_on_one_thread(void **state)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        watched_child(*state);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_CANNOT) {
        print_message("this system lets nobody watch system calls\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

#endif

static int set_up(void **state)
{
    static fixture f;
    fixture_open(&f, "sharded-bf16", es_cpu_best_isa());
    assert_true(f.prompt_count >= 3);
    assert_non_null(mkdtemp(folder));
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    es_names names;
    fixture_close(*state);
    if (es_dir_list(folder, &names, NULL) != ES_OK)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(folder, names.items[i]);
        unlink(path);
        free(path);
    }
    es_names_free(&names);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_takes_no_memory_and_on_one_thread_no_lock),
#ifdef CAN_WATCH_CALLS
        cmocka_unit_test(a_token_takes_no_system_call_on_one_thread),
#endif
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
