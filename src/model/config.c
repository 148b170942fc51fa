/* config.c - config.json and generation_config.json: each value checked alone, then against the others. */
#include "model/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define CONFIG_LIMIT ((size_t)16 << 20)
#define VISION "config.json: vision_config"
#define TEXT "config.json: text_config"

/* Bounds far above any model that exists, low enough that no product of two or three of them leaves int32. */
#define MAX_LAYERS 1024
#define MAX_WIDTH 65536
#define MAX_FEED (1 << 20)
#define MAX_HEADS 1024
#define MAX_HEAD_DIM 4096
#define MAX_VOCAB (1 << 24)
#define MAX_CONTEXT (1 << 26)
#define MAX_SIDE 1024

/* One whole number to read: where to, and within what. */
typedef struct field {
    const char *key;
    int32_t *value;
    int32_t low, high;
} field;

static es_status read_fields(const json_t *object, const char *where, const field *fields, size_t n, es_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int64_t value = 0;
        ES_TRY(es_json_int(object, where, fields[i].key, true, fields[i].low, fields[i].high, &value, err));
        *fields[i].value = (int32_t)value;
    }
    return ES_OK;
}

/* A string member that must be `expected` when it is there. */
static es_status expect_string(const json_t *object, const char *where, const char *key, bool required,
                               const char *expected, es_error *err)
{
    const char *text = NULL;
    ES_TRY(es_json_string(object, where, key, required, &text, err));
    if (text != NULL && strcmp(text, expected) != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"%s\" is \"%.60s\", only \"%s\" is supported", where, key, text,
                       expected);
    return ES_OK;
}

/* A member that must be an object; NULL when it is absent and not required. */
static es_status read_object(const json_t *object, const char *where, const char *key, bool required,
                             const json_t **item, es_error *err)
{
    *item = json_object_get(object, key);
    if (json_is_null(*item))
        *item = NULL;
    if (*item == NULL && required)
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" is missing", where, key);
    if (*item != NULL && !json_is_object(*item))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must be an object", where, key);
    return ES_OK;
}

/* A list of whole numbers within bounds; a missing one leaves *count as it was. */
static es_status read_list(const json_t *object, const char *where, const char *key, bool required, int32_t low,
                           int32_t high, int32_t *values, int32_t capacity, int32_t *count, es_error *err)
{
    const json_t *list = json_object_get(object, key);
    if ((list == NULL || json_is_null(list)) && !required)
        return ES_OK;
    if (!json_is_array(list))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must be a list of whole numbers", where, key);
    if (json_array_size(list) > (size_t)capacity)
        return es_fail(err, ES_ERR_LIMIT, "%s: \"%s\" has %zu members, at most %d are supported", where, key,
                       json_array_size(list), (int)capacity);
    *count = (int32_t)json_array_size(list);
    for (int32_t i = 0; i < *count; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        json_int_t value = json_integer_value(item);
        if (!json_is_integer(item) || value < low || value > high)
            return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must hold whole numbers from %d to %d", where, key, (int)low,
                           (int)high);
        values[i] = (int32_t)value;
    }
    return ES_OK;
}

/* --- what it is --- */

static es_status check_architecture(const json_t *root, es_error *err)
{
    static const char wanted[] = "Qwen3VLForConditionalGeneration";
    const char *type = NULL;
    ES_TRY(es_json_string(root, "config.json", "model_type", true, &type, err));
    if (strcmp(type, "qwen3_vl") != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED,
                       "config.json: model_type is \"%.60s\": only dense Qwen3-VL models (\"qwen3_vl\") are supported",
                       type);
    const json_t *list = json_object_get(root, "architectures");
    if (list == NULL || json_is_null(list))
        return ES_OK;
    if (!json_is_array(list))
        return es_fail(err, ES_ERR_FORMAT, "config.json: \"architectures\" must be a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name != NULL && strcmp(name, wanted) == 0)
            return ES_OK;
    }
    const char *first = json_string_value(json_array_get(list, 0));
    return es_fail(err, ES_ERR_UNSUPPORTED, "config.json: architecture is \"%.60s\", only \"%s\" is supported",
                   first == NULL ? "" : first, wanted);
}

/* --- vision --- */

