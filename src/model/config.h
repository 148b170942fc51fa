/* config.h - config.json of a Qwen3VLForConditionalGeneration, every value checked. */
#ifndef ES_MODEL_CONFIG_H
#define ES_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define ES_MAX_DEEPSTACK 16

typedef struct es_vision_config {
    int32_t depth, hidden, heads, head_dim, intermediate;
    int32_t patch_size, temporal_patch_size, merge_size, in_channels;
    int32_t out_hidden;    /* = text hidden */
    int32_t position_side; /* num_position_embeddings = side^2 */
    int32_t deepstack_count;
    int32_t deepstack[ES_MAX_DEEPSTACK]; /* block after which features are tapped, in list order */
    float rope_theta;                    /* 10000 */
    int32_t patch_dim;                   /* in_channels * temporal * patch^2 */
} es_vision_config;

typedef struct es_text_config {
    int32_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocab;
    int32_t max_positions; /* context, tokens */
    float rms_eps;
    double rope_theta;
    int32_t mrope_section[3]; /* pairs of each axis: time, height, width */
    bool tied_head;
    bool attention_bias; /* q, k, v and o have biases (no published Qwen3-VL does) */
} es_text_config;

/* MLX's affine quantisation of one weight; bits 0 means not quantised. */
typedef struct es_quant {
    int32_t bits, group;
} es_quant;

/* What config.json states for one layer, against the default. bits 0: left as it was. */
typedef struct es_quant_override {
    char *name; /* "language_model.model.layers.0.mlp.down_proj" */
    es_quant quant;
} es_quant_override;

typedef struct es_model_config {
    es_vision_config vision;
    es_text_config text;
    int32_t image_token, video_token, vision_start, vision_end;
    int32_t eos[8]; /* from generation_config.json, else config.json, else the tokenizer's <|im_end|> */
    int32_t eos_count;
    bool quantized;               /* a "quantization" section is present */
    es_quant quant;               /* its default */
    es_quant_override *overrides; /* per-layer settings, sorted by name */
    int32_t override_count;
} es_model_config;

/* Reads DIR/config.json and DIR/generation_config.json (optional). Errors name the key and its value. eos_count stays 0
 * when neither states an end: ask the tokenizer. On failure there is nothing to free. */
es_status es_model_config_open(es_model_config *config, const char *dir, es_error *err);
void es_model_config_free(es_model_config *config);

/* The quantisation that config.json states for the weight of layer `name` (without ".weight"): its override, or one
 * that leaves out "language_model." as text-only conversions do, or the default. A layer that the file holds without
 * ".scales" is plain whatever this says: MLX states its default for the whole model and quantises a part. */
es_quant es_model_config_quant(const es_model_config *config, const char *name);

#endif
