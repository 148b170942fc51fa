#include "model/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/sha.h"

void es_watch_see(const es_watch *watch, es_device *device, const es_tensor *tensor, const char *format, ...)
{
    if (watch == NULL || watch->see == NULL)
        return;
    char name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    watch->see(watch->context, name, device, tensor);
}

bool es_cancel_asked(const es_cancel *cancel)
{
    return cancel != NULL && cancel->asked != NULL && cancel->asked(cancel->context);
}

/* Three files describe one model; where they contradict each other, nothing good can come of going on. */
static es_status check_agreement(es_model *m, es_error *err)
{
    const es_vision_config *v = &m->config.vision;
    const es_preprocess *p = &m->preprocess;
    if (p->patch_size != v->patch_size || p->merge_size != v->merge_size ||
        p->temporal_patch_size != v->temporal_patch_size)
        return es_fail(err, ES_ERR_FORMAT,
                       "%s: preprocessor_config.json cuts patches of %d (merge %d, time %d), config.json "
                       "wants %d (%d, %d)",
                       m->dir, p->patch_size, p->merge_size, p->temporal_patch_size, v->patch_size, v->merge_size,
                       v->temporal_patch_size);
    size_t tokens = es_tokenizer_size(m->tokenizer);
    if (tokens > (size_t)m->config.text.vocab)
        return es_fail(err, ES_ERR_FORMAT, "%s: tokenizer.json has %zu tokens, config.json a vocabulary of %d", m->dir,
                       tokens, m->config.text.vocab);
    if (m->config.eos_count == 0) {
        int32_t id = es_tokenizer_id(m->tokenizer, "<|im_end|>");
        if (id >= 0)
            m->config.eos[m->config.eos_count++] = id;
    }
    return ES_OK;
}

/* The learned position grid as plain floats on the host. */
static es_status read_positions(es_model *m, es_error *err)
{
    const es_vision_config *v = &m->config.vision;
    int64_t cells = (int64_t)v->position_side * v->position_side;
    m->position_table = es_calloc((size_t)cells, (size_t)v->hidden * sizeof *m->position_table);
    int32_t *ids = es_calloc((size_t)cells, sizeof *ids);
    es_tensor *rows = NULL;
    es_status status = m->position_table == NULL || ids == NULL ? es_fail_memory(err, "position embeddings", 0) : ES_OK;
    if (status == ES_OK)
        status = es_tensor_create(m->device, &rows, cells, v->hidden, err);
    if (status == ES_OK) {
        for (int64_t i = 0; i < cells; i++)
            ids[i] = (int32_t)i;
        es_op_embed(m->device, rows, m->weights.positions, ids, cells);
        es_op_read(m->device, rows, 0, cells, m->position_table);
        status = es_device_check(m->device, err);
    }
    es_tensor_free(m->device, rows);
    free(ids);
    return status;
}

/* Binds from the cache, when it is there and whole. *bound false with ES_OK: it is not. */
static es_status bind_cached(es_model *m, const char *path, const char *key, bool *bound, es_error *err)
{
    es_ready ready = {0};
    es_weights weights;
    *bound = false;
    if (es_weight_cache_open(&ready.from, path, key, NULL) != ES_OK)
        return ES_OK;
    es_status status = es_weights_bind(&weights, m->device, &m->config, m->tensors, &ready, err);
    if (status != ES_OK) {
        es_weight_cache_close(ready.from);
        return ready.failed ? ES_OK : status;
    }
    es_tensors_rest(m->tensors); /* hardly anything more is read from the file */
    m->weights = weights;
    m->cache = ready.from;
    *bound = true;
    return ES_OK;
}

/* Makes the cache, a matrix at a time. *made false with ES_OK: it cannot be written. */
static es_status make_cache(es_model *m, const char *path, const char *key, bool *made, es_error *err)
{
    es_ready ready = {0};
    es_weights weights;
    *made = false;
    if (es_weight_cache_begin(&ready.to, path, key, NULL) != ES_OK)
        return ES_OK;
    es_status status = es_weights_bind(&weights, m->device, &m->config, m->tensors, &ready, err);
    if (status != ES_OK) {
        es_weight_cache_drop(ready.to);
        return ready.failed ? ES_OK : status;
    }
    es_weights_free(&weights, m->device, &m->config);
    *made = es_weight_cache_finish(ready.to, NULL) == ES_OK;
    return ES_OK;
}

/* From the cache, which is made where it is not there: so processes share it, and the file and what is made of it never
 * take memory at once. Where it cannot be made, from the file. */
static es_status bind(es_model *m, const char *cache_dir, es_error *err)
{
    char key[ES_SHA256_HEX + 1], *path = NULL;
    bool bound = false, made = false;
    if (cache_dir == NULL || es_weight_cache_key(key, m->device, m->tensors) != ES_OK)
        return es_weights_bind(&m->weights, m->device, &m->config, m->tensors, NULL, err);
    es_status status = es_weight_cache_path(&path, cache_dir, m->dir, m->device, err);
    if (status == ES_OK)
        status = bind_cached(m, path, key, &bound, err);
    if (status == ES_OK && !bound)
        status = make_cache(m, path, key, &made, err);
    if (status == ES_OK && made)
        status = bind_cached(m, path, key, &bound, err);
    if (status == ES_OK && !bound)
        status = es_weights_bind(&m->weights, m->device, &m->config, m->tensors, NULL, err);
    free(path);
    return status;
}

static es_status open_parts(es_model *m, const char *cache_dir, es_error *err)
{
    ES_TRY(es_model_config_open(&m->config, m->dir, err));
    ES_TRY(es_preprocess_open(&m->preprocess, m->dir, err));
    ES_TRY(es_tokenizer_open(&m->tokenizer, m->dir, err));
    ES_TRY(check_agreement(m, err));
    ES_TRY(es_tensors_open(&m->tensors, m->dir, err));
    ES_TRY(bind(m, cache_dir, err));
    return read_positions(m, err);
}

es_status es_model_open(es_model **model, es_device *device, const char *dir, es_error *err)
{
    return es_model_open_cached(model, device, dir, NULL, err);
}

es_status es_model_open_cached(es_model **model, es_device *device, const char *dir, const char *cache_dir,
                               es_error *err)
{
    *model = NULL;
    es_model *m = es_calloc(1, sizeof *m);
    if (m == NULL)
        return es_fail_memory(err, "a model", sizeof *m);
    m->device = device;
    m->dir = es_strdup(dir);
    es_status status = m->dir == NULL ? es_fail_memory(err, "a path", 0) : open_parts(m, cache_dir, err);
    if (status != ES_OK) {
        es_model_free(m);
        return status;
    }
    *model = m;
    return ES_OK;
}

es_status es_model_open_kept(es_model **model, es_device *device, const char *dir, const char *folder, es_error *err)
{
    char *own = folder == NULL ? es_weight_cache_dir() : NULL;
    const char *chosen = folder == NULL ? own : folder;
    es_status status =
        es_model_open_cached(model, device, dir, chosen != NULL && chosen[0] != '\0' ? chosen : NULL, err);
    free(own);
    return status;
}

void es_model_free(es_model *model)
{
    if (model == NULL)
        return;
    es_weights_free(&model->weights, model->device, &model->config);
    es_weight_cache_close(model->cache);
    es_model_config_free(&model->config);
    es_tokenizer_free(model->tokenizer);
    es_tensors_close(model->tensors);
    free(model->position_table);
    free(model->dir);
    free(model);
}
