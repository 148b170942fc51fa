/* Finding models: where the cache is, what counts as a model, and which directory a name means. */
#include "hub/hub.h"

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
#include "fixture.h"
#include "hub/cache.h"

#define CONFIG "{\"model_type\": \"qwen3_vl\", \"torch_dtype\": \"bfloat16\"}"
#define INDEX                                                                                                          \
    "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"model-00002-of-00002.safetensors\"}}"

typedef struct scratch {
    char dir[256];
} scratch;

static int make_scratch(void **state)
{
    static scratch s; /* the one folder of this program */
    const char *base = getenv("TMPDIR");
    snprintf(s.dir, sizeof s.dir, "%s/escriba-models-XXXXXX", base != NULL ? base : "/tmp");
    *state = &s;
    return mkdtemp(s.dir) != NULL ? 0 : -1;
}

static int drop_scratch(void **state)
{
    remove_tree(((scratch *)*state)->dir);
    return 0;
}

static int empty_scratch(void **state)
{
    static const char *const names[] = {"HF_HOME",        "HF_HUB_CACHE",   "HUGGINGFACE_HUB_CACHE",
                                        "XDG_CACHE_HOME", "ESCRIBA_MODELS", "HF_ENDPOINT"};
    const scratch *s = *state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    remove_tree(s->dir);
    setenv("HOME", s->dir, 1);
    return mkdir(s->dir, 0700);
}

static void put(const scratch *s, const char *path, const char *text)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s/%s", s->dir, path);
    write_text(whole, text);
}

/* A whole model in `folder`. */
static void put_model(const scratch *s, const char *folder, const char *config)
{
    char path[600];
    static const char *const names[] = {"tokenizer.json", "model.safetensors"};
    snprintf(path, sizeof path, "%s/config.json", folder);
    put(s, path, config);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        put(s, path, "12345");
    }
}

static const es_hub_model *find(const es_hub_models *models, const char *name)
{
    for (size_t i = 0; i < models->count; i++) {
        if (strcmp(models->items[i].name, name) == 0)
            return &models->items[i];
    }
    return NULL;
}

static void expect_cache(const scratch *s, const char *below)
{
    char expected[600], *dir;
    snprintf(expected, sizeof expected, "%s%s", below[0] == '/' ? "" : s->dir, below);
    if (below[0] != '/')
        snprintf(expected, sizeof expected, "%s/%s", s->dir, below);
    assert_int_equal(es_hub_cache_dir(&dir, NULL), ES_OK);
    assert_string_equal(dir, expected);
    free(dir);
}

static void the_cache_is_where_other_programs_have_it(void **state)
{
    const scratch *s = *state;
    expect_cache(s, ".cache/huggingface/hub");
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    expect_cache(s, "/xdg/huggingface/hub");
    setenv("HF_HOME", "~/hf", 1);
    expect_cache(s, "hf/hub");
    setenv("HF_HOME", "$HOME/a/${XDG_CACHE_HOME}/$NOT_SET_ANYWHERE", 1);
    expect_cache(s, "a//xdg/$NOT_SET_ANYWHERE/hub");
    setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
    expect_cache(s, "/old");
    setenv("HF_HUB_CACHE", "/new", 1);
    expect_cache(s, "/new");
    unsetenv("HOME");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    unsetenv("HF_HOME");
    unsetenv("XDG_CACHE_HOME");
    char *dir;
    es_error err = {0};
    assert_int_equal(es_hub_cache_dir(&dir, &err), ES_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "HF_HUB_CACHE"));
}

