/* plugin.c - compute.h on MLX: the life of its objects, and what is computed when. The arithmetic is the shim's.
 *
 * An operation only notes what to compute; reading computes what is needed for it, and es_device_check starts the rest.
 * So a step of the decoder is one evaluation, and a block of the vision tower is noted down while the one before runs.
 */
#include "compute/mlx/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/mlx/plan.h"
#include "compute/mlx/shim.h"

/* On a Mac MLX has Apple's BLAS, which knows the processor's matrix unit. Elsewhere it has a plain one. */
#if defined(__APPLE__)
#define MLX_MULTIPLIES_WELL true
#else
#define MLX_MULTIPLIES_WELL false
#endif

typedef struct mlx_tensor {
    es_tensor base;
    struct mlx_tensor *prev, *next; /* of the device's */
    es_mx *array;       /* NULL: zeros. Perhaps of another shape than base says: seen() brings them together */
    int64_t rows, cols; /* of the array */
    bool dirty;         /* noted down since the last check */
    bool settled;       /* of the type of activations, and computed */
} mlx_tensor;

typedef struct mlx_matrix {
    es_matrix base;
    es_mx_weight weight;
    es_matrix *by_cpu; /* NULL; or the weight as the cpu device has it, and MLX has none */
} mlx_matrix;

/* Keys and values of a layer lie in one array each, [kv_heads, slots, head_dim], as long as the pages used so far need;
 * a step writes into them where they are. */
typedef struct mlx_kv {
    es_kv base;
    struct mlx_kv *prev, *next;
    es_mx **arrays; /* [layers, 2] */
    int64_t *slots; /* [layers] that they have */
    bool dirty;
} mlx_kv;

typedef struct mlx {
    es_device base;
    es_mx_queue *queue;
    bool gpu, pack;
    es_device *cpu; /* multiplies for MLX on the processor; NULL: MLX does */
    mlx_tensor *tensors;
    mlx_kv *kvs;
    size_t matrices;
    es_plan plan;
    es_mx **started; /* [started_capacity] scratch of flush */
    size_t started_capacity;
} mlx;

/* --- failures --- */

static es_status status_of(es_mx_status status)
{
    return status == ES_MX_MEMORY ? ES_ERR_MEMORY : ES_ERR_INTERNAL;
}

/* True when all went well; else the device keeps what MLX said. */
static bool went_well(mlx *m, es_mx_status status)
{
    if (status != ES_MX_OK)
        es_device_fail(&m->base, status_of(status), "MLX on %s: %s%s", m->gpu ? "the GPU" : "the processor",
                       status == ES_MX_MEMORY ? "not enough memory: " : "", es_mx_error(m->queue));
    return status == ES_MX_OK;
}

static es_status failure(const mlx *m, es_mx_status status, const char *what, es_error *err)
{
    return es_fail(err, status_of(status), "MLX: %s%s: %s", status == ES_MX_MEMORY ? "not enough memory for " : "",
                   what, es_mx_error(m->queue));
}

/* --- tensors --- */

static mlx_tensor *of(es_tensor *t)
{
    return (mlx_tensor *)t;
}

static es_status tensor_create(es_device *d, es_tensor **out, int64_t rows, int64_t cols, es_error *err)
{
    mlx *m = (mlx *)d;
    mlx_tensor *t = es_calloc(1, sizeof *t);
    if (t == NULL)
        return es_fail_memory(err, "a tensor", sizeof *t);
    if (rows > INT32_MAX || cols > INT32_MAX) {
        free(t);
        return es_fail_memory(err, "a tensor", (size_t)rows * (size_t)cols * sizeof(float));
    }
    t->base = (es_tensor){.rows = rows, .cols = cols, .capacity = rows * cols};
    t->next = m->tensors;
    if (t->next != NULL)
        t->next->prev = t;
    m->tensors = t;
    *out = &t->base;
    return ES_OK;
}

