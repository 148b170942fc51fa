/* test_weights.c - each tensor of a checkpoint reaches its place in the model, under every naming and storage, and one
 * that is missing or of the wrong shape or type stops everything with its name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/weights.h"
#include "faults.h"
#include "tape.h"

/* --- a checkpoint in which every number tells where it is from --- */

enum { PUBLISHED, MLX, OLDER };

typedef struct recipe {
    int naming;
    es_dtype dtype;       /* of what is plain */
    es_dtype scale_dtype; /* of what is packed */
    bool packed_vision;   /* the tower too */
    bool channels_last;   /* of the patch convolution */
    const char *skip;     /* this tensor is left out */
    const char *twist;    /* this one gets its last dimension plus one */
    const char *retype;   /* this one becomes of type `to` */
    es_dtype to;
    bool blank; /* all plain numbers are zero: only names and shapes matter */
    const es_model_config *config;
} recipe;

/* What a tensor's numbers begin from, by its published name. */
static uint32_t seed_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (const char *p = name; *p != '\0'; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    return hash % 9973;
}

/* The number at place i of that tensor: whole, small, exact in every type. */
static float number_of(uint32_t seed, int64_t i)
{
    return (float)((seed + (uint64_t)i * 7 + (uint64_t)i / 13) % 251);
}

static void put_number(uint8_t *place, es_dtype dtype, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (dtype == ES_F32 || dtype == ES_U32) {
        memcpy(place, &bits, sizeof bits);
    } else if (dtype == ES_BF16) {
        bits >>= 16;
        memcpy(place, &bits, 2);
    } else { /* half: what we put is zero, a quarter or a whole number, never subnormal */
        uint32_t half = value == 0 ? 0 : (bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023);
        memcpy(place, &half, 2);
    }
}

static size_t put_size(es_dtype dtype)
{
    return dtype == ES_F32 || dtype == ES_U32 ? 4 : 2;
}

static void add(es_tensors_out *out, const recipe *r, const char *name, es_dtype dtype, int n_dims, const int64_t *dims,
                const uint8_t *bytes)
{
    int64_t shape[ES_MAX_DIMS];
    int64_t count = 1;
    if (r->skip != NULL && strcmp(r->skip, name) == 0)
        return;
    if (r->retype != NULL && strcmp(r->retype, name) == 0)
        dtype = r->to;
    for (int i = 0; i < n_dims; i++) {
        shape[i] = dims[i];
        if (i == n_dims - 1 && r->twist != NULL && strcmp(r->twist, name) == 0)
            shape[i]++;
        count *= shape[i];
    }
    uint8_t *copy = es_calloc((size_t)count, 4);
    assert_non_null(copy);
    int64_t room = count;
    for (int i = 0; i < n_dims; i++)
        room = i == n_dims - 1 ? room / shape[i] * dims[i] : room;
    memcpy(copy, bytes, (size_t)room * (put_size(dtype) < 4 ? 2 : r->dtype == ES_F32 || dtype == ES_U32 ? 4 : 2));
    assert_int_equal(es_tensors_out_add(out, name, dtype, shape, n_dims, copy, NULL), ES_OK);
    free(copy);
}

/* What the tensor is called in a file of that naming. */
static void file_name(char *name, size_t size, const recipe *r, const char *published)
{
    static const char *const from[] = {"model.language_model.", "model.visual.", "lm_head."};
    static const char *const to[][3] = {{"model.language_model.", "model.visual.", "lm_head."},
                                        {"language_model.model.", "vision_tower.", "language_model.lm_head."},
                                        {"model.", "visual.", "lm_head."}};
    for (int i = 0; i < 3; i++) {
        if (strncmp(published, from[i], strlen(from[i])) == 0)
            snprintf(name, size, "%s%s", to[r->naming][i], published + strlen(from[i]));
    }
}

