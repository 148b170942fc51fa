/* weights.c - from names to handles. One binder walks the model in order; its first failure stops everything after it,
 * so that the walk reads as a list of the model's parts. */
#include "model/weights.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NAME_SIZE 160

/* Where the parts' names begin, by who wrote the file. */
static const char *const text_prefixes[] = {"model.language_model.", "language_model.model.", "model."};
static const char *const head_names[] = {"lm_head", "language_model.lm_head", "lm_head"};
static const char *const vision_prefixes[] = {"model.visual.", "vision_tower.", "visual."};
#define NAMINGS 3
#define MLX 1

typedef struct binder {
    es_device *device;
    const es_model_config *config;
    const es_tensors *tensors;
    const char *text, *head, *vision; /* names or their beginnings */
    es_use use;                       /* of the matrices being bound */
    es_row_kind kind;                 /* of what the next matrix is multiplied by */
    es_ready *ready;                  /* NULL: no cache of ready weights */
    es_status status;                 /* of the first failure */
    es_error *err;
} binder;

static const char *dtype_words(bool packed)
{
    return packed ? "U32" : "F32, F16 or BF16";
}

/* The tensor of that name, of exactly that shape and of a number type (packed: uint32); NULL after a failure. */
static const es_view *want(binder *b, const char *name, bool packed, int n_dims, const int64_t *dims)
{
    char found[120], expected[120];
    if (b->status != ES_OK)
        return NULL;
    const es_view *view = es_tensors_find(b->tensors, name);
    es_shape_text(expected, sizeof expected, dims, n_dims);
    if (view == NULL) {
        b->status = es_fail(b->err, ES_ERR_FORMAT, "the checkpoint has no tensor \"%s\" (%s %s)", name,
                            dtype_words(packed), expected);
        return NULL;
    }
    bool same = view->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++)
        same = view->dims[i] == dims[i];
    if (same && view->usable && (view->dtype == ES_U32) == packed)
        return view;
    es_shape_text(found, sizeof found, view->dims, view->n_dims);
    b->status = es_fail(b->err, ES_ERR_FORMAT, "%s: tensor \"%s\" is %s %s, must be %s %s", view->file, name,
                        view->type, found, dtype_words(packed), expected);
    return NULL;
}

/* "prefix" + formatted rest. */
static void make_name(char *name, const char *prefix, const char *format, va_list args)
{
    int n = snprintf(name, NAME_SIZE, "%s", prefix);
    vsnprintf(name + n, NAME_SIZE - (size_t)n, format, args);
}

/* A vector of n numbers, as a tensor of one row. */
static void vector(binder *b, es_tensor **t, int64_t n, const char *prefix, const char *format, ...) ES_PRINTF(5, 6);
static void vector(binder *b, es_tensor **t, int64_t n, const char *prefix, const char *format, ...)
{
    char name[NAME_SIZE];
    va_list args;
    va_start(args, format);
    make_name(name, prefix, format, args);
    va_end(args);
    const es_view *view = want(b, name, false, 1, &n);
    if (view == NULL)
        return;
    float *numbers = es_calloc((size_t)n, sizeof *numbers);
    if (numbers == NULL) {
        b->status = es_fail_memory(b->err, name, (size_t)n * sizeof *numbers);
        return;
    }
    b->status = es_view_floats(view, numbers, b->err);
    if (b->status == ES_OK)
        b->status = es_tensor_create(b->device, t, 1, n, b->err);
    if (b->status == ES_OK)
        es_op_write(b->device, *t, numbers, 1);
    free(numbers);
}

