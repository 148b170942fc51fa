/* The engine's promises: whatever is shared, set aside, overtaken or dropped, each answer is the one it gives alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_ALIGNED
#include "../model/faults.h"
#include "engine/engine.h"
#include "fixture.h"

#define MODEL "sharded-bf16"
#define TOKENS 60 /* of an answer */
#define ASKED 64  /* requests a test may make */

/* A request on its way, and what became of it. */
typedef struct asked {
    size_t prompt;
    uint64_t id;
    int finished, order; /* how often, and as the how-manieth */
    es_status status;
    bool reused;
    int32_t cached_tokens;
    size_t id_count;
    int32_t ids[TOKENS];
} asked;

typedef struct world {
    fixture f;
    fixture_prompt prompts[FIXTURE_PROMPTS];
    asked alone[FIXTURE_PROMPTS]; /* what each prompt gives by itself, without any cache */
    int32_t longest;              /* tokens of the longest prompt and answer */
} world;

static int finished_so_far;

static void note(void *context, const es_answer *answer)
{
    asked *a = context;
    a->finished++;
    a->order = ++finished_so_far;
    a->status = answer->status;
    a->reused = answer->reused;
    a->cached_tokens = answer->cached_tokens;
    a->id_count = answer->id_count;
    assert_true(answer->id_count <= TOKENS);
    if (answer->id_count > 0)
        memcpy(a->ids, answer->ids, answer->id_count * sizeof *a->ids);
}

static es_status ask(es_engine *e, const world *w, size_t prompt, int priority, asked *a, es_error *err)
{
    const fixture_prompt *p = &w->prompts[prompt];
    es_request request = {.prompt = {p->messages, p->message_count, p->pictures, p->picture_count},
                          .generation = {.max_tokens = TOKENS, .ignore_eos = true},
                          .priority = priority,
                          .context = a,
                          .finished = note};
    es_sampling_init(&request.generation.sampling);
    *a = (asked){.prompt = prompt};
    return es_engine_add(e, &request, &a->id, err);
}

static es_engine *make(const world *w, const es_engine_options *options)
{
    es_engine *e;
    es_error err;
    if (es_engine_create(&e, w->f.model, options, &err) != ES_OK)
        fail_msg("%s", err.message);
    return e;
}

static void must_ask(es_engine *e, const world *w, size_t prompt, int priority, asked *a)
{
    es_error err;
    if (ask(e, w, prompt, priority, a, &err) != ES_OK)
        fail_msg("%s", err.message);
}

static void run_dry(es_engine *e)
{
    bool idle = false;
    es_error err;
    for (int steps = 0; !idle; steps++) {
        if (es_engine_step(e, NULL, &idle, &err) != ES_OK)
            fail_msg("%s", err.message);
        assert_true(steps < 100000);
    }
    es_engine_stats stats;
    es_engine_get_stats(e, &stats);
    assert_int_equal(stats.pages_used, 0);
    assert_int_equal(es_engine_count(e), 0);
}

static void check(const world *w, const asked *a)
{
    const asked *alone = &w->alone[a->prompt];
    assert_int_equal(a->finished, 1);
    assert_int_equal(a->status, ES_OK);
    assert_int_equal(a->id_count, alone->id_count);
    assert_memory_equal(a->ids, alone->ids, alone->id_count * sizeof *alone->ids);
}

static const es_engine_options no_caches = {
    .vision_cache_bytes = -1, .no_prefix_cache = true, .no_answer_cache = true, .no_drafts = true};

static int set_up(void **state)
{
    static world w;
    fixture_open(&w.f, MODEL, es_cpu_best_isa());
    for (size_t k = 0; k < w.f.prompt_count; k++) {
        fixture_prompt_get(&w.prompts[k], &w.f, k);
        int32_t tokens = w.prompts[k].tokens + TOKENS;
        w.longest = tokens > w.longest ? tokens : w.longest;
        es_engine *e = make(&w, &no_caches);
        must_ask(e, &w, k, 0, &w.alone[k]);
        run_dry(e);
        es_engine_free(e);
        assert_int_equal(w.alone[k].id_count, TOKENS);
    }
    assert_true(w.f.prompt_count >= 3);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    fixture_close(&((world *)*state)->f);
    return 0;
}

