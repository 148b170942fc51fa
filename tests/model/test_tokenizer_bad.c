/* test_tokenizer_bad.c - a tokenizer.json that nobody vouches for: one clear error each, never a crash or a hang. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../fuzz/replay.h"
#include "model/tokenizer.h"

#define PRE "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define SPLIT(regex)                                                                                                   \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex                    \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}," BYTES "]}"
#define VOCAB "{\"a\":0,\"b\":1,\"ab\":2}"
#define MODEL "{\"type\":\"BPE\",\"vocab\":" VOCAB ",\"merges\":[\"a b\"]}"
#define FILE_OF(normalizer, pre, added, model)                                                                         \
    "{\"added_tokens\":" added ",\"normalizer\":" normalizer ",\"pre_tokenizer\":" pre ",\"model\":" model "}"
#define WITH_MODEL(model) FILE_OF("null", PRE, "[]", model)
#define WITH_VOCAB(vocab) WITH_MODEL("{\"vocab\":" vocab ",\"merges\":[]}")
#define WITH_MERGES(merges) WITH_MODEL("{\"vocab\":" VOCAB ",\"merges\":" merges "}")
#define WITH_ADDED(added) FILE_OF("null", PRE, added, MODEL)
#define WITH_PRE(pre) FILE_OF("null", pre, "[]", MODEL)
#define WITH_OPTION(option) WITH_MODEL("{\"vocab\":" VOCAB ",\"merges\":[]," option "}")

static const struct {
    const char *text;
    es_status status;
    const char *says;
} cases[] = {
    /* not the file at all */
    {"", ES_ERR_FORMAT, "not valid JSON"},
    {"null", ES_ERR_FORMAT, "not valid JSON"},
    {"[]", ES_ERR_FORMAT, "JSON object"},
    {"{}", ES_ERR_FORMAT, "\"model\" is missing"},
    {"{\"model\":", ES_ERR_FORMAT, "not valid JSON"},
    {"{\"model\":[]}", ES_ERR_FORMAT, "\"model\" must be an object"},
    {"{\"model\":{\"vocab\":{\"a\":0}", ES_ERR_FORMAT, "not valid JSON"},
    {"{\"model\":{\"vocab\":{\"a", ES_ERR_FORMAT, "not valid JSON"},
    {"{\"model\":{\"vocab\":{\"a\\", ES_ERR_FORMAT, "not valid JSON"},
    {"{\"model\":{}} trailing", ES_ERR_FORMAT, "not valid JSON"},
    {"{\"model\":{},\"model\":{}}", ES_ERR_FORMAT, "duplicate"},
    /* the model */
    {WITH_MODEL("{\"merges\":[]}"), ES_ERR_FORMAT, "no \"vocab\""},
    {WITH_MODEL("{\"vocab\":" VOCAB "}"), ES_ERR_FORMAT, "no \"merges\""},
    {WITH_MODEL("{\"vocab\":" VOCAB ",\"vocab\":" VOCAB ",\"merges\":[]}"), ES_ERR_FORMAT, "duplicate"},
    {WITH_MODEL("{\"vocab\":[],\"merges\":[]}"), ES_ERR_FORMAT, "no \"vocab\""},
    {WITH_MODEL("{\"vocab\":\"a\",\"merges\":{}}"), ES_ERR_FORMAT, "no \"vocab\""},
    {WITH_OPTION("\"type\":\"Unigram\""), ES_ERR_UNSUPPORTED, "Unigram"},
    {WITH_OPTION("\"type\":7"), ES_ERR_FORMAT, "\"type\" must be a string"},
    {WITH_OPTION("\"unk_token\":\"<unk>\""), ES_ERR_UNSUPPORTED, "unk_token"},
    {WITH_OPTION("\"continuing_subword_prefix\":\"##\""), ES_ERR_UNSUPPORTED, "continuing_subword_prefix"},
    {WITH_OPTION("\"end_of_word_suffix\":[]"), ES_ERR_UNSUPPORTED, "end_of_word_suffix"},
    {WITH_OPTION("\"byte_fallback\":true"), ES_ERR_UNSUPPORTED, "byte_fallback"},
    {WITH_OPTION("\"byte_fallback\":1"), ES_ERR_FORMAT, "must be true or false"},
    {WITH_OPTION("\"ignore_merges\":\"yes\""), ES_ERR_FORMAT, "must be true or false"},
    {WITH_OPTION("\"dropout\":0.1"), ES_ERR_UNSUPPORTED, "dropout"},
    {WITH_OPTION("\"dropout\":\"much\""), ES_ERR_FORMAT, "must be a number"},
    /* the vocabulary */
    {WITH_VOCAB("{}"), ES_ERR_FORMAT, "is empty"},
    {WITH_VOCAB("{\"a\":-1}"), ES_ERR_FORMAT, "whole number from 0"},
    {WITH_VOCAB("{\"a\":4194304}"), ES_ERR_FORMAT, "whole number from 0"},
    {WITH_VOCAB("{\"a\":99999999999999999999999999}"), ES_ERR_FORMAT, "whole number"},
    {WITH_VOCAB("{\"a\":1.5}"), ES_ERR_FORMAT, "whole number"},
    {WITH_VOCAB("{\"a\":1e3}"), ES_ERR_FORMAT, "whole number"},
    {WITH_VOCAB("{\"a\":01}"), ES_ERR_FORMAT, "whole number"},
    {WITH_VOCAB("{\"a\":\"0\"}"), ES_ERR_FORMAT, "whole number"},
    {WITH_VOCAB("{\"a\":null}"), ES_ERR_FORMAT, "whole number"},
    {WITH_VOCAB("{\"a\":{}}"), ES_ERR_FORMAT, "whole number"},
    {WITH_VOCAB("{\"a\":0,\"b\":0}"), ES_ERR_FORMAT, "twice"},
    {WITH_VOCAB("{\"a\":0,\"a\":1}"), ES_ERR_FORMAT, "twice"},
    {WITH_VOCAB("{\"a\":0,\"\\u0061\":1}"), ES_ERR_FORMAT, "twice"},
    {WITH_VOCAB("{\"a\":0,}"), ES_ERR_FORMAT, "not valid JSON"},
    {WITH_VOCAB("{\"a\" 0}"), ES_ERR_FORMAT, "not valid JSON"},
    {WITH_VOCAB("{a:0}"), ES_ERR_FORMAT, "not valid JSON"},
    {WITH_VOCAB("{\"a\":0 \"b\":1}"), ES_ERR_FORMAT, "not valid JSON"},
    {WITH_VOCAB("{\"a\":0]"), ES_ERR_FORMAT, "not valid JSON"},
    {WITH_VOCAB("{\"\\ud800\":0}"), ES_ERR_FORMAT, "escape"},
    {WITH_VOCAB("{\"\\u0000\":0}"), ES_ERR_FORMAT, "escape"},
    {WITH_VOCAB("{\"\\x\":0}"), ES_ERR_FORMAT, "escape"},
    {WITH_VOCAB("{\"\\u00g0\":0}"), ES_ERR_FORMAT, "escape"},
    {WITH_VOCAB("{\"\xC3\":0}"), ES_ERR_FORMAT, "not UTF-8"},
    {WITH_VOCAB("{\"\t\":0}"), ES_ERR_FORMAT, "control character"},
    /* merges */
    {WITH_MERGES("[\"a c\"]"), ES_ERR_FORMAT, "not all in the vocab"},
    {WITH_MERGES("[\"c a\"]"), ES_ERR_FORMAT, "not all in the vocab"},
    {WITH_MERGES("[\"b a\"]"), ES_ERR_FORMAT, "not all in the vocab"},
    {WITH_MERGES("[\"ab\"]"), ES_ERR_FORMAT, "merges[0] must be"},
    {WITH_MERGES("[\"a b\",\"a b c\"]"), ES_ERR_FORMAT, "merges[1] must be"},
    {WITH_MERGES("[\"\"]"), ES_ERR_FORMAT, "merges[0] must be"},
    {WITH_MERGES("[\" \"]"), ES_ERR_FORMAT, "not all in the vocab"},
    {WITH_MERGES("[[\"a\"]]"), ES_ERR_FORMAT, "is missing"},
    {WITH_MERGES("[[\"a\",\"b\",\"c\"]]"), ES_ERR_FORMAT, "is missing"},
    {WITH_MERGES("[[\"a\",0]]"), ES_ERR_FORMAT, "is missing"},
    {WITH_MERGES("[0]"), ES_ERR_FORMAT, "is missing"},
    {WITH_MERGES("[\"a b\",]"), ES_ERR_FORMAT, "is missing"},
    {WITH_MERGES("{}"), ES_ERR_FORMAT, "no \"merges\""},
    /* added tokens */
    {WITH_ADDED("{}"), ES_ERR_FORMAT, "must be a list"},
    {WITH_ADDED("[3]"), ES_ERR_FORMAT, "added_tokens[0]"},
    {WITH_ADDED("[{\"content\":\"x\"}]"), ES_ERR_FORMAT, "\"id\" must be"},
    {WITH_ADDED("[{\"id\":-1,\"content\":\"x\"}]"), ES_ERR_FORMAT, "\"id\" must be"},
    {WITH_ADDED("[{\"id\":2147483647,\"content\":\"x\"}]"), ES_ERR_FORMAT, "\"id\" must be"},
    {WITH_ADDED("[{\"id\":5}]"), ES_ERR_FORMAT, "\"content\" must be"},
    {WITH_ADDED("[{\"id\":5,\"content\":\"\"}]"), ES_ERR_FORMAT, "\"content\" must be"},
    {WITH_ADDED("[{\"id\":5,\"content\":7}]"), ES_ERR_FORMAT, "\"content\" must be"},
    {WITH_ADDED("[{\"id\":1,\"content\":\"x\"}]"), ES_ERR_FORMAT, "contradict"},
    {WITH_ADDED("[{\"id\":5,\"content\":\"a\"}]"), ES_ERR_FORMAT, "contradict"},
    {WITH_ADDED("[{\"id\":5,\"content\":\"x\"},{\"id\":5,\"content\":\"y\"}]"), ES_ERR_FORMAT, "contradict"},
    {WITH_ADDED("[{\"id\":5,\"content\":\"x\"},{\"id\":6,\"content\":\"x\"}]"), ES_ERR_FORMAT, "contradict"},
    {WITH_ADDED("[{\"id\":5,\"content\":\"x\"},{\"id\":5,\"content\":\"x\"}]"), ES_ERR_FORMAT, "contradict"},
    {WITH_ADDED("[{\"id\":5,\"content\":\"x\",\"special\":1}]"), ES_ERR_FORMAT, "must be true or false"},
    {FILE_OF("{\"type\":\"NFC\"}", PRE,
             "[{\"id\":5,\"content\":\"\\u00e9\",\"normalized\":true},{\"id\":6,\"content\":\"e\\u0301\","
             "\"normalized\":true}]",
             MODEL),
     ES_ERR_FORMAT, "same text as another"},
    /* normalizer, pre_tokenizer, decoder */
    {FILE_OF("{\"type\":\"NFKC\"}", PRE, "[]", MODEL), ES_ERR_UNSUPPORTED, "NFKC"},
    {FILE_OF("{}", PRE, "[]", MODEL), ES_ERR_FORMAT, "\"type\" is missing"},
    {FILE_OF("3", PRE, "[]", MODEL), ES_ERR_FORMAT, "must be an object"},
    {FILE_OF("{\"type\":\"Sequence\"}", PRE, "[]", MODEL), ES_ERR_FORMAT, "no list"},
    {FILE_OF("{\"type\":\"Sequence\",\"normalizers\":[7]}", PRE, "[]", MODEL), ES_ERR_FORMAT, "\"type\" is missing"},
    {WITH_PRE("null"), ES_ERR_UNSUPPORTED, "no pre_tokenizer"},
    {WITH_PRE("{\"type\":\"Whitespace\"}"), ES_ERR_UNSUPPORTED, "Whitespace"},
    {WITH_PRE("{\"type\":\"ByteLevel\"}"), ES_ERR_UNSUPPORTED, "add_prefix_space"},
    {WITH_PRE("{\"type\":\"Sequence\",\"pretokenizers\":[]}"), ES_ERR_UNSUPPORTED, "empty"},
    {WITH_PRE("{\"type\":\"Sequence\",\"pretokenizers\":[" BYTES "," BYTES "]}"), ES_ERR_UNSUPPORTED, "place 1 of 2"},
    {WITH_PRE(
         "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":"
         "\"Isolated\"}," BYTES "]}"),
     ES_ERR_UNSUPPORTED, "Regex"},
    {WITH_PRE(
         "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\" \"},\"behavior\":"
         "\"Removed\"}," BYTES "]}"),
     ES_ERR_UNSUPPORTED, "Removed"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":" PRE ",\"decoder\":{\"type\":\"Metaspace\"}}", ES_ERR_UNSUPPORTED,
     "Metaspace"},
    /* split expressions */
    {WITH_PRE(SPLIT("(")), ES_ERR_FORMAT, "does not compile"},
    {WITH_PRE(SPLIT("[")), ES_ERR_FORMAT, "does not compile"},
    {WITH_PRE(SPLIT("\\\\")), ES_ERR_FORMAT, "does not compile"},
    {WITH_PRE(SPLIT("\\\\p{Nonsense}")), ES_ERR_FORMAT, "does not compile"},
    {WITH_PRE(SPLIT("(((a{1,1000}){1,1000}){1,1000})")), ES_ERR_FORMAT, "does not compile"},
    {WITH_PRE(SPLIT("\\\\C")), ES_ERR_FORMAT, "does not compile"},
    {WITH_PRE(SPLIT("[a[b]]")), ES_ERR_UNSUPPORTED, "sets of sets"},
    {WITH_PRE(SPLIT("[a-z&&[aeiou]]")), ES_ERR_UNSUPPORTED, "sets of sets"},
};