/* The scales and biases of layer `name` [rows, cols / group], and its packed weight [rows, cols * bits / 32]. */
static bool packed_source(binder *b, es_matrix_source *source, const char *name)
{
    char part[NAME_SIZE + 16];
    es_quant quant = es_model_config_quant(b->config, name);
    if (quant.bits == 0) {
        b->status = es_fail(b->err, ES_ERR_FORMAT,
                            "layer \"%s\" is quantised in the checkpoint, config.json does not say how", name);
        return false;
    }
    if (source->cols % quant.group != 0) {
        b->status = es_fail(b->err, ES_ERR_FORMAT, "layer \"%s\": %lld columns are not whole groups of %d", name,
                            (long long)source->cols, (int)quant.group);
        return false;
    }
    int64_t packed[] = {source->rows, source->cols * quant.bits / 32}; /* whole: a group has 32 columns or more */
    int64_t grouped[] = {source->rows, source->cols / quant.group};
    snprintf(part, sizeof part, "%s.weight", name);
    const es_view *weight = want(b, part, true, 2, packed);
    snprintf(part, sizeof part, "%s.scales", name);
    const es_view *scales = want(b, part, false, 2, grouped);
    snprintf(part, sizeof part, "%s.biases", name);
    const es_view *biases = want(b, part, false, 2, grouped);
    if (weight == NULL || scales == NULL || biases == NULL)
        return false;
    if (scales->dtype != biases->dtype) {
        b->status = es_fail(b->err, ES_ERR_FORMAT, "%s: tensor \"%s\" is %s, the layer's scales are %s", biases->file,
                            part, biases->type, scales->type);
        return false;
    }
    source->dtype = ES_U32;
    source->data = weight->data;
    source->bits = quant.bits;
    source->group = quant.group;
    source->scales = scales->data;
    source->biases = biases->data;
    source->scale_dtype = scales->dtype;
    return true;
}

/* A matrix from its source, or from the cache of ready weights. */
static void make(binder *b, es_matrix **m, es_matrix_source *source)
{
    es_ready *r = b->ready;
    size_t size = es_matrix_ready_size(b->device, source);
    bool kept = r != NULL && r->from != NULL;
    if (size > 0 && kept) {
        source->ready = es_weight_cache_next(r->from, size);
        source->ready_size = size;
        r->failed = source->ready == NULL;
        if (r->failed) {
            b->status = es_fail(b->err, ES_ERR_FORMAT, "the cache of ready weights is damaged");
            return;
        }
    }
    b->status = es_matrix_create(b->device, m, source, b->err);
    if (b->device->copies_weights || (size > 0 && !kept))
        es_tensors_rest(b->tensors); /* or each weight would take its memory twice */
    if (b->status != ES_OK || size == 0 || r == NULL || kept)
        return;
    const void *made = es_matrix_ready(b->device, *m, &size);
    b->status = es_weight_cache_add(r->to, made, size, b->err);
    r->failed = b->status != ES_OK;
    es_matrix_free(b->device, *m);
    *m = NULL;
}

/* The weight of a layer, [rows, cols]: quantised when the checkpoint has scales for it, else plain. */
static void matrix(binder *b, es_matrix **m, int64_t rows, int64_t cols, const char *prefix, const char *format, ...)
    ES_PRINTF(6, 7);
static void matrix(binder *b, es_matrix **m, int64_t rows, int64_t cols, const char *prefix, const char *format, ...)
{
    char name[NAME_SIZE], part[NAME_SIZE + 16];
    va_list args;
    va_start(args, format);
    make_name(name, prefix, format, args);
    va_end(args);
    if (b->status != ES_OK)
        return;
    es_matrix_source source = {.rows = rows, .cols = cols, .use = b->use, .kind = b->kind};
    b->kind = ES_ROWS_EVEN;
    snprintf(part, sizeof part, "%s.scales", name);
    if (es_tensors_find(b->tensors, part) != NULL) {
        if (!packed_source(b, &source, name))
            return;
    } else {
        int64_t dims[] = {rows, cols};
        snprintf(part, sizeof part, "%s.weight", name);
        const es_view *view = want(b, part, false, 2, dims);
        if (view == NULL)
            return;
        source.dtype = view->dtype;
        source.data = view->data;
    }
    make(b, m, &source);
}

/* --- vision --- */

/* [hidden, time, y, x, channel] to [hidden, channel, time, y, x]. */
static void channels_first(float *to, const float *from, int64_t hidden, int64_t pixels, int64_t channels)
{
    for (int64_t h = 0; h < hidden; h++) {
        for (int64_t p = 0; p < pixels; p++) {
            for (int64_t c = 0; c < channels; c++)
                to[(h * channels + c) * pixels + p] = from[(h * pixels + p) * channels + c];
        }
    }
}

