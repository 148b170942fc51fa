/* panels.c - weights to panels: quantised files' values put in the kernels' order, plain ones quantised. */
#include "compute/cpu/dot.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

typedef struct packing {
    const es_panels *panels;
    uint8_t *data;
    const es_matrix_source *source;
} packing;

size_t es_panels_group(const es_matrix_source *source, int bits)
{
    if (source->bits != 0)
        return (size_t)source->group;
    if (bits == 8 && source->cols % 128 == 0)
        return 128; /* fewer turns of the epilogue; 8 bits can afford it */
    return source->cols % 64 == 0 ? 64 : source->cols % 32 == 0 ? 32 : 0;
}

static float load_plain(es_dtype dtype, const void *data, size_t at)
{
    const uint8_t *p = (const uint8_t *)data + at * es_dtype_size(dtype);
    return dtype == ES_F32 ? es_load_f32(p) : dtype == ES_F16 ? es_load_f16(p) : es_load_bf16(p);
}

/* To the nearest bf16, ties to even; NaN stays one. */
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return 0x7fc0u;
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static void place_scale(const es_panels *p, uint8_t *block, size_t i, float value)
{
    uint8_t *scales = block + es_dot_weight_bytes(p->group, p->bits);
    if (p->bf16) {
        uint16_t half = to_bf16(value);
        memcpy(scales + 2 * i, &half, sizeof half);
    } else {
        memcpy(scales + 4 * i, &value, sizeof value);
    }
}

/* One output's values of a group. */
static void place(const es_panels *p, uint8_t *block, size_t col, const uint8_t *q)
{
    uint8_t *at = block + 4 * col;
    if (p->bits == 8) {
        for (size_t k = 0; k < p->group; k += 4, at += 4 * ES_DOT_COLS)
            memcpy(at, q + k, 4);
        return;
    }
    for (size_t k = 0; k < p->group; k += 8, at += 4 * ES_DOT_COLS) {
        uint32_t low, high;
        memcpy(&low, q + k, 4);
        memcpy(&high, q + k + 4, 4);
        low |= high << 4;
        memcpy(at, &low, 4);
    }
}

/* Four 4-bit values to four bytes. */
static uint32_t spread(uint32_t four)
{
    four = (four | four << 8) & 0x00ff00ffu;
    return (four | four << 4) & 0x0f0f0f0fu;
}

static void pack_quantised(const packing *c, uint8_t *block, size_t row, size_t col, size_t g)
{
    const es_matrix_source *s = c->source;
    const es_panels *p = c->panels;
    size_t bits = (size_t)s->bits, at = row * p->groups + g;
    const uint8_t *words = (const uint8_t *)s->data + row * (p->in * bits / 8) + g * p->group * bits / 8;
    uint8_t q[ES_DOT_GROUP];
    if (bits == 8) {
        place(p, block, col, words);
    } else {
        if (bits == 4) {
            for (size_t k = 0; k < p->group; k += 4) {
                uint32_t four = spread((uint32_t)words[k / 2] | (uint32_t)words[k / 2 + 1] << 8);
                memcpy(q + k, &four, 4);
            }
        } else {
            for (size_t k = 0; k < p->group; k++)
                q[k] = (uint8_t)es_load_bits(words, k, bits);
        }
        place(p, block, col, q);
    }
    place_scale(p, block, col, load_plain(s->scale_dtype, s->scales, at));
    place_scale(p, block, ES_DOT_COLS + col, load_plain(s->scale_dtype, s->biases, at));
}

/* n plain weights, n a multiple of 32. The loops below are written so that a compiler sees vectors in them. */
static void load_group(float *w, const es_matrix_source *s, size_t at, size_t n)
{
    const uint8_t *p = (const uint8_t *)s->data + at * es_dtype_size(s->dtype);
    if (s->dtype == ES_F32) {
        memcpy(w, p, n * sizeof *w);
    } else if (s->dtype == ES_BF16) {
        uint16_t halves[ES_DOT_GROUP];
        uint32_t bits[ES_DOT_GROUP];
        memcpy(halves, p, n * sizeof *halves);
        for (size_t k = 0; k < n; k++)
            bits[k] = (uint32_t)halves[k] << 16;
        memcpy(w, bits, n * sizeof *w);
    } else {
        for (size_t k = 0; k < n; k++)
            w[k] = es_load_f16(p + 2 * k);
    }
}

