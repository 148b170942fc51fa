/* attention_dot.c - attention over whole segments by integer products (docs/quantised.md, "Attention").
 *
 * A head's keys become tiles of bytes and its values panels, once. Tasks of TILE_ROWS queries, which become panels,
 * then walk them in groups of ES_WEIGH keys: scores come key by key, with 32 queries side by side, so that softmax
 * needs nothing from neighbouring lanes; its weights, as bytes, are the next product's rows as they lie.
 */
#include "compute/cpu/device.h"

#include <math.h>

#define KEY_ROWS 8                        /* keys of a tile: ES_WEIGH is a multiple */
#define TILE_ROWS 64                      /* queries of a task */
#define SPOIL 64                          /* bytes of a head's `spoil` */
#define LINE 16                           /* floats of a cache line */
#define AHEAD 16                          /* rows to look ahead */
#define GROUPS_MAX (ES_HEAD_DIM_MAX / 32) /* of a row of keys or queries */
_Static_assert(ES_WEIGH_QUERIES == ES_DOT_COLS && TILE_ROWS % ES_DOT_COLS == 0 && TILE_ROWS <= ES_TILE_ROWS,
               "panels of queries are weighed, which have room");

typedef struct heads {
    es_cpu *cpu;
    const float *qkv; /* [rows, 3, heads, dim] */
    float *y;         /* [rows, heads, dim] */
    size_t rows, heads, dim;
    size_t depth, group;            /* dim padded to whole groups of the score product */
    size_t outputs;                 /* panels that hold dim */
    size_t key_tile, value_block;   /* bytes of KEY_ROWS keys; of ES_WEIGH keys' part of 32 outputs */
    size_t value_panel;             /* of all keys' part of them */
    size_t query_panel;             /* bytes of 32 queries */
    size_t keys, values, head_size; /* bytes a head: keys, values, both and its `spoil` */
    size_t first;                   /* the first head that is in `room` */
    uint8_t *room;                  /* [heads at once][keys: tiles][values: panels of 32 outputs] */
} heads;

/* 32 numbers' signed bytes a [group / 4][32][4] with their scales become a block of unsigned ones. */
static void to_block(uint8_t *block, size_t group, const int8_t *a, const float scale[ES_DOT_COLS])
{
    size_t bytes = es_dot_weight_bytes(group, 8);
    float bias[ES_DOT_COLS];
    for (size_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)a[i] ^ 128u;
    for (size_t i = 0; i < ES_DOT_COLS; i++)
        bias[i] = -128.0f * scale[i];
    memcpy(block + bytes, scale, sizeof bias);
    memcpy(block + bytes + sizeof bias, bias, sizeof bias);
}

/* Asks for a head's part of a row (the `part`-th of `parts` there), which lies far from the one before: no processor
 * looks ahead that far by itself. */
static void fetch(const heads *h, const float *rows, size_t parts, size_t part, size_t row, size_t head)
{
    const float *at = rows + ((row * parts + part) * h->heads + head) * h->dim;
    for (size_t j = 0; j < h->dim && row < h->rows; j += LINE)
        __builtin_prefetch(at + j, 0, 2);
}

/* What all keys have in common adds the same to all of a query's scores: it need not be kept. */
static void mean_key(const heads *h, size_t head, float *mean)
{
    memset(mean, 0, h->dim * sizeof *mean);
    for (size_t i = 0; i < h->rows; i++) {
        const float *key = h->qkv + ((i * 3 + 1) * h->heads + head) * h->dim;
        fetch(h, h->qkv, 3, 1, i + AHEAD, head);
        for (size_t j = 0; j < h->dim; j++)
            mean[j] += key[j];
    }
    for (size_t j = 0; j < h->dim; j++)
        mean[j] /= (float)h->rows;
}

/* A tile of keys: bytes [depth / 4][KEY_ROWS][4], scales and sums [groups][KEY_ROWS], then for `centred` -128 sums as
 * whole numbers [KEY_ROWS]. */
static float *tile_scales(const heads *h, uint8_t *tile)
{
    return (float *)(void *)(tile + h->depth * KEY_ROWS);
}

static int32_t *tile_start(const heads *h, uint8_t *tile)
{
    return (int32_t *)(void *)(tile_scales(h, tile) + 2 * h->depth / h->group * KEY_ROWS);
}