/* A float32 copy of a channels-last convolution with its columns in the order of es_patches. */
static void copy_patch(binder *b, es_weights *w, const es_view *view)
{
    const es_vision_config *v = &b->config->vision;
    int64_t count = (int64_t)v->hidden * v->patch_dim;
    float *numbers = es_calloc((size_t)count, sizeof *numbers);
    w->patch_copy = es_calloc((size_t)count, sizeof *w->patch_copy);
    if (numbers == NULL || w->patch_copy == NULL)
        b->status = es_fail_memory(b->err, "the patch embedding", (size_t)count * sizeof *numbers);
    else
        b->status = es_view_floats(view, numbers, b->err);
    if (b->status == ES_OK)
        channels_first(w->patch_copy, numbers, v->hidden, v->patch_dim / v->in_channels, v->in_channels);
    free(numbers);
}

static void bind_patch(binder *b, es_weights *w)
{
    const es_vision_config *v = &b->config->vision;
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%spatch_embed.proj.weight", b->vision);
    const int64_t first[] = {v->hidden, v->in_channels, v->temporal_patch_size, v->patch_size, v->patch_size};
    const int64_t last[] = {v->hidden, v->temporal_patch_size, v->patch_size, v->patch_size, v->in_channels};
    const es_view *view = es_tensors_find(b->tensors, name);
    bool is_last = view != NULL && view->n_dims == 5 && memcmp(view->dims, last, sizeof last) == 0;
    /* A shape that reads either way (3 pixels, 3 slices) is what the file's namers do. */
    if (is_last && memcmp(first, last, sizeof last) == 0)
        is_last = b->vision == vision_prefixes[MLX];
    view = want(b, name, false, 5, is_last ? last : first);
    if (view == NULL)
        return;
    es_matrix_source source = {
        .rows = v->hidden, .cols = v->patch_dim, .dtype = view->dtype, .data = view->data, .use = ES_USE_VISION};
    if (is_last) {
        copy_patch(b, w, view);
        source.dtype = ES_F32;
        source.data = w->patch_copy;
    }
    if (b->status == ES_OK)
        make(b, &w->patch.w, &source);
    vector(b, &w->patch.bias, v->hidden, b->vision, "patch_embed.proj.bias");
}

static void bind_merger(binder *b, es_merger *m, int64_t norm, const char *prefix)
{
    const es_vision_config *v = &b->config->vision;
    int64_t wide = (int64_t)v->hidden * v->merge_size * v->merge_size;
    vector(b, &m->norm_gain, norm, prefix, "norm.weight");
    vector(b, &m->norm_bias, norm, prefix, "norm.bias");
    matrix(b, &m->fc1.w, wide, wide, prefix, "linear_fc1");
    vector(b, &m->fc1.bias, wide, prefix, "linear_fc1.bias");
    b->kind = ES_ROWS_PEAKED;
    matrix(b, &m->fc2.w, v->out_hidden, wide, prefix, "linear_fc2");
    vector(b, &m->fc2.bias, v->out_hidden, prefix, "linear_fc2.bias");
}

static void bind_vision_block(binder *b, es_vision_block *k, int32_t i)
{
    const es_vision_config *v = &b->config->vision;
    int64_t hidden = v->hidden, wide = v->intermediate;
    char p[NAME_SIZE];
    snprintf(p, sizeof p, "%sblocks.%d.", b->vision, (int)i);
    vector(b, &k->norm1_gain, hidden, p, "norm1.weight");
    vector(b, &k->norm1_bias, hidden, p, "norm1.bias");
    vector(b, &k->norm2_gain, hidden, p, "norm2.weight");
    vector(b, &k->norm2_bias, hidden, p, "norm2.bias");
    matrix(b, &k->qkv.w, 3 * hidden, hidden, p, "attn.qkv");
    vector(b, &k->qkv.bias, 3 * hidden, p, "attn.qkv.bias");
    matrix(b, &k->proj.w, hidden, hidden, p, "attn.proj");
    vector(b, &k->proj.bias, hidden, p, "attn.proj.bias");
    matrix(b, &k->fc1.w, wide, hidden, p, "mlp.linear_fc1");
    vector(b, &k->fc1.bias, wide, p, "mlp.linear_fc1.bias");
    b->kind = ES_ROWS_PEAKED;
    matrix(b, &k->fc2.w, hidden, wide, p, "mlp.linear_fc2");
    vector(b, &k->fc2.bias, hidden, p, "mlp.linear_fc2.bias");
}