static es_status check_vision(const es_vision_config *v, es_error *err)
{
    if (v->in_channels != 3)
        return es_fail(err, ES_ERR_UNSUPPORTED, VISION ": \"in_channels\" is %d, only 3 (RGB) is supported",
                       (int)v->in_channels);
    if (v->hidden % v->heads != 0)
        return es_fail(err, ES_ERR_FORMAT, VISION ": \"hidden_size\" %d is not a multiple of \"num_heads\" %d",
                       (int)v->hidden, (int)v->heads);
    if (v->head_dim % 4 != 0) /* two axes of rotated pairs */
        return es_fail(err, ES_ERR_FORMAT, VISION ": heads of %d (hidden_size / num_heads) are not a multiple of 4",
                       (int)v->head_dim);
    for (int32_t i = 0; i < v->deepstack_count; i++) {
        if (v->deepstack[i] >= v->depth)
            return es_fail(err, ES_ERR_FORMAT, VISION ": \"deepstack_visual_indexes\" names block %d of %d",
                           (int)v->deepstack[i], (int)v->depth);
        if (i > 0 && v->deepstack[i] <= v->deepstack[i - 1])
            return es_fail(err, ES_ERR_FORMAT, VISION ": \"deepstack_visual_indexes\" must rise, %d follows %d",
                           (int)v->deepstack[i], (int)v->deepstack[i - 1]);
    }
    return ES_OK;
}

static es_status read_vision(const json_t *root, es_vision_config *v, es_error *err)
{
    const json_t *object, *rope;
    ES_TRY(read_object(root, "config.json", "vision_config", true, &object, err));
    int32_t positions = 0;
    v->in_channels = 3;
    const field fields[] = {
        {"depth", &v->depth, 1, MAX_LAYERS},
        {"hidden_size", &v->hidden, 1, MAX_WIDTH},
        {"num_heads", &v->heads, 1, MAX_HEADS},
        {"intermediate_size", &v->intermediate, 1, MAX_FEED},
        {"patch_size", &v->patch_size, 1, 128},
        {"temporal_patch_size", &v->temporal_patch_size, 1, 16},
        {"spatial_merge_size", &v->merge_size, 1, 16},
        {"out_hidden_size", &v->out_hidden, 1, MAX_WIDTH},
        {"num_position_embeddings", &positions, 1, MAX_SIDE * MAX_SIDE},
    };
    ES_TRY(read_fields(object, VISION, fields, sizeof fields / sizeof fields[0], err));
    int64_t channels = 3;
    ES_TRY(es_json_int(object, VISION, "in_channels", false, 1, 16, &channels, err));
    v->in_channels = (int32_t)channels;
    ES_TRY(expect_string(object, VISION, "hidden_act", false, "gelu_pytorch_tanh", err));
    ES_TRY(read_list(object, VISION, "deepstack_visual_indexes", true, 0, MAX_LAYERS, v->deepstack, ES_MAX_DEEPSTACK,
                     &v->deepstack_count, err));
    v->head_dim = v->hidden / v->heads;
    v->patch_dim = v->in_channels * v->temporal_patch_size * v->patch_size * v->patch_size;
    while (v->position_side * v->position_side < positions)
        v->position_side++;
    if (v->position_side * v->position_side != positions)
        return es_fail(err, ES_ERR_FORMAT, VISION ": \"num_position_embeddings\" %d is not a square", (int)positions);
    double theta = 10000.0; /* newer files state it, always as this */
    ES_TRY(read_object(object, VISION, "rope_parameters", false, &rope, err));
    if (rope != NULL) {
        ES_TRY(expect_string(rope, VISION ".rope_parameters", "rope_type", false, "axial", err));
        ES_TRY(es_json_number(rope, VISION ".rope_parameters", "rope_theta", false, 1.0, 1e12, &theta, err));
    }
    v->rope_theta = (float)theta;
    return check_vision(v, err);
}

/* --- text --- */

