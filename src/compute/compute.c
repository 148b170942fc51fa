/* compute.c - in front of every device: shapes checked, the first failure kept, sizes in place before a device works.
 */
#include "compute/compute.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef long long ll; /* for %lld */

/* Tensors are indexed with int64_t products; this bound on any dimension or product keeps all of them exact. */
#define SIZE_LIMIT (INT64_C(1) << 46)

size_t es_dtype_size(es_dtype dtype)
{
    return dtype == ES_F16 || dtype == ES_BF16 ? 2 : 4;
}

const char *es_dtype_name(es_dtype dtype)
{
    switch (dtype) {
    case ES_F32:
        return "f32";
    case ES_F16:
        return "f16";
    case ES_BF16:
        return "bf16";
    case ES_U32:
        return "u32";
    }
    return "unknown";
}

void es_device_fail(es_device *d, es_status status, const char *format, ...)
{
    if (d->sticky.status != ES_OK)
        return;
    va_list arguments;
    va_start(arguments, format);
    d->sticky.status = status;
    vsnprintf(d->sticky.message, sizeof d->sticky.message, format, arguments);
    va_end(arguments);
}

es_status es_device_check(es_device *d, es_error *err)
{
    if (d->ops->flush != NULL)
        d->ops->flush(d);
    if (d->sticky.status == ES_OK)
        return ES_OK;
    es_status status = es_fail(err, d->sticky.status, "%s", d->sticky.message);
    d->sticky = (es_error){0};
    return status;
}

/* --- life --- */

void es_device_free(es_device *d)
{
    if (d != NULL)
        d->ops->destroy(d);
}

static bool product_ok(int64_t a, int64_t b, int64_t *product)
{
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product) && *product <= SIZE_LIMIT;
}

es_status es_tensor_create(es_device *d, es_tensor **t, int64_t rows, int64_t cols, es_error *err)
{
    *t = NULL;
    int64_t count;
    if (rows < 0 || cols < 1)
        return es_fail(err, ES_ERR_ARGUMENT, "a tensor of %lld x %lld makes no sense", (ll)rows, (ll)cols);
    if (!product_ok(rows, cols, &count))
        return es_fail_memory(err, "a tensor", 0);
    return d->ops->tensor_create(d, t, rows, cols, err);
}

void es_tensor_free(es_device *d, es_tensor *t)
{
    if (t != NULL)
        d->ops->tensor_free(d, t);
}

static bool is_float(es_dtype dtype)
{
    return dtype == ES_F32 || dtype == ES_F16 || dtype == ES_BF16;
}

static es_status check_packed(const es_matrix_source *s, es_error *err)
{
    if (s->bits != 4 && s->bits != 5 && s->bits != 6 && s->bits != 8)
        return es_fail(err, ES_ERR_UNSUPPORTED, "weights of %d bits; 4, 5, 6 and 8 are possible", s->bits);
    if (s->group != 32 && s->group != 64 && s->group != 128)
        return es_fail(err, ES_ERR_UNSUPPORTED, "groups of %d columns; 32, 64 and 128 are possible", s->group);
    if (s->dtype != ES_U32 || !is_float(s->scale_dtype))
        return es_fail(err, ES_ERR_ARGUMENT, "packed weights must be u32 with float scales, not %s with %s",
                       es_dtype_name(s->dtype), es_dtype_name(s->scale_dtype));
    if (s->cols % s->group != 0)
        return es_fail(err, ES_ERR_ARGUMENT, "%lld columns are not whole groups of %d", (ll)s->cols, s->group);
    if (s->scales == NULL || s->biases == NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "packed weights need scales and biases");
    return ES_OK;
}

es_status es_matrix_create(es_device *d, es_matrix **m, const es_matrix_source *s, es_error *err)
{
    *m = NULL;
    int64_t count;
    if (s->rows < 1 || s->cols < 1 || s->data == NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "a matrix of %lld x %lld makes no sense", (ll)s->rows, (ll)s->cols);
    if (!product_ok(s->rows, s->cols, &count))
        return es_fail(err, ES_ERR_LIMIT, "a matrix of %lld x %lld is too large", (ll)s->rows, (ll)s->cols);
    if (s->bits != 0)
        ES_TRY(check_packed(s, err));
    else if (!is_float(s->dtype))
        return es_fail(err, ES_ERR_ARGUMENT, "a plain matrix cannot be %s", es_dtype_name(s->dtype));
    return d->ops->matrix_create(d, m, s, err);
}

