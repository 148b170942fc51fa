/* test_fast.c - integer products, integer attention and halves change nothing of what the engine promises: an answer is
 * the same alone and in a full batch, with caches and without, on one thread and on two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "fixture.h"

#define TOKENS 40
#define COPIES 4 /* of each prompt in the batch, with other budgets, so that none is an earlier answer */

typedef struct asked {
    int finished;
    size_t count;
    int32_t ids[TOKENS];
} asked;

typedef struct world {
    fixture f;
    fixture_prompt prompts[FIXTURE_PROMPTS];
} world;

typedef struct machine {
    es_device *device;
    es_model *model;
} machine;

static void must(es_status status, const es_error *err)
{
    if (status != ES_OK)
        fail_msg("%s", err->message);
}

static void machine_open(machine *m, const world *w, size_t threads, es_precision precision)
{
    es_error err = {0};
    es_cpu_options options = {.threads = threads, .precision = precision};
    must(es_cpu_device_create(&m->device, &options, &err), &err);
    must(es_model_open(&m->model, m->device, w->f.model->dir, &err), &err);
}

static void machine_close(machine *m)
{
    es_model_free(m->model);
    es_device_free(m->device);
}

static void note(void *context, const es_answer *answer)
{
    asked *a = context;
    assert_int_equal(answer->status, ES_OK);
    a->finished++;
    a->count = answer->id_count;
    assert_true(answer->id_count <= TOKENS);
    memcpy(a->ids, answer->ids, answer->id_count * sizeof *a->ids);
}

static void ask(es_engine *e, const world *w, size_t prompt, int32_t tokens, asked *a)
{
    const fixture_prompt *p = &w->prompts[prompt];
    es_error err = {0};
    es_request request = {.prompt = {p->messages, p->message_count, p->pictures, p->picture_count},
                          .generation = {.max_tokens = tokens, .ignore_eos = true},
                          .context = a,
                          .finished = note};
    es_sampling_init(&request.generation.sampling);
    *a = (asked){0};
    must(es_engine_add(e, &request, NULL, &err), &err);
}

static void run_dry(es_engine *e)
{
    bool idle = false;
    es_error err = {0};
    while (!idle)
        must(es_engine_step(e, NULL, &idle, &err), &err);
}

/* Each prompt by itself, nothing kept. */
static void answer_alone(const world *w, const machine *m, asked *answers)
{
    const es_engine_options plain = {
        .batch = 1, .vision_cache_bytes = -1, .no_prefix_cache = true, .no_answer_cache = true, .no_drafts = true};
    es_error err = {0};
    for (size_t k = 0; k < w->f.prompt_count; k++) {
        es_engine *e;
        must(es_engine_create(&e, m->model, &plain, &err), &err);
        ask(e, w, k, TOKENS, &answers[k]);
        run_dry(e);
        assert_int_equal(answers[k].finished, 1);
        es_engine_free(e);
    }
}

/* All of them several times in one batch, with every cache, prompts in small pieces. */
static void compare_in_company(const world *w, const machine *m, const asked *alone)
{
    const es_engine_options full = {.batch = 32, .prefill_chunk = 23};
    es_error err = {0};
    es_engine *e;
    asked all[FIXTURE_PROMPTS][COPIES];
    must(es_engine_create(&e, m->model, &full, &err), &err);
    for (int32_t c = 0; c < COPIES; c++)
        for (size_t k = 0; k < w->f.prompt_count; k++)
            ask(e, w, k, TOKENS - c, &all[k][c]);
    run_dry(e);
    for (size_t k = 0; k < w->f.prompt_count; k++) {
        for (size_t c = 0; c < COPIES; c++) {
            assert_int_equal(all[k][c].finished, 1);
            assert_int_equal(all[k][c].count, TOKENS - c);
            assert_memory_equal(all[k][c].ids, alone[k].ids, all[k][c].count * sizeof *alone->ids);
        }
    }
    es_engine_free(e);
}

static void an_answer_is_the_same_alone_and_in_company(void **state)
{
    const world *w = *state;
    for (es_precision p = ES_PRECISION_BALANCED; p <= ES_PRECISION_FAST; p++) {
        machine one, two;
        asked alone[FIXTURE_PROMPTS];
        machine_open(&one, w, 1, p);
        machine_open(&two, w, 2, p);
        answer_alone(w, &one, alone);
        compare_in_company(w, &one, alone);
        compare_in_company(w, &two, alone);
        machine_close(&one);
        machine_close(&two);
    }
}

static void keys_and_values_take_half(void **state)
{
    const world *w = *state;
    machine exact, fast;
    es_engine *e;
    es_error err = {0};
    es_engine_stats stats[2];
    es_engine_options options = {.batch = 64, .kv_bytes = 8 << 20};
    machine_open(&exact, w, 1, ES_PRECISION_EXACT);
    machine_open(&fast, w, 1, ES_PRECISION_FAST);
    for (int i = 0; i < 2; i++) {
        must(es_engine_create(&e, i == 0 ? exact.model : fast.model, &options, &err), &err);
        es_engine_get_stats(e, &stats[i]);
        es_engine_free(e);
    }
    assert_true(stats[1].pages_total >= 2 * stats[0].pages_total);
    machine_close(&exact);
    machine_close(&fast);
}

static int set_up(void **state)
{
    static world w;
    fixture_open(&w.f, "sharded-bf16", es_cpu_best_isa());
    for (size_t k = 0; k < w.f.prompt_count; k++)
        fixture_prompt_get(&w.prompts[k], &w.f, k);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    fixture_close(&((world *)*state)->f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_same_alone_and_in_company),
        cmocka_unit_test(keys_and_values_take_half),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