#define LANES 8

/* Scale and bias of a group of plain weights. */
static void fit(const es_panels *p, const float *w, float *scale, float *bias)
{
    float low[LANES], high[LANES], any[LANES] = {0}; /* any: 0, or NaN when a weight is not finite */
    memcpy(low, w, sizeof low);
    memcpy(high, w, sizeof high);
    for (size_t k = 0; k < p->group; k += LANES) {
        for (size_t i = 0; i < LANES; i++) {
            low[i] = w[k + i] < low[i] ? w[k + i] : low[i];
            high[i] = w[k + i] > high[i] ? w[k + i] : high[i];
            any[i] += w[k + i] * 0.0f;
        }
    }
    for (size_t i = 1; i < LANES; i++) {
        low[0] = low[i] < low[0] ? low[i] : low[0];
        high[0] = high[i] > high[0] ? high[i] : high[0];
        any[0] += any[i];
    }
    *scale = any[0] + (float)(((double)high[0] - (double)low[0]) / (p->bits == 8 ? 255.0 : 15.0));
    *bias = any[0] + low[0];
    if (p->bf16) {
        uint16_t half = to_bf16(*scale), other = to_bf16(*bias);
        *scale = es_load_bf16((const uint8_t *)&half);
        *bias = es_load_bf16((const uint8_t *)&other);
    }
}

/* w [group], which is overwritten, quantised by its least and its largest. */
static void pack_plain(const es_panels *p, uint8_t *block, size_t col, float *w)
{
    float scale, bias, most = p->bits == 8 ? 255.0f : 15.0f;
    uint32_t whole[ES_DOT_GROUP];
    uint8_t q[ES_DOT_GROUP];
    fit(p, w, &scale, &bias);
    double factor = isfinite(scale) && scale > 0.0f ? 1.0 / (double)scale : 0.0, start = (double)bias;
    for (size_t k = 0; k < p->group; k++) {
        float level = (float)(((double)w[k] - start) * factor);
        level = level > 0.0f ? level : 0.0f; /* NaN too becomes 0; the group's scale says NaN */
        level = level < most ? level : most;
        w[k] = level + 0x1p23f; /* rounds to a whole number, ties to even, in the low bits */
    }
    memcpy(whole, w, p->group * sizeof *whole);
    for (size_t k = 0; k < p->group; k++)
        q[k] = (uint8_t)(whole[k] & 0xffu);
    place(p, block, col, q);
    place_scale(p, block, col, scale);
    place_scale(p, block, ES_DOT_COLS + col, bias);
}

/* Whole rows at a time: a turned group has something of all of its row. */
static void pack_turned(const packing *c, uint8_t *blocks, size_t row, size_t rows)
{
    const es_panels *p = c->panels;
    float w[ES_TURN_MAX];
    for (size_t col = 0; col < rows; col++) {
        for (size_t g = 0; g < p->groups; g++)
            load_group(w + g * p->group, c->source, (row + col) * p->in + g * p->group, p->group);
        es_turn(w, w, p->in);
        for (size_t g = 0; g < p->groups; g++)
            pack_plain(p, blocks + g * p->block_bytes, col, w + g * p->group);
    }
}

static void pack_panel(void *context, size_t panel, size_t worker)
{
    const packing *c = context;
    const es_panels *p = c->panels;
    uint8_t *blocks = c->data + panel * p->panel_bytes;
    size_t first = panel * ES_DOT_COLS, rows = p->out - first < ES_DOT_COLS ? p->out - first : ES_DOT_COLS;
    (void)worker;
    if (p->turned) {
        pack_turned(c, blocks, first, rows);
        return;
    }
    for (size_t g = 0; g < p->groups; g++, blocks += p->block_bytes) {
        for (size_t col = 0; col < rows; col++) {
            float w[ES_DOT_GROUP];
            if (c->source->bits != 0) {
                pack_quantised(c, blocks, first + col, col, g);
                continue;
            }
            load_group(w, c->source, (first + col) * p->in + g * p->group, p->group);
            pack_plain(p, blocks, col, w);
        }
    }
}

