/* test_tokenizer_memory.c - every allocation of loading, encoding and decoding fails once, and for ever: the answer is
 * the out-of-memory error, nothing leaks, and what was there before is unharmed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "model/tokenizer.h"

static const char json[] =
    "{\"added_tokens\":[{\"id\":9,\"content\":\"<x>\",\"special\":true},"
    "{\"id\":10,\"content\":\"\\u1e17\",\"normalized\":true}],\"normalizer\":{\"type\":\"NFC\"},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
    "\"\\\\s+|[^\\\\s<]+|(<|x)+\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,\"use_regex\":false}]},\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{\"a\":0,\"\\u0062\":1,\"ab\":2,\"\\u0120\":3,"
    "\"\\u00c3\":4,\"\\u00a9\":5,\"\\u00ef\":6},\"merges\":[\"a b\",[\"\\u00c3\",\"\\u00a9\"],[\"a\",\"\\u0062\"]]}}";

/* A token whose merge the text above needs. */
static char *with_merged_token(void)
{
    static const char from[] = "\"\\u00ef\":6}";
    const char *at = strstr(json, from);
    size_t head = (size_t)(at - json) + strlen(from) - 1;
    char *text = malloc(sizeof json + 32);
    sprintf(text, "%.*s,\"\\u00c3\\u00a9\":7%s", (int)head, json, json + head);
    return text;
}

static int load_once(void *context)
{
    es_error err = {0};
    es_tokenizer *tokenizer;
    es_status status = es_tokenizer_parse(&tokenizer, context, strlen(context), "x", &err);
    es_tokenizer_free(tokenizer);
    return status == ES_OK ? 0 : tokenizer == NULL && status == ES_ERR_MEMORY ? 1 : -1;
}

static int encode_once(void *context)
{
    static const char text[] = "ab e\xCC\x81\xCC\xA3\xFF<x>ab e\xCC\x81 e\xCC\x84\xCC\x81";
    static const int32_t before[] = {42};
    es_error err = {0};
    es_ids ids = {0};
    if (es_ids_add(&ids, before[0], &err) != ES_OK)
        return 1;
    es_status status = es_tokenizer_encode(context, text, sizeof text - 1, true, &ids, &err);
    bool good = ids.items[0] == 42;
    if (status == ES_OK)
        good = good && ids.count > 8 && ids.items[1] == 2;
    else
        good = good && ids.count == 1 && status == ES_ERR_MEMORY && err.status == ES_ERR_MEMORY;
    es_str out = {0};
    es_status decoded = es_tokenizer_decode(context, ids.items, ids.count, true, &out, &err);
    good = good && (decoded == ES_OK || decoded == ES_ERR_MEMORY);
    es_str_free(&out);
    es_ids_free(&ids);
    if (!good)
        return -1;
    return status == ES_OK && decoded == ES_OK ? 0 : 1;
}

static void loading_survives_every_failed_allocation(void **state)
{
    (void)state;
    char *text = with_merged_token();
    /* Once: the compiler for expressions may go without, so success is an answer too. Jansson is left alone here: it
     * drops a character of a long string when it lacks memory for it just once, and says nothing. */
    json_set_alloc_funcs(__real_malloc, __real_free);
    for (long n = 1;; n++) {
        long live = faults.live;
        faults.lasting = false;
        faults.countdown = n;
        int result = load_once(text);
        bool reached = faults.countdown <= 0;
        faults.countdown = 0;
        assert_int_not_equal(result, -1);
        assert_int_equal(faults.live, live);
        if (!reached)
            break;
    }
    faults_begin();
    assert_true(faults_sweep(load_once, text, true) > 50);
    free(text);
}

static void encoding_and_decoding_survive_every_failed_allocation(void **state)
{
    (void)state;
    char *text = with_merged_token();
    es_error err = {0};
    es_tokenizer *tokenizer;
    if (es_tokenizer_parse(&tokenizer, text, strlen(text), "x", &err) != ES_OK)
        fail_msg("%s", err.message);
    assert_true(faults_sweep(encode_once, tokenizer, false) > 8);
    assert_true(faults_sweep(encode_once, tokenizer, true) > 8);
    es_tokenizer_free(tokenizer);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_survives_every_failed_allocation),
        cmocka_unit_test(encoding_and_decoding_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