/* A packed matrix: q = number mod 2^bits, scale and bias by row. */
static void add_packed(es_tensors_out *out, const recipe *r, const char *name, const char *layer, const int64_t *dims)
{
    char part[220];
    es_quant q = es_model_config_quant(r->config, layer);
    int64_t words[] = {dims[0], dims[1] * q.bits / 32}, groups[] = {dims[0], dims[1] / q.group};
    uint8_t *packed = es_calloc((size_t)(words[0] * words[1]), 4);
    uint8_t *scales = es_calloc((size_t)(groups[0] * groups[1]), 4),
            *biases = es_calloc((size_t)(groups[0] * groups[1]), 4);
    assert_true(packed != NULL && scales != NULL && biases != NULL);
    uint32_t seed = seed_of(name);
    for (int64_t i = 0; i < dims[0] * dims[1]; i++) {
        uint32_t value = (uint32_t)number_of(seed, i) & ((1u << q.bits) - 1);
        for (int b = 0; b < q.bits; b++) {
            int64_t at = i % dims[1] * q.bits + b;
            packed[i / dims[1] * words[1] * 4 + at / 8] |= (uint8_t)((value >> b & 1) << (at % 8));
        }
    }
    for (int64_t i = 0; i < groups[0] * groups[1]; i++) {
        put_number(scales + (size_t)i * put_size(r->scale_dtype), r->scale_dtype, i % 2 == 0 ? 0.5f : 0.25f);
        put_number(biases + (size_t)i * put_size(r->scale_dtype), r->scale_dtype, -(float)(i % 8));
    }
    recipe packed_recipe = *r;
    packed_recipe.dtype = r->scale_dtype;
    snprintf(part, sizeof part, "%s.weight", layer);
    add(out, &packed_recipe, part, ES_U32, 2, words, packed);
    snprintf(part, sizeof part, "%s.scales", layer);
    add(out, &packed_recipe, part, r->scale_dtype, 2, groups, scales);
    snprintf(part, sizeof part, "%s.biases", layer);
    add(out, &packed_recipe, part, r->scale_dtype, 2, groups, biases);
    free(packed);
    free(scales);
    free(biases);
}

/* Adds one tensor under its published name and shape, as the recipe stores it. */
static void cook(es_tensors_out *out, const recipe *r, const char *published, int n_dims, const int64_t *dims)
{
    char name[200];
    file_name(name, sizeof name, r, published);
    char *tail = strstr(name, ".weight");
    bool vision = strncmp(published, "model.visual.", 13) == 0;
    if (r->config->quantized && n_dims == 2 && (!vision || r->packed_vision)) {
        char layer[200];
        snprintf(layer, sizeof layer, "%.*s", (int)(tail - name), name);
        if (es_model_config_quant(r->config, layer).bits != 0) {
            add_packed(out, r, published, layer, dims);
            return;
        }
    }
    int64_t shape[5], count = 1;
    for (int i = 0; i < n_dims; i++) {
        shape[i] = dims[i];
        count *= dims[i];
    }
    bool last = n_dims == 5 && r->channels_last;
    if (last) {
        memmove(shape + 1, shape + 2, 3 * sizeof *shape);
        shape[4] = dims[1];
    }
    uint8_t *bytes = es_calloc((size_t)count, 4);
    assert_non_null(bytes);
    uint32_t seed = seed_of(published);
    int64_t pixels = last ? dims[2] * dims[3] * dims[4] : 1;
    for (int64_t i = 0; i < count && !r->blank; i++) {
        int64_t c = i / pixels % (last ? dims[1] : 1), h = last ? i / pixels / dims[1] : 0;
        int64_t to = last ? (h * pixels + i % pixels) * dims[1] + c : i;
        put_number(bytes + (size_t)to * put_size(r->dtype), r->dtype, number_of(seed, i));
    }
    add(out, r, name, r->dtype, n_dims, shape, bytes);
    free(bytes);
}

static void cook_row(es_tensors_out *out, const recipe *r, const char *prefix, const char *rest, int64_t n)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s", prefix, rest);
    cook(out, r, name, 1, &n);
}