/* All but the data. False when the source cannot be packed, or not in this address space. */
static bool plan(es_panels *p, const es_matrix_source *source, int bits)
{
    size_t group = es_panels_group(source, bits);
    *p = (es_panels){.out = (size_t)source->rows, .in = (size_t)source->cols, .group = group};
    if (group == 0)
        return false;
    p->groups = p->in / group;
    p->bits = source->bits == 0 ? (size_t)bits : source->bits == 4 ? 4 : 8;
    p->turned = source->bits == 0 && source->kind == ES_ROWS_PEAKED && p->in % ES_TURN == 0 && p->in <= ES_TURN_MAX;
    p->bf16 = source->bits == 0 ? bits == 4 : source->scale_dtype == ES_BF16;
    p->block_bytes = es_dot_block_bytes(group, p->bits, p->bf16);
    return !__builtin_mul_overflow(p->groups, p->block_bytes, &p->panel_bytes) &&
           !__builtin_mul_overflow(p->panel_bytes, (p->out - 1) / ES_DOT_COLS + 1, &p->bytes);
}

size_t es_panels_bytes(const es_matrix_source *source, int bits)
{
    es_panels p;
    return plan(&p, source, bits) ? p.bytes : 0;
}

es_status es_panels_create(es_panels **out, const es_matrix_source *source, int bits, es_pool *pool, es_error *err)
{
    *out = NULL;
    es_panels planned;
    bool possible = plan(&planned, source, bits);
    if (planned.group == 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%lld columns are not whole groups of 32", (long long)source->cols);
    if (source->ready != NULL && (!possible || source->ready_size != planned.bytes))
        return es_fail(err, ES_ERR_FORMAT, "weights made ready are %zu bytes, must be %zu", source->ready_size,
                       planned.bytes);
    es_panels *p = es_calloc(1, sizeof *p);
    if (p == NULL)
        return es_fail_memory(err, "packed weights", sizeof *p);
    *p = planned;
    if (source->ready != NULL) {
        p->data = source->ready;
        p->borrowed = true;
        *out = p;
        return ES_OK;
    }
    size_t count = (p->out - 1) / ES_DOT_COLS + 1;
    uint8_t *data = possible ? es_aligned_calloc(count, p->panel_bytes) : NULL;
    if (data == NULL) {
        free(p);
        return es_fail_memory(err, "packed weights", planned.bytes);
    }
    p->data = data;
    packing c = {.panels = p, .data = data, .source = source};
    es_pool_run(pool, count, pack_panel, &c);
    *out = p;
    return ES_OK;
}

void es_panels_free(es_panels *p)
{
    if (p == NULL)
        return;
    if (!p->borrowed)
        es_aligned_free((void *)(uintptr_t)p->data);
    free(p);
}

void es_panels_row(const es_panels *p, size_t row, size_t from, size_t n, float *y)
{
    size_t col = row % ES_DOT_COLS;
    for (size_t k = from; k < from + n; k++) {
        size_t i = k % p->group;
        const uint8_t *block = p->data + row / ES_DOT_COLS * p->panel_bytes + k / p->group * p->block_bytes;
        const uint8_t *scales = block + es_dot_weight_bytes(p->group, p->bits);
        size_t packed = p->bits == 4 ? 8 : 4; /* weights of a column side by side, two to a byte or one */
        uint32_t q = block[(i / packed * ES_DOT_COLS + col) * 4 + i % 4];
        if (p->bits == 4)
            q = i % 8 < 4 ? q & 15u : q >> 4;
        float scale = p->bf16 ? es_load_bf16(scales + 2 * col) : es_load_f32(scales + 4 * col);
        float bias =
            p->bf16 ? es_load_bf16(scales + 2 * (ES_DOT_COLS + col)) : es_load_f32(scales + 4 * (ES_DOT_COLS + col));
        y[k - from] = fmaf(scale, (float)q, bias);
    }
}