static void tensor_free(es_device *d, es_tensor *base)
{
    mlx *m = (mlx *)d;
    mlx_tensor *t = of(base);
    *(t->prev != NULL ? &t->prev->next : &m->tensors) = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    es_mx_free(t->array);
    free(t);
}

/* The tensor holds this array from now on, which has its shape. */
static void hold(es_tensor *base, es_mx *array)
{
    mlx_tensor *t = of(base);
    es_mx_free(t->array);
    t->array = array;
    t->rows = base->rows;
    t->cols = base->cols;
    t->dirty = true;
    t->settled = false;
}

/* The tensor's array in the tensor's shape; NULL after a failure. */
static const es_mx *seen(mlx *m, const es_tensor *base)
{
    mlx_tensor *t = of((es_tensor *)(uintptr_t)base); /* another form of the same numbers */
    es_mx *array;
    if (t->array != NULL && t->rows == base->rows && t->cols == base->cols)
        return t->array;
    es_mx_status status = t->array == NULL ? es_mx_zeros(m->queue, &array, base->rows, base->cols)
                                           : es_mx_shape(m->queue, &array, t->array, base->rows, base->cols);
    if (!went_well(m, status))
        return NULL;
    bool dirty = t->dirty;
    hold(&t->base, array);
    t->dirty = dirty;
    return array;
}

/* A gain or bias: used by every step, so its conversion is done once. */
static const es_mx *parameter(mlx *m, const es_tensor *base)
{
    mlx_tensor *t = of((es_tensor *)(uintptr_t)base);
    const es_mx *array = seen(m, base);
    es_mx *settled;
    if (array == NULL || t->settled)
        return array;
    if (!went_well(m, es_mx_settle(m->queue, &settled, array)))
        return NULL;
    hold(&t->base, settled);
    t->settled = true;
    t->dirty = false;
    return settled;
}

/* Ends an operation: y holds what it made. */
static void done(mlx *m, es_tensor *y, es_mx_status status, es_mx **made)
{
    if (went_well(m, status))
        hold(y, *made); /* by address: it is set while the arguments of this call are found */
}

static bool is_empty(const es_tensor *t)
{
    return t->rows == 0 || t->cols == 0;
}

/* --- weights --- */

static void flush(es_device *d);

static size_t bytes_of(const mlx *m, const es_matrix_source *s, bool pack)
{
    size_t numbers = (size_t)s->rows * (size_t)s->cols, size = m->base.kv_number_size;
    int bits = pack ? 4 : s->bits, group = pack ? 64 : s->group;
    return bits == 0 ? numbers * size : numbers * (size_t)bits / 8 + 2 * numbers / (size_t)group * size;
}

static es_status make_weight(mlx *m, mlx_matrix *w, const es_matrix_source *source, bool pack, es_error *err)
{
    if (m->cpu == NULL) {
        es_mx_status status = es_mx_weight_make(m->queue, &w->weight, source, pack ? 4 : 0);
        return status == ES_MX_OK ? ES_OK : failure(m, status, "a weight", err);
    }
    es_mx_wait(m->queue); /* the cpu device may be at work in the stream's thread */
    ES_TRY(es_matrix_create(m->cpu, &w->by_cpu, source, err));
    w->base.bytes = w->by_cpu->bytes;
    return ES_OK;
}

static es_status matrix_create(es_device *d, es_matrix **out, const es_matrix_source *source, es_error *err)
{
    mlx *m = (mlx *)d;
    if (source->rows > INT32_MAX || source->cols > INT32_MAX / 4)
        return es_fail_memory(err, "a matrix", 0);
    mlx_matrix *w = es_calloc(1, sizeof *w);
    if (w == NULL)
        return es_fail_memory(err, "a matrix", sizeof *w);
    bool pack = m->pack && source->bits == 0 && source->use == ES_USE_TEXT && source->cols % 64 == 0;
    w->base = (es_matrix){.rows = source->rows, .cols = source->cols, .bytes = bytes_of(m, source, pack)};
    es_status status = make_weight(m, w, source, pack, err);
    if (status != ES_OK) {
        free(w);
        return status;
    }
    m->matrices++;
    *out = &w->base;
    return ES_OK;
}

