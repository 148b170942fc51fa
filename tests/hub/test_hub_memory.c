/* Want of memory, at every allocation in turn: an error each time, no crash, nothing kept. (faults.h wraps malloc.) */
#include "../model/faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "hub/hub.h"
#include "hub/listing.h"

#define CONFIG "{\"model_type\": \"qwen3_vl\", \"torch_dtype\": \"bfloat16\"}"
#define SNAPSHOT "models--org--m/snapshots/" COMMIT

static int verdict(es_status status)
{
    return status == ES_OK ? 0 : status == ES_ERR_MEMORY ? 1 : -1;
}

/* Lists, and compares how much there is with *context, which 0 leaves open: nothing may be passed over. */
static int list_once(void *context)
{
    size_t *expected = context, seen = 0;
    es_hub_models models;
    es_status status = es_hub_list(&models, NULL);
    if (status != ES_OK)
        return verdict(status);
    for (size_t i = 0; i < models.count; i++)
        seen += models.items[i].complete ? 2 : 1;
    es_hub_models_free(&models);
    if (*expected == 0)
        *expected = seen;
    return seen == *expected ? 0 : -1;
}

static int resolve_once(void *context)
{
    char *dir;
    es_status status = es_hub_resolve(context, &dir, NULL);
    free(dir);
    return verdict(status);
}

static int pull_once(void *context)
{
    const fixture *f = context;
    es_pull_options options = fixture_options(f);
    char *dir;
    options.endpoint = NULL;
    options.token = NULL;
    options.backoff_seconds = 0;
    es_status status = es_hub_pull("org/m", &options, &dir, NULL);
    free(dir);
    return verdict(status);
}

static int read_once(void *context)
{
    es_hub_files files = {0};
    es_status status = es_hub_read_tree(&files, context, strlen(context), NULL);
    es_hub_files_free(&files);
    return verdict(status);
}

static void put(const fixture *f, const char *path, const char *text)
{
    char whole[800];
    snprintf(whole, sizeof whole, "%s/%s", f->scratch, path);
    write_text(whole, text);
}

static int prepare(void **state)
{
    static fixture f; /* no server: a scratch folder */
    snprintf(f.scratch, sizeof f.scratch, "/tmp/escriba-memory-XXXXXX");
    if (mkdtemp(f.scratch) == NULL)
        return -1;
    setenv("HF_HUB_CACHE", f.scratch, 1);
    setenv("HF_HUB_OFFLINE", "1", 1);
    setenv("HF_TOKEN_PATH", "~/token", 1);
    setenv("HOME", f.scratch, 1);
    setenv("ESCRIBA_MODELS", f.scratch, 1);
    unsetenv("HF_TOKEN");
    put(&f, "token", "hf_x\n");
    put(&f, SNAPSHOT "/config.json", CONFIG);
    put(&f, SNAPSHOT "/tokenizer.json", "{}");
    put(&f, SNAPSHOT "/model.safetensors", "x");
    put(&f, SNAPSHOT "/model.safetensors.index.json", "{\"weight_map\": {\"a\": \"model.safetensors\"}}");
    put(&f, "models--org--m/refs/main", COMMIT);
    put(&f, "box/config.json", CONFIG);
    *state = &f;
    return 0;
}

static int clean_up(void **state)
{
    remove_tree(((fixture *)*state)->scratch);
    return 0;
}

static void every_allocation_may_fail(void **state)
{
    fixture *f = *state;
    char by_name[] = "org/m", by_commit[] = "org/m@1111111", box[] = "box";
    char listing[] = "[{\"type\":\"file\",\"oid\":\"" COMMIT "\",\"size\":9,\"path\":\"config.json\"},"
                     "{\"type\":\"file\",\"oid\":\"" COMMIT "\",\"size\":9,\"path\":\"tokenizer.json\"}]";
    size_t here = 0;
    assert_int_equal(list_once(&here), 0);
    assert_true(here >= 3); /* a whole one and half of one; more where the program's own models are */
    for (int lasting = 0; lasting < 2; lasting++) {
        assert_true(faults_sweep(list_once, &here, lasting) > 20);
        assert_true(faults_sweep(resolve_once, by_name, lasting) > 5);
        assert_true(faults_sweep(resolve_once, by_commit, lasting) > 5);
        assert_true(faults_sweep(resolve_once, box, lasting) > 2);
        assert_true(faults_sweep(read_once, listing, lasting) >= 3);
        assert_true(faults_sweep(pull_once, f, lasting) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    /* Not in jansson: under want of memory it may shorten a string in silence. */
    (void)faults_begin;
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