/* Published files have rope_theta beside rope_scaling; files saved by newer tools have both in rope_parameters. */
static es_status read_rope(const json_t *object, es_text_config *t, es_error *err)
{
    const json_t *rope, *newer;
    ES_TRY(read_object(object, TEXT, "rope_scaling", false, &rope, err));
    ES_TRY(read_object(object, TEXT, "rope_parameters", false, &newer, err));
    const char *where = newer != NULL ? TEXT ".rope_parameters" : TEXT ".rope_scaling";
    if (newer != NULL)
        rope = newer;
    bool interleaved = true; /* what a silent file means: the model knows no other way */
    bool has_theta = rope != NULL && json_object_get(rope, "rope_theta") != NULL;
    ES_TRY(es_json_number(has_theta ? rope : object, has_theta ? where : TEXT, "rope_theta", true, 1.0, 1e12,
                          &t->rope_theta, err));
    int32_t count = 3;
    const int32_t usual[3] = {24, 20, 20}; /* the reference's when a file is silent */
    memcpy(t->mrope_section, usual, sizeof usual);
    if (rope != NULL) {
        const char *type = NULL;
        ES_TRY(es_json_string(rope, where, "rope_type", false, &type, err));
        if (type == NULL)
            ES_TRY(es_json_string(rope, where, "type", false, &type, err));
        if (type != NULL && strcmp(type, "default") != 0 && strcmp(type, "mrope") != 0)
            return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"rope_type\" is \"%.60s\", only \"default\" is supported",
                           where, type);
        ES_TRY(es_json_bool(rope, where, "mrope_interleaved", false, &interleaved, err));
        ES_TRY(read_list(rope, where, "mrope_section", false, 0, MAX_HEAD_DIM, t->mrope_section, 3, &count, err));
    }
    if (!interleaved)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"mrope_interleaved\" is false, only true is supported", where);
    int sum = t->mrope_section[0] + t->mrope_section[1] + t->mrope_section[2];
    if (count != 3 || sum != t->head_dim / 2)
        return es_fail(err, ES_ERR_FORMAT,
                       "%s: \"mrope_section\" must be three numbers that add up to %d, half of head_dim", where,
                       (int)(t->head_dim / 2));
    return ES_OK;
}

static es_status read_text(const json_t *root, es_text_config *t, es_error *err)
{
    const json_t *object;
    ES_TRY(read_object(root, "config.json", "text_config", true, &object, err));
    const field fields[] = {
        {"num_hidden_layers", &t->layers, 1, MAX_LAYERS},
        {"hidden_size", &t->hidden, 1, MAX_WIDTH},
        {"num_attention_heads", &t->heads, 1, MAX_HEADS},
        {"head_dim", &t->head_dim, 2, MAX_HEAD_DIM},
        {"intermediate_size", &t->intermediate, 1, MAX_FEED},
        {"vocab_size", &t->vocab, 1, MAX_VOCAB},
        {"max_position_embeddings", &t->max_positions, 1, MAX_CONTEXT},
    };
    ES_TRY(expect_string(object, TEXT, "model_type", false, "qwen3_vl_text", err));
    ES_TRY(read_fields(object, TEXT, fields, sizeof fields / sizeof fields[0], err));
    int64_t kv_heads = t->heads;
    ES_TRY(es_json_int(object, TEXT, "num_key_value_heads", false, 1, MAX_HEADS, &kv_heads, err));
    t->kv_heads = (int32_t)kv_heads;
    double eps = 1e-6;
    ES_TRY(es_json_number(object, TEXT, "rms_norm_eps", false, 1e-12, 0.1, &eps, err));
    t->rms_eps = (float)eps;
    ES_TRY(expect_string(object, TEXT, "hidden_act", false, "silu", err));
    ES_TRY(es_json_bool(object, TEXT, "attention_bias", false, &t->attention_bias, err));
    /* The setting of the whole model governs; the text's own counts where the model is silent. */
    ES_TRY(es_json_bool(object, TEXT, "tie_word_embeddings", false, &t->tied_head, err));
    ES_TRY(es_json_bool(root, "config.json", "tie_word_embeddings", false, &t->tied_head, err));
    if (t->heads % t->kv_heads != 0)
        return es_fail(err, ES_ERR_FORMAT,
                       TEXT ": \"num_attention_heads\" %d is not a multiple of \"num_key_value_heads\" %d",
                       (int)t->heads, (int)t->kv_heads);
    if (t->head_dim % 2 != 0)
        return es_fail(err, ES_ERR_FORMAT, TEXT ": \"head_dim\" %d is odd", (int)t->head_dim);
    return read_rope(object, t, err);
}

