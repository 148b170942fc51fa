/* linear_dot.c - y = act(x W^T + bias) + residual over panels of quantised weights (docs/quantised.md).
 *
 * Rows of x become tiles of bytes once. A task then takes a panel of 32 outputs, a depth of blocks at a time that stays
 * in the first-level cache, multiplies every tile by it, and finishes a tile's rows while they are warm.
 */
#include "compute/cpu/device.h"

#define DEPTH 512 /* inputs of a panel taken at a time: 16 KB of 8-bit weights, half of a first-level cache */

typedef struct product {
    const es_cpu *cpu;
    const es_panels *w;
    const float *x, *bias, *residual;
    float *y;
    size_t rows;
    float *scale, *sum; /* [tiles][groups][rows of the tile] */
    int8_t *a;          /* [tiles][in / 4][rows of the tile][4] */
    es_activation act;
} product;

static void quantise_tiles(const void *context, size_t first, size_t last)
{
    const product *p = context;
    for (size_t tile = first; tile < last; tile++) {
        size_t row = tile * ES_DOT_ROWS, at = row * p->w->groups;
        p->cpu->dot.quantise(p->a + row * p->w->in, p->scale + at, p->sum + at, p->x + row * p->w->in, p->w->in,
                             es_least(ES_DOT_ROWS, p->rows - row), p->w->in, p->w->group);
    }
}

static void finish_rows(const product *p, const float *sums, size_t row, size_t rows, size_t first)
{
    size_t width = es_least(ES_DOT_COLS, p->w->out - first);
    for (size_t i = 0; i < rows; i++) {
        size_t at = (row + i) * p->w->out + first;
        p->cpu->k.finish(p->y + at, sums + i * ES_DOT_COLS, p->bias != NULL ? p->bias + first : NULL,
                         p->residual != NULL ? p->residual + at : NULL, width, p->act);
    }
}

static void outputs(void *context, size_t panel, size_t worker)
{
    const product *p = context;
    const es_panels *w = p->w;
    float *sums = p->cpu->scratch[worker].sums;
    size_t depth = DEPTH / w->group;
    for (size_t g = 0; g < w->groups; g += depth) {
        size_t groups = es_least(depth, w->groups - g);
        for (size_t row = 0; row < p->rows; row += ES_DOT_ROWS) {
            size_t rows = es_least(ES_DOT_ROWS, p->rows - row);
            es_dot d = {
                .rows = rows,
                .group = w->group,
                .groups = groups,
                .bits = w->bits,
                .a = p->a + row * w->in + g * w->group * rows,
                .scale = p->scale + row * w->groups + g * rows,
                .sum = p->sum + row * w->groups + g * rows,
                .panel = w->data + panel * w->panel_bytes + g * w->block_bytes,
                .bf16 = w->bf16,
                .c = sums + row * ES_DOT_COLS,
                .add = g > 0,
            };
            p->cpu->dot.multiply(&d);
            if (g + groups == w->groups)
                finish_rows(p, d.c, row, rows, panel * ES_DOT_COLS);
        }
    }
}

void es_cpu_linear_dot(es_cpu *cpu, es_tensor *y, const es_tensor *x, const es_cpu_matrix *m, const es_tensor *bias,
                       es_activation act, const es_tensor *residual)
{
    const es_panels *w = m->panels;
    /* The room for float rows, at least mr >= 4 of them and so 16 bytes an input, holds bytes, scales and sums of at
     * least six: 6 * (1 + 8 / 32) = 7.5. */
    size_t room = cpu->x_capacity * sizeof *cpu->x_panels / (w->in + 2 * sizeof(float) * w->groups);
    size_t most = es_least(room, ES_SUM_ROWS * cpu->k.nr / ES_DOT_COLS) / ES_DOT_ROWS * ES_DOT_ROWS;
    product p = {.cpu = cpu, .w = w, .bias = bias != NULL ? es_rows(bias, 0) : NULL, .act = act};
    size_t panels = (w->out - 1) / ES_DOT_COLS + 1;
    for (size_t first = 0; first < (size_t)x->rows; first += most) {
        p.rows = es_least(most, (size_t)x->rows - first);
        p.x = es_rows(x, (int64_t)first);
        p.y = es_rows(y, (int64_t)first);
        p.residual = residual != NULL ? es_rows(residual, (int64_t)first) : NULL;
        p.scale = cpu->x_panels;
        p.sum = p.scale + p.rows * w->groups;
        p.a = (int8_t *)(p.sum + p.rows * w->groups);
        es_cpu_ranges(cpu, (p.rows - 1) / ES_DOT_ROWS + 1, 1 + 65536 / (ES_DOT_ROWS * w->in), quantise_tiles, &p);
        bool small = p.rows * w->in * w->out < 131072; /* less work than waking a thread */
        es_pool_run(small ? NULL : cpu->pool, panels, outputs, &p);
    }
}
