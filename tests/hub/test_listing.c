/* The hub's answers: what is taken from honest ones, and that damaged ones do no harm (the fuzz entry, replayed). */
#include "hub/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SHA1 "0123456789abcdef0123456789abcdef01234567"
#define SHA256 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char honest[] =
    "[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":4000,\"path\":\"model-00002-of-00002.safetensors\","
    "\"lfs\":{\"oid\":\"" SHA256 "\",\"size\":4000,\"pointerSize\":135},\"xetHash\":\"x\"},"
    "{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":7,\"path\":\"model.safetensors.index.json\"},"
    "{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":8,\"path\":\"tokenizer.json\"},"
    "{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":9,\"path\":\"config.json\"},"
    "{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":9,\"path\":\"README.md\"},"
    "{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":9,\"path\":\"sub/config.json\"},"
    "{\"type\":\"directory\",\"oid\":\"" SHA1 "\",\"size\":0,\"path\":\"sub\"}]";

static void an_honest_listing_is_taken_in_order(void **state)
{
    (void)state;
    es_hub_files files = {0};
    assert_int_equal(es_hub_read_tree(&files, honest, strlen(honest), NULL), ES_OK);
    es_hub_files_sort(&files);
    static const char *const order[] = {"config.json", "tokenizer.json", "model.safetensors.index.json",
                                        "model-00002-of-00002.safetensors"};
    assert_int_equal(files.count, 4);
    assert_int_equal(files.seen, 7);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(files.items[i].path, order[i]);
    assert_false(files.items[0].is_sha256);
    assert_string_equal(files.items[0].digest, SHA1);
    assert_true(files.items[3].is_sha256);
    assert_string_equal(files.items[3].digest, SHA256);
    assert_int_equal(files.items[3].size, 4000);
    es_hub_files_free(&files);
}

static void only_what_a_model_is_loaded_from_is_wanted(void **state)
{
    (void)state;
    static const char *const yes[] = {"config.json",
                                      "tokenizer.json",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "model.safetensors",
                                      "model-00001-of-00004.safetensors",
                                      "model.safetensors.index.json",
                                      "preprocessor_config.json"};
    static const char *const no[] = {
        "README.md",       "a.png",           "pytorch_model.bin",    "m.gguf",           ".safetensors",
        "x/config.json",   "../config.json",  "/config.json",         "-x.safetensors",   ".hidden.safetensors",
        "a b.safetensors", "a\n.safetensors", "a\x1b[2J.safetensors", "a\\b.safetensors", ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(es_hub_wanted(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(es_hub_wanted(no[i]));
    char lengthy[300];
    memset(lengthy, 'a', sizeof lengthy);
    memcpy(lengthy + sizeof lengthy - 13, ".safetensors", 13);
    assert_false(es_hub_wanted(lengthy));
}

/* Every prefix of an honest listing, and every byte of it replaced. */
static void damaged_listings_do_no_harm(void **state)
{
    (void)state;
    char copy[sizeof honest];
    static const char bytes[] = {0, '"', '/', '.', '\\', '{', '-', '9', (char)0xff};
    for (size_t n = 0; n < sizeof honest; n++)
        LLVMFuzzerTestOneInput((const uint8_t *)honest, n);
    for (size_t i = 0; i < sizeof honest - 1; i++) {
        for (size_t b = 0; b < sizeof bytes; b++) {
            memcpy(copy, honest, sizeof honest);
            copy[i] = bytes[b];
            LLVMFuzzerTestOneInput((const uint8_t *)copy, sizeof honest - 1);
        }
    }
}

static void a_revision_is_a_commit_or_nothing(void **state)
{
    (void)state;
    char commit[ES_SHA1_HEX + 1];
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "",
                                      "{\"sha\":1}",
                                      "{\"sha\":\"" SHA256 "\"}",
                                      "{\"sha\":\"main\"}",
                                      "{\"sha\":\"../../../../../../../../../../../../etc/x\"}"};
    const char *good = "{\"id\":\"a/b\",\"sha\":\"" SHA1 "\"}";
    assert_int_equal(es_hub_read_revision(good, strlen(good), commit, NULL), ES_OK);
    assert_string_equal(commit, SHA1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(es_hub_read_revision(bad[i], strlen(bad[i]), commit, NULL), ES_ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_listing_is_taken_in_order),
        cmocka_unit_test(only_what_a_model_is_loaded_from_is_wanted),
        cmocka_unit_test(damaged_listings_do_no_harm),
        cmocka_unit_test(a_revision_is_a_commit_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
