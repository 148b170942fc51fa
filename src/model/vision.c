/* vision.c - the vision tower: patches to image embeddings. docs/model.md explains it step by step. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Both norms of the tower are fixed in the architecture, not in config.json. */
#define LAYER_NORM_EPS 1e-6f

void es_vision_output_free(es_vision_output *output)
{
    for (int32_t i = 0; output->rows != NULL && i <= output->levels; i++)
        es_tensor_free(output->device, output->rows[i]);
    free(output->rows);
    free(output->data);
    *output = (es_vision_output){0};
}

static es_status create_data(es_vision_output *out, es_error *err)
{
    size_t floats = (size_t)(out->tokens * out->dim), levels = (size_t)(1 + out->levels);
    out->data = es_calloc(floats, levels * sizeof *out->data);
    return out->data != NULL ? ES_OK : es_fail_memory(err, "image embeddings", floats * levels * sizeof *out->data);
}

es_status es_vision_output_fetch(es_vision_output *out, es_error *err)
{
    if (out->data != NULL)
        return ES_OK;
    ES_TRY(create_data(out, err));
    for (int32_t i = 0; i <= out->levels; i++)
        es_op_read(out->device, out->rows[i], 0, out->tokens, out->data + i * out->tokens * out->dim);
    return es_device_check(out->device, err);
}

void es_vision_scratch_free(es_vision_scratch *s, es_device *device)
{
    es_tensor *all[] = {s->x, s->norm, s->mid, s->out, s->positions, s->table};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        es_tensor_free(device, all[i]);
    *s = (es_vision_scratch){0};
}

static es_status reserve(es_vision_scratch *s, const es_model *model, int64_t n, es_error *err)
{
    if (n <= s->capacity)
        return ES_OK;
    const es_vision_config *c = &model->config.vision;
    es_device *d = model->device;
    es_vision_scratch_free(s, d);
    int64_t block = (int64_t)c->merge_size * c->merge_size;
    int64_t mid = c->intermediate > 3 * c->hidden ? c->intermediate : 3 * (int64_t)c->hidden;
    mid = mid > c->patch_dim ? mid : c->patch_dim;
    es_status status = es_tensor_create(d, &s->x, n, c->hidden, err);
    if (status == ES_OK)
        status = es_tensor_create(d, &s->norm, n, c->hidden, err);
    if (status == ES_OK)
        status = es_tensor_create(d, &s->mid, n, mid, err);
    if (status == ES_OK)
        status = es_tensor_create(d, &s->out, n / block, c->out_hidden, err);
    if (status == ES_OK)
        status = es_tensor_create(d, &s->positions, n, c->hidden, err);
    if (status == ES_OK)
        status = es_tensor_create(d, &s->table, n, c->head_dim, err);
    if (status != ES_OK)
        es_vision_scratch_free(s, d);
    else
        s->capacity = n;
    return status;
}

/* Each patch's position embedding: the learned grid, bilinearly resampled. out [n, hidden] */
static es_status interpolate(const es_model *model, int32_t grid_h, int32_t grid_w, float *out, es_error *err)
{
    const es_vision_config *c = &model->config.vision;
    int64_t n = (int64_t)grid_h * grid_w, hidden = c->hidden;
    int32_t *index = es_calloc((size_t)n * 4, sizeof *index);
    float *weight = es_calloc((size_t)n * 4, sizeof *weight);
    if (index == NULL || weight == NULL) {
        free(index);
        free(weight);
        return es_fail_memory(err, "position embeddings", (size_t)n * 32);
    }
    es_vision_interpolation(c, grid_h, grid_w, index, weight);
    for (int64_t p = 0; p < n; p++) {
        const float *cells[4], *w = weight + p * 4;
        for (int k = 0; k < 4; k++)
            cells[k] = model->position_table + index[p * 4 + k] * hidden;
        for (int64_t j = 0; j < hidden; j++)
            out[p * hidden + j] = cells[0][j] * w[0] + cells[1][j] * w[1] + cells[2][j] * w[2] + cells[3][j] * w[3];
    }
    free(index);
    free(weight);
    return ES_OK;
}