static void cook_matrix(es_tensors_out *out, const recipe *r, const char *prefix, const char *rest, int64_t rows,
                        int64_t cols)
{
    char name[160];
    int64_t dims[] = {rows, cols};
    snprintf(name, sizeof name, "%s%s.weight", prefix, rest);
    cook(out, r, name, 2, dims);
}

/* A layer with a bias. */
static void cook_linear(es_tensors_out *out, const recipe *r, const char *prefix, const char *rest, int64_t rows,
                        int64_t cols)
{
    char name[160];
    cook_matrix(out, r, prefix, rest, rows, cols);
    snprintf(name, sizeof name, "%s.bias", rest);
    cook_row(out, r, prefix, name, rows);
}

static void cook_text(es_tensors_out *out, const recipe *r)
{
    const es_text_config *t = &r->config->text;
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
    int64_t q = t->heads * t->head_dim, kv = t->kv_heads * t->head_dim, h = t->hidden, f = t->intermediate;
    const int64_t dims[][2] = {{q, h}, {kv, h}, {kv, h}, {h, q}, {f, h}, {f, h}, {h, f}};
    cook_matrix(out, r, "model.language_model.", "embed_tokens", t->vocab, h);
    cook_row(out, r, "model.language_model.", "norm.weight", h);
    if (!t->tied_head)
        cook_matrix(out, r, "lm_head", "", t->vocab, h);
    for (int i = 0; i < t->layers; i++) {
        char p[80];
        snprintf(p, sizeof p, "model.language_model.layers.%d.", i);
        cook_row(out, r, p, "input_layernorm.weight", h);
        cook_row(out, r, p, "post_attention_layernorm.weight", h);
        cook_row(out, r, p, "self_attn.q_norm.weight", t->head_dim);
        cook_row(out, r, p, "self_attn.k_norm.weight", t->head_dim);
        for (int k = 0; k < 7; k++) {
            if (t->attention_bias && k < 4)
                cook_linear(out, r, p, names[k], dims[k][0], dims[k][1]);
            else
                cook_matrix(out, r, p, names[k], dims[k][0], dims[k][1]);
        }
    }
}

static void cook_vision(es_tensors_out *out, const recipe *r)
{
    const es_vision_config *v = &r->config->vision;
    int64_t h = v->hidden, f = v->intermediate, wide = h * v->merge_size * v->merge_size;
    const int64_t patch[] = {h, v->in_channels, v->temporal_patch_size, v->patch_size, v->patch_size};
    char p[80];
    cook(out, r, "model.visual.patch_embed.proj.weight", 5, patch);
    cook_row(out, r, "model.visual.", "patch_embed.proj.bias", h);
    cook_matrix(out, r, "model.visual.", "pos_embed", v->position_side * v->position_side, h);
    for (int i = 0; i < v->depth; i++) {
        snprintf(p, sizeof p, "model.visual.blocks.%d.", i);
        cook_row(out, r, p, "norm1.weight", h);
        cook_row(out, r, p, "norm1.bias", h);
        cook_row(out, r, p, "norm2.weight", h);
        cook_row(out, r, p, "norm2.bias", h);
        cook_linear(out, r, p, "attn.qkv", 3 * h, h);
        cook_linear(out, r, p, "attn.proj", h, h);
        cook_linear(out, r, p, "mlp.linear_fc1", f, h);
        cook_linear(out, r, p, "mlp.linear_fc2", h, f);
    }
    for (int i = 0; i <= v->deepstack_count; i++) {
        bool last = i == v->deepstack_count;
        snprintf(p, sizeof p, last ? "model.visual.merger." : "model.visual.deepstack_merger_list.%d.", i);
        cook_row(out, r, p, "norm.weight", last ? h : wide);
        cook_row(out, r, p, "norm.bias", last ? h : wide);
        cook_linear(out, r, p, "linear_fc1", wide, wide);
        cook_linear(out, r, p, "linear_fc2", v->out_hidden, wide);
    }
}