static void each_bad_file_is_one_clear_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_error err = {0};
        es_tokenizer *tokenizer;
        es_status status = es_tokenizer_parse(&tokenizer, cases[i].text, strlen(cases[i].text), "x.json", &err);
        if (status != cases[i].status || strstr(err.message, cases[i].says) == NULL)
            fail_msg("%s\ngives %s: %s", cases[i].text, es_status_name(status), err.message);
        assert_null(tokenizer);
        assert_null(strchr(err.message, '\n'));
        assert_int_equal(strncmp(err.message, "x.json", 6), 0);
    }
}

static void the_frame_of_the_bad_files_is_good(void **state)
{
    (void)state;
    static const char good[] = FILE_OF("{\"type\":\"NFC\"}", SPLIT("[[:alpha:]]+"),
                                       "[{\"id\":9,\"content\":\"<x>\",\"special\":true}]", MODEL);
    es_error err = {0};
    es_tokenizer *tokenizer;
    if (es_tokenizer_parse(&tokenizer, good, strlen(good), "good", &err) != ES_OK)
        fail_msg("%s", err.message);
    es_ids ids = {0};
    assert_int_equal(es_tokenizer_encode(tokenizer, "abc<x>ba", 8, true, &ids, &err), ES_OK);
    static const int32_t expected[] = {2, 9, 1, 0}; /* c has no token: it is left out, as the reference does */
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.items, expected, sizeof expected);
    assert_int_equal(es_tokenizer_size(tokenizer), 10);
    size_t n;
    assert_null(es_tokenizer_bytes(tokenizer, 5, &n)); /* a gap in the ids */
    es_ids_free(&ids);
    es_tokenizer_free(tokenizer);
}

