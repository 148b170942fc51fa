/* compute.h - PORT 2: where tensors live, and the dozen operations the model needs on them.
 *
 * A device owns its tensors and does arithmetic on rows. The model is written once against this table; a device may
 * work at once (cpu) or build a graph and evaluate it when something is read (lazy). No operation knows what an image,
 * a frame or a prompt is.
 *
 * Rules that every device keeps:
 *  - Tensors hold float32 as seen from here, row-major, [rows, cols]. A device may keep them otherwise inside.
 *  - A row of a result depends only on its own input rows, never on which other rows share the call or on the number of
 *    threads: reduction order is part of each operation. So a batch gives bit for bit what single rows give.
 *  - Operations return nothing. The first failure (memory, a lazy device's error, shapes that do not fit) is kept by
 * the device, later operations do nothing, and es_device_check reports and clears it. So the model reads as arithmetic.
 *  - y may be the same tensor as x or the residual where the comment says "in place is fine".
 *  - One thread at a time uses a device.
 */
#ifndef ES_COMPUTE_COMPUTE_H
#define ES_COMPUTE_COMPUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct es_device es_device;
typedef struct es_tensor es_tensor; /* rows of float32 on a device; its rows may change up to its capacity */
typedef struct es_matrix es_matrix; /* a weight on a device, immutable */
typedef struct es_kv es_kv;         /* pages of keys and values for all layers, on a device */

/* How a checkpoint stores numbers. */
typedef enum es_dtype { ES_F32, ES_F16, ES_BF16, ES_U32 } es_dtype;
size_t es_dtype_size(es_dtype dtype); /* bytes */
const char *es_dtype_name(es_dtype dtype);

/* What a weight is for: a device may keep some uses at fewer bits, if it was told to. EXACT: never. */
typedef enum es_use { ES_USE_EXACT, ES_USE_VISION, ES_USE_TEXT, ES_USE_HEAD } es_use;

/* What numbers a weight is multiplied by: a device that rounds them may take care. EVEN: of much the same size, as
 * norms leave them. PEAKED: as activations do, a few far larger than the others, or all on one side of zero. */
typedef enum es_row_kind { ES_ROWS_EVEN, ES_ROWS_PEAKED } es_row_kind;

/* A weight as its file holds it, [rows, cols] row-major: y = x W^T has W [out, in]. Pointers stay the caller's and must
 * outlive the matrix (they point into the mapped file). Need not be aligned. */
typedef struct es_matrix_source {
    int64_t rows, cols;
    es_dtype dtype;              /* of data; ES_U32 when packed */
    const void *data;            /* [rows, cols], or when packed uint32 [rows, cols * bits / 32], low bits first */
    int bits;                    /* 0: plain; 4, 5, 6 or 8: affine groups, w = scale * q + bias (MLX) */
    int group;                   /* columns a group: 32, 64 or 128 */
    const void *scales, *biases; /* [rows, cols / group] of scale_dtype, when packed */
    es_dtype scale_dtype;
    es_use use;
    es_row_kind kind; /* of the rows it is multiplied by */
    /* What es_matrix_ready gave for this source on a device of the same layout, kept since; 64-byte aligned, outlives
     * the matrix. NULL: the device makes it. */
    const void *ready;
    size_t ready_size;
} es_matrix_source;

typedef enum es_activation { ES_ACT_NONE, ES_ACT_GELU_TANH, ES_ACT_GELU_ERF, ES_ACT_SILU } es_activation;

/* Rows of one segment or sequence within a batch of rows. */
typedef struct es_segment {
    int32_t first; /* first row */
    int32_t count; /* rows */
} es_segment;

/* One sequence's part of an attention step: `count` new rows from row `first` of q, which follow `past` tokens that the
 * cache already holds; its pages in order. Token t lives in page pages[t / page_tokens], slot t % page_tokens. */
typedef struct es_attend {
    int32_t first, count, past;
    const int32_t *pages;
} es_attend;

typedef struct es_kv_shape {
    int32_t layers, kv_heads, head_dim, pages, page_tokens;
} es_kv_shape;