/* Up to KEY_ROWS keys from `row` on, without what they have in common; past the last ones zeros. */
static void pack_keys(const heads *h, es_scratch *s, uint8_t *tile, size_t head, size_t row, const float *mean)
{
    size_t count = row < h->rows ? es_least(KEY_ROWS, h->rows - row) : 0;
    float *scale = tile_scales(h, tile);
    memset(s->keys, 0, KEY_ROWS * h->depth * sizeof *s->keys);
    for (size_t i = 0; i < count; i++) {
        const float *key = h->qkv + (((row + i) * 3 + 1) * h->heads + head) * h->dim;
        fetch(h, h->qkv, 3, 2, row + i, head); /* values come after the keys */
        for (size_t j = 0; j < h->dim; j++)
            s->keys[i * h->depth + j] = key[j] - mean[j];
    }
    float *sum = scale + h->depth / h->group * KEY_ROWS;
    h->cpu->dot.quantise((int8_t *)tile, scale, sum, s->keys, h->depth, KEY_ROWS, h->depth, h->group, KEY_ROWS);
    for (size_t i = 0; i < KEY_ROWS; i++)
        tile_start(h, tile)[i] =
            -128 * (int32_t)sum[i]; /* of the first group; `centred` serves where it is the only one */
}

/* Outputs [from, from + 32) of up to ES_WEIGH keys' values from `row` on. */
static void pack_values(const heads *h, es_scratch *s, uint8_t *block, size_t head, size_t row, size_t from)
{
    size_t n = es_least(ES_DOT_COLS, h->dim - from), count = es_least(ES_WEIGH, h->rows - row), nr = h->cpu->k.nr;
    const float *values = h->qkv + ((row * 3 + 2) * h->heads + head) * h->dim + from;
    size_t stride = 3 * h->heads * h->dim;
    float scale[ES_DOT_COLS], sum[ES_DOT_COLS], *panel = s->panel;
    int8_t a[ES_WEIGH * ES_DOT_COLS];
    memset(s->keys, 0, ES_DOT_COLS * ES_WEIGH * sizeof *s->keys); /* [32 outputs][keys] */
    for (size_t first = 0; first < count; first += nr) {
        size_t some = es_least(nr, count - first);
        h->cpu->k.pack_f32(panel, (const uint8_t *)(values + first * stride), stride * sizeof *values, some, n);
        for (size_t j = 0; j < n; j++)
            memcpy(s->keys + j * ES_WEIGH + first, panel + j * nr, some * sizeof *panel);
    }
    h->cpu->dot.quantise(a, scale, sum, s->keys, ES_WEIGH, ES_DOT_COLS, ES_WEIGH, ES_WEIGH, ES_DOT_COLS);
    to_block(block, ES_WEIGH, a, scale);
}

/* 0, or what is no number where a key holds such: weights, being bytes, cannot tell. */
static float *head_spoil(const heads *h, size_t head)
{
    return (float *)(void *)(h->room + (head - h->first + 1) * h->head_size - SPOIL);
}

static uint8_t *value_panel(const heads *h, size_t head, size_t output)
{
    return h->room + (head - h->first) * h->head_size + h->keys + output * h->value_panel;
}

static void pack_head(void *context, size_t task, size_t worker)
{
    const heads *h = context;
    size_t head = h->first + task;
    es_scratch *s = &h->cpu->scratch[worker];
    float mean[ES_HEAD_DIM_MAX];
    mean_key(h, head, mean);
    float spoil = 0.0f;
    for (size_t tile = 0; tile < h->keys / h->key_tile; tile++) {
        uint8_t *at = h->room + task * h->head_size + tile * h->key_tile;
        pack_keys(h, s, at, head, tile * KEY_ROWS, mean);
        for (size_t i = 0; i < h->depth / h->group * KEY_ROWS; i++)
            spoil += 0.0f * tile_scales(h, at)[i];
    }
    *head_spoil(h, head) = spoil;
    for (size_t o = 0; o < h->outputs; o++)
        for (size_t row = 0; row < h->rows; row += ES_WEIGH)
            pack_values(h, s, value_panel(h, head, o) + row / ES_WEIGH * h->value_block, head, row, o * ES_DOT_COLS);
}

/* A task's queries and what was gathered for them so far, in the worker's own memory. */
typedef struct tile {
    size_t rows;             /* queries */
    uint8_t *q;              /* [panels] */
    float *out;              /* [panels][outputs][32 queries][32] */
    float *scores;           /* [ES_WEIGH][32 queries] */
    float factor[TILE_ROWS]; /* what a score is worth */
    float max[TILE_ROWS], sum[TILE_ROWS];
} tile;

/* Up to 32 queries from `row` of the tile on become a panel; past the last ones zeros. Where a query is a single group,
 * its scale waits until its scores are weighed. */
