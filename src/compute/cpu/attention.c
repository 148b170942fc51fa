/* attention.c - softmax(q k^T / sqrt(d)) v by tiles of query rows and blocks of keys, with a running softmax.
 *
 * A tile is up to ES_TILE_ROWS rows of one head (or of the heads that share one key-value head). Keys come as k-major
 * panels, so scores and outputs are both plain tile products. Blocks start at fixed keys of the sequence, hence what a
 * row gets does not depend on the rows beside it.
 */
#include "compute/cpu/device.h"

#include <math.h>

#define LINE 64 /* bytes of a cache line */
#define TASKS 8 /* a worker, where tiles are small */

typedef struct tile {
    const es_kernels *k;
    es_scratch *s;
    size_t rows, dim, width; /* width: dim padded to ES_LANES */
    float max[ES_TILE_ROWS], sum[ES_TILE_ROWS];
} tile;

static void tile_begin(tile *t, const es_cpu *cpu, size_t worker, size_t rows, size_t dim)
{
    t->k = &cpu->k;
    t->s = &cpu->scratch[worker];
    t->rows = rows;
    t->dim = dim;
    t->width = es_pad(dim);
    memset(t->s->out, 0, rows * t->width * sizeof *t->s->out);
    for (size_t i = 0; i < rows; i++) {
        t->max[i] = -INFINITY;
        t->sum[i] = 0.0f;
    }
}

static void tile_query(tile *t, size_t row, const float *q)
{
    t->k->scale(t->s->q + row * t->dim, q, (float)(1.0 / sqrt((double)t->dim)), t->dim);
}

/* scores[:, column ..] = q . keys for one panel [dim][stride] of `cols` keys (a multiple of ES_LANES). */
static void tile_scores(tile *t, const float *panel, size_t stride, size_t cols, size_t column)
{
    es_cpu_mul(t->k, (es_mul){
                         .rows = t->rows,
                         .cols = cols,
                         .k = t->dim,
                         .x = t->s->q,
                         .x_row = t->dim,
                         .x_k = 1,
                         .panel = panel,
                         .panel_row = stride,
                         .c = t->s->scores + column,
                         .c_row = ES_SCORES,
                     });
}

/* Row i's scores of the block become weights; those it must not see, from `seen` on, become 0. */
static void tile_weigh(tile *t, size_t row, size_t seen, size_t keys)
{
    float *s = t->s->scores + row * ES_SCORES;
    float rescale = t->k->softmax(s, seen, &t->max[row], &t->sum[row]);
    for (size_t i = seen; i < keys; i++)
        s[i] = 0.0f;
    float *out = t->s->out + row * t->width;
    if (rescale != 1.0f)
        t->k->scale(out, out, rescale, t->width);
}

/* out += weights[:, column .. column + keys) * values [keys][width]. */
static void tile_values(tile *t, const float *values, size_t keys, size_t column)
{
    es_cpu_mul(t->k, (es_mul){
                         .rows = t->rows,
                         .cols = t->width,
                         .k = keys,
                         .x = t->s->scores + column,
                         .x_row = ES_SCORES,
                         .x_k = 1,
                         .panel = values,
                         .panel_row = t->width,
                         .c = t->s->out,
                         .c_row = t->width,
                         .add = true,
                     });
}

static void tile_row(const tile *t, size_t row, float *y)
{
    t->k->scale(y, t->s->out + row * t->width, 1.0f / t->sum[row], t->dim);
}

/* --- whole segments --- */

typedef struct segments {
    const es_cpu *cpu;
    const float *qkv; /* [n, 3, heads, dim] */
    float *y;         /* [n, heads, dim] */
    size_t heads, dim;
    const es_segment *list;
} segments;

/* Keys [from, from + count) of a head as panels, and values side by side. */
static void load_block(const segments *g, es_scratch *s, size_t row, size_t head, size_t count)
{
    size_t dim = g->dim, width = es_pad(dim), nr = g->cpu->k.nr, stride = 3 * g->heads * dim;
    const float *keys = g->qkv + row * stride + (g->heads + head) * dim;
    const float *values = keys + g->heads * dim;
    for (size_t first = 0; first < count; first += nr)
        g->cpu->k.pack_f32(s->keys + first * dim, (const uint8_t *)(keys + first * stride), stride * sizeof *keys,
                           es_least(nr, count - first), dim);
    for (size_t i = 0; i < count; i++) {
        memcpy(s->values + i * width, values + i * stride, dim * sizeof *values);
        memset(s->values + i * width + dim, 0, (width - dim) * sizeof *values);
    }
}

