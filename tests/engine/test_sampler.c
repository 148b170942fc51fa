/* The sampler: greedy ties, penalties as the reference applies them, cuts, seeds, hostile logits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "engine/sampler.h"
#include "engine/scores.h"

#define VOCAB 50

static es_sampler *make(es_sampling how)
{
    es_sampler *s;
    es_error err;
    assert_int_equal(es_sampler_create(&s, &how, VOCAB, &err), ES_OK);
    return s;
}

static es_sampling greedy(void)
{
    es_sampling how;
    es_sampling_init(&how);
    return how;
}

static void fill(float *logits, float value)
{
    for (int i = 0; i < VOCAB; i++)
        logits[i] = value;
}

static void greedy_takes_the_largest_and_of_equals_the_first(void **state)
{
    (void)state;
    float logits[VOCAB];
    es_sampler *s = make(greedy());
    fill(logits, 1.0f);
    assert_int_equal(es_sampler_pick(s, logits), 0);
    logits[17] = logits[31] = 2.0f;
    assert_int_equal(es_sampler_pick(s, logits), 17);
    logits[31] = 2.5f;
    assert_int_equal(es_sampler_pick(s, logits), 31);
    es_sampler_free(s);
}

static void broken_logits_never_win_or_crash(void **state)
{
    (void)state;
    float logits[VOCAB];
    es_sampling hot = greedy();
    hot.temperature = 1.0f;
    es_sampler *samplers[2] = {make(greedy()), make(hot)};
    for (int k = 0; k < 2; k++) {
        fill(logits, NAN);
        logits[9] = -3.0f;
        assert_int_equal(es_sampler_pick(samplers[k], logits), 9);
        fill(logits, NAN);
        assert_in_range(es_sampler_pick(samplers[k], logits), 0, VOCAB - 1);
        fill(logits, 0.0f);
        logits[4] = INFINITY;
        assert_int_equal(es_sampler_pick(samplers[k], logits), 4);
        es_sampler_free(samplers[k]);
    }
}

static void the_penalty_divides_positive_and_multiplies_negative_logits(void **state)
{
    (void)state;
    float logits[VOCAB];
    es_sampling how = greedy();
    how.repetition_penalty = 2.0f;
    es_sampler *s = make(how);
    es_sampler_saw(s, 3);
    es_sampler_saw(s, 3); /* once or twice is the same */
    es_sampler_saw(s, -1);
    es_sampler_saw(s, VOCAB);
    fill(logits, -5.0f);
    logits[3] = 4.0f;
    logits[8] = 2.5f;
    assert_int_equal(es_sampler_pick(s, logits), 8);
    assert_true(logits[3] == 2.0f);
    fill(logits, -1.0f);
    logits[3] = -0.8f;
    assert_int_equal(es_sampler_pick(s, logits), 0);
    assert_true(logits[3] == -1.6f);
    es_sampler_free(s);
}

/* Counts of 20,000 draws from the same logits. */
static void draw(es_sampling how, const float *logits, int *counts)
{
    es_sampler *s = make(how);
    memset(counts, 0, VOCAB * sizeof *counts);
    for (int i = 0; i < 20000; i++) {
        float copy[VOCAB];
        memcpy(copy, logits, sizeof copy);
        counts[es_sampler_pick(s, copy)]++;
    }
    es_sampler_free(s);
}

static void draws_follow_the_softmax(void **state)
{
    (void)state;
    float logits[VOCAB];
    int counts[VOCAB];
    fill(logits, -INFINITY);
    logits[2] = logf(0.5f);
    logits[5] = logf(0.3f);
    logits[6] = logf(0.2f);
    es_sampling how = greedy();
    how.temperature = 1.0f;
    draw(how, logits, counts);
    /* 4 standard deviations of a binomial of 20,000 are at most 283. */
    assert_in_range(counts[2], 10000 - 283, 10000 + 283);
    assert_in_range(counts[5], 6000 - 283, 6000 + 283);
    assert_int_equal(counts[2] + counts[5] + counts[6], 20000);
    how.temperature = 0.5f; /* squares the odds: 25 to 9 to 4 */
    draw(how, logits, counts);
    assert_in_range(counts[2], 20000 * 25 / 38 - 283, 20000 * 25 / 38 + 283);
}

static void cuts_leave_what_they_say(void **state)
{
    (void)state;
    float logits[VOCAB];
    int counts[VOCAB];
    fill(logits, -INFINITY);
    logits[2] = logf(0.5f);
    logits[5] = logf(0.3f);
    logits[6] = logf(0.2f);
    es_sampling how = greedy();
    how.temperature = 1.0f;
    how.top_k = 2;
    draw(how, logits, counts);
    assert_true(counts[2] > 0 && counts[5] > 0);
    assert_int_equal(counts[6], 0);
    how.top_k = 0;
    how.top_p = 0.45f; /* the first alone reaches it */
    draw(how, logits, counts);
    assert_int_equal(counts[2], 20000);
    how.top_p = 1.0f;
    how.min_p = 0.5f; /* 0.2 is below half of 0.5, 0.3 is not */
    draw(how, logits, counts);
    assert_true(counts[5] > 0);
    assert_int_equal(counts[6], 0);
}