static void every_beginning_of_a_file_is_an_error(void **state)
{
    (void)state;
    static const char good[] =
        FILE_OF("{\"type\":\"NFC\"}", SPLIT("\\\\s+|\\\\S+"), "[{\"id\":9,\"content\":\"<x>\",\"special\":true}]",
                "{\"vocab\":{\"\\u0061\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]]}");
    for (size_t n = 0; n < strlen(good); n++) {
        es_error err = {0};
        es_tokenizer *tokenizer;
        char *copy = malloc(n + 1); /* of its own size, so that reading past the end is seen */
        memcpy(copy, good, n);
        assert_int_equal(es_tokenizer_parse(&tokenizer, copy, n, "cut", &err), ES_ERR_FORMAT);
        assert_true(err.message[0] != '\0');
        free(copy);
    }
}

static void deep_nesting_is_an_error(void **state)
{
    (void)state;
    static const char *const heads[] = {"{\"model\":", "{\"model\":{\"vocab\":{\"a\":", "{\"x\":"};
    for (size_t i = 0; i < 3; i++) {
        es_error err = {0};
        es_tokenizer *tokenizer;
        es_str text = {0};
        es_str_append(&text, heads[i]);
        for (int depth = 0; depth < 1000000; depth++)
            es_str_append_n(&text, "[", 1);
        assert_int_equal(es_tokenizer_parse(&tokenizer, es_str_text(&text), text.length, "deep", &err), ES_ERR_FORMAT);
        es_str_free(&text);
    }
}

