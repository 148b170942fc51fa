/* weights.h - a checkpoint's tensors bound by name and exact shape to the places the model computes with.
 *
 * Two namings are known: as published (model.language_model.*, model.visual.*) and MLX-converted
 * (language_model.model.*, vision_tower.*, channels last in the patch convolution, affine groups).
 */
#ifndef ES_MODEL_WEIGHTS_H
#define ES_MODEL_WEIGHTS_H

#include "compute/compute.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "model/weight_cache.h"

typedef struct es_linear {
    es_matrix *w;    /* [out, in] */
    es_tensor *bias; /* [1, out] or NULL */
} es_linear;

typedef struct es_vision_block {
    es_tensor *norm1_gain, *norm1_bias, *norm2_gain, *norm2_bias; /* [1, hidden] */
    es_linear qkv, proj, fc1, fc2;
} es_vision_block;

typedef struct es_merger {
    es_tensor *norm_gain, *norm_bias; /* [1, hidden] for the last one, [1, 4 * hidden] for DeepStack's */
    es_linear fc1, fc2;
} es_merger;

typedef struct es_text_layer {
    es_tensor *input_norm, *post_norm; /* [1, hidden] */
    es_tensor *q_norm, *k_norm;        /* [1, head_dim] */
    es_linear q, k, v, o, gate, up, down;
} es_text_layer;

typedef struct es_weights {
    es_linear patch;      /* [hidden, patch_dim], columns in the order of es_patches */
    es_matrix *positions; /* [side^2, vision hidden] */
    es_vision_block *blocks;
    es_merger merger;
    es_merger *deepstack;
    es_matrix *embed; /* [vocab, hidden] */
    es_text_layer *layers;
    es_tensor *final_norm; /* [1, hidden] */
    es_matrix *head;       /* [vocab, hidden]; the same handle as embed when tied */
    float *patch_copy;     /* what patch.w points at when the file has it channels last; NULL: it points at the file */
} es_weights;

/* Weights in a device's own order, from a cache or for one: one of the two is not NULL. */
typedef struct es_ready {
    es_weight_cache *from;
    es_weight_cache_out *to; /* those made go there one by one, and are not kept: what is bound computes nothing */
    bool failed;             /* binding failed, and only because of the cache */
} es_ready;

/* Binds; `ready` may be NULL; `tensors` must outlive the weights. Errors name the tensor, the shape found and the one
 * expected. On failure everything made so far is freed and *weights is all zeros. */
es_status es_weights_bind(es_weights *weights, es_device *device, const es_model_config *config,
                          const es_tensors *tensors, es_ready *ready, es_error *err);
/* Zeroed weights are fine. */
void es_weights_free(es_weights *weights, es_device *device, const es_model_config *config);

#endif