/* --- tokens --- */

static es_status read_tokens(const json_t *root, es_model_config *c, es_error *err)
{
    int32_t high = c->text.vocab - 1;
    const field fields[] = {
        {"image_token_id", &c->image_token, 0, high},
        {"video_token_id", &c->video_token, 0, high},
        {"vision_start_token_id", &c->vision_start, 0, high},
        {"vision_end_token_id", &c->vision_end, 0, high},
    };
    ES_TRY(read_fields(root, "config.json", fields, sizeof fields / sizeof fields[0], err));
    const int32_t ids[] = {c->image_token, c->video_token, c->vision_start, c->vision_end};
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < i; k++) {
            if (ids[i] == ids[k])
                return es_fail(err, ES_ERR_FORMAT, "config.json: \"%s\" and \"%s\" are both %d", fields[k].key,
                               fields[i].key, (int)ids[i]);
        }
    }
    return ES_OK;
}

/* eos_token_id of one object, a number or a list. *found tells whether it was there. */
static es_status read_eos(const json_t *object, const char *where, es_model_config *c, bool *found, es_error *err)
{
    const json_t *item = json_object_get(object, "eos_token_id");
    *found = item != NULL && !json_is_null(item);
    if (!*found)
        return ES_OK;
    if (json_is_array(item))
        return read_list(object, where, "eos_token_id", true, 0, c->text.vocab - 1, c->eos,
                         (int32_t)(sizeof c->eos / sizeof c->eos[0]), &c->eos_count, err);
    int64_t id = 0;
    ES_TRY(es_json_int(object, where, "eos_token_id", true, 0, c->text.vocab - 1, &id, err));
    c->eos[0] = (int32_t)id;
    c->eos_count = 1;
    return ES_OK;
}

static es_status read_ends(const json_t *root, const char *generation_path, es_model_config *c, es_error *err)
{
    bool found = false;
    if (es_file_exists(generation_path)) {
        json_t *generation = NULL;
        ES_TRY(es_json_read(&generation, generation_path, CONFIG_LIMIT, err));
        es_status status = read_eos(generation, "generation_config.json", c, &found, err);
        json_decref(generation);
        ES_TRY(status);
    }
    if (!found)
        ES_TRY(read_eos(root, "config.json", c, &found, err));
    if (!found)
        ES_TRY(read_eos(json_object_get(root, "text_config"), TEXT, c, &found, err));
    return ES_OK;
}

/* --- MLX's quantisation --- */

/* Bits and group of one object that must state both. */
static es_status read_quant(const json_t *object, const char *where, es_quant *quant, es_error *err)
{
    ES_TRY(expect_string(object, where, "mode", false, "affine", err));
    const field fields[] = {{"bits", &quant->bits, 1, 64}, {"group_size", &quant->group, 1, 4096}};
    ES_TRY(read_fields(object, where, fields, 2, err));
    if (quant->bits != 4 && quant->bits != 5 && quant->bits != 6 && quant->bits != 8)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"bits\" is %d, supported are 4, 5, 6 and 8", where,
                       (int)quant->bits);
    if (quant->group != 32 && quant->group != 64 && quant->group != 128)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"group_size\" is %d, supported are 32, 64 and 128", where,
                       (int)quant->group);
    return ES_OK;
}

static es_status read_override(es_model_config *c, const char *key, const json_t *value, es_error *err)
{
    es_quant quant = json_is_true(value) ? c->quant : (es_quant){0};
    if (json_is_object(value)) {
        char where[200];
        snprintf(where, sizeof where, "config.json: quantization: %.140s", key);
        ES_TRY(read_quant(value, where, &quant, err));
    }
    char *name = es_strdup(key);
    if (name == NULL)
        return es_fail_memory(err, "a layer's name", strlen(key));
    c->overrides[c->override_count++] = (es_quant_override){name, quant};
    return ES_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const es_quant_override *)a)->name, ((const es_quant_override *)b)->name);
}

