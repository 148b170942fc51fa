/* inspect.c - what a model directory holds, told from its small files: is it ours, is it whole, how precise is it. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/mem.h"
#include "hub/cache.h"
#include "hub/listing.h"

#define MAX_CONFIG (4u << 20) /* bytes */
#define MAX_INDEX (64u << 20) /* bytes */

static es_status read_json(const char *dir, const char *name, size_t limit, json_t **root, es_error *err)
{
    char *path = es_path_join(dir, name);
    if (path == NULL)
        return es_fail_memory(err, "a path", 0);
    es_status status = es_json_read(root, path, limit, err);
    free(path);
    return status;
}

static bool has_file(const char *dir, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof path && es_file_exists(path);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts, and drops what is there more than once. */
static void make_unique(es_names *names)
{
    size_t kept = 0;
    if (names->count > 1)
        qsort(names->items, names->count, sizeof *names->items, by_bytes);
    for (size_t i = 0; i < names->count; i++) {
        if (kept > 0 && strcmp(names->items[kept - 1], names->items[i]) == 0)
            free(names->items[i]);
        else
            names->items[kept++] = names->items[i];
    }
    names->count = kept;
}

es_status es_hub_index_shards(const char *dir, es_names *shards, es_error *err)
{
    json_t *root;
    const char *key, *last = "";
    json_t *value;
    *shards = (es_names){0};
    if (!has_file(dir, "model.safetensors.index.json"))
        return ES_OK;
    ES_TRY(read_json(dir, "model.safetensors.index.json", MAX_INDEX, &root, err));
    json_t *map = json_object_get(root, "weight_map");
    es_status status = ES_OK;
    if (!json_is_object(map) || json_object_size(map) == 0)
        status = es_fail(err, ES_ERR_FORMAT, "%s/model.safetensors.index.json: no \"weight_map\"", dir);
    json_object_foreach(map, key, value)
    {
        const char *name = json_string_value(value);
        if (status != ES_OK || (name != NULL && strcmp(name, last) == 0))
            continue; /* neighbours mostly live in the same file */
        if (name == NULL || !es_hub_is_weights(name) || !es_hub_wanted(name))
            status = es_fail(err, ES_ERR_FORMAT,
                             "%s/model.safetensors.index.json: \"%.80s\" is in no plain .safetensors file", dir, key);
        else
            status = es_names_add(shards, name, err);
        last = name != NULL ? name : "";
    }
    json_decref(root);
    make_unique(shards);
    if (status != ES_OK)
        es_names_free(shards);
    return status;
}

static void note_missing(es_hub_state *state, const char *name)
{
    if (state->missing[0] == '\0')
        snprintf(state->missing, sizeof state->missing, "%s", name);
}

/* Weights: the files of the index, or one file that is not a part of several. */
static es_status check_weights(const char *dir, es_hub_state *state, es_error *err)
{
    es_names names;
    es_status status = es_hub_index_shards(dir, &names, err);
    if (status == ES_ERR_MEMORY)
        return status;
    if (status != ES_OK) {
        note_missing(state, "model.safetensors.index.json");
        return ES_OK;
    }
    for (size_t i = 0; i < names.count; i++) {
        if (!has_file(dir, names.items[i]))
            note_missing(state, names.items[i]);
    }
    bool indexed = names.count > 0;
    es_names_free(&names);
    if (!indexed && !has_file(dir, "model.safetensors"))
        note_missing(state, "model.safetensors");
    return ES_OK;
}

static es_status add_sizes(const char *dir, es_hub_state *state, es_error *err)
{
    es_names names;
    ES_TRY(es_dir_list(dir, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct stat st;
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path, "%s/%s", dir, names.items[i]);
        if (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
            state->size += (uint64_t)st.st_size;
    }
    es_names_free(&names);
    return ES_OK;
}

static const char *text_member(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* MLX writes "quantization"; published checkpoints state the type their weights are stored in. */
static void read_precision(const json_t *config, es_hub_state *state)
{
    const json_t *quantization = json_object_get(config, "quantization");
    if (json_is_object(quantization)) {
        json_int_t bits = json_integer_value(json_object_get(quantization, "bits"));
        json_int_t group = json_integer_value(json_object_get(quantization, "group_size"));
        snprintf(state->precision, sizeof state->precision, "%lld-bit, group %lld", (long long)bits, (long long)group);
        return;
    }
    const json_t *text = json_object_get(config, "text_config");
    const json_t *places[] = {config, text};
    const char *type = "";
    for (size_t i = 0; i < 2 && type[0] == '\0'; i++) {
        type = text_member(places[i], "dtype");
        if (type[0] == '\0')
            type = text_member(places[i], "torch_dtype");
    }
    if (strcmp(type, "bfloat16") == 0)
        type = "bf16";
    else if (strcmp(type, "float16") == 0)
        type = "f16";
    else if (strcmp(type, "float32") == 0)
        type = "f32";
    snprintf(state->precision, sizeof state->precision, "%s", type[0] != '\0' ? type : "unknown");
}

/* Other people's strings end in a terminal: only visible ASCII passes. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
    }
}

es_status es_hub_inspect(const char *dir, es_hub_state *state, es_error *err)
{
    json_t *config;
    *state = (es_hub_state){0};
    es_status status = read_json(dir, "config.json", MAX_CONFIG, &config, NULL);
    if (status == ES_ERR_MEMORY)
        return es_fail_memory(err, "config.json", 0);
    if (status != ES_OK) {
        note_missing(state, "config.json");
        return ES_OK;
    }
    snprintf(state->model_type, sizeof state->model_type, "%s", text_member(config, "model_type"));
    state->is_model = strcmp(state->model_type, "qwen3_vl") == 0;
    read_precision(config, state);
    json_decref(config);
    make_printable(state->model_type);
    make_printable(state->precision);
    if (!has_file(dir, "tokenizer.json"))
        note_missing(state, "tokenizer.json");
    ES_TRY(check_weights(dir, state, err));
    ES_TRY(add_sizes(dir, state, err));
    state->complete = state->is_model && state->missing[0] == '\0';
    return ES_OK;
}