size_t es_matrix_ready_size(const es_device *d, const es_matrix_source *source)
{
    return d->ops->matrix_ready_size == NULL ? 0 : d->ops->matrix_ready_size(d, source);
}

const void *es_matrix_ready(const es_device *d, const es_matrix *m, size_t *size)
{
    *size = 0;
    return d->ops->matrix_ready == NULL ? NULL : d->ops->matrix_ready(m, size);
}

void es_matrix_free(es_device *d, es_matrix *m)
{
    if (m != NULL)
        d->ops->matrix_free(d, m);
}

es_status es_kv_create(es_device *d, es_kv **kv, const es_kv_shape *s, es_error *err)
{
    *kv = NULL;
    if (s->layers < 1 || s->kv_heads < 1 || s->head_dim < 1 || s->pages < 1 || s->page_tokens < 1)
        return es_fail(err, ES_ERR_ARGUMENT,
                       "a key-value cache of %d layers, %d heads of %d, %d pages of %d makes no sense", (int)s->layers,
                       (int)s->kv_heads, (int)s->head_dim, (int)s->pages, (int)s->page_tokens);
    return d->ops->kv_create(d, kv, s, err);
}

void es_kv_free(es_device *d, es_kv *kv)
{
    if (kv != NULL)
        d->ops->kv_free(d, kv);
}

/* --- checks --- */

static bool failed(const es_device *d)
{
    return d->sticky.status != ES_OK;
}

/* Keeps an ES_ERR_ARGUMENT "op: what" unless ok; returns ok. */
static bool require(es_device *d, bool ok, const char *op, const char *what)
{
    if (!ok)
        es_device_fail(d, ES_ERR_ARGUMENT, "%s: %s", op, what);
    return ok;
}

/* Tensor t must be [rows, cols]. */
static bool is_shape(es_device *d, const char *op, const char *name, const es_tensor *t, int64_t rows, int64_t cols)
{
    if (t->rows == rows && t->cols == cols)
        return true;
    es_device_fail(d, ES_ERR_ARGUMENT, "%s: %s is %lld x %lld, should be %lld x %lld", op, name, (ll)t->rows,
                   (ll)t->cols, (ll)rows, (ll)cols);
    return false;
}

static bool has_room(es_device *d, const char *op, const es_tensor *t, int64_t rows, int64_t cols)
{
    int64_t count;
    if (cols >= 1 && product_ok(rows, cols, &count) && count <= t->capacity)
        return true;
    es_device_fail(d, ES_ERR_ARGUMENT, "%s: %lld x %lld numbers do not fit a tensor with room for %lld", op, (ll)rows,
                   (ll)cols, (ll)t->capacity);
    return false;
}

/* Gives the result its shape, which must fit; an input that is also the result already has it. */
static bool take_shape(es_device *d, const char *op, es_tensor *y, int64_t rows, int64_t cols)
{
    if (!has_room(d, op, y, rows, cols))
        return false;
    if (y->rows != rows || y->cols != cols)
        d->ops->reshape(d, y, rows, cols);
    return true;
}

static bool indexes_ok(es_device *d, const char *op, const int32_t *list, int64_t n, int64_t limit)
{
    if (!require(d, n >= 0 && (list != NULL || n == 0), op, "no list of rows"))
        return false;
    for (int64_t i = 0; i < n; i++) {
        if (list[i] < 0 || list[i] >= limit) {
            es_device_fail(d, ES_ERR_ARGUMENT, "%s: number %d (the %lldth) is outside 0 .. %lld", op, (int)list[i],
                           (ll)i, (ll)(limit - 1));
            return false;
        }
    }
    return true;
}

/* Segments or sequences come in order and do not overlap: so no two write the same row. */
static bool follows(es_device *d, const char *op, int64_t first, int64_t count, int64_t *end, int64_t rows)
{
    bool ok = first >= *end && count >= 0 && first + count <= rows;
    if (!ok)
        es_device_fail(d, ES_ERR_ARGUMENT, "%s: rows %lld .. %lld do not fit %lld rows, of which %lld are taken", op,
                       (ll)first, (ll)(first + count - 1), (ll)rows, (ll)*end);
    *end = first + count;
    return ok;
}