static es_status read_quantization(const json_t *root, es_model_config *c, es_error *err)
{
    const json_t *object, *general;
    ES_TRY(read_object(root, "config.json", "quantization", false, &object, err));
    ES_TRY(read_object(root, "config.json", "quantization_config", false, &general, err));
    if (object == NULL && general == NULL)
        return ES_OK;
    if (object == NULL) {
        const char *method = NULL; /* fp8, gptq, awq, bitsandbytes... */
        ES_TRY(es_json_string(general, "config.json: quantization_config", "quant_method", false, &method, err));
        if (method != NULL)
            return es_fail(err, ES_ERR_UNSUPPORTED,
                           "config.json: weights are quantised by \"%.60s\", only MLX's affine groups are supported",
                           method);
        object = general;
    }
    ES_TRY(read_quant(object, "config.json: quantization", &c->quant, err));
    c->quantized = true;
    size_t n = json_object_size(object);
    if (n > 1000000)
        return es_fail(err, ES_ERR_LIMIT, "config.json: quantization: %zu layers are more than any model has", n);
    c->overrides = es_calloc(n, sizeof *c->overrides);
    if (c->overrides == NULL)
        return es_fail_memory(err, "the layers' quantisation", n * sizeof *c->overrides);
    for (void *i = json_object_iter((json_t *)(uintptr_t)object); i != NULL;
         i = json_object_iter_next((json_t *)(uintptr_t)object, i)) {
        const json_t *value = json_object_iter_value(i);
        if (json_is_object(value) || json_is_boolean(value))
            ES_TRY(read_override(c, json_object_iter_key(i), value, err));
    }
    if (c->override_count > 1)
        qsort(c->overrides, (size_t)c->override_count, sizeof *c->overrides, by_name);
    return ES_OK;
}

es_quant es_model_config_quant(const es_model_config *config, const char *name)
{
    static const char wrapper[] = "language_model.";
    size_t n = (size_t)config->override_count;
    const es_quant_override *found = NULL;
    es_quant_override key = {.name = (char *)(uintptr_t)name};
    if (n > 0)
        found = bsearch(&key, config->overrides, n, sizeof key, by_name);
    if (n > 0 && found == NULL && strncmp(name, wrapper, sizeof wrapper - 1) == 0) {
        key.name += sizeof wrapper - 1;
        found = bsearch(&key, config->overrides, n, sizeof key, by_name);
    }
    return found != NULL ? found->quant : config->quant;
}

/* --- all together --- */

static es_status read_all(const json_t *root, const char *generation_path, es_model_config *c, es_error *err)
{
    ES_TRY(check_architecture(root, err));
    ES_TRY(read_text(root, &c->text, err));
    ES_TRY(read_vision(root, &c->vision, err));
    if (c->vision.out_hidden != c->text.hidden)
        return es_fail(err, ES_ERR_FORMAT,
                       "config.json: vision \"out_hidden_size\" %d is not the text's \"hidden_size\" %d",
                       (int)c->vision.out_hidden, (int)c->text.hidden);
    if (c->vision.deepstack_count > c->text.layers)
        return es_fail(err, ES_ERR_FORMAT, "config.json: %d DeepStack features for %d text layers",
                       (int)c->vision.deepstack_count, (int)c->text.layers);
    ES_TRY(read_tokens(root, c, err));
    ES_TRY(read_ends(root, generation_path, c, err));
    return read_quantization(root, c, err);
}

es_status es_model_config_open(es_model_config *config, const char *dir, es_error *err)
{
    *config = (es_model_config){0};
    char *path = es_path_join(dir, "config.json"), *generation = es_path_join(dir, "generation_config.json");
    json_t *root = NULL;
    es_status status;
    if (path == NULL || generation == NULL)
        status = es_fail_memory(err, dir, 0);
    else
        status = es_json_read(&root, path, CONFIG_LIMIT, err);
    if (status == ES_OK) {
        status = read_all(root, generation, config, err);
        if (status != ES_OK)
            es_wrap(err, status, "%.200s", dir);
    }
    json_decref(root);
    free(path);
    free(generation);
    if (status != ES_OK)
        es_model_config_free(config);
    return status;
}

void es_model_config_free(es_model_config *config)
{
    for (int32_t i = 0; i < config->override_count; i++)
        free(config->overrides[i].name);
    free(config->overrides);
    *config = (es_model_config){0};
}
