/* Pulling from a hub that behaves: what is fetched, where it goes, who is asked, and what refusals are called. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "hub/hub.h"

static void the_cache_has_the_layout_other_programs_expect(void **state)
{
    const fixture *f = *state;
    char dir[600], path[700], target[200], *text;
    size_t size;
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, dir, NULL), ES_OK);

    snprintf(path, sizeof path, "%s/models--test-org--Tiny-VL/snapshots/" COMMIT, f->cache);
    assert_string_equal(dir, path);

    snprintf(path, sizeof path, "%s/models--test-org--Tiny-VL/refs/main", f->cache);
    assert_int_equal(es_file_read(path, 1000, &text, &size, NULL), ES_OK);
    assert_int_equal(size, 40); /* no newline: others take the whole file for the commit */
    assert_string_equal(text, COMMIT);
    free(text);

    /* Large files go by their SHA-256, others by git's SHA-1; links are relative. */
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    ssize_t n = readlink(path, target, sizeof target - 1);
    assert_int_equal(n, (int)strlen("../../blobs/") + 64);
    assert_memory_equal(target, "../../blobs/", 12);
    assert_int_equal(file_size(path), TINY_SIZE);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(readlink(path, target, sizeof target - 1), (int)strlen("../../blobs/") + 40);
    assert_true(file_size(path) > 0);
}

static void only_the_files_of_the_model_are_fetched(void **state)
{
    const fixture *f = *state;
    char dir[600];
    es_names names;
    assert_int_equal(fixture_pull(f, "test-org/Sharded-VL-4bit", NULL, dir, NULL), ES_OK);
    assert_int_equal(es_dir_list(dir, &names, NULL), ES_OK);
    static const char *const expected[] = {"chat_template.jinja",
                                           "config.json",
                                           "generation_config.json",
                                           "model-00001-of-00002.safetensors",
                                           "model-00002-of-00002.safetensors",
                                           "model.safetensors.index.json",
                                           "preprocessor_config.json",
                                           "tokenizer.json",
                                           "tokenizer_config.json"};
    assert_int_equal(names.count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < names.count; i++)
        assert_string_equal(names.items[i], expected[i]);
    es_names_free(&names);
}

static void a_second_pull_fetches_nothing(void **state)
{
    const fixture *f = *state;
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, NULL, NULL), ES_OK);
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, NULL, NULL), ES_OK);
    assert_int_equal(fixture_count(f, "body_bytes"), 0);
}

static void another_revision_shares_what_is_equal(void **state)
{
    const fixture *f = *state;
    char dir[600];
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, NULL, NULL), ES_OK);
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL@refs/pr/1", NULL, dir, NULL), ES_OK);
    assert_non_null(strstr(dir, "/snapshots/" COMMIT_V1));
    assert_int_equal(fixture_count(f, "fetches.config.json"), 1);
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 0);
    char path[700];
    snprintf(path, sizeof path, "%s/models--test-org--Tiny-VL/refs/refs/pr/1", f->cache);
    assert_int_equal(file_size(path), 40);
    /* A commit needs no reference and no question what it means. */
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL@" COMMIT_V1, NULL, dir, NULL), ES_OK);
    assert_non_null(strstr(dir, "/snapshots/" COMMIT_V1));
}

static void a_listing_in_pages_is_read_to_its_end(void **state)
{
    const fixture *f = *state;
    char dir[600], path[700];
    fixture_faults(f, "page=2");
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, dir, NULL), ES_OK);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(file_size(path), TINY_SIZE);
}

static void the_token_goes_to_the_hub_and_not_to_the_storage_host(void **state)
{
    const fixture *f = *state;
    es_pull_options options = fixture_options(f);
    options.token = NULL; /* from the environment, with the newline that `cat` leaves */
    setenv("HF_TOKEN", " hf_good\n", 1);
    assert_int_equal(fixture_pull(f, "test-org/private", &options, NULL, NULL), ES_OK);
    assert_true(fixture_count(f, "hub_auth") > 7);
    assert_int_equal(fixture_count(f, "cdn_auth"), 0);
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 1); /* by way of the storage host */
}