static void bind_vision(binder *b, es_weights *w)
{
    const es_vision_config *v = &b->config->vision;
    char p[NAME_SIZE];
    bind_patch(b, w);
    b->use = ES_USE_EXACT; /* a table, never multiplied by */
    matrix(b, &w->positions, (int64_t)v->position_side * v->position_side, v->hidden, b->vision, "pos_embed");
    b->use = ES_USE_VISION;
    for (int32_t i = 0; i < v->depth && b->status == ES_OK; i++)
        bind_vision_block(b, &w->blocks[i], i);
    snprintf(p, sizeof p, "%smerger.", b->vision);
    bind_merger(b, &w->merger, v->hidden, p);
    for (int32_t i = 0; i < v->deepstack_count && b->status == ES_OK; i++) {
        snprintf(p, sizeof p, "%sdeepstack_merger_list.%d.", b->vision, (int)i);
        bind_merger(b, &w->deepstack[i], (int64_t)v->hidden * v->merge_size * v->merge_size, p);
    }
}

/* --- text --- */

/* A projection of attention, which has a bias where the configuration says so. */
static void projection(binder *b, es_linear *l, int64_t rows, int64_t cols, const char *prefix, const char *name)
{
    matrix(b, &l->w, rows, cols, prefix, "%s", name);
    if (b->config->text.attention_bias)
        vector(b, &l->bias, rows, prefix, "%s.bias", name);
}

static void bind_text_layer(binder *b, es_text_layer *l, int32_t i)
{
    const es_text_config *t = &b->config->text;
    int64_t hidden = t->hidden, wide = t->intermediate;
    int64_t q = (int64_t)t->heads * t->head_dim, kv = (int64_t)t->kv_heads * t->head_dim;
    char p[NAME_SIZE];
    snprintf(p, sizeof p, "%slayers.%d.", b->text, (int)i);
    vector(b, &l->input_norm, hidden, p, "input_layernorm.weight");
    vector(b, &l->post_norm, hidden, p, "post_attention_layernorm.weight");
    vector(b, &l->q_norm, t->head_dim, p, "self_attn.q_norm.weight");
    vector(b, &l->k_norm, t->head_dim, p, "self_attn.k_norm.weight");
    projection(b, &l->q, q, hidden, p, "self_attn.q_proj");
    projection(b, &l->k, kv, hidden, p, "self_attn.k_proj");
    projection(b, &l->v, kv, hidden, p, "self_attn.v_proj");
    projection(b, &l->o, hidden, q, p, "self_attn.o_proj");
    matrix(b, &l->gate.w, wide, hidden, p, "mlp.gate_proj");
    matrix(b, &l->up.w, wide, hidden, p, "mlp.up_proj");
    b->kind = ES_ROWS_PEAKED;
    matrix(b, &l->down.w, hidden, wide, p, "mlp.down_proj");
}

static void bind_text(binder *b, es_weights *w)
{
    const es_text_config *t = &b->config->text;
    b->use = t->tied_head ? ES_USE_HEAD : ES_USE_EXACT;
    matrix(b, &w->embed, t->vocab, t->hidden, b->text, "embed_tokens");
    b->use = ES_USE_TEXT;
    for (int32_t i = 0; i < t->layers && b->status == ES_OK; i++)
        bind_text_layer(b, &w->layers[i], i);
    vector(b, &w->final_norm, t->hidden, b->text, "norm.weight");
    if (t->tied_head) {
        w->head = w->embed;
    } else {
        b->use = ES_USE_HEAD;
        matrix(b, &w->head, t->vocab, t->hidden, b->head, "%s", "");
    }
}