/* A checkpoint in memory. */
typedef struct dish {
    uint8_t *bytes;
    es_tensors *tensors;
} dish;

static dish cook_all(const recipe *r)
{
    dish d;
    size_t size;
    es_tensors_out *out;
    es_error err = {0};
    assert_int_equal(es_tensors_out_create(&out, &err), ES_OK);
    cook_text(out, r);
    cook_vision(out, r);
    assert_int_equal(es_tensors_out_bytes(out, &d.bytes, &size, &err), ES_OK);
    es_tensors_out_free(out);
    if (es_tensors_open_memory(&d.tensors, d.bytes, size, "made.safetensors", &err) != ES_OK)
        fail_msg("%s", err.message);
    return d;
}

static void clear(dish *d)
{
    es_tensors_close(d->tensors);
    free(d->bytes);
}

static int begin(void **state)
{
    (void)state;
    faults_begin();
    return 0;
}

/* Small, and no two dimensions alike that could stand for one another. */
static es_model_config make_config(void)
{
    return (es_model_config){
        .vision = {.depth = 3,
                   .hidden = 8,
                   .heads = 2,
                   .head_dim = 4,
                   .intermediate = 20,
                   .patch_size = 5,
                   .temporal_patch_size = 2,
                   .merge_size = 2,
                   .in_channels = 3,
                   .out_hidden = 12,
                   .position_side = 3,
                   .deepstack_count = 2,
                   .deepstack = {0, 1},
                   .rope_theta = 10000,
                   .patch_dim = 150},
        .text = {.layers = 2,
                 .hidden = 12,
                 .heads = 4,
                 .kv_heads = 2,
                 .head_dim = 6,
                 .intermediate = 18,
                 .vocab = 40,
                 .max_positions = 64,
                 .rms_eps = 1e-6f,
                 .rope_theta = 1e4,
                 .mrope_section = {1, 1, 1},
                 .tied_head = true},
    };
}

/* --- what was bound --- */

static void check_row(const es_tensor *t, const char *prefix, const char *rest, int64_t n)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s", prefix, rest);
    assert_non_null(t);
    assert_int_equal(t->rows, 1);
    assert_int_equal(t->cols, n);
    uint32_t seed = seed_of(name);
    for (int64_t i = 0; i < n; i++) {
        if (((const tape_tensor *)t)->data[i] != number_of(seed, i))
            fail_msg("%s[%d]", name, (int)i);
    }
}

static void check_matrix(const es_matrix *m, const char *prefix, const char *rest, int64_t rows, int64_t cols)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s.weight", prefix, rest);
    assert_non_null(m);
    assert_int_equal(m->rows, rows);
    assert_int_equal(m->cols, cols);
    const tape_matrix *t = (const tape_matrix *)m;
    uint32_t seed = seed_of(name);
    for (int64_t i = 0; i < rows * cols; i++) {
        float expected = number_of(seed, i);
        if (t->source.bits != 0) {
            int64_t g = i / cols * (cols / t->source.group) + i % cols / t->source.group;
            expected = (float)((uint32_t)expected & ((1u << t->source.bits) - 1)) * (g % 2 == 0 ? 0.5f : 0.25f) -
                       (float)(g % 8);
        }
        if (t->data[i] != expected)
            fail_msg("%s[%d] is %g, expected %g", name, (int)i, (double)t->data[i], (double)expected);
    }
}

static void check_linear(const es_linear *l, const char *prefix, const char *rest, int64_t rows, int64_t cols,
                         bool bias)
{
    char name[160];
    check_matrix(l->w, prefix, rest, rows, cols);
    snprintf(name, sizeof name, "%s.bias", rest);
    if (bias)
        check_row(l->bias, prefix, name, rows);
    else
        assert_null(l->bias);
}