/* A model is gone: what MLX keeps for reuse goes too. */
static void give_back_when_empty(mlx *m)
{
    if (m->matrices == 0 && m->kvs == NULL)
        es_mx_give_back();
}

static void matrix_free(es_device *d, es_matrix *base)
{
    mlx *m = (mlx *)d;
    mlx_matrix *w = (mlx_matrix *)base;
    if (w->by_cpu != NULL) { /* what was promised of it is computed while it lasts */
        flush(d);
        es_mx_wait(m->queue);
        es_matrix_free(m->cpu, w->by_cpu);
    }
    es_mx_weight_free(&w->weight);
    free(w);
    m->matrices--;
    give_back_when_empty(m);
}

/* --- keys and values --- */

static void kv_drop(mlx_kv *kv)
{
    for (int32_t i = 0; i < 2 * kv->base.shape.layers; i++) {
        es_mx_free(kv->arrays[i]);
        kv->arrays[i] = NULL;
        kv->slots[i / 2] = 0;
    }
}

static void kv_free(es_device *d, es_kv *base)
{
    mlx *m = (mlx *)d;
    mlx_kv *kv = (mlx_kv *)base;
    *(kv->prev != NULL ? &kv->prev->next : &m->kvs) = kv->next;
    if (kv->next != NULL)
        kv->next->prev = kv->prev;
    kv_drop(kv);
    free(kv->arrays);
    free(kv->slots);
    free(kv);
    give_back_when_empty(m);
}

static es_status kv_create(es_device *d, es_kv **out, const es_kv_shape *s, es_error *err)
{
    mlx *m = (mlx *)d;
    int64_t slots = (int64_t)s->pages * s->page_tokens, wide = (int64_t)s->kv_heads * s->head_dim, all;
    if (slots > INT32_MAX || wide > INT32_MAX || __builtin_mul_overflow(slots * s->layers, wide, &all) ||
        all > INT64_MAX / 16)
        return es_fail_memory(err, "a key-value cache", 0);
    mlx_kv *kv = es_calloc(1, sizeof *kv);
    if (kv == NULL)
        return es_fail_memory(err, "a key-value cache", sizeof *kv);
    kv->base.shape = *s;
    kv->arrays = es_calloc((size_t)s->layers, 2 * sizeof(es_mx *));
    kv->slots = es_calloc((size_t)s->layers, sizeof *kv->slots);
    if (kv->arrays == NULL || kv->slots == NULL) {
        free(kv->arrays);
        free(kv->slots);
        free(kv);
        return es_fail_memory(err, "a key-value cache", 0);
    }
    kv->next = m->kvs;
    if (kv->next != NULL)
        kv->next->prev = kv;
    m->kvs = kv;
    d->lost = false;
    *out = &kv->base;
    return ES_OK;
}

/* Both arrays of a layer have at least so many slots; they grow by half, so that copying them is rare. */
static bool kv_room(mlx *m, mlx_kv *kv, int32_t layer, int64_t need)
{
    const es_kv_shape *s = &kv->base.shape;
    int64_t have = kv->slots[layer], most = (int64_t)s->pages * s->page_tokens, want = have + have / 2;
    if (need <= have)
        return true;
    want = want < 512 ? 512 : want;
    want = want < need ? need : want;
    want = (want + s->page_tokens - 1) / s->page_tokens * s->page_tokens;
    want = want > most ? most : want;
    for (int i = 2 * layer; i < 2 * layer + 2; i++) {
        es_mx *grown;
        es_mx_status status = kv->arrays[i] == NULL ? es_mx_cache_make(m->queue, &grown, s->kv_heads, want, s->head_dim)
                                                    : es_mx_cache_grow(m->queue, &grown, kv->arrays[i], want);
        if (!went_well(m, status))
            return false;
        es_mx_free(kv->arrays[i]);
        kv->arrays[i] = grown;
    }
    kv->slots[layer] = want;
    return true;
}

