/* device.h - what the cpu device's own files share. */
#ifndef ES_COMPUTE_CPU_DEVICE_H
#define ES_COMPUTE_CPU_DEVICE_H

#include "base/thread.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/dot.h"
#include "compute/cpu/kernels.h"

#define ES_TILE_ROWS                                                                                                   \
    96                    /* query rows of one attention task: a multiple of every `mr`, and enough to pay for packing \
                           */
#define ES_BLOCK_KEYS 256 /* keys of one step of the running softmax */
#define ES_PAGE_MAX 1024  /* tokens a page of the key-value cache */
#define ES_SUM_ROWS 1536  /* rows of x taken at once by linear */
#define ES_X_FLOATS (2u << 20) /* floats of x packed at once by linear: 8 MB, a share of the last-level cache */

/* One worker's own memory. Made once; pages never touched cost nothing. */
typedef struct es_scratch {
    float *panel;           /* [ES_PANEL_K, nr] weights, or a run of unpacked blocks */
    float *sums;            /* [ES_SUM_ROWS, nr] */
    float *scales, *biases; /* [groups, nr], groups of the widest packed matrix made so far */
    float *q;               /* [ES_TILE_ROWS, head_dim] */
    float *out;             /* [ES_TILE_ROWS, head_dim padded] */
    float *scores;          /* [ES_TILE_ROWS, ES_SCORES] */
    float *keys;            /* [ES_BLOCK_KEYS / nr, head_dim, nr] */
    float *values;          /* [ES_BLOCK_KEYS, head_dim padded] */
} es_scratch;
#define ES_SCORES (ES_PAGE_MAX + ES_NR_MAX) /* a row of scores: a block or a page, and one padded vector beyond */

typedef struct es_cpu {
    es_device base;
    es_isa isa;
    es_kernels k;
    es_dot_kernels dot;
    es_precision precision;
    size_t exact_below; /* weights */
    bool in_floats;     /* es_cpu_in_floats */
    es_pool *pool;
    size_t workers;
    es_scratch *scratch; /* [workers] */
    float *x_panels;     /* linear's packed rows; keys and values of integer attention */
    size_t x_capacity;   /* floats */
    size_t groups;       /* capacity of scales and biases */
} es_cpu;

typedef struct es_cpu_tensor {
    es_tensor base;
    float *data; /* 64-byte aligned, inside block */
    void *block;
} es_cpu_tensor;

typedef struct es_cpu_matrix {
    es_matrix base;
    es_matrix_source source; /* pointers into the caller's mapped file: nothing is copied */
    es_panels *panels;       /* NULL: products are exact, from the source */
} es_cpu_matrix;

/* Keys are kept k-major within a page, ready to be a panel: [layer][page][kv_head][head_dim][slots], slots being
 * page_tokens padded to ES_LANES. Values: [layer][page][kv_head][page_tokens][head_dim padded to ES_LANES]. */
typedef struct es_cpu_kv {
    es_kv base;
    size_t slots, width;           /* padded page_tokens and head_dim */
    size_t key_page, value_page;   /* numbers of one kv_head's part of a page */
    bool half;                     /* numbers are halves; else float32 */
    size_t key_count, value_count; /* numbers in all */
    void *keys, *values;
} es_cpu_kv;

static inline size_t es_pad(size_t n)
{
    return (n + ES_LANES - 1) / ES_LANES * ES_LANES;
}

static inline size_t es_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline float *es_rows(const es_tensor *t, int64_t row)
{
    return ((const es_cpu_tensor *)t)->data + (size_t)row * (size_t)t->cols;
}

/* Runs fn(context, first, last) over [0, n) in pieces of at least `least` items. */
typedef void (*es_range_fn)(const void *context, size_t first, size_t last);
void es_cpu_ranges(es_cpu *cpu, size_t n, size_t least, es_range_fn fn, const void *context);

/* A product of any size as tiles. */
void es_cpu_mul(const es_kernels *k, es_mul whole);

/* isa.c: the kernels of an instruction set that es_cpu_has_isa vouches for. */
void es_cpu_kernels(es_kernels *k, es_isa isa);
void es_cpu_dot_kernels(es_dot_kernels *k, es_isa isa);

/* linear.c */
void es_cpu_linear(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                   es_activation act, const es_tensor *residual);
void es_cpu_embed(es_device *d, es_tensor *y, const es_matrix *table, const int32_t *ids, int64_t n);

/* linear_dot.c */
void es_cpu_linear_dot(es_cpu *cpu, es_tensor *y, const es_tensor *x, const es_cpu_matrix *m, const es_tensor *bias,
                       es_activation act, const es_tensor *residual);

/* Whether a matrix is so small that it stays exact. */
bool es_cpu_small(const es_cpu *cpu, int64_t rows, int64_t cols);

/* At least so many floats of x_panels; false after a failure, which the device keeps. What it held is lost. */
bool es_cpu_room(es_cpu *cpu, size_t floats);

/* attention_dot.c: one segment's rows, qkv [rows, 3, heads, dim], y [rows, heads, dim]. */
void es_cpu_attend_dot(es_cpu *cpu, float *y, const float *qkv, size_t heads, size_t dim, size_t rows);

/* attention.c */
void es_cpu_attend_segments(es_device *d, es_tensor *y, const es_tensor *qkv, int64_t heads, int64_t head_dim,
                            const es_segment *segments, size_t n);
void es_cpu_kv_write(es_device *d, es_kv *kv, int32_t layer, const es_tensor *k, const es_tensor *v,
                     const es_attend *sequences, size_t n);
void es_cpu_attend_paged(es_device *d, es_tensor *y, const es_tensor *q, const es_kv *kv, int32_t layer, int64_t heads,
                         const es_attend *sequences, size_t n);

#endif