static void the_token_is_read_from_the_token_file(void **state)
{
    const fixture *f = *state;
    char path[400];
    es_pull_options options = fixture_options(f);
    options.token = NULL;
    snprintf(path, sizeof path, "%s/.cache/huggingface/token", f->scratch);
    write_text(path, "hf_good\n");
    assert_int_equal(fixture_pull(f, "test-org/private", &options, NULL, NULL), ES_OK);
    snprintf(path, sizeof path, "%s/elsewhere", f->scratch);
    write_text(path, "hf_bad");
    setenv("HF_TOKEN_PATH", path, 1);
    assert_int_equal(fixture_pull(f, "test-org/private", &options, NULL, NULL), ES_ERR_NETWORK);
}

static void expect_refusal(const fixture *f, const char *name, const char *token, es_status status, const char *words)
{
    char message[512];
    es_pull_options options = fixture_options(f);
    options.token = token;
    assert_int_equal(fixture_pull(f, name, &options, NULL, message), status);
    if (strstr(message, words) == NULL)
        fail_msg("\"%s\" should say \"%s\"", message, words);
}

static void refusals_say_what_to_do(void **state)
{
    const fixture *f = *state;
    expect_refusal(f, "test-org/nope", "", ES_ERR_NETWORK, "check the name, or set HF_TOKEN");
    expect_refusal(f, "test-org/private", "hf_bad", ES_ERR_NETWORK, "refuses the access token");
    expect_refusal(f, "test-org/gated", "", ES_ERR_NETWORK, "accept its terms at");
    expect_refusal(f, "test-org/Tiny-VL@v9", "", ES_ERR_NETWORK, "has no revision \"v9\"");
    expect_refusal(f, "test-org/llama", "", ES_ERR_UNSUPPORTED, "type \"llama\": escriba runs qwen3_vl");
    expect_refusal(f, "test-org/gguf", "", ES_ERR_UNSUPPORTED, "no .safetensors files");
    expect_refusal(f, "test-org/lost-shard", "", ES_ERR_FORMAT, "its index names model-00002-of-00002.safetensors");
    expect_refusal(f, "test-org/Tiny-VL", "hf\r\nX-Forged: 1", ES_ERR_ARGUMENT, "check HF_TOKEN");
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 0); /* none of this cost a download */
    fixture_faults(f, "status=404&status_times=1&status_api=1");
    expect_refusal(f, "test-org/Tiny-VL", "", ES_ERR_NETWORK, "(HTTP 404): check the name");
}

static void names_that_are_none_are_refused_before_any_request(void **state)
{
    const fixture *f = *state;
    static const char *const names[] = {"",           "tiny",    "/",       "a/",       "/b",     "a/b/c",
                                        "../b",       "a/..",    "a/b@",    "a/b@../x", "a/b@/x", "a/b@x//y",
                                        "a/b@x/.git", "a b/c",   "a/b?x",   "a/b#x",    "a--b/c", "a/-b",
                                        "a/b.",       "a/b@x y", "a/b@-\n", "\xff/b",   "a/b@."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char message[512];
        if (fixture_pull(f, names[i], NULL, NULL, message) != ES_ERR_ARGUMENT)
            fail_msg("\"%s\" passed", names[i]);
    }
    assert_int_equal(fixture_count(f, "requests"), 0);
}

static void endpoints_that_make_no_sense_are_refused(void **state)
{
    const fixture *f = *state;
    static const char *const endpoints[] = {"",
                                            "huggingface",
                                            "ftp://127.0.0.1/",
                                            "file:///etc/passwd",
                                            "http://",
                                            "http://user:word@127.0.0.1:1",
                                            "https://h/?a=b",
                                            "https://h/#x"};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        char message[512];
        es_pull_options options = fixture_options(f);
        options.endpoint = endpoints[i];
        options.retries = 0;
        es_status status = fixture_pull(f, "test-org/Tiny-VL", &options, NULL, message);
        if (status != ES_ERR_ARGUMENT)
            fail_msg("\"%s\" passed: %s", endpoints[i], message);
        assert_null(strstr(message, "word@")); /* a password is not repeated */
    }
    es_pull_options options = fixture_options(f);
    char slashed[80];
    snprintf(slashed, sizeof slashed, "%s//", f->endpoint);
    options.endpoint = slashed;
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", &options, NULL, NULL), ES_OK);
}