static bool sequences_ok(es_device *d, const char *op, const es_kv *kv, const es_attend *list, size_t n, int64_t rows)
{
    const es_kv_shape *shape = &kv->shape;
    int64_t end = 0;
    if (!require(d, list != NULL || n == 0, op, "no list of sequences"))
        return false;
    for (size_t i = 0; i < n; i++) {
        const es_attend *a = &list[i];
        if (!follows(d, op, a->first, a->count, &end, rows))
            return false;
        int64_t tokens = (int64_t)a->past + a->count;
        if (!require(d, a->past >= 0 && (a->pages != NULL || tokens == 0), op, "a sequence without a past or pages"))
            return false;
        int64_t pages = (tokens + shape->page_tokens - 1) / shape->page_tokens;
        if (!require(d, pages <= shape->pages, op, "a sequence is longer than the whole cache") ||
            !indexes_ok(d, op, a->pages, pages, shape->pages))
            return false;
    }
    return true;
}

/* --- data --- */

void es_op_write(es_device *d, es_tensor *t, const float *host, int64_t rows)
{
    if (!failed(d) && take_shape(d, "write", t, rows, t->cols))
        d->ops->write(d, t, 0, rows, host);
}

void es_op_read(es_device *d, const es_tensor *t, int64_t first, int64_t rows, float *host)
{
    if (!failed(d) &&
        require(d, first >= 0 && rows >= 0 && first <= t->rows && rows <= t->rows - first, "read", "no such rows"))
        d->ops->read(d, t, first, rows, host);
}

void es_op_reshape(es_device *d, es_tensor *t, int64_t rows, int64_t cols)
{
    if (!failed(d) && has_room(d, "reshape", t, rows, cols))
        d->ops->reshape(d, t, rows, cols);
}

void es_op_copy(es_device *d, es_tensor *y, const es_tensor *x)
{
    if (!failed(d) && y != x && take_shape(d, "copy", y, x->rows, x->cols))
        d->ops->copy(d, y, x);
}

void es_op_add(es_device *d, es_tensor *y, const es_tensor *x)
{
    if (!failed(d) && is_shape(d, "add", "x", x, y->rows, y->cols))
        d->ops->add(d, y, x);
}

/* --- arithmetic --- */

void es_op_embed(es_device *d, es_tensor *y, const es_matrix *table, const int32_t *ids, int64_t n)
{
    if (!failed(d) && indexes_ok(d, "embed", ids, n, table->rows) && take_shape(d, "embed", y, n, table->cols))
        d->ops->embed(d, y, table, ids, n);
}

void es_op_norm_rms(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, float eps)
{
    int64_t run = gain->rows * gain->cols;
    if (!failed(d) && require(d, run > 0 && x->cols % run == 0, "norm_rms", "rows are not whole runs of the gain") &&
        require(d, y != gain, "norm_rms", "the result cannot be the gain") &&
        take_shape(d, "norm_rms", y, x->rows, x->cols))
        d->ops->norm_rms(d, y, x, gain, eps);
}

void es_op_norm_layer(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, const es_tensor *bias,
                      float eps)
{
    if (!failed(d) && is_shape(d, "norm_layer", "gain", gain, 1, x->cols) &&
        is_shape(d, "norm_layer", "bias", bias, 1, x->cols) &&
        require(d, y != gain && y != bias, "norm_layer", "the result cannot be the gain or the bias") &&
        take_shape(d, "norm_layer", y, x->rows, x->cols))
        d->ops->norm_layer(d, y, x, gain, bias, eps);
}

void es_op_linear(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                  es_activation act, const es_tensor *residual)
{
    if (failed(d) || !is_shape(d, "linear", "x", x, x->rows, w->cols) ||
        (bias != NULL && !is_shape(d, "linear", "bias", bias, 1, w->rows)) ||
        (residual != NULL && !is_shape(d, "linear", "residual", residual, x->rows, w->rows)) ||
        !require(d, y != x && y != bias, "linear", "the result cannot be x or the bias") ||
        !take_shape(d, "linear", y, x->rows, w->rows))
        return;
    d->ops->linear(d, y, x, w, bias, act, residual);
}

void es_op_swiglu(es_device *d, es_tensor *y, const es_tensor *gate, const es_tensor *up)
{
    if (!failed(d) && is_shape(d, "swiglu", "up", up, gate->rows, gate->cols) &&
        take_shape(d, "swiglu", y, gate->rows, gate->cols))
        d->ops->swiglu(d, y, gate, up);
}

/* first_col + heads * head_dim columns lie within cols. */
static bool heads_fit(int64_t first_col, int64_t heads, int64_t head_dim, int64_t cols)
{
    int64_t width;
    return first_col >= 0 && heads >= 1 && head_dim >= 1 && product_ok(heads, head_dim, &width) && first_col <= cols &&
           width <= cols - first_col;
}