/* Positions and rope of this picture size, unless the last picture had the same. */
static es_status prepare_grid(es_vision_scratch *s, const es_model *model, int32_t grid_h, int32_t grid_w,
                              es_error *err)
{
    if (s->grid_h == grid_h && s->grid_w == grid_w)
        return ES_OK;
    const es_vision_config *c = &model->config.vision;
    int64_t n = (int64_t)grid_h * grid_w;
    int64_t widest = c->hidden > c->head_dim ? c->hidden : c->head_dim;
    float *host = es_calloc((size_t)n, (size_t)widest * sizeof *host);
    if (host == NULL)
        return es_fail_memory(err, "position embeddings", (size_t)(n * widest) * sizeof *host);
    s->grid_h = s->grid_w = 0;
    es_status status = interpolate(model, grid_h, grid_w, host, err);
    if (status == ES_OK) {
        es_op_write(model->device, s->positions, host, n);
        es_vision_rope(c, grid_h, grid_w, host);
        es_op_write(model->device, s->table, host, n);
        status = es_device_check(model->device, err);
    }
    free(host);
    if (status == ES_OK) {
        s->grid_h = grid_h;
        s->grid_w = grid_w;
    }
    return status;
}

static void linear(es_device *d, es_tensor *y, const es_tensor *x, const es_linear *l, es_activation act,
                   const es_tensor *residual)
{
    es_op_linear(d, y, x, l->w, l->bias, act, residual);
}

static void block_forward(es_device *d, const es_vision_config *c, const es_vision_block *b, es_vision_scratch *s)
{
    int64_t n = s->x->rows;
    es_segment whole = {0, (int32_t)n};
    es_op_norm_layer(d, s->norm, s->x, b->norm1_gain, b->norm1_bias, LAYER_NORM_EPS);
    linear(d, s->mid, s->norm, &b->qkv, ES_ACT_NONE, NULL);
    es_op_rope(d, s->mid, 0, 2 * (int64_t)c->heads, c->head_dim, s->table); /* queries and keys lie side by side */
    es_op_attend_segments(d, s->norm, s->mid, c->heads, c->head_dim, &whole, 1);
    linear(d, s->x, s->norm, &b->proj, ES_ACT_NONE, s->x);
    es_op_norm_layer(d, s->norm, s->x, b->norm2_gain, b->norm2_bias, LAYER_NORM_EPS);
    linear(d, s->mid, s->norm, &b->fc1, ES_ACT_GELU_TANH, NULL);
    linear(d, s->x, s->mid, &b->fc2, ES_ACT_NONE, s->x);
}

/* 2x2 neighbours become one token. The last merger normalises patches before they are joined, DeepStack's
 * after. s->out [tokens, out_hidden] */
static void merge(es_device *d, const es_vision_config *c, const es_merger *m, bool norm_after, es_vision_scratch *s)
{
    int64_t block = (int64_t)c->merge_size * c->merge_size;
    int64_t tokens = s->x->rows / block;
    if (norm_after) {
        es_op_copy(d, s->norm, s->x);
        es_op_reshape(d, s->norm, tokens, block * c->hidden);
        es_op_norm_layer(d, s->norm, s->norm, m->norm_gain, m->norm_bias, LAYER_NORM_EPS);
    } else {
        es_op_norm_layer(d, s->norm, s->x, m->norm_gain, m->norm_bias, LAYER_NORM_EPS);
        es_op_reshape(d, s->norm, tokens, block * c->hidden);
    }
    linear(d, s->mid, s->norm, &m->fc1, ES_ACT_GELU_ERF, NULL);
    linear(d, s->out, s->mid, &m->fc2, ES_ACT_NONE, NULL);
}

/* The DeepStack level tapped after this block, or -1. */
static int32_t level_after(const es_vision_config *c, int32_t block)
{
    for (int32_t i = 0; i < c->deepstack_count; i++)
        if (c->deepstack[i] == block)
            return i;
    return -1;
}

void es_vision_run_free(es_vision_run *run)
{
    es_vision_output_free(&run->output);
    run->block = 0;
}

/* Reports what went wrong on the device, if anything; the run is over then. */
static es_status check(const es_model *model, es_vision_run *run, es_error *err)
{
    es_status status = es_device_check(model->device, err);
    if (status != ES_OK)
        es_vision_run_free(run);
    return status;
}