/* Of this process: a busy machine must not make a test fail. */
static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Encodes n bytes of `pattern` with a split expression; the status, and how long it took. */
static es_status split_with(const char *json, const char *pattern, size_t n, es_error *err, double *took)
{
    es_tokenizer *tokenizer;
    assert_int_equal(es_tokenizer_parse(&tokenizer, json, strlen(json), "x", err), ES_OK);
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++)
        text[i] = pattern[i % strlen(pattern)];
    es_ids ids = {0};
    double start = cpu_seconds();
    es_status status = es_tokenizer_encode(tokenizer, text, n, true, &ids, err);
    *took = cpu_seconds() - start;
    es_ids_free(&ids);
    free(text);
    es_tokenizer_free(tokenizer);
    return status;
}

static void catastrophic_expressions_end_in_an_error_soon(void **state)
{
    (void)state;
    /* The text has every character they look for, but never where they need it. */
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabcd";
    static const char *const bombs[] = {
        WITH_PRE(SPLIT("(a+)+c")),
        WITH_PRE(SPLIT("(a|aa)+c")),
        WITH_PRE(SPLIT("(a|a?)+c")),
        WITH_PRE(SPLIT("(?=(a+)+c)a")),
        WITH_PRE(SPLIT("(a*)(a*)(a*)(a*)(a*)(a*)\\\\1\\\\2c")),
        WITH_PRE(SPLIT("(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)da")),
    };
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        es_error err = {0};
        double took;
        es_status status = split_with(bombs[i], text, 20000, &err, &took);
        if (took > 20)
            fail_msg("expression %zu took %.1f s", i, took);
        /* PCRE2 may see through some of them. */
        if (status != ES_ERR_LIMIT && (status != ES_OK || i < 2))
            fail_msg("expression %zu: %s: %s", i, es_status_name(status), err.message);
        if (status != ES_OK)
            assert_non_null(strstr(err.message, "split expression"));
        print_message("expression %zu: %s, %.2f s\n", i, es_status_name(status), took);
    }
}