/* What all layers of a step share; NULL after a failure. */
static const es_plan *plan(mlx *m, const es_kv *kv, const es_attend *sequences, size_t n)
{
    es_mx_status status = es_plan_make(&m->plan, m->queue, kv->shape.page_tokens, sequences, n);
    return went_well(m, status) ? &m->plan : NULL;
}

static void kv_write(es_device *d, es_kv *base, int32_t layer, const es_tensor *k, const es_tensor *v,
                     const es_attend *sequences, size_t n)
{
    mlx *m = (mlx *)d;
    mlx_kv *kv = (mlx_kv *)base;
    const es_plan *p = plan(m, base, sequences, n);
    if (p == NULL || p->rows == 0)
        return;
    const es_tensor *from[] = {k, v};
    if (!kv_room(m, kv, layer, p->last_slot + 1))
        return;
    for (int i = 0; i < 2; i++) {
        const es_mx *x = seen(m, from[i]);
        es_mx **to = &kv->arrays[2 * layer + i], *made;
        bool all = p->whole && p->rows == from[i]->rows;
        if (x == NULL || !went_well(m, es_mx_cache_write(m->queue, &made, *to, x, all ? NULL : p->row_list,
                                                         p->slot_list, p->first_slot)))
            return;
        es_mx_free(*to);
        *to = made;
    }
    kv->dirty = true;
}

static void attend_paged(es_device *d, es_tensor *y, const es_tensor *q, const es_kv *base, int32_t layer,
                         int64_t heads, const es_attend *sequences, size_t n)
{
    mlx *m = (mlx *)d;
    mlx_kv *kv = (mlx_kv *)(uintptr_t)base;
    const es_mx *x = seen(m, q);
    const es_plan *p = plan(m, base, sequences, n);
    es_mx *made;
    (void)heads; /* the rows' width says it */
    if (x == NULL || p == NULL || is_empty(q) || !kv_room(m, kv, layer, p->last_slot + 1))
        return;
    if (p->part_count == 0)
        done(m, y, es_mx_zeros(m->queue, &made, q->rows, q->cols), &made);
    else
        done(m, y,
             es_mx_attend(m->queue, &made, x, kv->arrays[2 * layer], kv->arrays[2 * layer + 1], base->shape.page_tokens,
                          p->parts, p->part_count),
             &made);
}

/* --- data --- */

static void write_rows(es_device *d, es_tensor *t, int64_t first, int64_t rows, const float *host)
{
    mlx *m = (mlx *)d;
    es_mx *made;
    if (first != 0) /* compute.c asks for whole tensors only */
        es_device_fail(d, ES_ERR_INTERNAL, "write: from row %lld on", (long long)first);
    else if (rows == 0)
        done(m, t, es_mx_zeros(m->queue, &made, 0, t->cols), &made);
    else
        done(m, t, es_mx_make(m->queue, &made, host, rows, t->cols), &made);
}

static void read_rows(es_device *d, const es_tensor *t, int64_t first, int64_t rows, float *host)
{
    mlx *m = (mlx *)d;
    const es_mx *x = rows > 0 ? seen(m, t) : NULL;
    if (x != NULL)
        went_well(m, es_mx_read(m->queue, x, first, rows, host));
}

static void reshape(es_device *d, es_tensor *t, int64_t rows, int64_t cols)
{
    (void)d;
    t->rows = rows;
    t->cols = cols;
}

static void copy(es_device *d, es_tensor *y, const es_tensor *x)
{
    mlx *m = (mlx *)d;
    const es_mx *from = seen(m, x);
    es_mx *made = from != NULL ? es_mx_again(from) : NULL;
    if (made != NULL)
        hold(y, made);
    else if (from != NULL)
        es_device_fail(d, ES_ERR_MEMORY, "not enough memory for a copy");
}

/* --- operations --- */