static void check_text(const es_weights *w, const es_text_config *t)
{
    int64_t q = t->heads * t->head_dim, kv = t->kv_heads * t->head_dim, h = t->hidden, f = t->intermediate;
    check_matrix(w->embed, "model.language_model.", "embed_tokens", t->vocab, h);
    check_row(w->final_norm, "model.language_model.", "norm.weight", h);
    if (t->tied_head)
        assert_true(w->head == w->embed);
    else
        check_matrix(w->head, "lm_head", "", t->vocab, h);
    for (int i = 0; i < t->layers; i++) {
        const es_text_layer *l = &w->layers[i];
        bool bias = t->attention_bias;
        char p[80];
        snprintf(p, sizeof p, "model.language_model.layers.%d.", i);
        check_row(l->input_norm, p, "input_layernorm.weight", h);
        check_row(l->post_norm, p, "post_attention_layernorm.weight", h);
        check_row(l->q_norm, p, "self_attn.q_norm.weight", t->head_dim);
        check_row(l->k_norm, p, "self_attn.k_norm.weight", t->head_dim);
        check_linear(&l->q, p, "self_attn.q_proj", q, h, bias);
        check_linear(&l->k, p, "self_attn.k_proj", kv, h, bias);
        check_linear(&l->v, p, "self_attn.v_proj", kv, h, bias);
        check_linear(&l->o, p, "self_attn.o_proj", h, q, bias);
        check_linear(&l->gate, p, "mlp.gate_proj", f, h, false);
        check_linear(&l->up, p, "mlp.up_proj", f, h, false);
        check_linear(&l->down, p, "mlp.down_proj", h, f, false);
    }
}

static void check_vision(const es_weights *w, const es_vision_config *v)
{
    int64_t h = v->hidden, f = v->intermediate, wide = h * v->merge_size * v->merge_size;
    char p[80];
    check_linear(&w->patch, "model.visual.", "patch_embed.proj", h, v->patch_dim, true);
    check_matrix(w->positions, "model.visual.", "pos_embed", v->position_side * v->position_side, h);
    for (int i = 0; i < v->depth; i++) {
        const es_vision_block *b = &w->blocks[i];
        snprintf(p, sizeof p, "model.visual.blocks.%d.", i);
        check_row(b->norm1_gain, p, "norm1.weight", h);
        check_row(b->norm1_bias, p, "norm1.bias", h);
        check_row(b->norm2_gain, p, "norm2.weight", h);
        check_row(b->norm2_bias, p, "norm2.bias", h);
        check_linear(&b->qkv, p, "attn.qkv", 3 * h, h, true);
        check_linear(&b->proj, p, "attn.proj", h, h, true);
        check_linear(&b->fc1, p, "mlp.linear_fc1", f, h, true);
        check_linear(&b->fc2, p, "mlp.linear_fc2", h, f, true);
    }
    for (int i = 0; i <= v->deepstack_count; i++) {
        bool last = i == v->deepstack_count;
        const es_merger *m = last ? &w->merger : &w->deepstack[i];
        snprintf(p, sizeof p, last ? "model.visual.merger." : "model.visual.deepstack_merger_list.%d.", i);
        check_row(m->norm_gain, p, "norm.weight", last ? h : wide);
        check_row(m->norm_bias, p, "norm.bias", last ? h : wide);
        check_linear(&m->fc1, p, "linear_fc1", wide, wide, true);
        check_linear(&m->fc2, p, "linear_fc2", v->out_hidden, wide, true);
    }
}

static void check_all(const recipe *r)
{
    tape_device device = make_device();
    dish tensors = cook_all(r);
    es_weights w;
    es_error err = {0};
    if (es_weights_bind(&w, &device.base, r->config, tensors.tensors, NULL, &err) != ES_OK)
        fail_msg("%s", err.message);
    check_text(&w, &r->config->text);
    check_vision(&w, &r->config->vision);
    assert_true(r->channels_last == (w.patch_copy != NULL));
    es_weights_free(&w, &device.base, r->config);
    assert_int_equal(device.live, 0);
    es_weights_free(&w, &device.base, r->config);
    clear(&tensors);
}

