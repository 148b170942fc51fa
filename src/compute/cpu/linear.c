/* linear.c - y = act(x W^T + bias) + residual, and rows of an embedding table.
 *
 * Rows of x are packed once, k-major by tiles of mr rows. A task then takes nr outputs: it unpacks their weights, a
 * depth of ES_PANEL_K at a time, to a float32 panel and multiplies every tile of rows by it. Sums stay in the task's
 * own scratch until the last depth, so y may be the residual.
 */
#include "compute/cpu/device.h"

#include <stdlib.h>

#include "base/mem.h"

typedef struct product {
    const es_cpu *cpu;
    const es_matrix_source *w;
    const es_panels *panels; /* NULL, or what w has become */
    const float *x, *bias, *residual;
    float *y;
    size_t in, out, rows;
    const float *x_panels; /* [tiles][in][mr], the last tile with its own number of rows */
    es_activation act;
} product;

static void pack_rows(const void *context, size_t first, size_t last)
{
    const product *p = context;
    size_t mr = p->cpu->k.mr;
    for (size_t tile = first; tile < last; tile++) {
        size_t rows = es_least(mr, p->rows - tile * mr);
        const float *x = p->x + tile * mr * p->in;
        float *panel = p->cpu->x_panels + tile * mr * p->in;
        for (size_t k = 0; k < p->in; k++)
            for (size_t i = 0; i < rows; i++)
                panel[k * rows + i] = x[i * p->in + k];
    }
}

static void pack_plain(const es_kernels *k, es_dtype dtype, float *panel, const uint8_t *w, size_t row_bytes,
                       size_t rows, size_t depth)
{
    if (dtype == ES_F32)
        k->pack_f32(panel, w, row_bytes, rows, depth);
    else if (dtype == ES_F16)
        k->pack_f16(panel, w, row_bytes, rows, depth);
    else
        k->pack_bf16(panel, w, row_bytes, rows, depth);
}

static void pack_panels(const product *p, es_scratch *s, size_t row, size_t rows, size_t from, size_t depth)
{
    float weights[ES_PANEL_K];
    for (size_t i = 0; i < rows; i++) {
        es_panels_row(p->panels, row + i, from, depth, weights);
        for (size_t k = 0; k < depth; k++)
            s->panel[k * p->cpu->k.nr + i] = weights[k];
    }
}

/* The scales and biases of rows [row, row + rows), as panels [in / group][nr]. */
static void pack_groups(const product *p, es_scratch *s, size_t row, size_t rows)
{
    const es_matrix_source *w = p->w;
    size_t groups = p->in / (size_t)w->group;
    size_t row_bytes = groups * es_dtype_size(w->scale_dtype);
    const uint8_t *scales = (const uint8_t *)w->scales + row * row_bytes;
    const uint8_t *biases = (const uint8_t *)w->biases + row * row_bytes;
    pack_plain(&p->cpu->k, w->scale_dtype, s->scales, scales, row_bytes, rows, groups);
    pack_plain(&p->cpu->k, w->scale_dtype, s->biases, biases, row_bytes, rows, groups);
}

static void pack_weights(const product *p, es_scratch *s, size_t row, size_t rows, size_t from, size_t depth)
{
    const es_matrix_source *w = p->w;
    const es_kernels *k = &p->cpu->k;
    if (p->panels != NULL) {
        pack_panels(p, s, row, rows, from, depth);
        return;
    }
    if (w->bits == 0) {
        size_t size = es_dtype_size(w->dtype);
        const uint8_t *first = (const uint8_t *)w->data + (row * p->in + from) * size;
        pack_plain(k, w->dtype, s->panel, first, p->in * size, rows, depth);
        return;
    }
    size_t bits = (size_t)w->bits, group = (size_t)w->group;
    size_t row_bytes = p->in * bits / 8;
    es_affine affine = {
        .words = (const uint8_t *)w->data + row * row_bytes + from * bits / 8,
        .row_bytes = row_bytes,
        .scales = s->scales + from / group * k->nr,
        .biases = s->biases + from / group * k->nr,
        .bits = bits,
        .group = group,
    };
    k->pack_affine(s->panel, &affine, rows, depth);
}

static void multiply_panel(const product *p, es_scratch *s, size_t from, size_t depth)
{
    const es_kernels *k = &p->cpu->k;
    for (size_t first = 0; first < p->rows; first += k->mr) {
        size_t rows = es_least(k->mr, p->rows - first);
        es_mul m = {
            .rows = rows,
            .cols = k->nr,
            .k = depth,
            .x = p->x_panels + first * p->in + from * rows,
            .x_row = 1,
            .x_k = rows,
            .panel = s->panel,
            .panel_row = k->nr,
            .c = s->sums + first * k->nr,
            .c_row = k->nr,
            .add = from > 0,
        };
        k->mul(&m);
    }
}

static void outputs(void *context, size_t task, size_t worker)
{
    const product *p = context;
    const es_kernels *k = &p->cpu->k;
    es_scratch *s = &p->cpu->scratch[worker];
    size_t first = task * k->nr, width = es_least(k->nr, p->out - first);
    if (p->w->bits != 0 && p->panels == NULL)
        pack_groups(p, s, first, width);
    for (size_t from = 0; from < p->in; from += ES_PANEL_K) {
        size_t depth = es_least(ES_PANEL_K, p->in - from);
        pack_weights(p, s, first, width, from, depth);
        multiply_panel(p, s, from, depth);
    }
    k->finish(p->y + first, p->out, s->sums, k->nr, p->bias != NULL ? p->bias + first : NULL,
              p->residual != NULL ? p->residual + first : NULL, p->rows, width, p->act);
}