static void add(es_device *d, es_tensor *y, const es_tensor *x)
{
    mlx *m = (mlx *)d;
    const es_mx *a = seen(m, y), *b = seen(m, x);
    es_mx *made;
    if (a != NULL && b != NULL && !is_empty(y))
        done(m, y, es_mx_add(m->queue, &made, a, b), &made);
}

static void embed(es_device *d, es_tensor *y, const es_matrix *table, const int32_t *ids, int64_t n)
{
    mlx *m = (mlx *)d;
    es_mx *list, *made;
    if (n == 0 || !went_well(m, es_mx_make_indexes(m->queue, &list, ids, n, 0)))
        return;
    const mlx_matrix *w = (const mlx_matrix *)table;
    done(m, y,
         w->by_cpu != NULL ? es_mx_embed_by_cpu(m->queue, &made, m->cpu, w->by_cpu, list)
                           : es_mx_embed(m->queue, &made, &w->weight, list),
         &made);
    es_mx_free(list);
}

static void norm_rms(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, float eps)
{
    mlx *m = (mlx *)d;
    const es_mx *in = seen(m, x), *g = parameter(m, gain);
    es_mx *made;
    if (in != NULL && g != NULL && !is_empty(x))
        done(m, y, es_mx_norm_rms(m->queue, &made, in, g, eps), &made);
}

static void norm_layer(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, const es_tensor *bias,
                       float eps)
{
    mlx *m = (mlx *)d;
    const es_mx *in = seen(m, x), *g = parameter(m, gain), *b = parameter(m, bias);
    es_mx *made;
    if (in != NULL && g != NULL && b != NULL && !is_empty(x))
        done(m, y, es_mx_norm_layer(m->queue, &made, in, g, b, eps), &made);
}

static void linear(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                   es_activation act, const es_tensor *residual)
{
    mlx *m = (mlx *)d;
    const es_mx *in = seen(m, x), *b = bias != NULL ? parameter(m, bias) : NULL;
    const es_mx *r = residual != NULL ? seen(m, residual) : NULL;
    const mlx_matrix *by = (const mlx_matrix *)w;
    es_mx *made;
    if (in == NULL || (bias != NULL && b == NULL) || (residual != NULL && r == NULL) || is_empty(x))
        return;
    done(m, y,
         by->by_cpu != NULL ? es_mx_linear_by_cpu(m->queue, &made, in, m->cpu, by->by_cpu, b, act, r)
                            : es_mx_linear(m->queue, &made, in, &by->weight, b, act, r),
         &made);
}

static void swiglu(es_device *d, es_tensor *y, const es_tensor *gate, const es_tensor *up)
{
    mlx *m = (mlx *)d;
    const es_mx *g = seen(m, gate), *u = seen(m, up);
    es_mx *made;
    if (g != NULL && u != NULL && !is_empty(gate))
        done(m, y, es_mx_swiglu(m->queue, &made, g, u), &made);
}

static void rope(es_device *d, es_tensor *x, int64_t first_col, int64_t heads, int64_t head_dim,
                 const es_tensor *cos_sin)
{
    mlx *m = (mlx *)d;
    const es_mx *in = seen(m, x), *table = seen(m, cos_sin);
    es_mx *made;
    if (in != NULL && table != NULL && !is_empty(x))
        done(m, x, es_mx_rope(m->queue, &made, in, first_col, heads, head_dim, table), &made);
}

static void attend_segments(es_device *d, es_tensor *y, const es_tensor *qkv, int64_t heads, int64_t head_dim,
                            const es_segment *segments, size_t n)
{
    mlx *m = (mlx *)d;
    const es_mx *in = seen(m, qkv);
    es_mx *made;
    if (in == NULL || is_empty(qkv))
        return;
    done(m, y,
         m->cpu != NULL && head_dim <= ES_HEAD_DIM_MAX
             ? es_mx_attend_by_cpu(m->queue, &made, in, m->cpu, heads, head_dim, segments, n)
             : es_mx_attend_segments(m->queue, &made, in, heads, head_dim, segments, n),
         &made);
}

