/* A model that knows nothing still writes whole records: random weights, drawn at random, within any budget that can
 * hold one. */
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
#include "intelligence/record.h"
#include "intelligence/record_grammar.h"

#define TRIES 40

static fixture f;
static fixture_prompt prompt;
static es_lexicon *lexicon;

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f, "sharded-bf16", es_cpu_best_isa());
    fixture_prompt_get(&prompt, &f, 0);
    es_error err;
    assert_int_equal(es_lexicon_create(&lexicon, f.model->tokenizer, f.model->config.text.vocab, &err), ES_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    es_lexicon_free(lexicon);
    fixture_close(&f);
    return 0;
}

static es_matcher *matcher_for(size_t frames, es_grammar **g)
{
    es_matcher *m;
    es_error err;
    if (es_record_grammar(g, frames, &err) != ES_OK || es_matcher_create(&m, *g, lexicon, &err) != ES_OK)
        fail_msg("%s", err.message);
    return m;
}

static bool accepts(es_matcher *m, const char *text)
{
    es_error err;
    es_match at = es_matcher_start(m);
    for (; *text != '\0' && at >= 0; text++)
        assert_int_equal(es_matcher_byte(m, at, (uint8_t)*text, &at, &err), ES_OK);
    return es_matcher_accepts(m, at);
}

static void the_grammar_is_the_record_line(void **state)
{
    (void)state;
    es_grammar *g;
    es_matcher *m = matcher_for(1, &g);
    const char *good[] = {
        "description: Editing a.c in Vim | activity: coding | apps: [Vim] | topics: [parser, C]",
        "description: x | activity: other | apps: [] | topics: []",
        "description: caf\xC3\xA9, [brackets] are fine | activity: meeting | apps: [A B, C] | topics: [d-e]"};
    const char *bad[] = {"",
                         "description:  | activity: other | apps: [] | topics: []",
                         "description: a | b | activity: other | apps: [] | topics: []",
                         "description: a | activity: sleeping | apps: [] | topics: []",
                         "description: a | activity: other | apps: [a,b] | topics: []",
                         "description: a | activity: other | apps: [, b] | topics: []",
                         "description: a | activity: other | apps: [] | topics: [",
                         "description: a\nb | activity: other | apps: [] | topics: []",
                         "description: a | activity: other | topics: [] | apps: []",
                         "description: a | activity: other | apps: [1, 2, 3, 4, 5, 6, 7, 8, 9] | topics: []"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(accepts(m, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(accepts(m, bad[i]));
    es_matcher_free(m);
    es_grammar_free(g);
}

typedef struct outcome {
    char text[8192];
    bool truncated;
    es_status status;
    size_t tokens;
} outcome;

static void note(void *context, const es_answer *answer)
{
    outcome *o = context;
    o->status = answer->status;
    o->truncated = answer->truncated;
    o->tokens = answer->id_count;
    snprintf(o->text, sizeof o->text, "%s", answer->text);
}

/* TRIES sequences at once, each with its own seed and budget. */
static void ask_all(es_matcher *m, int32_t least, outcome *out)
{
    es_error err;
    es_engine *e;
    es_engine_options options = {.batch = 5};
    assert_int_equal(es_engine_create(&e, f.model, &options, &err), ES_OK);
    for (int i = 0; i < TRIES; i++) {
        es_request request = {.prompt = {prompt.messages, prompt.message_count, prompt.pictures, prompt.picture_count},
                              .generation = {.max_tokens = least + i * 3, .matcher = m},
                              .context = &out[i],
                              .finished = note};
        es_sampling_init(&request.generation.sampling);
        request.generation.sampling.temperature = i % 2 == 0 ? 3.0f : 0.0f;
        request.generation.sampling.seed = (uint64_t)i;
        assert_int_equal(es_engine_add(e, &request, NULL, &err), ES_OK);
    }
    bool idle = false;
    while (!idle)
        assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
    es_engine_free(e);
}

static void check_record(const char *text)
{
    es_record record;
    es_error err;
    assert_int_equal(es_record_parse(&record, text, &err), ES_OK);
    if (!record.parsed)
        fail_msg("not a record: %s", text);
    es_record_free(&record);
}

static void any_budget_that_can_hold_a_record_gets_a_whole_one(void **state)
{
    (void)state;
    es_grammar *g;
    es_matcher *m = matcher_for(1, &g);
    static outcome out[TRIES], again[TRIES];
    int32_t least = es_matcher_distance(m, es_matcher_start(m));
    ask_all(m, least, out);
    ask_all(m, least, again);
    size_t longest = 0;
    for (int i = 0; i < TRIES; i++) {
        assert_int_equal(out[i].status, ES_OK);
        assert_false(out[i].truncated);
        assert_true(accepts(m, out[i].text));
        check_record(out[i].text);
        assert_string_equal(out[i].text, again[i].text);
        longest = out[i].tokens > longest ? out[i].tokens : longest;
    }
    assert_true(longest > (size_t)least); /* budgets were used, not just survived */
    es_matcher_free(m);
    es_grammar_free(g);
}

static void several_frames_get_a_line_each(void **state)
{
    (void)state;
    es_grammar *g;
    es_matcher *m = matcher_for(3, &g);
    static outcome out[TRIES];
    ask_all(m, es_matcher_distance(m, es_matcher_start(m)), out);
    for (int i = 0; i < TRIES; i++) {
        char *pieces[3];
        es_error err;
        assert_int_equal(out[i].status, ES_OK);
        assert_false(out[i].truncated);
        assert_int_equal(es_record_split(out[i].text, 3, pieces, &err), ES_OK);
        for (int k = 0; k < 3; k++) {
            assert_non_null(pieces[k]);
            check_record(pieces[k]);
            free(pieces[k]);
        }
    }
    es_matcher_free(m);
    es_grammar_free(g);
}

static void a_budget_too_small_is_cut_and_said_so(void **state)
{
    (void)state;
    es_grammar *g;
    es_matcher *m = matcher_for(1, &g);
    static outcome out[TRIES];
    ask_all(m, 4, out);
    assert_true(out[0].status == ES_OK && out[0].truncated && out[0].tokens == 4);
    es_matcher_free(m);
    es_grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grammar_is_the_record_line),
        cmocka_unit_test(any_budget_that_can_hold_a_record_gets_a_whole_one),
        cmocka_unit_test(several_frames_get_a_line_each),
        cmocka_unit_test(a_budget_too_small_is_cut_and_said_so),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