/* Rows turned as the weights were; NULL after a failure, which the device keeps. */
static float *turned_rows(es_cpu *cpu, const float *x, size_t rows, size_t cols)
{
    float *turned = es_calloc(rows, cols * sizeof *turned);
    if (turned == NULL)
        es_device_fail(&cpu->base, ES_ERR_MEMORY, "not enough memory for %zu rows of %zu", rows, cols);
    for (size_t i = 0; i < rows && turned != NULL; i++)
        cpu->k.turn(turned + i * cols, x + i * cols, cols);
    return turned;
}

void es_cpu_multiply(es_device *d, float *y, const float *x, int64_t rows, const es_matrix *w, const float *bias,
                     es_activation act, const float *residual)
{
    es_cpu *cpu = (es_cpu *)d;
    size_t in = (size_t)w->cols, mr = cpu->k.mr;
    /* matrix_create made room for at least one tile of this depth. */
    size_t most = es_least(ES_SUM_ROWS, cpu->x_capacity / in / mr * mr);
    product p = {
        .cpu = cpu,
        .w = &((const es_cpu_matrix *)w)->source,
        .panels = ((const es_cpu_matrix *)w)->panels,
        .bias = bias,
        .in = in,
        .out = (size_t)w->rows,
        .act = act,
    };
    float *turned = NULL; /* only where packed weights are multiplied in floats, for measuring */
    if (p.panels != NULL && p.panels->turned && (turned = turned_rows(cpu, x, (size_t)rows, in)) == NULL)
        return;
    size_t panels = (p.out + cpu->k.nr - 1) / cpu->k.nr;
    for (size_t first = 0; first < (size_t)rows; first += most) {
        p.rows = es_least(most, (size_t)rows - first);
        p.x = (turned != NULL ? turned : x) + first * in;
        p.y = y + first * p.out;
        p.residual = residual != NULL ? residual + first * p.out : NULL;
        p.x_panels = p.rows == 1 ? p.x : cpu->x_panels; /* one row is its own panel */
        if (p.rows > 1)
            es_cpu_ranges(cpu, (p.rows + mr - 1) / mr, 1 + 65536 / (mr * in), pack_rows, &p);
        bool small = p.rows * in * p.out < 32768; /* less work than waking a thread */
        es_pool_run(small ? NULL : cpu->pool, panels, outputs, &p);
    }
    if (turned != NULL) /* the decode loop does not even call free */
        free(turned);
}

void es_cpu_linear(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                   es_activation act, const es_tensor *residual)
{
    es_cpu *cpu = (es_cpu *)d;
    if (((const es_cpu_matrix *)w)->panels != NULL && !cpu->in_floats)
        es_cpu_linear_dot(cpu, y, x, (const es_cpu_matrix *)w, bias, act, residual);
    else
        es_cpu_multiply(d, es_rows(y, 0), es_rows(x, 0), x->rows, w, bias != NULL ? es_rows(bias, 0) : NULL, act,
                        residual != NULL ? es_rows(residual, 0) : NULL);
}

/* --- embed --- */

static float load_plain(es_dtype dtype, const void *data, size_t at)
{
    const uint8_t *p = (const uint8_t *)data + at * es_dtype_size(dtype);
    return dtype == ES_F32 ? es_load_f32(p) : dtype == ES_F16 ? es_load_f16(p) : es_load_bf16(p);
}

static void unpack_row(float *y, const es_matrix_source *w, size_t row)
{
    size_t cols = (size_t)w->cols;
    if (w->bits == 0) {
        for (size_t i = 0; i < cols; i++)
            y[i] = load_plain(w->dtype, w->data, row * cols + i);
        return;
    }
    size_t bits = (size_t)w->bits, group = (size_t)w->group, groups = cols / group;
    const uint8_t *words = (const uint8_t *)w->data + row * (cols * bits / 8);
    for (size_t i = 0; i < cols; i++) {
        size_t at = row * groups + i / group;
        float scaled = load_plain(w->scale_dtype, w->scales, at) * (float)es_load_bits(words, i, bits);
        y[i] = scaled + load_plain(w->scale_dtype, w->biases, at);
    }
}

typedef struct lookup {
    float *y;
    const es_matrix_source *table;
    const int32_t *ids;
} lookup;

static void embed_rows(const void *context, size_t first, size_t last)
{
    const lookup *l = context;
    for (size_t i = first; i < last; i++)
        unpack_row(l->y + i * (size_t)l->table->cols, l->table, (size_t)l->ids[i]);
}

void es_cpu_look_up(es_device *d, float *y, const es_matrix *table, const int32_t *ids, int64_t n)
{
    lookup l = {.y = y, .table = &((const es_cpu_matrix *)table)->source, .ids = ids};
    es_cpu_ranges((es_cpu *)d, (size_t)n, 1 + 16384 / (size_t)table->cols, embed_rows, &l);
}

void es_cpu_embed(es_device *d, es_tensor *y, const es_matrix *table, const int32_t *ids, int64_t n)
{
    es_cpu_look_up(d, es_rows(y, 0), table, ids, n);
}