static void attend_tile(const segments *g, es_segment segment, size_t head, size_t first, size_t worker)
{
    size_t count = (size_t)segment.count, start = (size_t)segment.first, nr = g->cpu->k.nr;
    size_t rows = es_least(ES_TILE_ROWS, count - first);
    tile t;
    tile_begin(&t, g->cpu, worker, rows, g->dim);
    for (size_t i = 0; i < rows; i++)
        tile_query(&t, i, g->qkv + ((start + first + i) * 3 * g->heads + head) * g->dim);
    for (size_t from = 0; from < count; from += ES_BLOCK_KEYS) {
        size_t keys = es_least(ES_BLOCK_KEYS, count - from);
        load_block(g, t.s, start + from, head, keys);
        for (size_t at = 0; at < keys; at += nr)
            tile_scores(&t, t.s->keys + at * g->dim, nr, nr, at);
        for (size_t i = 0; i < rows; i++)
            tile_weigh(&t, i, keys, keys);
        tile_values(&t, t.s->values, keys, 0);
    }
    for (size_t i = 0; i < rows; i++)
        tile_row(&t, i, g->y + ((start + first + i) * g->heads + head) * g->dim);
}

static size_t tiles_of(size_t rows)
{
    return (rows + ES_TILE_ROWS - 1) / ES_TILE_ROWS;
}

/* Tasks are numbered segment by segment, head by head, tile by tile. */
static void segment_task(void *context, size_t task, size_t worker)
{
    const segments *g = context;
    const es_segment *segment = g->list;
    while (task >= g->heads * tiles_of((size_t)segment->count)) {
        task -= g->heads * tiles_of((size_t)segment->count);
        segment++;
    }
    size_t tiles = tiles_of((size_t)segment->count);
    attend_tile(g, *segment, task / tiles, task % tiles * ES_TILE_ROWS, worker);
}

void es_cpu_attend(es_device *d, float *y, const float *qkv, int64_t heads, int64_t head_dim, const es_segment *list,
                   size_t n)
{
    es_cpu *cpu = (es_cpu *)d;
    segments g = {.cpu = cpu, .qkv = qkv, .y = y, .heads = (size_t)heads, .dim = (size_t)head_dim, .list = list};
    size_t tasks = 0;
    for (size_t i = 0; i < n; i++)
        tasks += g.heads * tiles_of((size_t)list[i].count);
    es_pool_run(cpu->pool, tasks, segment_task, &g);
}