static void a_seed_repeats_and_another_does_not(void **state)
{
    (void)state;
    int32_t drawn[3][100];
    for (int k = 0; k < 3; k++) {
        es_sampling how = greedy();
        how.temperature = 1.0f;
        how.seed = k == 2 ? 43 : 42;
        es_sampler *s = make(how);
        for (int i = 0; i < 100; i++) {
            float logits[VOCAB];
            fill(logits, 0.0f);
            drawn[k][i] = es_sampler_pick(s, logits);
        }
        es_sampler_free(s);
    }
    assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
    assert_memory_not_equal(drawn[0], drawn[2], sizeof drawn[0]);
}

static void nonsense_is_refused_by_name(void **state)
{
    (void)state;
    const struct {
        es_sampling how;
        const char *word;
    } cases[] = {
        {{.temperature = -1, .top_p = 1, .repetition_penalty = 1}, "temperature"},
        {{.temperature = NAN, .top_p = 1, .repetition_penalty = 1}, "temperature"},
        {{.top_k = -1, .top_p = 1, .repetition_penalty = 1}, "top-k"},
        {{.top_p = 0, .repetition_penalty = 1}, "top-p"},
        {{.top_p = 1.5f, .repetition_penalty = 1}, "top-p"},
        {{.top_p = 1, .min_p = 2, .repetition_penalty = 1}, "min-p"},
        {{.top_p = 1, .repetition_penalty = 0}, "repetition"},
        {{.top_p = 1, .repetition_penalty = 1, .presence_penalty = 2.5f}, "presence"},
        {{.top_p = 1, .repetition_penalty = 1, .frequency_penalty = NAN}, "frequency"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_error err;
        es_sampler *s;
        assert_int_equal(es_sampler_create(&s, &cases[i].how, VOCAB, &err), ES_ERR_ARGUMENT);
        assert_null(s);
        assert_non_null(strstr(err.message, cases[i].word));
    }
}

static void the_best_k_come_in_order(void **state)
{
    (void)state;
    float logits[VOCAB];
    int32_t ids[5];
    float values[5];
    fill(logits, 0.0f);
    logits[40] = 3.0f;
    logits[7] = 2.0f;
    logits[9] = 2.0f;
    logits[1] = NAN;
    es_top_k(logits, VOCAB, 5, ids, values);
    const int32_t expected[5] = {40, 7, 9, 0, 2};
    assert_memory_equal(ids, expected, sizeof expected);
    assert_true(values[0] == 3.0f && values[4] == 0.0f);
    es_top_k(logits, 3, 5, ids, values); /* fewer tokens than asked for */
    assert_int_equal(ids[4], -1);
}

static void what_was_said_loses_once_or_each_time(void **state)
{
    (void)state;
    const struct {
        float presence, frequency, three_times, once; /* what a logit of 1 becomes */
    } cases[] = {{0.5f, 0, 0.5f, 0.5f}, {0, 0.25f, 0.25f, 0.75f}, {-0.5f, 0.25f, 0.75f, 1.25f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float logits[VOCAB];
        es_sampling how = greedy();
        how.presence_penalty = cases[i].presence;
        how.frequency_penalty = cases[i].frequency;
        es_sampler *s = make(how);
        es_sampler_saw(s, 3); /* of the prompt: not penalised */
        for (int k = 0; k < 3; k++)
            es_sampler_said(s, 5);
        es_sampler_said(s, 6);
        fill(logits, 1.0f);
        es_sampler_pick(s, logits);
        assert_true(logits[3] == 1.0f && logits[4] == 1.0f);
        assert_true(logits[5] == cases[i].three_times && logits[6] == cases[i].once);
        es_sampler_free(s);
    }
}

static void scores_are_logarithms_of_probabilities(void **state)
{
    (void)state;
    float logits[VOCAB];
    es_scores s;
    es_error err;
    assert_int_equal(es_scores_create(&s, VOCAB, 3, &err), ES_OK);
    for (int i = 0; i < VOCAB; i++) /* probabilities 1/1275, 2/1275, ... , however far up the logits lie */
        logits[i] = 500.0f + logf((float)(i + 1));
    logits[0] = NAN; /* takes 1 away from the sum */
    es_scores_look(&s, logits);
    es_token_score score = es_scores_of(&s, 9);
    assert_true(fabs((double)score.logprob - log(10.0 / 1274)) < 1e-4);
    assert_int_equal(score.best_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(score.best[i], VOCAB - 1 - i);
        assert_true(fabs((double)score.best_logprobs[i] - log((VOCAB - i) / 1274.0)) < 1e-4);
    }
    assert_true(isinf(es_scores_of(&s, 0).logprob));
    score = es_scores_certain(&s, 7);
    assert_true(score.logprob == 0 && score.best_count == 1 && score.best[0] == 7);
    es_scores_free(&s);
    assert_int_equal(es_scores_create(&s, VOCAB, 21, &err), ES_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest_and_of_equals_the_first),
        cmocka_unit_test(broken_logits_never_win_or_crash),
        cmocka_unit_test(the_penalty_divides_positive_and_multiplies_negative_logits),
        cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(cuts_leave_what_they_say),
        cmocka_unit_test(a_seed_repeats_and_another_does_not),
        cmocka_unit_test(nonsense_is_refused_by_name),
        cmocka_unit_test(the_best_k_come_in_order),
        cmocka_unit_test(what_was_said_loses_once_or_each_time),
        cmocka_unit_test(scores_are_logarithms_of_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
