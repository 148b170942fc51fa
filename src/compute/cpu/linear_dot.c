/* linear_dot.c - y = act(x W^T + bias) + residual over panels of quantised weights (docs/quantised.md).
 *
 * Rows of x become tiles of bytes once. A task then takes a panel of 32 outputs and a block of rows whose bytes stay in
 * the second-level cache: a depth of the panel at a time, which stays in the first-level one, is multiplied with every
 * tile, and a tile's rows are finished while they are warm. For many rows weights are unpacked once a depth.
 */
#include "compute/cpu/device.h"

#define DEPTH ES_DOT_DEPTH
#define BLOCK_BYTES (768u << 10) /* of rows taken at once by a task: most of a second-level cache of 1 MB */
#define UNPACK_ROWS 24           /* from so many rows on unpacking pays */
#define TASKS 16                 /* a worker: few enough that weights are read in long runs, when rows are few */

_Static_assert(ES_TURN_MAX <= ES_BLOCK_KEYS * ES_HEAD_DIM_MAX, "scratch for values holds a row that is turned");

typedef struct product {
    const es_cpu *cpu;
    const es_panels *w;
    const float *x, *bias, *residual;
    float *y;
    size_t rows, block, panels; /* rows in all and of a block, a multiple of a tile's; panels of w */
    size_t run, runs;           /* panels of a task, the last one's perhaps fewer; tasks of a block */
    float *scale, *sum;         /* [tiles][groups][rows of the tile] */
    int8_t *a;                  /* [tiles][in / 4][rows of the tile][4] */
    es_activation act;
} product;

/* room [in] */
static void quantise_tile(const product *p, size_t row, float *room)
{
    const es_panels *w = p->w;
    size_t in = w->in, rows = es_least(ES_DOT_ROWS, p->rows - row);
    int8_t *a = p->a + row * in;
    float *scale = p->scale + row * w->groups, *sum = p->sum + row * w->groups;
    const float *x = p->x + row * in;
    if (!w->turned) {
        p->cpu->dot.quantise(a, scale, sum, x, in, rows, in, w->group, rows);
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        p->cpu->k.turn(room, x + i * in, in);
        p->cpu->dot.quantise(a + 4 * i, scale + i, sum + i, room, in, 1, in, w->group, rows);
    }
}

/* Tiles of a task of `quantise_tiles`: enough work to pay for another thread. */
static size_t tiles_at_once(const product *p)
{
    return 1 + 65536 / (ES_DOT_ROWS * p->w->in);
}

static void quantise_tiles(void *context, size_t task, size_t worker)
{
    const product *p = context;
    size_t some = tiles_at_once(p) * ES_DOT_ROWS;
    for (size_t row = task * some; row < es_least(p->rows, (task + 1) * some); row += ES_DOT_ROWS)
        quantise_tile(p, row, p->cpu->scratch[worker].values);
}

static void finish_rows(const product *p, const float *sums, size_t row, size_t rows, size_t first)
{
    size_t at = row * p->w->out + first;
    p->cpu->k.finish(p->y + at, p->w->out, sums, ES_DOT_COLS, p->bias != NULL ? p->bias + first : NULL,
                     p->residual != NULL ? p->residual + at : NULL, rows, es_least(ES_DOT_COLS, p->w->out - first),
                     p->act);
}

/* The strips that finish_rows will read and write lie a row of y apart, where no processor looks ahead by itself. */
static void await_rows(const product *p, size_t row, size_t rows, size_t first)
{
    for (size_t i = 0; i < rows; i++) {
        size_t at = (row + i) * p->w->out + first;
        __builtin_prefetch(p->y + at, 1);
        __builtin_prefetch(p->y + at + 16, 1);
        if (p->residual == NULL || p->residual == p->y)
            continue;
        __builtin_prefetch(p->residual + at);
        __builtin_prefetch(p->residual + at + 16);
    }
}

