/* What a grammar costs beside the decoding it holds to a form: less than 3 %, on a vocabulary of 151,000 tokens.
 *
 * The yardstick is measured in the same run: a decode step reads every weight of the model once, so it cannot take less
 * than the time this machine's memory needs for 2B parameters of 4 bits, read by two threads as fast as one reads here.
 * (The real step takes about twice that.) Both sides count their best of several tries, so that a busy machine changes
 * neither much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/thread.h"
#include "engine/json_schema.h"

#define VOCAB 151936
#define WEIGHTS 860e6 /* bytes of 1.72e9 parameters (the 2B model's text part and head) at 4 bits */
#define READ ((size_t)64 << 20)
#define TRIES 5
#define MOST 0.03

static es_tokenizer *tokenizer;
static es_lexicon *lexicon;
static double seconds_joining;

static uint64_t chance = 9;

static uint32_t below(uint32_t n)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return (uint32_t)((chance >> 33) % n);
}

/* The small vocabulary of the vectors, its tokens put together by two until there are as many as the real one has. */
static char *large_vocabulary(const char *text)
{
    json_t *root = json_loads(text, 0, NULL), *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    size_t small = json_object_size(vocab), next = small + json_array_size(json_object_get(root, "added_tokens"));
    const char **names = calloc(small, sizeof *names), *name;
    json_t *one;
    size_t n = 0;
    assert_non_null(names);
    json_object_foreach(vocab, name, one) names[n++] = strdup(name);
    while (next < VOCAB) {
        char both[200];
        snprintf(both, sizeof both, "%s%s", names[below((uint32_t)small)], names[below((uint32_t)small)]);
        if (json_object_get(vocab, both) == NULL)
            assert_int_equal(json_object_set_new(vocab, both, json_integer((json_int_t)next++)), 0);
    }
    char *out = json_dumps(root, JSON_COMPACT);
    for (size_t i = 0; i < small; i++)
        free((void *)(uintptr_t)names[i]);
    free(names);
    json_decref(root);
    assert_non_null(out);
    return out;
}

static int set_up(void **state)
{
    (void)state;
    char path[4096], *text, *large;
    size_t size;
    es_error err;
    snprintf(path, sizeof path, "%s/tests/vectors/tokenizer/qwen.json", getenv("ESCRIBA_SOURCE_ROOT"));
    if (es_file_read(path, 1 << 26, &text, &size, &err) != ES_OK)
        fail_msg("%s", err.message);
    large = large_vocabulary(text);
    if (es_tokenizer_parse(&tokenizer, large, strlen(large), path, &err) != ES_OK)
        fail_msg("%s", err.message);
    free(text);
    free(large);
    double began = es_now();
    assert_int_equal(es_lexicon_create(&lexicon, tokenizer, VOCAB, &err), ES_OK);
    seconds_joining = es_now() - began;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    es_lexicon_free(lexicon);
    es_tokenizer_free(tokenizer);
    return 0;
}

/* The least a decode step can take here. */
static double step_seconds(void)
{
    uint64_t *words = malloc(READ), sum = 0;
    double best = INFINITY;
    assert_non_null(words);
    memset(words, 1, READ);
    for (int i = 0; i < TRIES; i++) {
        double began = es_now();
        for (size_t k = 0; k < READ / sizeof *words; k++)
            sum += words[k];
        double took = es_now() - began;
        best = took < best ? took : best;
    }
    assert_int_not_equal(sum, 0);
    free(words);
    return best * WEIGHTS / (double)READ / 2;
}

/* Walks answers of random tokens; *seconds: what masks and moves took; gives the tokens that were asked for. */
static int walk(es_matcher *m, float *logits, double *seconds)
{
    int asked = 0;
    es_error err;
    *seconds = 0;
    for (int answer = 0; answer < 4; answer++) {
        es_match at = es_matcher_start(m);
        for (int left = 120; left > 0 && !es_matcher_is_end(m, at); left--) {
            es_str forced = {0};
            bool any;
            for (int32_t i = 0; i < VOCAB; i++)
                logits[i] = 0;
            double began = es_now();
            assert_int_equal(es_matcher_mask(m, at, left, logits, &any, &err), ES_OK);
            *seconds += es_now() - began;
            int32_t id = (int32_t)below(VOCAB);
            while (any && isinf(logits[id]))
                id = (id + 1) % VOCAB;
            if (!any)
                break;
            asked++;
            began = es_now();
            assert_int_equal(es_matcher_token(m, at, id, &at, &err), ES_OK);
            assert_int_equal(es_matcher_forced(m, at, &forced, &err), ES_OK);
            *seconds += es_now() - began;
            for (size_t i = 0; i < forced.length; i++)
                assert_int_equal(es_matcher_byte(m, at, (uint8_t)forced.data[i], &at, &err), ES_OK);
            es_str_free(&forced);
        }
    }
    return asked;
}

static void a_form_costs_less_than_three_in_a_hundred(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{\"type\":\"object\",\"properties\":{\"description\":{\"type\":\"string\"},\"activity\":{\"enum\":[\"coding\","
        "\"reading\",\"other\"]},\"apps\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":6},\"n\":{"
        "\"type\":\"integer\",\"minimum\":0,\"maximum\":5000}},\"required\":[\"description\",\"activity\",\"apps\","
        "\"n\"]}",
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":40},\"when\":{\"type\":"
        "\"string\",\"format\":\"date-time\"},\"code\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d+$\"}},"
        "\"required\":[\"name\",\"when\",\"code\"]}",
    };
    float *logits = calloc(VOCAB, sizeof *logits);
    assert_non_null(logits);
    double step = step_seconds();
    for (size_t k = 0; k < sizeof schemas / sizeof *schemas; k++) {
        double first = INFINITY, again = INFINITY;
        for (int i = 0; i < TRIES; i++) {
            es_grammar *g;
            es_matcher *m;
            es_error err;
            json_t *schema = json_loads(schemas[k], 0, NULL);
            if (es_json_schema_grammar(&g, schema, &err) != ES_OK || es_matcher_create(&m, g, lexicon, &err) != ES_OK)
                fail_msg("%s", err.message);
            double seconds;
            chance = k + 1;
            int asked = walk(m, logits, &seconds);
            assert_true(asked > 20);
            first = fmin(first, seconds / asked);
            chance = k + 1;
            asked = walk(m, logits, &seconds);
            again = fmin(again, seconds / asked);
            es_matcher_free(m);
            es_grammar_free(g);
            json_decref(schema);
        }
        print_message("schema %zu: %.3f ms a token met first, %.3f ms met again: %.2f %% and %.2f %% of a step of at "
                      "least %.0f ms\n",
                      k, first * 1e3, again * 1e3, 100 * first / step, 100 * again / step, step * 1e3);
        assert_true(again < MOST * step);
        assert_true(first < 2 * MOST * step); /* met once a form and model; a busy machine may double it */
    }
    print_message("the vocabulary in order, once a model: %.0f ms\n", seconds_joining * 1e3);
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_form_costs_less_than_three_in_a_hundred)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
