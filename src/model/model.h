/* model.h - an opened checkpoint: immutable, on a device, ready to compute with. */
#ifndef ES_MODEL_MODEL_H
#define ES_MODEL_MODEL_H

#include "model/chat.h"
#include "model/config.h"
#include "model/positions.h"
#include "model/preprocess.h"
#include "model/safetensors.h"
#include "model/tokenizer.h"
#include "model/weights.h"

typedef struct es_model {
    char *dir;
    es_device *device; /* borrowed */
    es_model_config config;
    es_preprocess preprocess;
    es_tokenizer *tokenizer;
    es_tensors *tensors;
    es_weight_cache *cache; /* NULL, or what the weights lie in */
    es_weights weights;
    float *position_table; /* [position_side^2, vision hidden], float32 on the host: interpolated anew for
                              each size */
} es_model;

/* Opens DIR on a device, which must outlive the model. */
es_status es_model_open(es_model **model, es_device *device, const char *dir, es_error *err);
/* The same with the device's own order of the weights kept in CACHE_DIR (NULL: not kept): the next open maps them, and
 * processes share them. A cache that cannot be written, or read, costs time only. */
es_status es_model_open_cached(es_model **model, es_device *device, const char *dir, const char *cache_dir,
                               es_error *err);
/* The same as users say it: FOLDER NULL: the user's own cache; "": not kept. */
es_status es_model_open_kept(es_model **model, es_device *device, const char *dir, const char *folder, es_error *err);
void es_model_free(es_model *model);

/* Watches intermediate tensors by name; used by traces and parity tests. NULL where nobody watches. The
 * tensor is read-only and lives until the call returns. */
typedef struct es_watch {
    void (*see)(void *context, const char *name, es_device *device, const es_tensor *tensor);
    void *context;
} es_watch;
void es_watch_see(const es_watch *watch, es_device *device, const es_tensor *tensor, const char *format, ...)
    ES_PRINTF(4, 5);

/* Checked between blocks and layers of long computations. NULL: never. */
typedef struct es_cancel {
    bool (*asked)(void *context);
    void *context;
} es_cancel;
bool es_cancel_asked(const es_cancel *cancel);

/* What the tower makes of one picture: embeddings for its tokens, and the features that DeepStack adds to the
 * first text layers. Kept on the host so that it can be cached, and does not hold device memory while the
 * picture waits; but where the way to the host and back is dear (es_device's keeps_pictures) on the device, and on the
 * host too once it is fetched. */
typedef struct es_vision_output {
    int32_t grid_h, grid_w; /* merged rows and columns: tokens = grid_h * grid_w */
    int64_t tokens, dim;
    int32_t levels;   /* DeepStack levels */
    float *data;      /* [1 + levels, tokens, dim], or NULL; owned; es_vision_output_free */
    es_tensor **rows; /* NULL, or [1 + levels], each [tokens, dim] on `device`; owned */
    es_device *device;
} es_vision_output;
void es_vision_output_free(es_vision_output *output);
/* Makes `data` where only the device has it. Waits. */
es_status es_vision_output_fetch(es_vision_output *output, es_error *err);

/* Scratch tensors of the tower, grown to the largest picture seen; zero-initialise. What depends on the
 * picture's size only (positions, rope) is kept for the next picture, which in a recording has the same size.
 */
typedef struct es_vision_scratch {
    es_tensor *x, *norm;  /* [patches, hidden] */
    es_tensor *mid;       /* one after the other: the patches; queries, keys and values; what lies within an MLP */
    es_tensor *out;       /* [tokens, out_hidden] */
    es_tensor *positions; /* [patches, hidden] of grid_h x grid_w */
    es_tensor *table;     /* [patches, head_dim] of grid_h x grid_w */
    int64_t capacity;     /* patches */
    int32_t grid_h, grid_w;
} es_vision_scratch;
void es_vision_scratch_free(es_vision_scratch *scratch, es_device *device);

/* A picture on its way through the tower, which may pause between blocks. The scratch is its own until it is done. */
typedef struct es_vision_run {
    es_vision_output output; /* what is done of it */
    int32_t block;           /* the next block; depth: only the merger is left */
} es_vision_run;
es_status es_vision_begin(const es_model *model, es_vision_scratch *scratch, const es_patches *patches,
                          es_vision_run *run, const es_watch *watch, es_error *err);
/* One block further, or the merger at the end; *done tells that run->output is whole and now the caller's. After a
 * failure the run is empty. */
es_status es_vision_advance(const es_model *model, es_vision_scratch *scratch, es_vision_run *run, bool *done,
                            const es_watch *watch, es_error *err);
void es_vision_run_free(es_vision_run *run);

/* All of it at once. */
es_status es_vision_encode(const es_model *model, es_vision_scratch *scratch, const es_patches *patches,
                           es_vision_output *output, const es_watch *watch, const es_cancel *cancel, es_error *err);

/* Rows to push through the text decoder at once: parts of any number of sequences. */
typedef struct es_text_batch {
    int64_t rows;
    const int32_t *ids;           /* [rows]; ignored where a visual row replaces it */
    const es_position *positions; /* [rows] */
    const es_attend *sequences;   /* [sequence_count]: rows, past tokens and pages of each */
    size_t sequence_count;
    /* Rows that are picture tokens: batch row, and its row within the outputs. */
    const struct es_visual_row {
        int32_t row;
        const es_vision_output *output;
        int32_t token;
    } * visual;
    int64_t visual_count;
    const int32_t *logit_rows; /* rows whose logits are wanted, in any order: each of a sequence */
    int64_t logit_count;
    int32_t *best; /* NULL; or [logit_count]: what es_op_best says of these rows, instead of their logits */
} es_text_batch;

/* Scratch tensors of the decoder; zero-initialise. */
typedef struct es_text_scratch {
    es_tensor *x, *norm;  /* [rows, hidden] */
    es_tensor *k, *v;     /* [rows, kv_heads * head_dim] */
    es_tensor *gate, *up; /* [rows, intermediate], or [rows, heads * head_dim]: what was attended, and queries */
    es_tensor *table;     /* [rows, head_dim] */
    es_tensor *picked;    /* [logit rows, hidden]: the rows whose logits are wanted */
    es_tensor *logits;    /* [logit rows, vocab] */
    float *host;          /* [rows, head_dim] */
    int32_t *rows;        /* [rows] */
    es_attend *wanted;    /* [logit rows]: the rows of `picked`, those that follow one another together */
    size_t wanted_count;
    int64_t capacity;       /* rows */
    int64_t logit_capacity; /* rows of logits */
} es_text_scratch;
void es_text_scratch_free(es_text_scratch *scratch, es_device *device);
/* Makes room for batches of so many rows and rows of logits, so that none has to. */
es_status es_text_reserve(es_text_scratch *scratch, const es_model *model, int64_t rows, int64_t logit_rows,
                          es_error *err);

/* Runs the batch, storing keys and values in kv. logits [logit_count, vocab] on the host. What the last layer makes of
 * other rows is computed only where somebody watches. */
es_status es_text_forward(const es_model *model, es_text_scratch *scratch, es_kv *kv, const es_text_batch *batch,
                          float *logits, const es_watch *watch, const es_cancel *cancel, es_error *err);

#endif