static void test_every_naming_and_plain_type_binds(void **state)
{
    (void)state;
    for (int naming = PUBLISHED; naming <= OLDER; naming++) {
        for (int dtype = ES_F32; dtype <= ES_BF16; dtype++) {
            for (int variant = 0; variant < 4; variant++) {
                es_model_config config = make_config();
                config.text.tied_head = variant % 2 == 0;
                config.text.attention_bias = variant / 2 == 1;
                recipe r = {
                    .naming = naming, .dtype = (es_dtype)dtype, .channels_last = naming == MLX, .config = &config};
                check_all(&r);
            }
        }
    }
}

static void test_a_patch_that_reads_both_ways_follows_the_naming(void **state)
{
    (void)state;
    es_model_config config = make_config();
    config.vision.patch_size = config.vision.temporal_patch_size = 3;
    config.vision.patch_dim = 81;
    recipe published = {.naming = PUBLISHED, .config = &config};
    recipe mlx = {.naming = MLX, .channels_last = true, .config = &config};
    check_all(&published);
    check_all(&mlx);
}

/* Wide enough for groups. */
static es_model_config make_wide_config(int bits, int group, bool vision)
{
    es_model_config config = make_config();
    config.text.hidden = config.vision.out_hidden = 128;
    config.text.heads = 4;
    config.text.head_dim = 32;
    config.text.intermediate = 256;
    if (vision)
        config.vision.hidden = config.vision.intermediate = 128;
    config.quantized = true;
    config.quant = (es_quant){bits, group};
    return config;
}

static void test_quantised_files_bind_at_every_width_and_group(void **state)
{
    (void)state;
    static const int bits[] = {4, 5, 6, 8}, groups[] = {32, 64, 128};
    for (int i = 0; i < 12; i++) {
        es_model_config config = make_wide_config(bits[i / 3], groups[i % 3], i % 4 == 3);
        config.text.tied_head = i % 2 == 0;
        recipe r = {.naming = MLX,
                    .dtype = ES_BF16,
                    .scale_dtype = (es_dtype)(i % 3),
                    .channels_last = true,
                    .packed_vision = i % 4 == 3,
                    .config = &config};
        check_all(&r);
    }
}

static void test_overrides_and_plain_layers_among_quantised_ones_bind(void **state)
{
    (void)state;
    es_model_config config = make_wide_config(4, 64, false);
    char down[] = "language_model.model.layers.1.mlp.down_proj", embed[] = "language_model.model.embed_tokens";
    es_quant_override overrides[] = {{embed, {0, 0}}, {down, {8, 32}}};
    config.overrides = overrides;
    config.override_count = 2;
    recipe r = {.naming = MLX, .dtype = ES_F16, .scale_dtype = ES_F16, .channels_last = true, .config = &config};
    check_all(&r);
}

/* --- what is wrong --- */

static void expect_failure(const recipe *r, es_status expected, const char *a, const char *b)
{
    tape_device device = make_device();
    dish tensors = cook_all(r);
    es_weights w, zero = {0};
    es_error err = {0};
    es_status status = es_weights_bind(&w, &device.base, r->config, tensors.tensors, NULL, &err);
    if (status != expected || strstr(err.message, a) == NULL || strstr(err.message, b) == NULL)
        fail_msg("expected \"%s\" and \"%s\" in %s: %s", a, b, es_status_name(status), err.message);
    assert_memory_equal(&w, &zero, sizeof w);
    assert_int_equal(device.live, 0);
    clear(&tensors);
}

