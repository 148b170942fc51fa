/* text.c - the text decoder: rows of any number of sequences through all layers. docs/model.md explains it.
 */
#include "model/model.h"

#include <stdlib.h>

#include "base/mem.h"

void es_text_scratch_free(es_text_scratch *s, es_device *device)
{
    es_tensor *all[] = {s->x, s->norm, s->k, s->v, s->gate, s->up, s->table, s->picked, s->logits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        es_tensor_free(device, all[i]);
    free(s->host);
    free(s->rows);
    free(s->wanted);
    *s = (es_text_scratch){0};
}

static es_status reserve_logits(es_text_scratch *s, const es_model *model, int64_t n, es_error *err)
{
    const es_text_config *c = &model->config.text;
    if (n == 0)
        return ES_OK;
    ES_TRY(es_tensor_create(model->device, &s->picked, n, c->hidden, err));
    ES_TRY(es_tensor_create(model->device, &s->logits, n, c->vocab, err));
    s->wanted = es_calloc((size_t)n, sizeof *s->wanted);
    return s->wanted != NULL ? ES_OK : es_fail_memory(err, "the text decoder", (size_t)n * sizeof *s->wanted);
}

static es_status reserve_rows(es_text_scratch *s, const es_model *model, int64_t n, es_error *err)
{
    const es_text_config *c = &model->config.text;
    es_device *d = model->device;
    int64_t q = (int64_t)c->heads * c->head_dim, kv = (int64_t)c->kv_heads * c->head_dim;
    int64_t wide = c->intermediate > q ? c->intermediate : q;
    struct {
        es_tensor **tensor;
        int64_t cols;
    } wanted[] = {{&s->x, c->hidden}, {&s->norm, c->hidden},   {&s->k, kv}, {&s->v, kv}, {&s->gate, wide},
                  {&s->up, wide},     {&s->table, c->head_dim}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        ES_TRY(es_tensor_create(d, wanted[i].tensor, n, wanted[i].cols, err));
    s->host = es_calloc((size_t)n, (size_t)c->head_dim * sizeof *s->host);
    s->rows = es_calloc((size_t)n, sizeof *s->rows);
    if (s->host == NULL || s->rows == NULL)
        return es_fail_memory(err, "the text decoder", (size_t)(n * c->head_dim) * sizeof(float));
    return ES_OK;
}

es_status es_text_reserve(es_text_scratch *s, const es_model *model, int64_t rows, int64_t logit_rows, es_error *err)
{
    es_status status = ES_OK;
    if (rows > s->capacity || logit_rows > s->logit_capacity) {
        rows = rows > s->capacity ? rows : s->capacity;
        logit_rows = logit_rows > s->logit_capacity ? logit_rows : s->logit_capacity;
        es_text_scratch_free(s, model->device);
        status = reserve_rows(s, model, rows, err);
        if (status == ES_OK)
            status = reserve_logits(s, model, logit_rows, err);
        if (status != ES_OK) {
            es_text_scratch_free(s, model->device);
            return status;
        }
        s->capacity = rows;
        s->logit_capacity = logit_rows;
    }
    return status;
}

/* Puts level `level` of the pictures' features (0: the embeddings themselves) into, or onto, their rows of x: a run of
 * one picture's tokens at a time.
 */
static void place_visual(const es_model *model, es_text_scratch *s, const es_text_batch *batch, int32_t level)
{
    es_device *d = model->device;
    for (int64_t i = 0, n; i < batch->visual_count; i += n) {
        const struct es_visual_row *v = &batch->visual[i];
        const es_vision_output *o = v->output;
        for (n = 0; i + n < batch->visual_count && v[n].output == o && v[n].token == v->token + n; n++)
            s->rows[n] = v[n].row;
        if (o->rows != NULL) {
            es_op_scatter(d, s->x, o->rows[level], v->token, s->rows, n, level > 0);
            continue;
        }
        es_op_write(d, s->norm, o->data + ((int64_t)level * o->tokens + v->token) * o->dim,
                    n); /* free between layers */
        es_op_scatter(d, s->x, s->norm, 0, s->rows, n, level > 0);
    }
}

static void linear(es_device *d, es_tensor *y, const es_tensor *x, const es_linear *l, const es_tensor *residual)
{
    es_op_linear(d, y, x, l->w, l->bias, ES_ACT_NONE, residual);
}

/* Makes of the rows whose logits are wanted what attention shall know of them when they stand alone, in their order. */
static es_status find_wanted(es_text_scratch *s, const es_text_batch *batch, es_error *err)
{
    const es_attend *end = batch->sequences + batch->sequence_count;
    size_t n = 0;
    for (int64_t i = 0; i < batch->logit_count; i++) {
        int32_t row = batch->logit_rows[i];
        const es_attend *a = batch->sequences;
        while (a < end && (row < a->first || row - a->first >= a->count))
            a++;
        if (a == end)
            return es_fail(err, ES_ERR_INTERNAL, "row %d, whose logits are wanted, is of no sequence", (int)row);
        int32_t past = a->past + row - a->first;
        es_attend *last = n > 0 ? &s->wanted[n - 1] : NULL;
        if (last != NULL && last->pages == a->pages && last->past + last->count == past)
            last->count++;
        else
            s->wanted[n++] = (es_attend){(int32_t)i, 1, past, a->pages};
    }
    s->wanted_count = n;
    return ES_OK;
}

/* Keys and values of all rows of x are stored; x becomes what the layer makes of it. With `narrow` s->picked becomes
 * that, of the rows whose logits are wanted only, and x is not needed any more. */
static void layer_forward(const es_model *model, int32_t index, es_text_scratch *s, es_kv *kv,
                          const es_text_batch *batch, bool narrow)
{
    const es_text_config *c = &model->config.text;
    const es_text_layer *layer = &model->weights.layers[index];
    es_device *d = model->device;
    es_tensor *x = s->x, *table = s->table;
    const es_attend *sequences = batch->sequences;
    size_t count = batch->sequence_count;
    es_op_norm_rms(d, s->norm, x, layer->input_norm, c->rms_eps);
    linear(d, s->k, s->norm, &layer->k, NULL);
    linear(d, s->v, s->norm, &layer->v, NULL);
    es_op_norm_rms(d, s->k, s->k, layer->k_norm, c->rms_eps); /* each head by itself */
    es_op_rope(d, s->k, 0, c->kv_heads, c->head_dim, table);
    es_op_kv_write(d, kv, index, s->k, s->v, sequences, count);
    if (narrow) {
        if (batch->logit_count == 0)
            return;
        x = s->picked;
        table = s->k; /* its numbers are stored */
        sequences = s->wanted;
        count = s->wanted_count;
        es_op_gather(d, x, s->x, batch->logit_rows, batch->logit_count);
        es_op_gather(d, table, s->table, batch->logit_rows, batch->logit_count);
        es_op_norm_rms(d, s->norm, x, layer->input_norm, c->rms_eps);
    }
    linear(d, s->up, s->norm, &layer->q, NULL); /* the MLP's tensors serve attention, too */
    es_op_norm_rms(d, s->up, s->up, layer->q_norm, c->rms_eps);
    es_op_rope(d, s->up, 0, c->heads, c->head_dim, table);
    es_op_attend_paged(d, s->gate, s->up, kv, index, c->heads, sequences, count);
    linear(d, x, s->gate, &layer->o, x);
    es_op_norm_rms(d, s->norm, x, layer->post_norm, c->rms_eps);
    linear(d, s->gate, s->norm, &layer->gate, NULL);
    linear(d, s->up, s->norm, &layer->up, NULL);
    es_op_swiglu(d, s->gate, s->gate, s->up);
    linear(d, x, s->gate, &layer->down, x);
}

/* Whether the last layer can leave out the rows whose logits nobody wants: nobody looks at them, and no features are to
 * be added to them. */
static bool can_narrow(const es_model *model, const es_text_batch *batch, const es_watch *watch)
{
    return watch == NULL && batch->logit_count < batch->rows &&
           model->config.text.layers > model->config.vision.deepstack_count;
}

/* Leaves the rows whose logits are wanted in s->picked. */
static es_status run_layers(const es_model *model, es_text_scratch *s, es_kv *kv, const es_text_batch *batch,
                            const es_watch *watch, const es_cancel *cancel, es_error *err)
{
    const es_model_config *c = &model->config;
    es_device *d = model->device;
    bool narrow = can_narrow(model, batch, watch);
    if (narrow)
        ES_TRY(find_wanted(s, batch, err));
    es_op_embed(d, s->x, model->weights.embed, batch->ids, batch->rows);
    place_visual(model, s, batch, 0);
    es_watch_see(watch, d, s->x, "text.embed");
    es_text_rope(&c->text, batch->positions, (size_t)batch->rows, s->host);
    es_op_write(d, s->table, s->host, batch->rows);
    for (int32_t i = 0; i < c->text.layers; i++) {
        if (es_cancel_asked(cancel))
            return es_fail(err, ES_ERR_CANCELLED, "cancelled");
        layer_forward(model, i, s, kv, batch, narrow && i == c->text.layers - 1);
        if (i < c->vision.deepstack_count)
            place_visual(model, s, batch, i + 1);
        es_watch_see(watch, d, s->x, "text.layer.%d", i);
    }
    if (!narrow && batch->logit_count > 0)
        es_op_gather(d, s->picked, s->x, batch->logit_rows, batch->logit_count);
    return ES_OK;
}

es_status es_text_forward(const es_model *model, es_text_scratch *scratch, es_kv *kv, const es_text_batch *batch,
                          float *logits, const es_watch *watch, const es_cancel *cancel, es_error *err)
{
    es_device *d = model->device;
    es_text_scratch *s = scratch;
    if (batch->rows <= 0 || batch->rows > INT32_MAX || batch->visual_count > batch->rows)
        return es_fail(err, ES_ERR_INTERNAL, "a text batch of %lld rows", (long long)batch->rows);
    ES_TRY(es_text_reserve(s, model, batch->rows, batch->logit_count, err));
    es_status status = run_layers(model, s, kv, batch, watch, cancel, err);
    if (status == ES_OK && batch->logit_count > 0) {
        es_op_norm_rms(d, s->picked, s->picked, model->weights.final_norm, model->config.text.rms_eps);
        es_watch_see(watch, d, s->picked, "text.norm");
        es_op_linear(d, s->logits, s->picked, model->weights.head, NULL, ES_ACT_NONE, NULL);
        es_watch_see(watch, d, s->logits, "logits");
        if (batch->best != NULL)
            es_op_best(d, s->logits, batch->best);
        else
            es_op_read(d, s->logits, 0, batch->logit_count, logits);
    }
    es_status device_status = es_device_check(d, status == ES_OK ? err : NULL);
    return status != ES_OK ? status : device_status;
}
