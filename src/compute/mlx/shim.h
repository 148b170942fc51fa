/* shim.h - MLX as C sees it: arrays that may not be computed yet, and the operations of compute.h on them.
 *
 * Every call returns an es_mx_status and gives its array through `out`, which the caller frees; exceptions end here.
 * Arrays are immutable: an operation "in place" makes a new array, and MLX reuses the old one's memory when nobody else
 * holds it. Shapes are the caller's business, and correct.
 */
#ifndef ES_COMPUTE_MLX_SHIM_H
#define ES_COMPUTE_MLX_SHIM_H

#ifdef __cplusplus
extern "C" {
#endif

#include "compute/compute.h"

typedef struct es_mx es_mx;             /* an array, perhaps a promise of one */
typedef struct es_mx_queue es_mx_queue; /* a device of MLX, the stream its work goes through, and the last error */

typedef enum es_mx_status { ES_MX_OK, ES_MX_MEMORY, ES_MX_FAILED } es_mx_status;

/* --- the library --- */
typedef struct es_mx_facts {
    char version[32], device[96];
    int gpu;
    double memory; /* bytes; 0: not known */
} es_mx_facts;
/* About the GPU when there is one. Also says whether the library loaded is the one the shim was built for. */
es_mx_status es_mx_look(es_mx_facts *facts, char *message, size_t size);
/* `numbers`: the type of activations. Sets MLX's limits from the machine's memory. */
es_mx_status es_mx_open(es_mx_queue **queue, int gpu, es_dtype numbers, char *message, size_t size);
void es_mx_close(es_mx_queue *queue);
const char *es_mx_error(const es_mx_queue *queue); /* of the last call that failed */
void es_mx_give_back(void);                        /* memory kept for reuse goes back to the system */
double es_mx_in_use(void);                         /* bytes of live arrays, of all devices */

/* --- arrays --- */
void es_mx_free(es_mx *a);          /* NULL is fine */
es_mx *es_mx_again(const es_mx *a); /* another handle to it; NULL: no memory */
int es_mx_settled(const es_mx *a);  /* computed: it cannot fail any more */
es_mx_status es_mx_make(es_mx_queue *q, es_mx **out, const float *data, int64_t rows, int64_t cols); /* a copy */
es_mx_status es_mx_make_indexes(es_mx_queue *q, es_mx **out, const int32_t *list, int64_t rows, int64_t cols);
es_mx_status es_mx_zeros(es_mx_queue *q, es_mx **out, int64_t rows, int64_t cols);
/* The same numbers as [rows, cols], cut or filled up with zeros at the end. */
es_mx_status es_mx_shape(es_mx_queue *q, es_mx **out, const es_mx *a, int64_t rows, int64_t cols);
/* As the type of activations, now, for gains and biases that are used again and again. */
es_mx_status es_mx_settle(es_mx_queue *q, es_mx **out, const es_mx *a);
/* Waits, and copies rows [first, first + rows) out as float32. */
es_mx_status es_mx_read(es_mx_queue *q, const es_mx *a, int64_t first, int64_t rows, float *host);
/* Waits, and copies out in which column each row has its largest number, as es_op_best says. */
es_mx_status es_mx_best(es_mx_queue *q, const es_mx *a, int32_t *columns);
/* Waits for all work that was started. */
es_mx_status es_mx_wait(es_mx_queue *q);
/* Starts computing n arrays and waits for those of the call before: so the next graph is built while this one runs. */
es_mx_status es_mx_start(es_mx_queue *q, es_mx *const *arrays, size_t n);

/* --- weights --- */
typedef struct es_mx_weight {
    es_mx *data, *scales, *biases; /* scales NULL: plain */
    int bits, group;
} es_mx_weight;
/* Copies a weight to the device. pack 4 or 8: a plain one is packed so. */
es_mx_status es_mx_weight_make(es_mx_queue *q, es_mx_weight *w, const es_matrix_source *source, int pack);
void es_mx_weight_free(es_mx_weight *w);

/* --- operations, as compute.h defines them --- */
es_mx_status es_mx_add(es_mx_queue *q, es_mx **out, const es_mx *a, const es_mx *b);
es_mx_status es_mx_embed(es_mx_queue *q, es_mx **out, const es_mx_weight *table, const es_mx *ids);
es_mx_status es_mx_norm_rms(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx *gain, float eps);
es_mx_status es_mx_norm_layer(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx *gain, const es_mx *bias,
                              float eps);
es_mx_status es_mx_linear(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx_weight *w, const es_mx *bias,
                          es_activation act, const es_mx *residual);
es_mx_status es_mx_swiglu(es_mx_queue *q, es_mx **out, const es_mx *gate, const es_mx *up);
es_mx_status es_mx_rope(es_mx_queue *q, es_mx **out, const es_mx *x, int64_t first_col, int64_t heads, int64_t head_dim,
                        const es_mx *cos_sin);
es_mx_status es_mx_gather(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx *rows);
/* y with rows x[x_first ..] put in or added at `rows`; `first` >= 0: these are consecutive from there on. */
es_mx_status es_mx_scatter(es_mx_queue *q, es_mx **out, const es_mx *y, const es_mx *x, int64_t x_first,
                           const es_mx *rows, int64_t first, int add);
es_mx_status es_mx_attend_segments(es_mx_queue *q, es_mx **out, const es_mx *qkv, int64_t heads, int64_t head_dim,
                                   const es_segment *segments, size_t n);

/* --- by matrices of the cpu device, on the processor: computed there when their turn among MLX's operations comes. The
 * matrix must live until that is over. --- */
es_mx_status es_mx_embed_by_cpu(es_mx_queue *q, es_mx **out, es_device *cpu, const es_matrix *table, const es_mx *ids);
es_mx_status es_mx_linear_by_cpu(es_mx_queue *q, es_mx **out, const es_mx *x, es_device *cpu, const es_matrix *w,
                                 const es_mx *bias, es_activation act, const es_mx *residual);
es_mx_status es_mx_attend_by_cpu(es_mx_queue *q, es_mx **out, const es_mx *qkv, es_device *cpu, int64_t heads,
                                 int64_t head_dim, const es_segment *segments, size_t n);

/* --- keys or values of one layer: [kv_heads, slots, head_dim] --- */
es_mx_status es_mx_cache_make(es_mx_queue *q, es_mx **out, int64_t kv_heads, int64_t slots, int64_t head_dim);
/* A larger one with the same beginning. */
es_mx_status es_mx_cache_grow(es_mx_queue *q, es_mx **out, const es_mx *cache, int64_t slots);
/* The rows of x [n, kv_heads * head_dim] that `rows` names (NULL: all) to `slots`; `first` >= 0: consecutive slots. */
es_mx_status es_mx_cache_write(es_mx_queue *q, es_mx **out, const es_mx *cache, const es_mx *x, const es_mx *rows,
                               const es_mx *slots, int64_t first);
/* One part of an attention step. */
typedef struct es_mx_part {
    int64_t first, count; /* rows of q, all `sequences` in turn having `count` of them */
    int64_t sequences;    /* 1, or several that are computed together */
    int64_t longest;      /* tokens that the longest may see */
    int64_t slot;         /* of its first token, when its slots are consecutive (one sequence only); else -1 */
    const es_mx *pages;   /* [sequences, pages each]; NULL with `slot` */
    const es_mx *mask;    /* of es_mx_mask; NULL where all have as many tokens */
} es_mx_part;
/* Which of `tokens` tokens each of n sequences may see: the first lengths[i]. */
es_mx_status es_mx_mask(es_mx_queue *q, es_mx **out, const int32_t *lengths, int64_t n, int64_t tokens);
es_mx_status es_mx_attend(es_mx_queue *q, es_mx **out, const es_mx *queries, const es_mx *keys, const es_mx *values,
                          int64_t page_tokens, const es_mx_part *parts, size_t n);

#ifdef __cplusplus
}
#endif

#endif