static void test_each_missing_or_misshapen_tensor_is_named(void **state)
{
    (void)state;
    es_model_config config = make_config();
    config.text.tied_head = false;
    recipe whole = {.naming = PUBLISHED, .blank = true, .config = &config};
    dish all = cook_all(&whole);
    es_names names = {0};
    for (size_t i = 0; i < es_tensors_count(all.tensors); i++)
        assert_int_equal(es_names_add(&names, es_tensors_at(all.tensors, i)->name, NULL), ES_OK);
    clear(&all);
    assert_int_equal(names.count, 2 + 1 + 2 * 11 + 3 + 3 * 12 + 3 * 6);
    for (size_t i = 0; i < names.count; i++) {
        recipe r = whole;
        r.skip = names.items[i];
        expect_failure(&r, ES_ERR_FORMAT, names.items[i], "has no tensor");
        r = whole;
        r.twist = names.items[i];
        expect_failure(&r, ES_ERR_FORMAT, names.items[i], "must be F32, F16 or BF16 [");
        r = whole;
        r.retype = names.items[i];
        r.to = ES_U32;
        expect_failure(&r, ES_ERR_FORMAT, names.items[i], "is U32 [");
    }
    es_names_free(&names);
}

static void test_a_wrong_shape_is_shown_beside_the_right_one(void **state)
{
    (void)state;
    es_model_config config = make_config();
    recipe r = {.naming = PUBLISHED, .config = &config, .twist = "model.language_model.layers.1.mlp.down_proj.weight"};
    expect_failure(&r, ES_ERR_FORMAT, "is F32 [12, 19], must be", "[12, 18]");
    r.twist = "model.visual.patch_embed.proj.weight";
    expect_failure(&r, ES_ERR_FORMAT, "is F32 [8, 3, 2, 5, 6], must be", "[8, 3, 2, 5, 5]");
}

static void test_quantised_parts_that_do_not_fit_are_named(void **state)
{
    (void)state;
    es_model_config config = make_wide_config(4, 64, false);
    const char *const parts[] = {"language_model.model.embed_tokens.weight", "language_model.model.embed_tokens.scales",
                                 "language_model.model.layers.0.mlp.up_proj.biases",
                                 "language_model.model.layers.1.self_attn.o_proj.weight"};
    recipe whole = {.naming = MLX, .dtype = ES_BF16, .scale_dtype = ES_BF16, .channels_last = true, .config = &config};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        recipe r = whole;
        r.twist = parts[i];
        expect_failure(&r, ES_ERR_FORMAT, parts[i], "must be");
        r = whole;
        r.skip = parts[i];
        expect_failure(&r, ES_ERR_FORMAT, i == 1 ? "embed_tokens.weight" : parts[i],
                       i == 1 ? "is U32" : "has no tensor");
    }
    recipe r = whole;
    r.retype = parts[2];
    r.to = ES_F16;
    expect_failure(&r, ES_ERR_FORMAT, parts[2], "the layer's scales are BF16");

    dish tensors = cook_all(&whole); /* and read by settings that are not the file's */
    static const struct {
        es_quant quant;
        const char *expected;
    } cases[] = {
        {{0, 0}, "does not say how"}, {{8, 64}, "[40, 16], must be U32 [40, 32]"}, {{4, 32}, "must be F32, F16"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tape_device device = make_device();
        es_weights w;
        es_error err = {0};
        config.quant = cases[i].quant;
        assert_int_equal(es_weights_bind(&w, &device.base, &config, tensors.tensors, NULL, &err), ES_ERR_FORMAT);
        if (strstr(err.message, cases[i].expected) == NULL)
            fail_msg("%s", err.message);
        assert_int_equal(device.live, 0);
    }
    clear(&tensors);
}

static void test_columns_that_are_no_whole_groups_are_refused(void **state)
{
    (void)state;
    es_model_config config = make_wide_config(4, 64, false);
    recipe r = {.naming = MLX, .dtype = ES_BF16, .scale_dtype = ES_BF16, .channels_last = true, .config = &config};
    dish tensors = cook_all(&r);
    tape_device device = make_device();
    es_weights w;
    es_error err = {0};
    config.text.hidden = 120;
    assert_int_equal(es_weights_bind(&w, &device.base, &config, tensors.tensors, NULL, &err), ES_ERR_FORMAT);
    assert_non_null(strstr(err.message, "120 columns are not whole groups of 64"));
    clear(&tensors);
}