static void pack_queries(const heads *h, tile *t, es_scratch *s, size_t head, size_t first, size_t row)
{
    float base2 = (float)(1.4426950408889634 / sqrt((double)h->dim));
    float scale[GROUPS_MAX * ES_DOT_COLS], sum[GROUPS_MAX * ES_DOT_COLS];
    size_t count = es_least(ES_DOT_COLS, t->rows - row), groups = h->depth / h->group;
    uint8_t *panel = t->q + row / ES_DOT_COLS * h->query_panel;
    int8_t *a = (int8_t *)s->values;
    memset(s->q, 0, ES_DOT_COLS * h->depth * sizeof *s->q);
    for (size_t i = 0; i < count; i++)
        h->cpu->k.scale(s->q + i * h->depth, h->qkv + ((first + row + i) * 3 * h->heads + head) * h->dim, base2,
                        h->dim);
    h->cpu->dot.quantise(a, scale, sum, s->q, h->depth, ES_DOT_COLS, h->depth, h->group, ES_DOT_COLS);
    for (size_t i = 0; i < ES_DOT_COLS; i++) {
        t->max[row + i] = -INFINITY;
        t->sum[row + i] = *head_spoil(h, head);
        t->factor[row + i] = groups == 1 && scale[i] != 0.0f ? scale[i] : 1.0f;
        for (size_t g = 0; g < groups; g++)
            t->sum[row + i] += 0.0f * scale[g * ES_DOT_COLS + i];
        if (groups == 1)
            scale[i] = 1.0f;
    }
    for (size_t g = 0; g < groups; g++)
        to_block(panel + g * es_dot_block_bytes(h->group, 8, false), h->group, a + g * h->group * ES_DOT_COLS,
                 scale + g * ES_DOT_COLS);
}

static void tile_begin(const heads *h, tile *t, es_scratch *s, size_t head, size_t first)
{
    t->rows = es_least(TILE_ROWS, h->rows - first);
    t->q = (uint8_t *)s->keys;
    t->out = s->out;
    t->scores = s->scores;
    for (size_t row = 0; row < t->rows; row += ES_DOT_COLS)
        pack_queries(h, t, s, head, first, row);
    memset(t->out, 0, (t->rows + ES_DOT_COLS - 1) / ES_DOT_COLS * ES_DOT_COLS * h->depth * sizeof *t->out);
}

/* Scores of ES_WEIGH keys against one panel of queries. */
static void group_scores(const heads *h, const tile *t, uint8_t *keys, const uint8_t *queries)
{
    size_t groups = h->depth / h->group;
    es_dot d = {.rows = KEY_ROWS, .stride = KEY_ROWS, .group = h->group, .groups = groups, .bits = 8, .panel = queries};
    d.unscaled = groups == 1;
    for (size_t at = 0; at < ES_WEIGH; at += KEY_ROWS, keys += h->key_tile) {
        d.a = (int8_t *)keys;
        d.scale = tile_scales(h, keys);
        d.sum = d.scale + groups * KEY_ROWS;
        d.start = tile_start(h, keys);
        d.c = t->scores + at * ES_DOT_COLS;
        if (h->cpu->dot.centred != NULL && d.unscaled)
            h->cpu->dot.centred(&d);
        else
            h->cpu->dot.multiply(&d);
    }
}

/* Values of ES_WEIGH keys by their weights, onto what a panel of queries has gathered. */
static void group_values(const heads *h, float *out, size_t rows, const int8_t *a, const float *scale, const float *sum,
                         const uint8_t *values)
{
    int32_t start[ES_DOT_COLS];
    void (*multiply)(const es_dot *d) = h->cpu->dot.centred != NULL ? h->cpu->dot.centred : h->cpu->dot.multiply;
    es_dot d = {.stride = ES_DOT_COLS, .group = ES_WEIGH, .groups = 1, .bits = 8, .add = true, .positive = true};
    for (size_t i = 0; i < ES_DOT_COLS; i++) {
        float whole = sum[i] >= 0.0f ? sum[i] : 0.0f; /* it may be no number: then so will the result be */
        start[i] = -128 * (int32_t)whole;
    }
    for (size_t o = 0; o < h->outputs; o++, out += ES_DOT_COLS * ES_DOT_COLS, values += h->value_panel) {
        d.panel = values;
        for (size_t first = 0; first < rows; first += ES_DOT_ROWS) {
            d.rows = es_least(ES_DOT_ROWS, rows - first);
            d.a = a + 4 * first;
            d.scale = scale + first;
            d.sum = sum + first;
            d.start = start + first;
            d.c = out + first * ES_DOT_COLS;
            multiply(&d);
        }
    }
}