/* The table a device implements. Called through the es_op_* wrappers below, which check shapes for every device. */
typedef struct es_device_ops {
    void (*destroy)(es_device *d);
    es_status (*tensor_create)(es_device *d, es_tensor **t, int64_t capacity_rows, int64_t cols, es_error *err);
    void (*tensor_free)(es_device *d, es_tensor *t);
    es_status (*matrix_create)(es_device *d, es_matrix **m, const es_matrix_source *source, es_error *err);
    void (*matrix_free)(es_device *d, es_matrix *m);
    size_t (*matrix_ready_size)(const es_device *d, const es_matrix_source *source); /* these two may be NULL */
    const void *(*matrix_ready)(const es_matrix *m, size_t *size);
    es_status (*kv_create)(es_device *d, es_kv **kv, const es_kv_shape *shape, es_error *err);
    void (*kv_free)(es_device *d, es_kv *kv);
    void (*flush)(es_device *d); /* of a lazy device: starts what was asked for; else NULL */
    void (*write)(es_device *d, es_tensor *t, int64_t first_row, int64_t rows, const float *host);
    void (*read)(es_device *d, const es_tensor *t, int64_t first_row, int64_t rows, float *host);
    void (*reshape)(es_device *d, es_tensor *t, int64_t rows, int64_t cols);
    void (*copy)(es_device *d, es_tensor *y, const es_tensor *x);
    void (*add)(es_device *d, es_tensor *y, const es_tensor *x);
    void (*embed)(es_device *d, es_tensor *y, const es_matrix *table, const int32_t *ids, int64_t n);
    void (*norm_rms)(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, float eps);
    void (*norm_layer)(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, const es_tensor *bias,
                       float eps);
    void (*linear)(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                   es_activation act, const es_tensor *residual);
    void (*swiglu)(es_device *d, es_tensor *y, const es_tensor *gate, const es_tensor *up);
    void (*rope)(es_device *d, es_tensor *x, int64_t first_col, int64_t heads, int64_t head_dim,
                 const es_tensor *cos_sin);
    void (*attend_segments)(es_device *d, es_tensor *y, const es_tensor *qkv, int64_t heads, int64_t head_dim,
                            const es_segment *segments, size_t n);
    void (*kv_write)(es_device *d, es_kv *kv, int32_t layer, const es_tensor *k, const es_tensor *v,
                     const es_attend *sequences, size_t n);
    void (*attend_paged)(es_device *d, es_tensor *y, const es_tensor *q, const es_kv *kv, int32_t layer, int64_t heads,
                         const es_attend *sequences, size_t n);
    void (*gather)(es_device *d, es_tensor *y, const es_tensor *x, const int32_t *rows, int64_t n);
    void (*scatter)(es_device *d, es_tensor *y, const es_tensor *x, int64_t x_first, const int32_t *rows, int64_t n,
                    bool add);
    void (*best)(es_device *d, const es_tensor *x, int32_t *columns);
} es_device_ops;

/* What all devices have in front; each device's own struct begins with it. */
struct es_device {
    const es_device_ops *ops;
    const char *name;      /* "cpu", "mlx" */
    char detail[96];       /* "avx512 (VNNI, BF16), 2 threads" */
    char arithmetic[64];   /* what its results' bits depend on; "": on what `detail` says */
    char layout[48];       /* of weights made ready: "panels 1 fast"; "": it works from the source itself */
    size_t kv_number_size; /* bytes of a number in its key-value caches */
    int32_t pass_rows;     /* of a prompt that a pass gains from; 0: a few hundred */
    bool keeps_pictures;   /* what the tower made of pictures stays on it: the way to the host and back is dear */
    bool copies_weights;   /* a matrix made is independent of its source, which is not read again */
    bool lost;             /* a failure took its keys and values along: whoever has some must begin anew */
    es_error sticky;       /* the first failure since the last es_device_check */
};
struct es_tensor {
    int64_t rows, cols; /* now */
    int64_t capacity;   /* floats */
};
struct es_matrix {
    int64_t rows, cols; /* [out, in] */
    size_t bytes;       /* that a product reads; 0: not known */
};
struct es_kv {
    es_kv_shape shape;
};

/* --- life --- */
void es_device_free(es_device *d); /* NULL is fine; free everything made on it first */
es_status es_tensor_create(es_device *d, es_tensor **t, int64_t capacity_rows, int64_t cols, es_error *err);
void es_tensor_free(es_device *d, es_tensor *t); /* NULL is fine, like the next two */
es_status es_matrix_create(es_device *d, es_matrix **m, const es_matrix_source *source, es_error *err);
void es_matrix_free(es_device *d, es_matrix *m);
/* Weights put in a device's own order, so that they need not be made again: their bytes live as long as the matrix.
 * Size 0: the device would work, or works, from the source itself. */