static void expressions_that_match_nothing_or_move_backwards_end(void **state)
{
    (void)state;
    static const char *const odd[] = {WITH_PRE(SPLIT("")),
                                      WITH_PRE(SPLIT("a*?")),
                                      WITH_PRE(SPLIT("x")),
                                      WITH_PRE(SPLIT("a\\\\K")),
                                      WITH_PRE(SPLIT("(?<=a)b?")),
                                      WITH_PRE(SPLIT("$")),
                                      WITH_PRE(SPLIT("(?R)?a(?1)?()"))};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        es_error err = {0};
        double took;
        es_status status = split_with(odd[i], "ab", 10000, &err, &took);
        if (status != ES_OK && status != ES_ERR_LIMIT)
            fail_msg("expression %zu: %s", i, err.message);
    }
}

static void saved_fuzz_cases_do_no_harm(void **state)
{
    (void)state;
    replay_saved_cases("corpus-tokenizer", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bad_file_is_one_clear_error),
        cmocka_unit_test(the_frame_of_the_bad_files_is_good),
        cmocka_unit_test(every_beginning_of_a_file_is_an_error),
        cmocka_unit_test(deep_nesting_is_an_error),
        cmocka_unit_test(catastrophic_expressions_end_in_an_error_soon),
        cmocka_unit_test(expressions_that_match_nothing_or_move_backwards_end),
        cmocka_unit_test(saved_fuzz_cases_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