/* One group of keys, from `from` on, for the panel of queries that begins with `row`. */
static void attend_group(const heads *h, tile *t, size_t row, size_t head, size_t from)
{
    int8_t a[ES_WEIGH * ES_DOT_COLS] __attribute__((aligned(64)));
    float scale[ES_DOT_COLS], sum[ES_DOT_COLS], rescale[ES_DOT_COLS];
    uint8_t *keys = h->room + (head - h->first) * h->head_size + from / KEY_ROWS * h->key_tile;
    float *out = t->out + row * h->depth;
    size_t rows = es_least(ES_DOT_COLS, t->rows - row);
    group_scores(h, t, keys, t->q + row / ES_DOT_COLS * h->query_panel);
    bool risen = h->cpu->k.weigh(a, scale, sum, rescale, t->scores, t->factor + row, es_least(ES_WEIGH, h->rows - from),
                                 t->max + row, t->sum + row);
    for (size_t i = 0; i < rows && risen && from > 0; i++) {
        for (size_t o = 0; o < h->outputs && rescale[i] != 1.0f; o++) {
            float *part = out + (o * ES_DOT_COLS + i) * ES_DOT_COLS;
            h->cpu->k.scale(part, part, rescale[i], ES_DOT_COLS);
        }
    }
    group_values(h, out, rows, a, scale, sum, value_panel(h, head, 0) + from / ES_WEIGH * h->value_block);
}

static void attend_tile(void *context, size_t task, size_t worker)
{
    const heads *h = context;
    size_t tiles = (h->rows + TILE_ROWS - 1) / TILE_ROWS;
    size_t head = h->first + task / tiles, first = task % tiles * TILE_ROWS;
    tile t;
    tile_begin(h, &t, &h->cpu->scratch[worker], head, first);
    for (size_t i = 0; i < TILE_ROWS; i++) {
        fetch(h, h->y, 1, 0, first + i, head);
        fetch(h, h->qkv, 3, 0, first + TILE_ROWS + i, head); /* the next task's queries */
    }
    for (size_t from = 0; from < h->rows; from += ES_WEIGH)
        for (size_t row = 0; row < t.rows; row += ES_DOT_COLS)
            attend_group(h, &t, row, head, from);
    for (size_t i = 0; i < t.rows; i++) {
        size_t row = i / ES_DOT_COLS * ES_DOT_COLS;
        float *y = h->y + ((first + i) * h->heads + head) * h->dim;
        for (size_t o = 0; o < h->outputs; o++)
            h->cpu->k.scale(y + o * ES_DOT_COLS, t.out + row * h->depth + (o * ES_DOT_COLS + i - row) * ES_DOT_COLS,
                            1.0f / t.sum[i], es_least(ES_DOT_COLS, h->dim - o * ES_DOT_COLS));
    }
}

void es_cpu_attend_dot(es_cpu *cpu, float *y, const float *qkv, size_t heads_count, size_t dim, size_t rows)
{
    heads h = {.cpu = cpu, .qkv = qkv, .y = y, .rows = rows, .heads = heads_count, .dim = dim};
    if (rows == 0)
        return;
    size_t padded = (rows + ES_WEIGH - 1) / ES_WEIGH * ES_WEIGH;
    h.depth = (dim + 31) / 32 * 32;
    h.group = h.depth <= ES_DOT_GROUP ? h.depth : h.depth % 64 == 0 ? 64 : 32;
    h.outputs = h.depth / ES_DOT_COLS;
    h.key_tile = (KEY_ROWS * (h.depth + (2 * h.depth / h.group + 1) * sizeof(float)) + 63) / 64 * 64;
    h.query_panel = h.depth / h.group * es_dot_block_bytes(h.group, 8, false);
    h.value_block = es_dot_block_bytes(ES_WEIGH, 8, false);
    h.keys = padded / KEY_ROWS * h.key_tile; /* a multiple of 64 bytes, as panels must begin */
    h.value_panel = padded / ES_WEIGH * h.value_block;
    h.values = h.outputs * h.value_panel;
    h.head_size = h.keys + h.values + SPOIL;
    if (!es_cpu_room(cpu, (h.head_size + 3) / 4))
        return;
    h.room = (uint8_t *)cpu->x_panels;
    size_t most = cpu->x_capacity * sizeof *cpu->x_panels / h.head_size;
    for (h.first = 0; h.first < h.heads; h.first += most) {
        size_t now = es_least(most, h.heads - h.first);
        es_pool_run(cpu->pool, now, pack_head, &h);
        es_pool_run(cpu->pool, now * ((rows + TILE_ROWS - 1) / TILE_ROWS), attend_tile, &h);
    }
}