static void gather(es_device *d, es_tensor *y, const es_tensor *x, const int32_t *rows, int64_t n)
{
    mlx *m = (mlx *)d;
    const es_mx *in = seen(m, x);
    es_mx *list, *made;
    if (in == NULL || n == 0 || !went_well(m, es_mx_make_indexes(m->queue, &list, rows, n, 0)))
        return;
    done(m, y, es_mx_gather(m->queue, &made, in, list), &made);
    es_mx_free(list);
}

static void scatter(es_device *d, es_tensor *y, const es_tensor *x, int64_t x_first, const int32_t *rows, int64_t n,
                    bool added)
{
    mlx *m = (mlx *)d;
    const es_mx *to = seen(m, y), *from = seen(m, x);
    es_mx *list, *made;
    if (to == NULL || from == NULL || n == 0 || !went_well(m, es_mx_make_indexes(m->queue, &list, rows, n, 0)))
        return;
    int64_t first = rows[0];
    for (int64_t i = 1; i < n; i++)
        first = rows[i] == rows[0] + i ? first : -1;
    done(m, y, es_mx_scatter(m->queue, &made, to, from, x_first, list, first, added), &made);
    es_mx_free(list);
}

static void best(es_device *d, const es_tensor *x, int32_t *columns)
{
    mlx *m = (mlx *)d;
    const es_mx *in = x->rows > 0 ? seen(m, x) : NULL;
    if (in != NULL)
        went_well(m, es_mx_best(m->queue, in, columns));
}

/* --- the check --- */

/* After a failure: what was not computed never will be. Weights and their like are, and stay. */
static void forget_promises(mlx *m)
{
    m->base.lost = true;
    for (mlx_tensor *t = m->tensors; t != NULL; t = t->next) {
        t->dirty = false;
        if (t->array != NULL && !es_mx_settled(t->array)) {
            es_mx_free(t->array);
            t->array = NULL;
            t->settled = false;
        }
    }
    for (mlx_kv *kv = m->kvs; kv != NULL; kv = kv->next) {
        kv->dirty = false;
        kv_drop(kv);
    }
    es_plan_clear(&m->plan);
    es_mx_start(m->queue, NULL, 0); /* whatever still runs ends */
    es_mx_give_back();
}

static bool push(mlx *m, size_t *n, es_mx *array)
{
    if (es_grow((void **)&m->started, &m->started_capacity, *n + 1, sizeof(es_mx *)) != 0) {
        es_device_fail(&m->base, ES_ERR_MEMORY, "not enough memory for a list of arrays");
        return false;
    }
    m->started[(*n)++] = array;
    return true;
}

static void flush(es_device *d)
{
    mlx *m = (mlx *)d;
    size_t n = 0;
    bool ok = d->sticky.status == ES_OK;
    for (mlx_tensor *t = m->tensors; ok && t != NULL; t = t->next) {
        if (t->dirty && t->array != NULL && t->base.rows > 0)
            ok = push(m, &n, t->array);
        t->dirty = false;
    }
    for (mlx_kv *kv = m->kvs; ok && kv != NULL; kv = kv->next) {
        for (int32_t i = 0; ok && kv->dirty && i < 2 * kv->base.shape.layers; i++)
            ok = kv->arrays[i] == NULL || push(m, &n, kv->arrays[i]);
        kv->dirty = false;
    }
    if (!ok || !went_well(m, es_mx_start(m->queue, m->started, n)))
        forget_promises(m);
}

/* --- life --- */

static void destroy(es_device *d)
{
    mlx *m = (mlx *)d;
    es_plan_free(&m->plan);
    es_mx_close(m->queue);
    es_device_free(m->cpu);
    free(m->started);
    free(m);
}

