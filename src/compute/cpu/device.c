/* device.c - the cpu device's life, memory and simple operations. */
#include "compute/cpu/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"

#define LARGE_PAGE ((size_t)2 << 20) /* of x86-64, and of aarch64 with small ones of 4 KB */

/* --- memory: zeroed lazily by the system, so that room never used costs nothing --- */

/* Products write their results a strip at a time, far apart: with the usual small pages every row is another one. */
static void ask_for_large_pages(void *block, size_t bytes)
{
#if defined(MADV_HUGEPAGE)
    uintptr_t first = ((uintptr_t)block + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    uintptr_t last = ((uintptr_t)block + bytes) / LARGE_PAGE * LARGE_PAGE;
    if (last > first + LARGE_PAGE)
        madvise((void *)first, last - first, MADV_HUGEPAGE); /* a wish: refused or not, all works */
#else
    (void)block;
    (void)bytes;
#endif
}

static float *floats_create(void **block, size_t count)
{
    *block = count > SIZE_MAX / sizeof(float) - 16 ? NULL : es_calloc(count + 16, sizeof(float));
    if (*block == NULL)
        return NULL;
    ask_for_large_pages(*block, (count + 16) * sizeof(float));
    uintptr_t address = (uintptr_t)*block;
    return (float *)(void *)((char *)*block + ((64 - address % 64) & 63));
}

/* The product of sizes that are known to be >= 0; false when it does not fit an allocation of floats. */
static bool product_fits(const int64_t *sizes, size_t n, size_t *product)
{
    size_t total = 1;
    for (size_t i = 0; i < n; i++)
        if (sizes[i] < 0 || __builtin_mul_overflow(total, (size_t)sizes[i], &total))
            return false;
    *product = total;
    return total < PTRDIFF_MAX / sizeof(float) - 16;
}

static es_status tensor_create(es_device *d, es_tensor **out, int64_t rows, int64_t cols, es_error *err)
{
    (void)d;
    size_t count;
    if (!product_fits((const int64_t[]){rows, cols}, 2, &count))
        return es_fail_memory(err, "a tensor", 0);
    es_cpu_tensor *t = es_calloc(1, sizeof *t);
    if (t == NULL)
        return es_fail_memory(err, "a tensor", sizeof *t);
    t->data = floats_create(&t->block, count);
    if (t->data == NULL) {
        free(t);
        return es_fail_memory(err, "a tensor", count * sizeof(float));
    }
    t->base = (es_tensor){.rows = rows, .cols = cols, .capacity = (int64_t)count};
    *out = &t->base;
    return ES_OK;
}

static void tensor_free(es_device *d, es_tensor *t)
{
    (void)d;
    free(((es_cpu_tensor *)t)->block);
    free(t);
}

bool es_cpu_room(es_cpu *cpu, size_t floats)
{
    if (floats <= cpu->x_capacity)
        return true;
    float *grown = es_aligned_calloc(floats, sizeof(float));
    if (grown == NULL) {
        es_device_fail(&cpu->base, ES_ERR_MEMORY, "not enough memory for %zu numbers of attention", floats);
        return false;
    }
    es_aligned_free(cpu->x_panels);
    cpu->x_panels = grown;
    cpu->x_capacity = floats;
    return true;
}

/* Makes room in the packed rows for one tile as deep as the matrix, and in each worker for its scales. */
static es_status grow_scratch(es_cpu *cpu, const es_matrix_source *source, es_error *err)
{
    size_t deepest = SIZE_MAX / sizeof(float) / ES_MR_MAX / ES_NR_MAX;
    if ((uint64_t)source->cols > deepest)
        return es_fail(err, ES_ERR_LIMIT, "a matrix of %lld columns is too wide", (long long)source->cols);
    size_t need = (size_t)source->cols * cpu->k.mr;
    if (need > cpu->x_capacity) {
        float *grown = es_aligned_calloc(need, sizeof(float));
        if (grown == NULL)
            return es_fail_memory(err, "rows to multiply", need * sizeof(float));
        es_aligned_free(cpu->x_panels);
        cpu->x_panels = grown;
        cpu->x_capacity = need;
    }
    size_t groups = source->bits == 0 ? 0 : (size_t)(source->cols / source->group);
    if (groups <= cpu->groups)
        return ES_OK;
    for (size_t i = 0; i < cpu->workers; i++) {
        float *scales = es_aligned_calloc(groups * cpu->k.nr, sizeof(float));
        float *biases = es_aligned_calloc(groups * cpu->k.nr, sizeof(float));
        if (scales == NULL || biases == NULL) {
            es_aligned_free(scales);
            es_aligned_free(biases);
            return es_fail_memory(err, "scales of packed weights", 2 * groups * cpu->k.nr * sizeof(float));
        }
        es_aligned_free(cpu->scratch[i].scales);
        es_aligned_free(cpu->scratch[i].biases);
        cpu->scratch[i].scales = scales;
        cpu->scratch[i].biases = biases;
    }
    cpu->groups = groups;
    return ES_OK;
}

bool es_cpu_small(const es_cpu *cpu, int64_t rows, int64_t cols)
{
    return (double)rows * (double)cols < (double)cpu->exact_below;
}

/* Bits of plain weights for products with that source; 0: products stay exact. */
static int bits_for(const es_cpu *cpu, const es_matrix_source *s)
{
    if (cpu->precision == ES_PRECISION_EXACT || s->use == ES_USE_EXACT || es_cpu_small(cpu, s->rows, s->cols))
        return 0;
    return cpu->precision == ES_PRECISION_FAST && s->use == ES_USE_TEXT ? 4 : 8;
}

static size_t bytes_of(const es_cpu_matrix *m)
{
    const es_matrix_source *s = &m->source;
    size_t rows = (size_t)s->rows, cols = (size_t)s->cols;
    if (m->panels != NULL)
        return m->panels->bytes;
    if (s->bits == 0)
        return rows * cols * es_dtype_size(s->dtype);
    return rows * cols * (size_t)s->bits / 8 + 2 * rows * (cols / (size_t)s->group) * es_dtype_size(s->scale_dtype);
}

static es_status matrix_create(es_device *d, es_matrix **out, const es_matrix_source *source, es_error *err)
{
    es_cpu *cpu = (es_cpu *)d;
    ES_TRY(grow_scratch(cpu, source, err));
    es_cpu_matrix *m = es_calloc(1, sizeof *m);
    if (m == NULL)
        return es_fail_memory(err, "a matrix", sizeof *m);
    m->base = (es_matrix){.rows = source->rows, .cols = source->cols};
    m->source = *source;
    int bits = bits_for(cpu, source);
    if (bits != 0 && es_panels_group(source, bits) != 0) {
        es_status status = es_panels_create(&m->panels, source, bits, cpu->pool, err);
        if (status != ES_OK) {
            free(m);
            return status;
        }
    }
    m->base.bytes = bytes_of(m);
    *out = &m->base;
    return ES_OK;
}

static void matrix_free(es_device *d, es_matrix *m)
{
    (void)d;
    es_panels_free(((es_cpu_matrix *)m)->panels);
    free(m);
}

static size_t matrix_ready_size(const es_device *d, const es_matrix_source *source)
{
    int bits = bits_for((const es_cpu *)d, source);
    return bits == 0 ? 0 : es_panels_bytes(source, bits);
}

static const void *matrix_ready(const es_matrix *m, size_t *size)
{
    const es_panels *p = ((const es_cpu_matrix *)m)->panels;
    if (p == NULL)
        return NULL;
    *size = p->bytes;
    return p->data;
}

static void kv_free(es_device *d, es_kv *base)
{
    es_cpu_kv *kv = (es_cpu_kv *)base;
    size_t number = kv->half ? sizeof(uint16_t) : sizeof(float);
    (void)d;
    es_reserve_free(kv->keys, kv->key_count, number);
    es_reserve_free(kv->values, kv->value_count, number);
    free(kv);
}

static es_status kv_create(es_device *d, es_kv **out, const es_kv_shape *s, es_error *err)
{
    size_t number = d->kv_number_size;
    if (s->head_dim > ES_HEAD_DIM_MAX || s->page_tokens > ES_PAGE_MAX)
        return es_fail(err, ES_ERR_UNSUPPORTED,
                       "a key-value cache with heads of %d and pages of %d tokens; at most %d and %d are possible",
                       (int)s->head_dim, (int)s->page_tokens, ES_HEAD_DIM_MAX, ES_PAGE_MAX);
    es_cpu_kv *kv = es_calloc(1, sizeof *kv);
    if (kv == NULL)
        return es_fail_memory(err, "a key-value cache", sizeof *kv);
    kv->base.shape = *s;
    kv->slots = es_pad((size_t)s->page_tokens);
    kv->width = es_pad((size_t)s->head_dim);
    kv->key_page = (size_t)s->head_dim * kv->slots;
    kv->value_page = (size_t)s->page_tokens * kv->width;
    bool fits =
        product_fits((const int64_t[]){s->layers, s->pages, s->kv_heads, (int64_t)kv->key_page}, 4, &kv->key_count) &&
        product_fits((const int64_t[]){s->layers, s->pages, s->kv_heads, (int64_t)kv->value_page}, 4, &kv->value_count);
    kv->half = number == sizeof(uint16_t);
    kv->keys = fits ? es_reserve(kv->key_count, number) : NULL;
    kv->values = fits ? es_reserve(kv->value_count, number) : NULL;
    if (kv->keys == NULL || kv->values == NULL) {
        size_t bytes = fits ? (kv->key_count + kv->value_count) * number : 0;
        kv_free(d, &kv->base);
        return es_fail_memory(err, "a key-value cache", bytes);
    }
    *out = &kv->base;
    return ES_OK;
}

/* --- simple operations --- */

typedef struct range {
    size_t n, piece;
    es_range_fn fn;
    const void *context;
} range;

static void range_task(void *context, size_t task, size_t worker)
{
    const range *r = context;
    (void)worker;
    r->fn(r->context, task * r->piece, es_least(r->n, (task + 1) * r->piece));
}

void es_cpu_ranges(es_cpu *cpu, size_t n, size_t least, es_range_fn fn, const void *context)
{
    /* A few pieces a worker, so that a slow core does not hold up the others. */
    size_t piece = n / (cpu->workers * 4) + 1;
    range r = {.n = n, .piece = piece > least ? piece : least, .fn = fn, .context = context};
    es_pool_run(cpu->pool, (n + r.piece - 1) / r.piece, range_task, &r);
}

void es_cpu_mul(const es_kernels *k, es_mul whole)
{
    for (size_t col = 0; col < whole.cols; col += k->nr) {
        for (size_t row = 0; row < whole.rows; row += k->mr) {
            es_mul m = whole;
            m.rows = es_least(k->mr, whole.rows - row);
            m.cols = es_least(k->nr, whole.cols - col);
            m.x += row * whole.x_row;
            m.panel += col;
            m.c += row * whole.c_row + col;
            k->mul(&m);
        }
    }
}

static void write_rows(es_device *d, es_tensor *t, int64_t first, int64_t rows, const float *host)
{
    (void)d;
    if (rows > 0)
        memcpy(es_rows(t, first), host, (size_t)(rows * t->cols) * sizeof *host);
}

static void read_rows(es_device *d, const es_tensor *t, int64_t first, int64_t rows, float *host)
{
    (void)d;
    if (rows > 0)
        memcpy(host, es_rows(t, first), (size_t)(rows * t->cols) * sizeof *host);
}

static void reshape(es_device *d, es_tensor *t, int64_t rows, int64_t cols)
{
    (void)d;
    t->rows = rows;
    t->cols = cols;
}

static void copy(es_device *d, es_tensor *y, const es_tensor *x)
{
    (void)d;
    memmove(es_rows(y, 0), es_rows(x, 0), (size_t)(x->rows * x->cols) * sizeof(float));
}

/* What the elementwise and row operations need; each uses its part. */
typedef struct rows_op {
    const es_kernels *k;
    float *y;
    const float *x, *other, *bias;
    float eps;
    size_t cols, run;        /* row length; length of a normed run within it */
    size_t first_col, heads; /* rope */
} rows_op;

#define ELEMENTS 16384 /* the least that pays for another thread */

static void add_range(const void *context, size_t first, size_t last)
{
    const rows_op *o = context;
    o->k->add(o->y + first, o->x + first, last - first);
}

static void add(es_device *d, es_tensor *y, const es_tensor *x)
{
    es_cpu *cpu = (es_cpu *)d;
    rows_op o = {.k = &cpu->k, .y = es_rows(y, 0), .x = es_rows(x, 0)};
    es_cpu_ranges(cpu, (size_t)(y->rows * y->cols), ELEMENTS, add_range, &o);
}

static void swiglu_range(const void *context, size_t first, size_t last)
{
    const rows_op *o = context;
    o->k->swiglu(o->y + first, o->x + first, o->other + first, last - first);
}

static void swiglu(es_device *d, es_tensor *y, const es_tensor *gate, const es_tensor *up)
{
    es_cpu *cpu = (es_cpu *)d;
    rows_op o = {.k = &cpu->k, .y = es_rows(y, 0), .x = es_rows(gate, 0), .other = es_rows(up, 0)};
    es_cpu_ranges(cpu, (size_t)(y->rows * y->cols), ELEMENTS, swiglu_range, &o);
}

static void rms_range(const void *context, size_t first, size_t last)
{
    const rows_op *o = context;
    for (size_t i = first; i < last; i++)
        o->k->norm_rms(o->y + i * o->run, o->x + i * o->run, o->other, o->eps, o->run);
}

static void norm_rms(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, float eps)
{
    es_cpu *cpu = (es_cpu *)d;
    size_t run = (size_t)(gain->rows * gain->cols);
    rows_op o = {
        .k = &cpu->k, .y = es_rows(y, 0), .x = es_rows(x, 0), .other = es_rows(gain, 0), .eps = eps, .run = run};
    es_cpu_ranges(cpu, (size_t)(x->rows * x->cols) / run, 1 + ELEMENTS / run, rms_range, &o);
}

static void layer_range(const void *context, size_t first, size_t last)
{
    const rows_op *o = context;
    for (size_t i = first; i < last; i++)
        o->k->norm_layer(o->y + i * o->cols, o->x + i * o->cols, o->other, o->bias, o->eps, o->cols);
}

static void norm_layer(es_device *d, es_tensor *y, const es_tensor *x, const es_tensor *gain, const es_tensor *bias,
                       float eps)
{
    es_cpu *cpu = (es_cpu *)d;
    rows_op o = {.k = &cpu->k,
                 .y = es_rows(y, 0),
                 .x = es_rows(x, 0),
                 .other = es_rows(gain, 0),
                 .bias = es_rows(bias, 0),
                 .eps = eps,
                 .cols = (size_t)x->cols};
    es_cpu_ranges(cpu, (size_t)x->rows, 1 + ELEMENTS / o.cols, layer_range, &o);
}

static void rope_range(const void *context, size_t first, size_t last)
{
    const rows_op *o = context;
    size_t half = o->run / 2;
    for (size_t i = first; i < last; i++) {
        const float *cosines = o->x + i * o->run;
        for (size_t h = 0; h < o->heads; h++)
            o->k->rope(o->y + i * o->cols + o->first_col + h * o->run, cosines, cosines + half, half);
    }
}

static void rope(es_device *d, es_tensor *x, int64_t first_col, int64_t heads, int64_t head_dim,
                 const es_tensor *cos_sin)
{
    es_cpu *cpu = (es_cpu *)d;
    rows_op o = {.k = &cpu->k,
                 .y = es_rows(x, 0),
                 .x = es_rows(cos_sin, 0),
                 .cols = (size_t)x->cols,
                 .run = (size_t)head_dim,
                 .first_col = (size_t)first_col,
                 .heads = (size_t)heads};
    es_cpu_ranges(cpu, (size_t)x->rows, 1 + ELEMENTS / o.cols, rope_range, &o);
}

static void gather(es_device *d, es_tensor *y, const es_tensor *x, const int32_t *rows, int64_t n)
{
    (void)d;
    for (int64_t i = 0; i < n; i++)
        memcpy(es_rows(y, i), es_rows(x, rows[i]), (size_t)x->cols * sizeof(float));
}

static void scatter(es_device *d, es_tensor *y, const es_tensor *x, int64_t x_first, const int32_t *rows, int64_t n,
                    bool added)
{
    const es_kernels *k = &((es_cpu *)d)->k;
    for (int64_t i = 0; i < n; i++) {
        float *to = es_rows(y, rows[i]);
        const float *from = es_rows(x, x_first + i);
        if (added)
            k->add(to, from, (size_t)x->cols);
        else
            memcpy(to, from, (size_t)x->cols * sizeof *to);
    }
}

static void best(es_device *d, const es_tensor *x, int32_t *columns)
{
    (void)d;
    for (int64_t i = 0; i < x->rows; i++) {
        const float *row = es_rows(x, i);
        int32_t at = 0;
        for (int32_t j = 1; j < x->cols; j++)
            if (row[j] > row[at] || (isnan(row[at]) && row[j] > -INFINITY))
                at = j;
        columns[i] = at;
    }
}

/* --- life --- */

static void scratch_free(es_scratch *s)
{
    float *all[] = {s->panel, s->sums, s->scales, s->biases, s->q, s->out, s->scores, s->keys, s->values};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        es_aligned_free(all[i]);
}

static void destroy(es_device *d)
{
    es_cpu *cpu = (es_cpu *)d;
    if (cpu->scratch != NULL)
        for (size_t i = 0; i < cpu->workers; i++)
            scratch_free(&cpu->scratch[i]);
    free(cpu->scratch);
    es_aligned_free(cpu->x_panels);
    es_pool_free(cpu->pool);
    free(cpu);
}

static es_status scratch_create(es_scratch *s, const es_kernels *k, es_error *err)
{
    struct {
        float **at;
        size_t count;
    } parts[] = {
        {&s->panel, ES_PANEL_K * k->nr + ES_DOT_READY_BYTES / sizeof(float)},
        {&s->sums, (size_t)ES_SUM_ROWS * k->nr},
        {&s->q, (size_t)ES_TILE_ROWS * ES_HEAD_DIM_MAX},
        {&s->out, (size_t)ES_TILE_ROWS * ES_HEAD_DIM_MAX},
        {&s->scores, (size_t)ES_TILE_ROWS * ES_SCORES},
        {&s->keys, (size_t)ES_BLOCK_KEYS * ES_HEAD_DIM_MAX},
        {&s->values, (size_t)ES_BLOCK_KEYS * ES_HEAD_DIM_MAX},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        *parts[i].at = es_aligned_calloc(parts[i].count, sizeof(float));
        if (*parts[i].at == NULL)
            return es_fail_memory(err, "scratch for a worker", parts[i].count * sizeof(float));
    }
    return ES_OK;
}

static es_status fill(es_cpu *cpu, size_t threads, es_error *err)
{
    ES_TRY(es_pool_create(&cpu->pool, threads, err));
    cpu->workers = es_pool_size(cpu->pool);
    cpu->scratch = es_calloc(cpu->workers, sizeof *cpu->scratch);
    if (cpu->scratch == NULL)
        return es_fail_memory(err, "scratch of the workers", cpu->workers * sizeof *cpu->scratch);
    for (size_t i = 0; i < cpu->workers; i++)
        ES_TRY(scratch_create(&cpu->scratch[i], &cpu->k, err));
    cpu->x_panels = es_aligned_calloc(ES_X_FLOATS, sizeof(float));
    if (cpu->x_panels == NULL)
        return es_fail_memory(err, "rows to multiply", ES_X_FLOATS * sizeof(float));
    cpu->x_capacity = ES_X_FLOATS;
    return ES_OK;
}

void es_cpu_in_floats(es_device *device)
{
    ((es_cpu *)device)->in_floats = true;
    device->kv_number_size = sizeof(float);
}

static const es_device_ops cpu_ops = {
    .destroy = destroy,
    .tensor_create = tensor_create,
    .tensor_free = tensor_free,
    .matrix_create = matrix_create,
    .matrix_free = matrix_free,
    .matrix_ready_size = matrix_ready_size,
    .matrix_ready = matrix_ready,
    .kv_create = kv_create,
    .kv_free = kv_free,
    .write = write_rows,
    .read = read_rows,
    .reshape = reshape,
    .copy = copy,
    .add = add,
    .embed = es_cpu_embed,
    .norm_rms = norm_rms,
    .norm_layer = norm_layer,
    .linear = es_cpu_linear,
    .swiglu = swiglu,
    .rope = rope,
    .attend_segments = es_cpu_attend_segments,
    .kv_write = es_cpu_kv_write,
    .attend_paged = es_cpu_attend_paged,
    .gather = gather,
    .scatter = scatter,
    .best = best,
};

es_status es_cpu_device_create(es_device **out, const es_cpu_options *options, es_error *err)
{
    *out = NULL;
    es_isa isa = options != NULL && options->isa_given ? options->isa : es_cpu_best_isa();
    if (!es_cpu_has_isa(isa))
        return es_fail(err, ES_ERR_UNSUPPORTED, "this processor cannot run %s kernels; the best here is %s",
                       es_isa_name(isa), es_isa_name(es_cpu_best_isa()));
    es_cpu *cpu = es_calloc(1, sizeof *cpu);
    if (cpu == NULL)
        return es_fail_memory(err, "the cpu device", sizeof *cpu);
    cpu->base.ops = &cpu_ops;
    cpu->base.name = "cpu";
    cpu->isa = isa;
    es_cpu_kernels(&cpu->k, isa);
    es_cpu_dot_kernels(&cpu->dot, isa);
    cpu->precision = options != NULL ? options->precision : ES_PRECISION_EXACT;
    cpu->exact_below = options != NULL ? options->exact_below : 0;
    if (cpu->precision != ES_PRECISION_EXACT)
        snprintf(cpu->base.layout, sizeof cpu->base.layout, "panels %d %s %zu", ES_PANELS_LAYOUT,
                 cpu->precision == ES_PRECISION_FAST ? "fast" : "balanced", cpu->exact_below);
    cpu->base.kv_number_size = cpu->precision == ES_PRECISION_EXACT ? sizeof(float) : sizeof(uint16_t);
    es_status status = fill(cpu, options != NULL ? options->threads : 0, err);
    if (status != ES_OK) {
        destroy(&cpu->base);
        return status;
    }
    bool exact = cpu->precision == ES_PRECISION_EXACT;
    snprintf(cpu->base.arithmetic, sizeof cpu->base.arithmetic, "%s %s %s", es_isa_name(isa),
             exact ? "" : cpu->dot.name, cpu->base.layout); /* not how many threads */
    snprintf(cpu->base.detail, sizeof cpu->base.detail, "%s%s%s%s, %zu thread%s", es_isa_name(isa),
             exact ? "" : " (products by ", exact ? "" : cpu->dot.name, exact ? "" : ")", cpu->workers,
             cpu->workers == 1 ? "" : "s");
    *out = &cpu->base;
    return ES_OK;
}