static int64_t bytes_for_tokens(const world *w, int64_t tokens)
{
    const es_text_config *c = &w->f.model->config.text;
    int64_t pages = (tokens + 31) / 32;
    return pages * 32 * c->layers * c->kv_heads * c->head_dim * 2 * (int64_t)sizeof(float);
}

static void each_cache_changes_the_cost_and_not_the_answer(void **state)
{
    const world *w = *state;
    asked a[ASKED];
    for (int mask = 0; mask < 16; mask++) {
        es_engine_options options = {.vision_cache_bytes = mask & 1 ? 0 : -1,
                                     .no_prefix_cache = !(mask & 2),
                                     .no_answer_cache = !(mask & 4),
                                     .no_drafts = !(mask & 8),
                                     .batch = 3};
        es_engine *e = make(w, &options);
        size_t n = w->f.prompt_count, count = 0;
        for (int round = 0; round < 3; round++)
            for (size_t k = 0; k < n; k++)
                must_ask(e, w, k, 0, &a[count++]);
        run_dry(e);
        for (size_t i = 0; i < count; i++)
            check(w, &a[i]);
        es_engine_stats stats;
        es_engine_get_stats(e, &stats);
        assert_int_equal(stats.answers_reused, mask & 4 ? (int64_t)(2 * n) : 0);
        assert_true((stats.prefix_tokens_reused > 0) == ((mask & 2) != 0 && !(mask & 4)) || (mask & 4));
        if ((mask & 12) == 8) /* the second and third time round everything was said before */
            assert_true(stats.tokens_guessed_right > TOKENS / 2);
        if (!(mask & 8))
            assert_int_equal(stats.tokens_guessed, 0);
        if ((mask & 7) == 1)
            assert_true(stats.pictures_reused > 0);
        if (!(mask & 1))
            assert_int_equal(stats.pictures_reused, 0);
        es_engine_free(e);
    }
}

static void a_second_question_about_a_picture_skips_the_tower(void **state)
{
    const world *w = *state;
    size_t k = 0;
    while (k < w->f.prompt_count && w->prompts[k].picture_count == 0)
        k++;
    assert_true(k < w->f.prompt_count);
    es_engine_options options = {.no_answer_cache = true};
    es_engine *e = make(w, &options);
    asked first, second;
    must_ask(e, w, k, 0, &first);
    run_dry(e);
    must_ask(e, w, k, 0, &second);
    run_dry(e);
    check(w, &first);
    check(w, &second);
    es_engine_stats stats;
    es_engine_get_stats(e, &stats);
    assert_int_equal(stats.pictures_encoded, (int64_t)w->prompts[k].picture_count);
    assert_int_equal(first.cached_tokens, 0);
    /* All whole pages but the one of the last token. */
    assert_int_equal(second.cached_tokens, (w->prompts[k].tokens - 1) / 32 * 32);
    es_engine_free(e);
}

static void what_is_set_aside_goes_on_as_if_nothing_had_happened(void **state)
{
    const world *w = *state;
    asked a[ASKED];
    for (int cached = 0; cached < 2; cached++) {
        es_engine_options options = no_caches;
        options.no_prefix_cache = !cached;
        options.kv_bytes = bytes_for_tokens(w, w->longest); /* room for hardly more than one */
        es_engine *e = make(w, &options);
        size_t n = w->f.prompt_count;
        for (size_t i = 0; i < 3 * n; i++)
            must_ask(e, w, i % n, 0, &a[i]);
        run_dry(e);
        for (size_t i = 0; i < 3 * n; i++)
            check(w, &a[i]);
        es_engine_stats stats;
        es_engine_get_stats(e, &stats);
        assert_true(stats.preemptions > 0);
        es_engine_free(e);
    }
}