size_t es_matrix_ready_size(const es_device *d, const es_matrix_source *source);
const void *es_matrix_ready(const es_device *d, const es_matrix *m, size_t *size);
es_status es_kv_create(es_device *d, es_kv **kv, const es_kv_shape *shape, es_error *err);
void es_kv_free(es_device *d, es_kv *kv);

/* Reports the first failure since the last check and clears it. A lazy device starts what was asked for, and waits for
 * what the check before started: so a failure is told at this check or the next, and before anything wrong is read. */
es_status es_device_check(es_device *d, es_error *err);

/* --- data --- */
/* Sets the tensor to `rows` rows (within its capacity) and copies host [rows, cols] into it. */
void es_op_write(es_device *d, es_tensor *t, const float *host, int64_t rows);
/* Copies rows [first, first + rows) to host [rows, cols]. Waits for them. */
void es_op_read(es_device *d, const es_tensor *t, int64_t first, int64_t rows, float *host);
/* Sees the same numbers as [rows, cols]; the product may be anything within the capacity (new rows undefined). */
void es_op_reshape(es_device *d, es_tensor *t, int64_t rows, int64_t cols);
void es_op_copy(es_device *d, es_tensor *y, const es_tensor *x); /* y becomes x's shape */
void es_op_add(es_device *d, es_tensor *y, const es_tensor *x);  /* y += x */

/* --- arithmetic; y takes the shape that results --- */
/* y [n, cols] = table[ids[i]] (unpacked to float32). ids outside the table are a failure. */
void es_op_embed(es_device *d, es_tensor *y, const es_matrix *table, const int32_t *ids, int64_t n);
/* Each run of gain's length g within a row: y = x / sqrt(mean(x^2) + eps) * gain. cols a multiple of g. In place is
 * fine. */
void es_op_norm_rms(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, float eps);
/* y = (x - mean) / sqrt(var + eps) * gain + bias over whole rows, biased variance. In place is fine. */
void es_op_norm_layer(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, const es_tensor *bias,
                      float eps);
/* y [n, out] = act(x W^T + bias) + residual; bias [1, out] and residual [n, out] may be NULL; y may be the residual. */
void es_op_linear(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                  es_activation act, const es_tensor *residual);
/* y = silu(gate) * up. In place is fine. */
void es_op_swiglu(es_device *d, es_tensor *y, const es_tensor *gate, const es_tensor *up);
/* Rotates, in place, `heads` heads of head_dim from first_col on, pairing element i with i + head_dim / 2:
 * a' = a cos_i - b sin_i, b' = b cos_i + a sin_i. cos_sin [n, head_dim]: head_dim / 2 cosines, then as many sines. */
void es_op_rope(es_device *d, es_tensor *x, int64_t first_col, int64_t heads, int64_t head_dim,
                const es_tensor *cos_sin);
/* Full softmax attention, scale 1 / sqrt(head_dim), of each segment's rows on themselves.
 * qkv [n, 3 * heads * head_dim]: queries of all heads, then keys, then values. y [n, heads * head_dim]. */
void es_op_attend_segments(es_device *d, es_tensor *y, const es_tensor *qkv, int64_t heads, int64_t head_dim,
                           const es_segment *segments, size_t n);
/* Stores each sequence's new rows of k and v [n, kv_heads * head_dim] at tokens past .. past + count - 1. */
void es_op_kv_write(es_device *d, es_kv *kv, int32_t layer, const es_tensor *k, const es_tensor *v,
                    const es_attend *sequences, size_t n);
/* Causal attention with grouped queries over the pages (the new rows already stored): row first + i of q
 * [n, heads * head_dim] sees tokens 0 .. past + i. Query head h reads key-value head h / (heads / kv_heads). */
void es_op_attend_paged(es_device *d, es_tensor *y, const es_tensor *q, const es_kv *kv, int32_t layer, int64_t heads,
                        const es_attend *sequences, size_t n);
/* y [n, cols] = x[rows[i]]. */
void es_op_gather(es_device *d, es_tensor *y, const es_tensor *x, const int32_t *rows, int64_t n);
/* y[rows[i]] = x[x_first + i], or += with add; rows distinct. */
void es_op_scatter(es_device *d, es_tensor *y, const es_tensor *x, int64_t x_first, const int32_t *rows, int64_t n,
                   bool add);
/* columns[i]: where row i of x has its largest number, the first of equals; what is no number counts as -infinity.
 * Waits for them. */
void es_op_best(es_device *d, const es_tensor *x, int32_t *columns);

/* For devices: keeps the first failure. */
void es_device_fail(es_device *d, es_status status, const char *format, ...) ES_PRINTF(3, 4);

#endif