void es_op_rope(es_device *d, es_tensor *x, int64_t first_col, int64_t heads, int64_t head_dim,
                const es_tensor *cos_sin)
{
    if (!failed(d) && is_shape(d, "rope", "cos_sin", cos_sin, x->rows, head_dim) &&
        require(d, heads_fit(first_col, heads, head_dim, x->cols), "rope", "the heads do not fit the rows") &&
        require(d, head_dim % 2 == 0 && x != cos_sin, "rope", "heads must be of even width, x not cos_sin"))
        d->ops->rope(d, x, first_col, heads, head_dim, cos_sin);
}

void es_op_attend_segments(es_device *d, es_tensor *y, const es_tensor *qkv, int64_t heads, int64_t head_dim,
                           const es_segment *segments, size_t n)
{
    const char *op = "attend_segments";
    if (failed(d) ||
        !require(d, qkv->cols % 3 == 0 && heads_fit(0, heads, head_dim, qkv->cols / 3), op,
                 "qkv is not three times the heads wide") ||
        !is_shape(d, op, "qkv", qkv, qkv->rows, 3 * heads * head_dim) ||
        !require(d, y != qkv && (segments != NULL || n == 0), op, "y cannot be qkv, segments not NULL"))
        return;
    int64_t end = 0;
    for (size_t i = 0; i < n; i++)
        if (!follows(d, op, segments[i].first, segments[i].count, &end, qkv->rows))
            return;
    if (take_shape(d, op, y, qkv->rows, heads * head_dim))
        d->ops->attend_segments(d, y, qkv, heads, head_dim, segments, n);
}

void es_op_kv_write(es_device *d, es_kv *kv, int32_t layer, const es_tensor *k, const es_tensor *v,
                    const es_attend *sequences, size_t n)
{
    int64_t width = (int64_t)kv->shape.kv_heads * kv->shape.head_dim;
    if (!failed(d) && require(d, layer >= 0 && layer < kv->shape.layers, "kv_write", "no such layer") &&
        is_shape(d, "kv_write", "k", k, k->rows, width) && is_shape(d, "kv_write", "v", v, k->rows, width) &&
        sequences_ok(d, "kv_write", kv, sequences, n, k->rows))
        d->ops->kv_write(d, kv, layer, k, v, sequences, n);
}

void es_op_attend_paged(es_device *d, es_tensor *y, const es_tensor *q, const es_kv *kv, int32_t layer, int64_t heads,
                        const es_attend *sequences, size_t n)
{
    const char *op = "attend_paged";
    const es_kv_shape *shape = &kv->shape;
    if (!failed(d) && require(d, layer >= 0 && layer < shape->layers, op, "no such layer") &&
        require(d, heads >= 1 && heads % shape->kv_heads == 0 && heads_fit(0, heads, shape->head_dim, q->cols), op,
                "the query heads do not fit the rows or are not whole groups of key-value heads") &&
        is_shape(d, op, "q", q, q->rows, heads * shape->head_dim) && require(d, y != q, op, "the result cannot be q") &&
        sequences_ok(d, op, kv, sequences, n, q->rows) && take_shape(d, op, y, q->rows, q->cols))
        d->ops->attend_paged(d, y, q, kv, layer, heads, sequences, n);
}

void es_op_gather(es_device *d, es_tensor *y, const es_tensor *x, const int32_t *rows, int64_t n)
{
    if (!failed(d) && indexes_ok(d, "gather", rows, n, x->rows) &&
        require(d, y != x, "gather", "the result cannot be x") && take_shape(d, "gather", y, n, x->cols))
        d->ops->gather(d, y, x, rows, n);
}

void es_op_scatter(es_device *d, es_tensor *y, const es_tensor *x, int64_t x_first, const int32_t *rows, int64_t n,
                   bool add)
{
    if (!failed(d) && indexes_ok(d, "scatter", rows, n, y->rows) &&
        require(d, x_first >= 0 && x_first <= x->rows && n <= x->rows - x_first, "scatter", "no such rows of x") &&
        require(d, y != x && y->cols == x->cols, "scatter", "rows of x and y differ in width, or x is y"))
        d->ops->scatter(d, y, x, x_first, rows, n, add);
}

void es_op_best(es_device *d, const es_tensor *x, int32_t *columns)
{
    if (!failed(d) && require(d, x->rows == 0 || x->cols > 0, "best", "rows without columns"))
        d->ops->best(d, x, columns);
}