static es_status create_output(const es_model *model, const es_patches *patches, es_vision_output *out, es_error *err)
{
    const es_vision_config *c = &model->config.vision;
    *out = (es_vision_output){.grid_h = patches->grid_h / c->merge_size,
                              .grid_w = patches->grid_w / c->merge_size,
                              .dim = c->out_hidden,
                              .levels = c->deepstack_count,
                              .device = model->device};
    out->tokens = (int64_t)out->grid_h * out->grid_w;
    if (!out->device->keeps_pictures)
        return create_data(out, err);
    out->rows = es_calloc((size_t)(1 + out->levels), sizeof *out->rows);
    es_status status = out->rows != NULL ? ES_OK : es_fail_memory(err, "image embeddings", 0);
    for (int32_t i = 0; status == ES_OK && i <= out->levels; i++)
        status = es_tensor_create(out->device, &out->rows[i], out->tokens, out->dim, err);
    if (status != ES_OK)
        es_vision_output_free(out);
    return status;
}

es_status es_vision_begin(const es_model *model, es_vision_scratch *s, const es_patches *patches, es_vision_run *run,
                          const es_watch *watch, es_error *err)
{
    const es_vision_config *c = &model->config.vision;
    es_device *d = model->device;
    int32_t m = c->merge_size;
    *run = (es_vision_run){.block = 0};
    if (patches->count <= 0 || patches->grid_h % m != 0 || patches->grid_w % m != 0 || patches->dim != c->patch_dim ||
        patches->count > INT32_MAX)
        return es_fail(err, ES_ERR_ARGUMENT, "a picture of %d x %d patches does not fit the vision tower",
                       patches->grid_h, patches->grid_w);
    ES_TRY(reserve(s, model, patches->count, err));
    ES_TRY(prepare_grid(s, model, patches->grid_h, patches->grid_w, err));
    float *numbers = es_calloc((size_t)patches->count, (size_t)patches->dim * sizeof *numbers);
    if (numbers == NULL)
        return es_fail_memory(err, "a picture's patches", (size_t)(patches->count * patches->dim) * sizeof *numbers);
    es_patches_floats(patches, 0, patches->count, numbers);
    es_op_reshape(d, s->mid, patches->count, patches->dim);
    es_op_write(d, s->mid, numbers, patches->count);
    free(numbers);
    ES_TRY(create_output(model, patches, &run->output, err));
    linear(d, s->x, s->mid, &model->weights.patch, ES_ACT_NONE, NULL);
    es_watch_see(watch, d, s->x, "vision.patch_embed");
    es_op_add(d, s->x, s->positions);
    es_watch_see(watch, d, s->x, "vision.embed");
    return check(model, run, err);
}

/* The merged features of the present x into one level of the output. */
static void keep_level(es_device *d, es_vision_scratch *s, es_vision_output *out, int32_t level)
{
    if (out->rows != NULL)
        es_op_copy(d, out->rows[level], s->out);
    else
        es_op_read(d, s->out, 0, out->tokens, out->data + (int64_t)level * out->tokens * out->dim);
}

es_status es_vision_advance(const es_model *model, es_vision_scratch *s, es_vision_run *run, bool *done,
                            const es_watch *watch, es_error *err)
{
    const es_vision_config *c = &model->config.vision;
    es_device *d = model->device;
    *done = run->block == c->depth;
    if (*done) {
        merge(d, c, &model->weights.merger, false, s);
        es_watch_see(watch, d, s->out, "vision.merger");
        keep_level(d, s, &run->output, 0);
        return check(model, run, err);
    }
    int32_t i = run->block++;
    block_forward(d, c, &model->weights.blocks[i], s);
    es_watch_see(watch, d, s->x, "vision.block.%d", i);
    int32_t level = level_after(c, i);
    if (level >= 0) {
        merge(d, c, &model->weights.deepstack[level], true, s);
        es_watch_see(watch, d, s->out, "vision.deepstack.%d", level);
        keep_level(d, s, &run->output, 1 + level);
    }
    return check(model, run, err);
}

es_status es_vision_encode(const es_model *model, es_vision_scratch *scratch, const es_patches *patches,
                           es_vision_output *output, const es_watch *watch, const es_cancel *cancel, es_error *err)
{
    es_vision_run run;
    bool done = false;
    *output = (es_vision_output){0};
    ES_TRY(es_vision_begin(model, scratch, patches, &run, watch, err));
    while (!done) {
        if (es_cancel_asked(cancel)) {
            es_vision_run_free(&run);
            return es_fail(err, ES_ERR_CANCELLED, "cancelled");
        }
        ES_TRY(es_vision_advance(model, scratch, &run, &done, watch, err));
    }
    *output = run.output;
    return ES_OK;
}
