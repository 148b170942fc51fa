/* test_greedy_parity.c - greedy answers through the engine are the authors' implementation's, id for id and letter for
 * letter, alone, in company, and whatever the batch and the prefill chunk. */
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

/* A job over all prompts of a fixture, or over one of them. */
typedef struct task {
    const fixture *f;
    fixture_prompt prompts[FIXTURE_PROMPTS];
    int32_t *greedy[FIXTURE_PROMPTS]; /* what must come out */
    int64_t tokens[FIXTURE_PROMPTS];
    size_t next, end, finished;
    size_t pieces, texts; /* bytes of the answers' text, as it came piece by piece and at the end */
    bool records;         /* stop at end tokens, and expect the records */
} task;

static es_status next_prompt(void *context, es_prompt *prompt, es_generation *generation, void **tag, bool *more,
                             es_error *err)
{
    (void)err;
    task *t = context;
    *more = t->next < t->end;
    if (!*more)
        return ES_OK;
    fixture_prompt *p = &t->prompts[t->next];
    *prompt = (es_prompt){p->messages, p->message_count, p->pictures, p->picture_count};
    *generation = (es_generation){.max_tokens = (int32_t)t->tokens[t->next], .ignore_eos = !t->records};
    es_sampling_init(&generation->sampling);
    *tag = p;
    t->next++;
    return ES_OK;
}

static bool add_piece(void *context, void *tag, const char *text)
{
    (void)tag;
    ((task *)context)->pieces += strlen(text);
    return true;
}

static bool check_answer(void *context, void *tag, const es_answer *answer)
{
    task *t = context;
    const fixture_prompt *p = tag;
    size_t k = (size_t)(p - t->prompts);
    if (answer->status != ES_OK)
        fail_msg("prompt %zu: %s", k, answer->error.message);
    assert_int_equal(answer->id_count, t->records ? p->record_tokens : t->tokens[k]);
    for (size_t i = 0; i < answer->id_count; i++)
        if (answer->ids[i] != t->greedy[k][i])
            fail_msg("prompt %zu, token %zu: %d, reference %d", k, i, answer->ids[i], t->greedy[k][i]);
    assert_string_equal(answer->text, t->records ? p->record : p->greedy_text);
    assert_int_equal(answer->truncated, !(t->records && p->record_ends));
    t->texts += strlen(answer->text);
    t->finished++;
    return true;
}

static void run(task *t, size_t first, size_t end, const es_engine_options *options)
{
    es_engine *engine;
    es_error err = {0};
    es_job job = {.context = t, .next = next_prompt, .piece = add_piece, .finished = check_answer};
    t->next = first;
    t->end = end;
    t->finished = t->pieces = t->texts = 0;
    if (es_engine_create(&engine, t->f->model, options, &err) != ES_OK || es_engine_run(engine, &job, &err) != ES_OK)
        fail_msg("%s", err.message);
    assert_int_equal(t->finished, end - first);
    /* Nothing is missing from the pieces. A random model writes NUL now and then, where the whole text ends for C. */
    assert_true(t->pieces >= t->texts);
    es_engine_free(engine);
}

/* `alone`: each prompt by itself too, and all at once. */
static void run_prompts(const char *name, es_isa isa, bool alone)
{
    fixture f;
    fixture_open(&f, name, isa);
    task *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->f = &f;
    int32_t context = 0; /* just enough */
    for (size_t k = 0; k < f.prompt_count; k++) {
        fixture_prompt_get(&t->prompts[k], &f, k);
        t->greedy[k] = fixture_ints(&f, &t->tokens[k], "prompt.%zu.greedy", k);
        assert_true(t->tokens[k] >= 100);
        int32_t whole = t->prompts[k].tokens + (int32_t)t->tokens[k];
        context = whole > context ? whole : context;
    }
    const es_engine_options together = {.context = context};
    const es_engine_options few = {.batch = 2, .context = context, .prefill_chunk = 13};
    for (size_t k = 0; alone && k < f.prompt_count; k++)
        run(t, k, k + 1, NULL);
    if (alone)
        run(t, 0, f.prompt_count, &few);
    run(t, 0, f.prompt_count, &together);
    t->records = t->prompts[0].record != NULL;
    if (t->records)
        run(t, 0, f.prompt_count, &few);
    for (size_t k = 0; k < f.prompt_count; k++)
        free(t->greedy[k]);
    free(t);
    fixture_close(&f);
}

static void run_everywhere(const char *name)
{
    for (es_isa isa = ES_ISA_SCALAR; isa <= ES_ISA_NEON; isa++)
        if (es_cpu_has_isa(isa))
            run_prompts(name, isa, isa == es_cpu_best_isa());
}

static void test_a_sharded_bf16_checkpoint_with_a_tied_head(void **state)
{
    (void)state;
    run_everywhere("sharded-bf16");
}

static void test_a_float32_checkpoint_with_its_own_head_and_biases(void **state)
{
    (void)state;
    run_everywhere("single-f32");
}

static void test_mlx_checkpoints(void **state)
{
    (void)state;
    const char *names[] = {"mlx-4bit-g64", "mlx-5bit-g128", "mlx-6bit-g32", "mlx-8bit-mixed"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        run_prompts(names[i], es_cpu_best_isa(), false);
}

static void test_the_model_in_the_box_and_its_records(void **state)
{
    (void)state;
    if (!fixture_exists("box")) {
        print_message("no vectors of the model in the box: make them with make_model_vectors.py --box\n");
        skip();
    }
    run_everywhere("box");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sharded_bf16_checkpoint_with_a_tied_head),
        cmocka_unit_test(test_a_float32_checkpoint_with_its_own_head_and_biases),
        cmocka_unit_test(test_mlx_checkpoints),
        cmocka_unit_test(test_the_model_in_the_box_and_its_records),
    };
    return cmocka_run_group_tests_name("greedy parity", tests, NULL, NULL);
}