static void who_has_priority_overtakes(void **state)
{
    const world *w = *state;
    asked a[ASKED];
    es_engine_options options = {.policy = ES_POLICY_LATENCY, .batch = 2, .prefill_chunk = 16, .no_answer_cache = true};
    es_engine *e = make(w, &options);
    size_t n = 12;
    for (size_t i = 0; i < n; i++)
        must_ask(e, w, i % w->f.prompt_count, 0, &a[i]);
    bool idle;
    es_error err;
    for (int i = 0; i < 3; i++)
        assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
    finished_so_far = 0;
    must_ask(e, w, 0, 1, &a[n]);
    run_dry(e);
    for (size_t i = 0; i <= n; i++)
        check(w, &a[i]);
    assert_true(a[n].order <= 3); /* after at most the two under way */
    es_engine_free(e);
}

static void a_full_batch_has_a_seat_for_priority(void **state)
{
    const world *w = *state;
    asked a[3];
    es_engine_options options = no_caches;
    options.policy = ES_POLICY_LATENCY;
    options.batch = 1;
    es_engine *e = make(w, &options);
    es_engine_stats before = {0}, after;
    es_error err;
    bool idle;
    must_ask(e, w, 0, 0, &a[0]);
    while (before.decoded_rows == 0) {
        assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
        es_engine_get_stats(e, &before);
    }
    must_ask(e, w, 1, 0, &a[1]);
    must_ask(e, w, 2, 1, &a[2]);
    while (a[0].finished == 0)
        assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
    es_engine_get_stats(e, &after);
    assert_int_equal(after.prefilled_rows - before.prefilled_rows, w->prompts[2].tokens); /* and not the ordinary one */
    run_dry(e);
    for (size_t i = 0; i < 3; i++)
        check(w, &a[i]);
    assert_true(a[2].order < a[1].order);
    es_engine_free(e);
}

/* However many with priority come one after the other, an ordinary one with pictures gets on. */
static void who_has_priority_starves_nobody(void **state)
{
    const world *w = *state;
    asked ordinary, low, flood[2];
    es_engine_options options = no_caches;
    options.policy = ES_POLICY_LATENCY;
    options.prefill_chunk = 16;
    options.patience = 1e-6; /* so that steps can be counted: rows come between any two blocks */
    es_engine *e = make(w, &options);
    es_error err;
    bool idle;
    must_ask(e, w, 1, 0, &ordinary);
    must_ask(e, w, 2, -1, &low);
    must_ask(e, w, 3, 1, &flood[0]);
    must_ask(e, w, 2, 1, &flood[1]);
    for (int steps = 0; ordinary.finished == 0 || low.finished == 0; steps++) {
        assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
        for (size_t i = 0; i < 2; i++) { /* before it decodes, so that there is always one to be fed */
            es_engine_drop(e, flood[i].id);
            must_ask(e, w, 3 - i, 1, &flood[i]);
        }
        assert_true(steps < 2000);
    }
    check(w, &ordinary);
    check(w, &low);
    es_engine_free(e);
}

/* Whoever comes while a picture is encoded waits for a block of the tower, not for the picture. */
static void a_step_of_latency_is_one_block_of_the_tower(void **state)
{
    const world *w = *state;
    for (size_t k = 0; k < w->f.prompt_count; k++) {
        asked a;
        es_engine_options options = no_caches;
        options.policy = ES_POLICY_LATENCY;
        es_engine *e = make(w, &options);
        es_engine_stats stats = {0};
        es_error err;
        bool idle;
        int32_t steps = 0, pictures = (int32_t)w->prompts[k].picture_count;
        must_ask(e, w, k, 0, &a);
        while (stats.prefilled_rows == 0) {
            assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
            es_engine_get_stats(e, &stats);
            steps++;
        }
        assert_int_equal(steps, pictures * (w->f.model->config.vision.depth + 2) + 1); /* begun, blocks, merger */
        run_dry(e);
        check(w, &a);
        es_engine_free(e);
    }
}