static const es_device_ops mlx_ops = {
    .destroy = destroy,
    .tensor_create = tensor_create,
    .tensor_free = tensor_free,
    .matrix_create = matrix_create,
    .matrix_free = matrix_free,
    .kv_create = kv_create,
    .kv_free = kv_free,
    .flush = flush,
    .write = write_rows,
    .read = read_rows,
    .reshape = reshape,
    .copy = copy,
    .add = add,
    .embed = embed,
    .norm_rms = norm_rms,
    .norm_layer = norm_layer,
    .linear = linear,
    .swiglu = swiglu,
    .rope = rope,
    .attend_segments = attend_segments,
    .kv_write = kv_write,
    .attend_paged = attend_paged,
    .gather = gather,
    .scatter = scatter,
    .best = best,
};

static es_status look(es_mx_facts *facts, es_error *err)
{
    char message[400];
    if (es_mx_look(facts, message, sizeof message) != ES_MX_OK)
        return es_fail(err, ES_ERR_UNSUPPORTED, "MLX cannot be used here: %s", message);
    return ES_OK;
}

static es_status describe(es_mlx_info *info, es_error *err)
{
    es_mx_facts facts;
    ES_TRY(look(&facts, err));
    *info = (es_mlx_info){.gpu = facts.gpu, .memory = facts.memory};
    snprintf(info->version, sizeof info->version, "%s", facts.version);
    snprintf(info->device, sizeof info->device, "%s", facts.device);
    return ES_OK;
}

static es_status create(es_device **out, const es_mlx_options *given, es_error *err)
{
    const es_mlx_options o = given != NULL ? *given : (es_mlx_options){.where = ES_MLX_ANY};
    es_mx_facts facts;
    char message[400];
    *out = NULL;
    ES_TRY(look(&facts, err));
    bool gpu = o.where == ES_MLX_GPU || (o.where == ES_MLX_ANY && facts.gpu);
    /* The processor multiplies 16 bits more slowly than 32. */
    es_dtype numbers = gpu && o.precision != ES_PRECISION_EXACT ? ES_BF16 : ES_F32;
    if (o.numbers_given && o.numbers != ES_U32)
        numbers = o.numbers;
    mlx *m = es_calloc(1, sizeof *m);
    if (m == NULL)
        return es_fail_memory(err, "the MLX device", sizeof *m);
    m->gpu = gpu;
    m->pack = gpu && o.precision == ES_PRECISION_FAST;
    es_mx_status status = es_mx_open(&m->queue, gpu, numbers, message, sizeof message);
    if (status != ES_MX_OK) {
        free(m);
        return es_fail(err, status == ES_MX_MEMORY ? ES_ERR_MEMORY : ES_ERR_UNSUPPORTED,
                       "MLX %s cannot start on %s: %s", facts.version, gpu ? "a GPU" : "the processor", message);
    }
    if (!gpu && !o.mlx_products && !MLX_MULTIPLIES_WELL) {
        es_status made = es_cpu_device_create(&m->cpu, NULL, err);
        if (made != ES_OK) {
            es_mx_close(m->queue);
            free(m);
            return made;
        }
    }
    m->base.ops = &mlx_ops;
    m->base.name = "mlx";
    m->base.kv_number_size = es_dtype_size(numbers);
    m->base.copies_weights = m->cpu == NULL;
    m->base.keeps_pictures = true;
    m->base.pass_rows = gpu ? 2048 : 0;
    snprintf(m->base.detail, sizeof m->base.detail, "MLX %.20s on %.48s, %s", facts.version,
             gpu ? facts.device : "the processor", es_dtype_name(numbers));
    if (m->cpu != NULL) {
        size_t used = strlen(m->base.detail);
        snprintf(m->base.detail + used, sizeof m->base.detail - used, ", products by %s",
                 es_isa_name(es_cpu_best_isa()));
    }
    *out = &m->base;
    return ES_OK;
}

__attribute__((visibility("default"))) const es_mlx_plugin *escriba_mlx_plugin(void);
const es_mlx_plugin *escriba_mlx_plugin(void)
{
    static const es_mlx_plugin plugin = {ES_MLX_PLUGIN_ABI, ES_MLX_PLUGIN_SIZES, describe, create};
    return &plugin;
}