/* --- all together --- */

static bool has(const es_tensors *tensors, const char *prefix, const char *rest)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s%s", prefix, rest);
    return es_tensors_find(tensors, name) != NULL;
}

/* Each part may follow its own naming; a file that follows none is asked for the published names. */
static void find_naming(binder *b)
{
    int text = 0, vision = 0;
    for (int i = NAMINGS; i-- > 0;) {
        if (has(b->tensors, text_prefixes[i], "embed_tokens.weight") ||
            has(b->tensors, text_prefixes[i], "norm.weight"))
            text = i;
        if (has(b->tensors, vision_prefixes[i], "patch_embed.proj.weight") ||
            has(b->tensors, vision_prefixes[i], "pos_embed.weight"))
            vision = i;
    }
    b->text = text_prefixes[text];
    b->head = head_names[text];
    b->vision = vision_prefixes[vision];
}

es_status es_weights_bind(es_weights *weights, es_device *device, const es_model_config *config,
                          const es_tensors *tensors, es_ready *ready, es_error *err)
{
    binder b = {.device = device, .config = config, .tensors = tensors, .ready = ready, .status = ES_OK, .err = err};
    *weights = (es_weights){0};
    find_naming(&b);
    weights->blocks = es_calloc((size_t)config->vision.depth, sizeof *weights->blocks);
    weights->deepstack = es_calloc((size_t)config->vision.deepstack_count, sizeof *weights->deepstack);
    weights->layers = es_calloc((size_t)config->text.layers, sizeof *weights->layers);
    if (weights->blocks == NULL || weights->deepstack == NULL || weights->layers == NULL)
        b.status = es_fail_memory(err, "the model's layers", 0);
    bind_text(&b, weights);
    bind_vision(&b, weights);
    if (b.status == ES_OK)
        b.status = es_device_check(device, err); /* what the vectors' writing met */
    if (b.status != ES_OK) {
        es_weights_free(weights, device, config);
        return b.status;
    }
    return ES_OK;
}

static void free_linear(es_device *device, es_linear *l)
{
    es_matrix_free(device, l->w);
    es_tensor_free(device, l->bias);
}

static void free_merger(es_device *device, es_merger *m)
{
    es_tensor_free(device, m->norm_gain);
    es_tensor_free(device, m->norm_bias);
    free_linear(device, &m->fc1);
    free_linear(device, &m->fc2);
}

static void free_vision_block(es_device *device, es_vision_block *k)
{
    es_tensor *tensors[] = {k->norm1_gain, k->norm1_bias, k->norm2_gain, k->norm2_bias};
    es_linear *linears[] = {&k->qkv, &k->proj, &k->fc1, &k->fc2};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        es_tensor_free(device, tensors[i]);
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++)
        free_linear(device, linears[i]);
}

static void free_text_layer(es_device *device, es_text_layer *l)
{
    es_tensor *tensors[] = {l->input_norm, l->post_norm, l->q_norm, l->k_norm};
    es_linear *linears[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        es_tensor_free(device, tensors[i]);
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++)
        free_linear(device, linears[i]);
}

void es_weights_free(es_weights *weights, es_device *device, const es_model_config *config)
{
    free_linear(device, &weights->patch);
    es_matrix_free(device, weights->positions);
    for (int32_t i = 0; weights->blocks != NULL && i < config->vision.depth; i++)
        free_vision_block(device, &weights->blocks[i]);
    free_merger(device, &weights->merger);
    for (int32_t i = 0; weights->deepstack != NULL && i < config->vision.deepstack_count; i++)
        free_merger(device, &weights->deepstack[i]);
    for (int32_t i = 0; weights->layers != NULL && i < config->text.layers; i++)
        free_text_layer(device, &weights->layers[i]);
    es_tensor_free(device, weights->final_norm);
    if (weights->head != weights->embed)
        es_matrix_free(device, weights->head);
    es_matrix_free(device, weights->embed);
    free(weights->blocks);
    free(weights->deepstack);
    free(weights->layers);
    free(weights->patch_copy);
    *weights = (es_weights){0};
}