static void a_hundred_requests_added_and_dropped_at_random(void **state)
{
    const world *w = *state;
    static asked a[200];
    es_error err;
    for (int policy = 0; policy < 2; policy++) {
        es_engine_options options = {.policy = policy ? ES_POLICY_LATENCY : ES_POLICY_THROUGHPUT,
                                     .batch = 4,
                                     .prefill_chunk = 24,
                                     .vision_cache_bytes = 20000,
                                     .no_answer_cache = policy == 0,
                                     .kv_bytes = bytes_for_tokens(w, w->longest + 96)};
        es_engine *e = make(w, &options);
        srand(5 + (unsigned)policy);
        size_t count = 0, dropped = 0;
        while (count < 100) {
            bool idle;
            if (rand() % 3 == 0)
                must_ask(e, w, (size_t)rand() % w->f.prompt_count, rand() % 8 == 0, &a[count]), count++;
            if (rand() % 40 == 0 && count > 0) {
                asked *victim = &a[(size_t)rand() % count];
                dropped += victim->finished == 0;
                es_engine_drop(e, victim->id);
            }
            assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
        }
        run_dry(e);
        size_t cancelled = 0;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(a[i].finished, 1);
            if (a[i].status == ES_ERR_CANCELLED)
                cancelled++;
            else
                check(w, &a[i]);
        }
        assert_int_equal(cancelled, dropped);
        assert_true(dropped > 0);
        es_engine_free(e);
    }
}

/* Counted in steps, not in seconds: with no patience at all, a step without a token for those who are being answered
 * (one block of the tower) is followed by one with a token, and a prompt is read in pieces that each carry one. */
static void whoever_is_being_answered_gets_a_token_between_two_blocks_of_the_tower(void **state)
{
    const world *w = *state;
    es_engine_options options = {.policy = ES_POLICY_LATENCY,
                                 .batch = 4,
                                 .vision_cache_bytes = -1,
                                 .no_answer_cache = true,
                                 .no_drafts = true,
                                 .no_prefix_cache = true,
                                 .patience = 1e-9};
    es_engine *e = make(w, &options);
    asked first, others[3];
    es_engine_stats stats;
    es_error err;
    bool idle;
    size_t shown = 0, text = 0;
    while (w->prompts[shown].picture_count == 0)
        shown++;
    while (w->prompts[text].picture_count > 0)
        text++;
    must_ask(e, w, text, 0, &first);
    do {
        assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
        es_engine_get_stats(e, &stats);
    } while (stats.decoded_rows == 0);
    for (int i = 0; i < 3; i++)
        must_ask(e, w, shown, 0, &others[i]);
    int without = 0, blocks = 0;
    while (first.finished == 0) {
        int64_t before = stats.decode_passes, rows = stats.prefilled_rows;
        assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
        es_engine_get_stats(e, &stats);
        without = stats.decode_passes > before ? 0 : without + 1;
        blocks += without;
        assert_true(without <= 1);
        assert_true(stats.prefilled_rows - rows <= 16);
    }
    assert_true(blocks >= w->f.model->config.vision.depth); /* the tower was at work meanwhile */
    run_dry(e);
    check(w, &first);
    for (int i = 0; i < 3; i++)
        check(w, &others[i]);
    es_engine_free(e);
}

typedef struct scored {
    const world *w;
    size_t count, at;
    int32_t ids[TOKENS];
    float logprobs[TOKENS];
    bool finished;
} scored;

static void note_score(void *context, const es_token_score *score)
{
    scored *s = context;
    double sum = 0;
    assert_int_equal(score->best_count, 5);
    assert_int_equal(score->text_begin, s->at);
    assert_true(score->text_end >= score->text_begin);
    assert_int_equal(score->best[0], score->id); /* greedy */
    assert_true(score->best_logprobs[0] == score->logprob);
    for (int i = 0; i < 5; i++) {
        assert_true(i == 0 || score->best_logprobs[i] <= score->best_logprobs[i - 1]);
        sum += exp((double)score->best_logprobs[i]);
    }
    assert_true(sum > 0 && sum <= 1.000001);
    s->at = score->text_end;
    s->ids[s->count] = score->id;
    s->logprobs[s->count++] = score->logprob;
}