static void offline_uses_what_is_here_and_asks_nobody(void **state)
{
    const fixture *f = *state;
    char dir[600], message[512];
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, dir, NULL), ES_OK);
    fixture_faults(f, "");
    setenv("HF_HUB_OFFLINE", "1", 1);
    char again[600];
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, again, NULL), ES_OK);
    assert_string_equal(again, dir);
    assert_int_equal(fixture_pull(f, "test-org/Sharded-VL-4bit", NULL, NULL, message), ES_ERR_IO);
    assert_non_null(strstr(message, "HF_HUB_OFFLINE"));
    assert_int_equal(fixture_count(f, "requests"), 0);
}

static void verify_finds_and_mends_a_blob_that_changed(void **state)
{
    const fixture *f = *state;
    char blob[700];
    es_pull_options options = fixture_options(f);
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, NULL, NULL), ES_OK);
    tiny_blob(f, "", blob, sizeof blob);
    FILE *file = fopen(blob, "r+b");
    fputs("rot", file);
    fclose(file);
    fixture_faults(f, "");
    options.verify = true;
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", &options, NULL, NULL), ES_OK);
    assert_int_equal(fixture_count(f, "body_bytes"), TINY_SIZE); /* that file and no other */
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", &options, NULL, NULL), ES_OK);
    assert_int_equal(fixture_count(f, "body_bytes"), 0);
}

typedef struct watcher {
    uint64_t last, file_last;
    size_t files, last_index;
    bool backwards, beyond;
} watcher;

static void see(void *user, const es_pull_progress *p)
{
    watcher *w = user;
    w->backwards |= p->done < w->last;
    w->beyond |= p->done > p->total || p->file_done > p->file_total;
    w->last = p->done;
    w->files += p->phase == ES_PULL_FILE_DONE ? 1 : 0;
    w->last_index = p->index;
}

static void progress_grows_to_the_total(void **state)
{
    const fixture *f = *state;
    watcher w = {0};
    es_pull_options options = fixture_options(f);
    options.progress = see;
    options.user = &w;
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", &options, NULL, NULL), ES_OK);
    assert_false(w.backwards);
    assert_false(w.beyond);
    assert_int_equal(w.files, 7);
    assert_int_equal(w.last_index, 6);
    assert_true(w.last > TINY_SIZE);
}

static void a_file_system_without_room_is_told_before_the_weights(void **state)
{
    const fixture *f = *state;
    char message[512];
    /* The listing speaks of a terabyte. */
    fixture_faults(f, "size_delta=1000000000000&file=model.safetensors");
    assert_int_equal(fixture_pull(f, "test-org/Tiny-VL", NULL, NULL, message), ES_ERR_IO);
    assert_non_null(strstr(message, "make room, or set HF_HUB_CACHE"));
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, fixture_setup)
    const struct CMUnitTest tests[] = {
        T(the_cache_has_the_layout_other_programs_expect),
        T(only_the_files_of_the_model_are_fetched),
        T(a_second_pull_fetches_nothing),
        T(another_revision_shares_what_is_equal),
        T(a_listing_in_pages_is_read_to_its_end),
        T(the_token_goes_to_the_hub_and_not_to_the_storage_host),
        T(the_token_is_read_from_the_token_file),
        T(refusals_say_what_to_do),
        T(names_that_are_none_are_refused_before_any_request),
        T(endpoints_that_make_no_sense_are_refused),
        T(offline_uses_what_is_here_and_asks_nobody),
        T(verify_finds_and_mends_a_blob_that_changed),
        T(progress_grows_to_the_total),
        T(a_file_system_without_room_is_told_before_the_weights),
    };
    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