static void test_a_checkpoint_of_something_else_is_refused(void **state)
{
    (void)state;
    static const char other[] = "\2\0\0\0\0\0\0\0{}";
    es_model_config config = make_config();
    tape_device device = make_device();
    es_tensors *tensors;
    es_weights w;
    es_error err = {0};
    assert_int_equal(es_tensors_open_memory(&tensors, other, 10, "x", &err), ES_OK);
    assert_int_equal(es_weights_bind(&w, &device.base, &config, tensors, NULL, &err), ES_ERR_FORMAT);
    assert_non_null(strstr(err.message, "model.language_model.embed_tokens.weight"));
    es_tensors_close(tensors);
}

/* --- failures on the way --- */

typedef struct again {
    const es_model_config *config;
    const es_tensors *tensors;
} again;

static int bind_once(void *context)
{
    again *a = context;
    tape_device device = make_device();
    es_weights w;
    es_error err = {0};
    es_status status = es_weights_bind(&w, &device.base, a->config, a->tensors, NULL, &err);
    if (status == ES_OK)
        es_weights_free(&w, &device.base, a->config);
    if (device.live != 0)
        return -1;
    return status == ES_OK ? 0 : status == ES_ERR_MEMORY && err.status == status ? 1 : -1;
}

static void test_every_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    es_model_config config = make_config();
    config.text.tied_head = false;
    recipe r = {.naming = MLX, .dtype = ES_F16, .channels_last = true, .config = &config};
    dish tensors = cook_all(&r);
    again a = {&config, tensors.tensors};
    assert_true(faults_sweep(bind_once, &a, false) > 80);
    assert_true(faults_sweep(bind_once, &a, true) > 80);
    clear(&tensors);
}

static void test_a_device_that_refuses_any_handle_leaves_none_behind(void **state)
{
    (void)state;
    es_model_config config = make_config();
    recipe r = {.naming = PUBLISHED, .config = &config};
    dish tensors = cook_all(&r);
    int n = 1;
    for (;; n++) {
        tape_device device = make_device();
        device.refuse = n;
        es_weights w;
        es_error err = {0};
        es_status status = es_weights_bind(&w, &device.base, &config, tensors.tensors, NULL, &err);
        if (status == ES_OK) {
            es_weights_free(&w, &device.base, &config);
            assert_int_equal(device.live, 0);
            break;
        }
        assert_int_equal(status, ES_ERR_MEMORY);
        assert_int_equal(device.live, 0);
    }
    assert_int_equal(n, 1 + (int)es_tensors_count(tensors.tensors));
    clear(&tensors);
}

static void test_a_device_that_fails_later_is_heard(void **state)
{
    (void)state;
    es_model_config config = make_config();
    recipe r = {.naming = PUBLISHED, .config = &config};
    dish tensors = cook_all(&r);
    tape_device device = make_device();
    es_weights w;
    es_error err = {0};
    device.bad_write = true;
    assert_int_equal(es_weights_bind(&w, &device.base, &config, tensors.tensors, NULL, &err), ES_ERR_INTERNAL);
    assert_int_equal(device.live, 0);
    clear(&tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_naming_and_plain_type_binds),
        cmocka_unit_test(test_a_patch_that_reads_both_ways_follows_the_naming),
        cmocka_unit_test(test_quantised_files_bind_at_every_width_and_group),
        cmocka_unit_test(test_overrides_and_plain_layers_among_quantised_ones_bind),
        cmocka_unit_test(test_each_missing_or_misshapen_tensor_is_named),
        cmocka_unit_test(test_a_wrong_shape_is_shown_beside_the_right_one),
        cmocka_unit_test(test_quantised_parts_that_do_not_fit_are_named),
        cmocka_unit_test(test_columns_that_are_no_whole_groups_are_refused),
        cmocka_unit_test(test_a_checkpoint_of_something_else_is_refused),
        cmocka_unit_test(test_every_failing_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(test_a_device_that_refuses_any_handle_leaves_none_behind),
        cmocka_unit_test(test_a_device_that_fails_later_is_heard),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