static void note_scored_end(void *context, const es_answer *answer)
{
    scored *s = context;
    s->finished = true;
    assert_int_equal(answer->status, ES_OK);
    assert_false(answer->reused);
    assert_int_equal(answer->id_count, s->count);
}

static void each_token_is_told_how_likely_it_was(void **state)
{
    const world *w = *state;
    const fixture_prompt *p = &w->prompts[0];
    es_engine *e = make(w, NULL);
    scored before = {0};
    es_error err;
    for (int i = 0; i < 3; i++) { /* alone, with drafts of the answer before, beside others */
        scored s = {.w = w};
        asked other;
        es_request request = {.prompt = {p->messages, p->message_count, p->pictures, p->picture_count},
                              .generation = {.max_tokens = TOKENS, .ignore_eos = true, .scored = true, .best_count = 5},
                              .context = &s,
                              .token = note_score,
                              .finished = note_scored_end};
        es_sampling_init(&request.generation.sampling);
        assert_int_equal(es_engine_add(e, &request, NULL, &err), ES_OK);
        if (i == 2)
            must_ask(e, w, 1, 0, &other);
        run_dry(e);
        assert_true(s.finished);
        assert_int_equal(s.count, TOKENS);
        assert_memory_equal(s.ids, w->alone[0].ids, sizeof s.ids);
        if (i > 0)
            assert_memory_equal(s.logprobs, before.logprobs, sizeof s.logprobs);
        before = s;
        request.generation.best_count = 21;
        assert_int_equal(es_engine_add(e, &request, NULL, &err), ES_ERR_ARGUMENT);
    }
    es_engine_free(e);
}

/* A grammar freed may leave its place to another one: what was answered under the first is no answer under the second.
 */
static void an_answer_in_one_form_is_none_in_another(void **state)
{
    const world *w = *state;
    const fixture_prompt *p = &w->prompts[0];
    es_error err;
    es_lexicon *lexicon;
    es_engine *e = make(w, NULL);
    assert_int_equal(es_lexicon_create(&lexicon, w->f.model->tokenizer, w->f.model->config.text.vocab, &err), ES_OK);
    /* The last ones: an accent apart from its letter, and a choice within a character. */
    static const char *const texts[] = {"a", "b", "c", "d", "e", "f", "xe\xCC\x81y", "<\xC3\xA9t\xC3\xA9>"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        es_grammar *g;
        es_matcher *m;
        asked a = {.prompt = 0};
        assert_int_equal(es_grammar_create(&g, &err), ES_OK);
        es_node inside[] = {es_grammar_text(g, "<\xC3\xA8>"), es_grammar_text(g, texts[i])};
        assert_int_equal(es_grammar_finish(g, es_grammar_choice(g, inside + (i < 7), i < 7 ? 1 : 2), &err), ES_OK);
        assert_int_equal(es_matcher_create(&m, g, lexicon, &err), ES_OK);
        es_request request = {.prompt = {p->messages, p->message_count, p->pictures, p->picture_count},
                              .generation = {.max_tokens = TOKENS, .matcher = m},
                              .context = &a,
                              .finished = note};
        es_sampling_init(&request.generation.sampling);
        assert_int_equal(es_engine_add(e, &request, &a.id, &err), ES_OK);
        run_dry(e);
        assert_int_equal(a.status, ES_OK);
        es_str text = {0};
        assert_int_equal(es_tokenizer_decode(w->f.model->tokenizer, a.ids, a.id_count, false, &text, &err), ES_OK);
        if (i < 7 || strcmp(es_str_text(&text), "<\xC3\xA8>") != 0)
            assert_string_equal(es_str_text(&text), texts[i]);
        es_str_free(&text);
        es_matcher_free(m);
        es_grammar_free(g);
    }
    es_engine_free(e);
    es_lexicon_free(lexicon);
}