/* `groups` blocks of a panel from g on times the rows [first, last). */
static void multiply_rows(const product *p, float *sums, size_t panel, size_t g, size_t groups, size_t first,
                          size_t last, uint8_t *room)
{
    const es_panels *w = p->w;
    const uint8_t *blocks = w->data + panel * w->panel_bytes + g * w->block_bytes;
    const es_dot_kernels *k = &p->cpu->dot;
    bool many = last - first >= UNPACK_ROWS, ready = many && k->prepare != NULL;
    bool unpack = many && w->bits == 4 && k->unpack != NULL;
    if (ready)
        k->prepare(room, blocks, w->group, groups, w->bits, w->bf16);
    else if (unpack)
        k->unpack(room, blocks, w->group, groups, w->bf16);
    if (ready || unpack)
        blocks = room;
    for (size_t row = first; row < last; row += ES_DOT_ROWS) {
        size_t rows = es_least(ES_DOT_ROWS, last - row);
        es_dot d = {
            .rows = rows,
            .stride = rows,
            .group = w->group,
            .groups = groups,
            .bits = unpack ? 8 : w->bits,
            .a = p->a + row * w->in + g * w->group * rows,
            .scale = p->scale + row * w->groups + g * rows,
            .sum = p->sum + row * w->groups + g * rows,
            .panel = blocks,
            .bf16 = w->bf16,
            .ready = ready,
            .c = sums + (row - first) * ES_DOT_COLS,
            .add = g > 0,
        };
        if (g + groups == w->groups)
            await_rows(p, row, rows, panel * ES_DOT_COLS);
        k->multiply(&d);
        if (g + groups == w->groups)
            finish_rows(p, d.c, row, rows, panel * ES_DOT_COLS);
    }
}

static void outputs(void *context, size_t task, size_t worker)
{
    const product *p = context;
    es_scratch *s = &p->cpu->scratch[worker];
    size_t from = task % p->runs * p->run, first = task / p->runs * p->block;
    size_t last = es_least(p->rows, first + p->block), depth = DEPTH / p->w->group;
    for (size_t panel = from; panel < es_least(p->panels, from + p->run); panel++)
        for (size_t g = 0; g < p->w->groups; g += depth)
            multiply_rows(p, s->sums, panel, g, es_least(depth, p->w->groups - g), first, last, (uint8_t *)s->panel);
}

/* Rows of a block: as many as `most` and the cache hold, all blocks about equal. */
static size_t block_rows(size_t rows, size_t in, size_t most)
{
    size_t fit = es_least(most, BLOCK_BYTES / in), tiles = fit < ES_DOT_ROWS ? 1 : fit / ES_DOT_ROWS;
    size_t all = (rows - 1) / ES_DOT_ROWS + 1, blocks = (all - 1) / tiles + 1;
    return ((all - 1) / blocks + 1) * ES_DOT_ROWS;
}

void es_cpu_linear_dot(es_cpu *cpu, es_tensor *y, const es_tensor *x, const es_cpu_matrix *m, const es_tensor *bias,
                       es_activation act, const es_tensor *residual)
{
    const es_panels *w = m->panels;
    /* The room for float rows, at least mr >= 4 of them and so 16 bytes an input, holds bytes, scales and sums of at
     * least twelve: 12 * (1 + 8 / 32) = 15. */
    size_t room = cpu->x_capacity * sizeof *cpu->x_panels / (w->in + 2 * sizeof(float) * w->groups);
    size_t most = room / ES_DOT_ROWS * ES_DOT_ROWS;
    product p = {.cpu = cpu, .w = w, .bias = bias != NULL ? es_rows(bias, 0) : NULL, .act = act};
    p.panels = (w->out - 1) / ES_DOT_COLS + 1;
    for (size_t first = 0; first < (size_t)x->rows; first += most) {
        p.rows = es_least(most, (size_t)x->rows - first);
        p.block = block_rows(p.rows, w->in, ES_SUM_ROWS * cpu->k.nr / ES_DOT_COLS);
        p.x = es_rows(x, (int64_t)first);
        p.y = es_rows(y, (int64_t)first);
        p.residual = residual != NULL ? es_rows(residual, (int64_t)first) : NULL;
        p.scale = cpu->x_panels;
        p.sum = p.scale + p.rows * w->groups;
        p.a = (int8_t *)(p.sum + p.rows * w->groups);
        es_pool_run(cpu->pool, (p.rows - 1) / (tiles_at_once(&p) * ES_DOT_ROWS) + 1, quantise_tiles, &p);
        bool small = p.rows * w->in * w->out < 131072; /* less work than waking a thread */
        p.run = p.rows < UNPACK_ROWS ? (p.panels - 1) / (TASKS * cpu->workers) + 1 : 1;
        p.runs = (p.panels - 1) / p.run + 1;
        es_pool_run(small ? NULL : cpu->pool, ((p.rows - 1) / p.block + 1) * p.runs, outputs, &p);
    }
}