static void models_are_listed_with_size_precision_and_what_is_missing(void **state)
{
    const scratch *s = *state;
    es_hub_models models;
    char place[300];
    snprintf(place, sizeof place, "%s/models", s->dir);
    setenv("ESCRIBA_MODELS", place, 1);
    setenv("HF_HOME", s->dir, 1);
    put_model(s, "models/box", CONFIG);
    put_model(s, "models/other-kind", "{\"model_type\": \"llama\"}");
    put_model(s, "models/broken", "{\"model_type\": ");
    put(s, "models/a-file", "");
    put_model(s, "hub/models--org--four-bit/snapshots/" COMMIT,
              "{\"model_type\": \"qwen3_vl\", \"quantization\": {\"bits\": 4, \"group_size\": 64}}");
    put(s, "hub/models--org--sharded/snapshots/" COMMIT "/config.json",
        "{\"model_type\": \"qwen3_vl\", \"text_config\": {\"dtype\": \"float16\"}}");
    put(s, "hub/models--org--sharded/snapshots/" COMMIT "/tokenizer.json", "");
    put(s, "hub/models--org--sharded/snapshots/" COMMIT "/model.safetensors.index.json", INDEX);
    put(s, "hub/models--org--sharded/snapshots/" COMMIT "/model-00001-of-00002.safetensors", "123");
    put(s, "hub/datasets--org--data/snapshots/" COMMIT "/config.json", CONFIG);
    put(s, "hub/models--org--nothing/refs/main", COMMIT);

    assert_int_equal(es_hub_list(&models, NULL), ES_OK);
    const es_hub_model *box = find(&models, "box"), *four = find(&models, "org/four-bit");
    const es_hub_model *sharded = find(&models, "org/sharded");
    assert_non_null(box);
    assert_non_null(four);
    assert_non_null(sharded);
    assert_null(find(&models, "other-kind"));
    assert_null(find(&models, "broken"));
    assert_true(box->complete);
    assert_int_equal(box->source, ES_HUB_BOX);
    assert_int_equal(box->size, strlen(CONFIG) + 10);
    assert_string_equal(box->precision, "bf16");
    assert_true(four->complete);
    assert_int_equal(four->source, ES_HUB_CACHE);
    assert_string_equal(four->precision, "4-bit, group 64");
    assert_false(sharded->complete);
    assert_string_equal(sharded->missing, "model-00002-of-00002.safetensors");
    assert_string_equal(sharded->precision, "f16");
    es_hub_models_free(&models);

    put(s, "hub/models--org--sharded/snapshots/" COMMIT "/model-00002-of-00002.safetensors", "123");
    assert_int_equal(es_hub_list(&models, NULL), ES_OK);
    assert_true(find(&models, "org/sharded")->complete);
    es_hub_models_free(&models);
}

static void a_link_to_a_blob_that_is_gone_counts_as_missing(void **state)
{
    const scratch *s = *state;
    char path[600];
    es_hub_models models;
    setenv("HF_HOME", s->dir, 1);
    put_model(s, "hub/models--org--m/snapshots/" COMMIT, CONFIG);
    snprintf(path, sizeof path, "%s/hub/models--org--m/snapshots/" COMMIT "/model.safetensors", s->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("../../blobs/gone", path), 0);
    assert_int_equal(es_hub_list(&models, NULL), ES_OK);
    assert_false(find(&models, "org/m")->complete);
    assert_string_equal(find(&models, "org/m")->missing, "model.safetensors");
    es_hub_models_free(&models);
}

static void indexes_that_lead_elsewhere_make_a_model_incomplete(void **state)
{
    const scratch *s = *state;
    static const char *const indexes[] = {"{\"weight_map\": {\"a\": \"../../../etc/passwd\"}}",
                                          "{\"weight_map\": {\"a\": \"/x.safetensors\"}}",
                                          "{\"weight_map\": {\"a\": 1}}",
                                          "{\"weight_map\": {}}",
                                          "{}",
                                          "[]",
                                          "{\"weight_map\": {\"a\": \"../x.safetensors\"}}"};
    setenv("ESCRIBA_MODELS", s->dir, 1);
    put_model(s, "m", CONFIG);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        es_hub_models models;
        put(s, "m/model.safetensors.index.json", indexes[i]);
        assert_int_equal(es_hub_list(&models, NULL), ES_OK);
        assert_false(find(&models, "m")->complete);
        es_hub_models_free(&models);
    }
}

static void expect_dir(const scratch *s, const char *name, const char *below)
{
    char *dir, expected[600];
    es_error err = {0};
    if (es_hub_resolve(name, &dir, &err) != ES_OK)
        fail_msg("%s: %s", name, err.message);
    snprintf(expected, sizeof expected, "%s/%s", s->dir, below);
    assert_string_equal(dir, expected);
    free(dir);
}

