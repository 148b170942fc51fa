/* bench_load.c - frames to measure with, and how much work they are. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "cli/bench.h"
#include "model/image.h"

/* --- frames --- */

static void fill_box(es_image *image, int32_t x, int32_t y, int32_t w, int32_t h, uint32_t colour)
{
    for (int32_t row = y < 0 ? 0 : y; row < y + h && row < image->height; row++) {
        for (int32_t col = x < 0 ? 0 : x; col < x + w && col < image->width; col++) {
            uint8_t *p = image->rgb + 3 * ((size_t)row * (size_t)image->width + (size_t)col);
            p[0] = (uint8_t)(colour >> 16);
            p[1] = (uint8_t)(colour >> 8);
            p[2] = (uint8_t)colour;
        }
    }
}

/* A window with lines of something like text; each number another. */
static es_status draw(es_image *image, int32_t width, int32_t height, size_t number, es_error *err)
{
    uint32_t state = (uint32_t)number * 2654435761u + 1u;
    *image = (es_image){width, height, es_calloc((size_t)width * (size_t)height, 3)};
    if (image->rgb == NULL)
        return es_fail_memory(err, "a frame", (size_t)width * (size_t)height * 3);
    fill_box(image, 0, 0, width, height, 0x101820u + (uint32_t)number * 0x050301u);
    fill_box(image, 0, 0, width, 24, 0x3c4a5au);
    fill_box(image, 0, 24, width / 5, height, 0x202c38u);
    for (int32_t y = 36; y < height - 12; y += 14) {
        for (int32_t x = width / 5 + 16; x < width - 40;) {
            state = state * 1664525u + 1013904223u;
            int32_t length = 8 + (int32_t)(state >> 24) % 60;
            if ((state >> 8) % 7 != 0)
                fill_box(image, x, y, length, 7, 0x90a0b0u ^ (state & 0x3f3f3fu));
            x += length + 7;
        }
    }
    return ES_OK;
}

static es_status load_one(es_bench_frames *f, const es_bench_options *o, const es_preprocess *config, es_error *err)
{
    es_image image = {0};
    double start = es_now();
    if (f->drawn)
        ES_TRY(draw(&image, (int32_t)o->width, (int32_t)o->height, f->count, err));
    else
        ES_TRY(es_image_load(&image, o->files[f->count], err));
    double decoded = es_now();
    es_status status = es_preprocess_image(config, &image, &f->items[f->count], err);
    f->seconds_decode += decoded - start;
    f->seconds_preprocess += es_now() - decoded;
    if (f->count == 0) {
        f->width = image.width;
        f->height = image.height;
    }
    es_image_free(&image);
    f->count += status == ES_OK;
    return status;
}

es_status es_bench_frames_load(es_bench_frames *f, const es_bench_options *o, const es_preprocess *config, size_t count,
                               es_error *err)
{
    *f = (es_bench_frames){.drawn = o->file_count == 0};
    if (!f->drawn && (o->caches || count > o->file_count))
        count = o->file_count;
    f->items = es_calloc(count, sizeof *f->items);
    if (f->items == NULL)
        return es_fail_memory(err, "the frames", count * sizeof *f->items);
    while (f->count < count) {
        es_status status = load_one(f, o, config, err);
        if (status != ES_OK) {
            es_bench_frames_free(f);
            return status;
        }
    }
    return ES_OK;
}

void es_bench_frames_free(es_bench_frames *f)
{
    for (size_t i = 0; i < f->count; i++)
        es_patches_free(&f->items[i]);
    free(f->items);
    *f = (es_bench_frames){0};
}

/* --- work --- */

/* Multiply-adds of `rows` rows by a matrix, two operations each. */
static double product(const es_matrix *m, double rows)
{
    return m == NULL ? 0.0 : 2.0 * rows * (double)m->rows * (double)m->cols;
}

static double merger_ops(const es_merger *m, double rows)
{
    return product(m->fc1.w, rows) + product(m->fc2.w, rows);
}

double es_bench_vision_ops(const es_model *model, const es_patches *picture)
{
    const es_vision_config *c = &model->config.vision;
    const es_weights *w = &model->weights;
    double n = (double)picture->count, merged = n / ((double)c->merge_size * c->merge_size);
    double ops = product(w->patch.w, n) + merger_ops(&w->merger, merged);
    for (int32_t i = 0; i < c->deepstack_count; i++)
        ops += merger_ops(&w->deepstack[i], merged);
    for (int32_t i = 0; i < c->depth; i++) {
        const es_vision_block *b = &w->blocks[i];
        ops += product(b->qkv.w, n) + product(b->proj.w, n) + product(b->fc1.w, n) + product(b->fc2.w, n);
        ops += 4.0 * n * n * c->heads * c->head_dim; /* scores, and weights times values */
    }
    return ops;
}

/* Of keys and values all rows, of what follows `queries` of them. */
static double layer_ops(const es_text_layer *l, double rows, double queries)
{
    const es_linear *rest[] = {&l->q, &l->o, &l->gate, &l->up, &l->down};
    double ops = product(l->k.w, rows) + product(l->v.w, rows);
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        ops += product(rest[i]->w, queries);
    return ops;
}

double es_bench_prefill_ops(const es_model *model, int64_t rows)
{
    const es_text_config *c = &model->config.text;
    double n = (double)rows, ops = product(model->weights.head, 1.0);
    for (int32_t i = 0; i < c->layers; i++) {
        /* the last layer goes on with the last row, as text.c says */
        bool one = i == c->layers - 1 && c->layers > model->config.vision.deepstack_count;
        double seen = one ? n : n * (n + 1.0) / 2.0;
        ops += layer_ops(&model->weights.layers[i], n, one ? 1.0 : n) + 4.0 * seen * c->heads * c->head_dim;
    }
    return ops;
}

double es_bench_weight_bytes(const es_model *model)
{
    const es_weights *w = &model->weights;
    size_t bytes = w->head->bytes;
    for (int32_t i = 0; i < model->config.text.layers; i++) {
        const es_text_layer *l = &w->layers[i];
        const es_linear *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            bytes += all[j]->w->bytes;
    }
    return (double)bytes;
}

double es_bench_kv_bytes(const es_model *model)
{
    const es_text_config *c = &model->config.text;
    return 2.0 * c->layers * c->kv_heads * c->head_dim * (double)model->device->kv_number_size;
}