void es_cpu_attend_segments(es_device *d, es_tensor *y, const es_tensor *qkv, int64_t heads, int64_t head_dim,
                            const es_segment *list, size_t n)
{
    es_cpu *cpu = (es_cpu *)d;
    if (head_dim > ES_HEAD_DIM_MAX) {
        es_device_fail(d, ES_ERR_UNSUPPORTED, "attend_segments: heads of %lld are wider than %d", (long long)head_dim,
                       ES_HEAD_DIM_MAX);
        return;
    }
    bool small = es_cpu_small(cpu, heads * head_dim, heads * head_dim);
    if (cpu->precision == ES_PRECISION_EXACT || !cpu->dot.quick_bytes || small || cpu->in_floats) {
        es_cpu_attend(d, es_rows(y, 0), es_rows(qkv, 0), heads, head_dim, list, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        es_cpu_attend_dot(cpu, es_rows(y, list[i].first), es_rows(qkv, list[i].first), (size_t)heads, (size_t)head_dim,
                          (size_t)list[i].count);
}

/* --- the key-value cache --- */

/* Where a page's part of one key-value head begins, in numbers. */
static size_t page_at(const es_cpu_kv *kv, size_t layer, size_t page, size_t head)
{
    const es_kv_shape *shape = &kv->base.shape;
    return (layer * (size_t)shape->pages + page) * (size_t)shape->kv_heads + head;
}

typedef struct paged {
    const es_cpu *cpu;
    const es_cpu_kv *kv;
    size_t layer;
    const float *k, *v; /* [n, kv_heads, dim], to store */
    const float *q;     /* [n, kv_heads, group, dim] */
    float *y;
    size_t group; /* query heads that read one key-value head */
    const es_attend *list;
    size_t n;
    size_t tiles, run; /* tiles of all sequences and heads; of a task */
} paged;

/* One token's key, which becomes a column of its page, and value. */
static void store_token(const es_cpu_kv *kv, size_t at, size_t slot, const float *key, const float *value, size_t dim)
{
    float *keys = (float *)kv->keys + at * kv->key_page + slot, *values = kv->values;
    for (size_t j = 0; j < dim; j++)
        keys[j * kv->slots] = key[j];
    memcpy(values + at * kv->value_page + slot * kv->width, value, dim * sizeof *value);
}

static void store_token_halves(const es_kernels *k, const es_cpu_kv *kv, size_t at, size_t slot, const float *key,
                               const float *value, size_t dim)
{
    uint16_t halves[ES_HEAD_DIM_MAX], *keys = (uint16_t *)kv->keys + at * kv->key_page + slot, *values = kv->values;
    k->to_halves(halves, key, dim);
    for (size_t j = 0; j < dim; j++)
        keys[j * kv->slots] = halves[j];
    k->to_halves(values + at * kv->value_page + slot * kv->width, value, dim);
}

static void store_head(void *context, size_t head, size_t worker)
{
    const paged *g = context;
    const es_kv_shape *shape = &g->kv->base.shape;
    size_t dim = (size_t)shape->head_dim, heads = (size_t)shape->kv_heads, tokens = (size_t)shape->page_tokens;
    (void)worker;
    for (size_t s = 0; s < g->n; s++) {
        const es_attend *a = &g->list[s];
        for (size_t i = 0; i < (size_t)a->count; i++) {
            size_t token = (size_t)a->past + i, from = (((size_t)a->first + i) * heads + head) * dim;
            size_t at = page_at(g->kv, g->layer, (size_t)a->pages[token / tokens], head);
            if (g->kv->half)
                store_token_halves(&g->cpu->k, g->kv, at, token % tokens, g->k + from, g->v + from, dim);
            else
                store_token(g->kv, at, token % tokens, g->k + from, g->v + from, dim);
        }
    }
}

void es_cpu_kv_write(es_device *d, es_kv *kv, int32_t layer, const es_tensor *k, const es_tensor *v,
                     const es_attend *sequences, size_t n)
{
    es_cpu *cpu = (es_cpu *)d;
    paged g = {.cpu = cpu,
               .kv = (const es_cpu_kv *)kv,
               .layer = (size_t)layer,
               .k = es_rows(k, 0),
               .v = es_rows(v, 0),
               .list = sequences,
               .n = n};
    bool small = k->rows * k->cols < 16384;
    es_pool_run(small ? NULL : cpu->pool, (size_t)kv->shape.kv_heads, store_head, &g);
}

/* Asks for a head's keys or values of the page that holds a token, well before their turn: pages lie anywhere, where no
 * processor looks ahead by itself. */
static void fetch_page(const paged *g, const es_attend *a, size_t head, size_t token, bool values)
{
    const es_cpu_kv *kv = g->kv;
    size_t number = kv->half ? sizeof(uint16_t) : sizeof(float);
    size_t page = (size_t)a->pages[token / (size_t)kv->base.shape.page_tokens];
    size_t size = (values ? kv->value_page : kv->key_page) * number;
    const char *from = (const char *)(values ? kv->values : kv->keys) + page_at(kv, g->layer, page, head) * size;
    for (size_t i = 0; i < size; i += LINE)
        __builtin_prefetch(from + i, 0, 2);
}

/* scores[:, column ..] = q . the first `count` keys of a page. Halves are widened a part of the page at a time. */
static void page_scores(const paged *g, tile *t, size_t at, size_t count, size_t column)
{
    const es_cpu_kv *kv = g->kv;
    if (!kv->half) {
        tile_scores(t, (const float *)kv->keys + at * kv->key_page, kv->slots, es_pad(count), column);
        return;
    }
    if (kv->slots <= ES_BLOCK_KEYS) { /* the whole page at once, as it lies */
        t->k->from_halves(t->s->keys, (const uint16_t *)kv->keys + at * kv->key_page, kv->key_page);
        tile_scores(t, t->s->keys, kv->slots, es_pad(count), column);
        return;
    }
    for (size_t first = 0; first < count; first += ES_BLOCK_KEYS) {
        size_t cols = es_pad(es_least(ES_BLOCK_KEYS, count - first));
        const uint16_t *from = (const uint16_t *)kv->keys + at * kv->key_page + first;
        for (size_t j = 0; j < t->dim; j++)
            t->k->from_halves(t->s->keys + j * cols, from + j * kv->slots, cols);
        tile_scores(t, t->s->keys, cols, cols, column + first);
    }
}

static void page_values(const paged *g, tile *t, size_t at, size_t count, size_t column)
{
    const es_cpu_kv *kv = g->kv;
    if (!kv->half) {
        tile_values(t, (const float *)kv->values + at * kv->value_page, count, column);
        return;
    }
    for (size_t first = 0; first < count; first += ES_BLOCK_KEYS) {
        size_t some = es_least(ES_BLOCK_KEYS, count - first);
        t->k->from_halves(t->s->values, (const uint16_t *)kv->values + at * kv->value_page + first * kv->width,
                          some * kv->width);
        tile_values(t, t->s->values, some, column + first);
    }
}

/* One block of whole pages, the last perhaps in part: tokens [from, from + keys) of the `seen` that the tile sees of a
 * sequence. Row r of the tile is query first + r, whose new token is number (first + r) / group. */
static void paged_block(const paged *g, tile *t, const es_attend *a, size_t head, size_t first, size_t from,
                        size_t keys, size_t seen)
{
    size_t tokens = (size_t)g->kv->base.shape.page_tokens;
    for (size_t at = 0; at < keys; at += tokens) {
        bool last = at + tokens >= keys;
        fetch_page(g, a, head, last ? from : from + at + tokens, last);
        page_scores(g, t, page_at(g->kv, g->layer, (size_t)a->pages[(from + at) / tokens], head),
                    es_least(tokens, keys - at), at);
    }
    for (size_t r = 0; r < t->rows; r++) {
        size_t sees = (size_t)a->past + (first + r) / g->group + 1;
        tile_weigh(t, r, sees <= from ? 0 : es_least(keys, sees - from), keys);
    }
    for (size_t at = 0; at < keys; at += tokens) {
        if (at + tokens < keys)
            fetch_page(g, a, head, from + at + tokens, true);
        else if (from + keys < seen)
            fetch_page(g, a, head, from + keys, false);
        else if (head + 1 < (size_t)g->kv->base.shape.kv_heads) /* most likely the next task of this worker */
            fetch_page(g, a, head + 1, 0, false);
        page_values(g, t, page_at(g->kv, g->layer, (size_t)a->pages[(from + at) / tokens], head),
                    es_least(tokens, keys - at), at);
    }
}

/* Where query number i of a sequence and key-value head lies in q and y. */
static size_t query_at(const paged *g, const es_attend *a, size_t head, size_t i)
{
    const es_kv_shape *shape = &g->kv->base.shape;
    size_t row = (size_t)a->first + i / g->group;
    size_t query_head = head * g->group + i % g->group;
    return (row * (size_t)shape->kv_heads * g->group + query_head) * (size_t)shape->head_dim;
}

static void paged_tile(const paged *g, const es_attend *a, size_t head, size_t first, size_t worker)
{
    size_t tokens = (size_t)g->kv->base.shape.page_tokens;
    size_t block = tokens >= ES_BLOCK_KEYS ? tokens : ES_BLOCK_KEYS / tokens * tokens;
    size_t rows = es_least(ES_TILE_ROWS, (size_t)a->count * g->group - first);
    tile t;
    tile_begin(&t, g->cpu, worker, rows, (size_t)g->kv->base.shape.head_dim);
    for (size_t r = 0; r < rows; r++)
        tile_query(&t, r, g->q + query_at(g, a, head, first + r));
    size_t seen = (size_t)a->past + (first + rows - 1) / g->group + 1; /* by the tile's last row */
    for (size_t from = 0; from < seen; from += block)
        paged_block(g, &t, a, head, first, from, es_least(block, seen - from), seen);
    for (size_t r = 0; r < rows; r++)
        tile_row(&t, r, g->y + query_at(g, a, head, first + r));
}

static void paged_one(const paged *g, size_t task, size_t worker)
{
    const es_attend *a = g->list;
    size_t heads = (size_t)g->kv->base.shape.kv_heads;
    while (task >= heads * tiles_of((size_t)a->count * g->group)) {
        task -= heads * tiles_of((size_t)a->count * g->group);
        a++;
    }
    size_t tiles = tiles_of((size_t)a->count * g->group);
    paged_tile(g, a, task / tiles, task % tiles * ES_TILE_ROWS, worker);
}

static void paged_task(void *context, size_t task, size_t worker)
{
    const paged *g = context;
    for (size_t i = task * g->run; i < es_least(g->tiles, (task + 1) * g->run); i++)
        paged_one(g, i, worker);
}

void es_cpu_attend_paged(es_device *d, es_tensor *y, const es_tensor *q, const es_kv *kv, int32_t layer, int64_t heads,
                         const es_attend *sequences, size_t n)
{
    es_cpu *cpu = (es_cpu *)d;
    paged g = {.cpu = cpu,
               .kv = (const es_cpu_kv *)kv,
               .layer = (size_t)layer,
               .q = es_rows(q, 0),
               .y = es_rows(y, 0),
               .group = (size_t)(heads / kv->shape.kv_heads),
               .list = sequences,
               .n = n};
    for (size_t i = 0; i < n; i++)
        g.tiles += (size_t)kv->shape.kv_heads * tiles_of((size_t)sequences[i].count * g.group);
    if (g.tiles == 0)
        return;
    /* Tiles of a few rows are done soon: a worker takes some, of heads whose pages lie side by side. */
    bool few = g.tiles == n * (size_t)kv->shape.kv_heads;
    g.run = few ? (g.tiles - 1) / (TASKS * cpu->workers) + 1 : 1;
    es_pool_run(cpu->pool, (g.tiles - 1) / g.run + 1, paged_task, &g);
}