static void expect_error(const char *name, es_status status, const char *words)
{
    char *dir;
    es_error err = {0};
    assert_int_equal(es_hub_resolve(name, &dir, &err), status);
    assert_null(dir);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" should say \"%s\"", err.message, words);
}

static void names_mean_directories(void **state)
{
    const scratch *s = *state;
    char path[600];
    setenv("HF_HOME", s->dir, 1);
    snprintf(path, sizeof path, "%s/models", s->dir);
    setenv("ESCRIBA_MODELS", path, 1);
    put_model(s, "models/escriba-test", CONFIG);
    put_model(s, "hub/models--org--m/snapshots/" COMMIT, CONFIG);
    put_model(s, "hub/models--org--m/snapshots/" COMMIT_V1, CONFIG);
    put(s, "hub/models--org--m/refs/main", COMMIT);
    put(s, "hub/models--org--m/refs/v1", COMMIT_V1 "\n");
    put_model(s, "hub/models--org--one/snapshots/" COMMIT, CONFIG); /* no refs */
    put_model(s, "hub/models--org--l/snapshots/" COMMIT, "{\"model_type\": \"llama\"}");
    put(s, "hub/models--org--half/snapshots/" COMMIT "/config.json", CONFIG);

    snprintf(path, sizeof path, "%s/hub/models--org--m", s->dir);
    expect_dir(s, path, "hub/models--org--m"); /* a directory is taken as it is */
    expect_dir(s, "escriba-test", "models/escriba-test");
    expect_dir(s, "org/m", "hub/models--org--m/snapshots/" COMMIT);
    expect_dir(s, "org/m@v1", "hub/models--org--m/snapshots/" COMMIT_V1);
    expect_dir(s, "org/m@2222222", "hub/models--org--m/snapshots/" COMMIT_V1);
    expect_dir(s, "org/m@" COMMIT_V1, "hub/models--org--m/snapshots/" COMMIT_V1);
    expect_dir(s, "org/one", "hub/models--org--one/snapshots/" COMMIT);
    expect_error("org/m@v2", ES_ERR_IO, "escriba pull org/m@v2");
    expect_error("org/m@222", ES_ERR_IO, "escriba pull");
    expect_error("org/absent", ES_ERR_IO, "`escriba pull org/absent` gets it");
    expect_error("org/half", ES_ERR_IO, "tokenizer.json is missing: `escriba pull org/half`");
    expect_error("org/l", ES_ERR_UNSUPPORTED, "type \"llama\"");
    expect_error("nowhere", ES_ERR_IO, "escriba models");
    expect_error("/no/such", ES_ERR_IO, "no such directory");
    expect_error("../no", ES_ERR_IO, "no such directory");
    expect_error("org/../m", ES_ERR_IO, "no such directory");
    expect_error("", ES_ERR_ARGUMENT, "no model");
}

/* The names of the list are names that resolve understands. */
static void every_listed_name_resolves_to_its_path(void **state)
{
    const scratch *s = *state;
    es_hub_models models;
    setenv("HF_HOME", s->dir, 1);
    put_model(s, "hub/models--org--m/snapshots/" COMMIT, CONFIG);
    put_model(s, "hub/models--org--m/snapshots/" COMMIT_V1, CONFIG);
    put(s, "hub/models--org--m/refs/main", COMMIT);
    assert_int_equal(es_hub_list(&models, NULL), ES_OK);
    size_t seen = 0;
    for (size_t i = 0; i < models.count; i++) {
        char *dir;
        if (!models.items[i].complete)
            continue;
        assert_int_equal(es_hub_resolve(models.items[i].name, &dir, NULL), ES_OK);
        assert_string_equal(dir, models.items[i].path);
        free(dir);
        seen += models.items[i].source == ES_HUB_CACHE ? 1 : 0;
    }
    assert_int_equal(seen, 2);
    es_hub_models_free(&models);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, empty_scratch)
    const struct CMUnitTest tests[] = {
        T(the_cache_is_where_other_programs_have_it),
        T(models_are_listed_with_size_precision_and_what_is_missing),
        T(a_link_to_a_blob_that_is_gone_counts_as_missing),
        T(indexes_that_lead_elsewhere_make_a_model_incomplete),
        T(names_mean_directories),
        T(every_listed_name_resolves_to_its_path),
    };
    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