static void what_cannot_fit_is_refused_and_the_rest_goes_on(void **state)
{
    const world *w = *state;
    asked big, small;
    es_error err;
    es_engine_options options = {.context = 40};
    es_engine *e = make(w, &options);
    size_t longest = 0, shortest = 0;
    for (size_t k = 1; k < w->f.prompt_count; k++) {
        longest = w->prompts[k].tokens > w->prompts[longest].tokens ? k : longest;
        shortest = w->prompts[k].tokens < w->prompts[shortest].tokens ? k : shortest;
    }
    assert_true(w->prompts[longest].tokens >= 40 && w->prompts[shortest].tokens < 40);
    assert_int_equal(ask(e, w, longest, 0, &big, &err), ES_ERR_LIMIT);
    assert_non_null(strstr(err.message, "context"));
    assert_int_equal(ask(e, w, shortest, 0, &small, &err), ES_OK);
    run_dry(e);
    assert_int_equal(small.status, ES_OK);
    assert_int_equal(small.id_count, 40 - w->prompts[shortest].tokens); /* cut to what the context leaves */
    es_engine_free(e);
    options = (es_engine_options){.kv_bytes = 10};
    assert_int_equal(es_engine_create(&e, w->f.model, &options, &err), ES_ERR_LIMIT);
    options = (es_engine_options){.batch = -1};
    assert_int_equal(es_engine_create(&e, w->f.model, &options, &err), ES_ERR_ARGUMENT);
}

typedef struct short_of_memory {
    const world *w;
    size_t prompt;
} short_of_memory;

/* One sequence through a new engine: 0 the right answer, 1 want of memory said so, -1 anything else. */
static int run_once(void *context)
{
    short_of_memory *c = context;
    es_engine *e;
    es_error err = {0};
    asked a = {.finished = 0};
    bool idle = false;
    /* The answer cache forgets rather than fails. */
    es_engine_options options = {.batch = 2, .prefill_chunk = 32, .no_answer_cache = true};
    es_status status = es_engine_create(&e, c->w->f.model, &options, &err);
    if (status != ES_OK)
        return status == ES_ERR_MEMORY ? 1 : -1;
    status = ask(e, c->w, c->prompt, 0, &a, &err);
    while (status == ES_OK && !idle)
        status = es_engine_step(e, NULL, &idle, &err);
    es_engine_free(e);
    if (status == ES_OK)
        status = a.status;
    if (status == ES_OK)
        return a.finished == 1 && memcmp(a.ids, c->w->alone[c->prompt].ids, sizeof a.ids) == 0 ? 0 : -1;
    if (status != ES_ERR_MEMORY)
        print_error("%s: %s\n", es_status_name(status), err.message);
    return status == ES_ERR_MEMORY ? 1 : -1;
}

static void want_of_memory_is_an_error_like_others(void **state)
{
    short_of_memory c = {*state, 0};
    while (c.w->prompts[c.prompt].picture_count == 0)
        c.prompt++;
    long survived = faults_sweep(run_once, &c, true);
    print_message("%ld failed allocations survived\n", survived);
    assert_true(survived > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_cache_changes_the_cost_and_not_the_answer),
        cmocka_unit_test(a_second_question_about_a_picture_skips_the_tower),
        cmocka_unit_test(what_is_set_aside_goes_on_as_if_nothing_had_happened),
        cmocka_unit_test(who_has_priority_overtakes),
        cmocka_unit_test(a_full_batch_has_a_seat_for_priority),
        cmocka_unit_test(who_has_priority_starves_nobody),
        cmocka_unit_test(a_step_of_latency_is_one_block_of_the_tower),
        cmocka_unit_test(a_hundred_requests_added_and_dropped_at_random),
        cmocka_unit_test(whoever_is_being_answered_gets_a_token_between_two_blocks_of_the_tower),
        cmocka_unit_test(each_token_is_told_how_likely_it_was),
        cmocka_unit_test(an_answer_in_one_form_is_none_in_another),
        cmocka_unit_test(what_cannot_fit_is_refused_and_the_rest_goes_on),
        cmocka_unit_test(want_of_memory_is_an_error_like_others),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
