/* parity.c - every stage of the model against its authors' implementation, on whatever device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity.h"

#define PAGE_TOKENS 16

/* --- comparing what passes by with the vectors --- */

typedef struct comparer {
    const fixture *f;
    char prefix[32];        /* "picture.0" or "prompt.0" */
    double bound;           /* relative L2 of a stage */
    double company;         /* relative L2 between logits of rows alone and in company */
    int64_t places, others; /* tokens compared; those where another one is best */
    int compared;
    double worst;
    char worst_name[64];
} comparer;

/* max |a - b|, and |a - b| / |b| in the second norm; infinite when a number is not finite. */
static void differ(const float *a, const float *b, int64_t n, double *max, double *relative)
{
    double square = 0, size = 0;
    *max = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!isfinite(a[i]) || !isfinite(b[i]))
            d = INFINITY;
        *max = d > *max ? d : *max;
        square += d * d;
        size += (double)b[i] * (double)b[i];
    }
    *relative = sqrt(square / (size > 0 ? size : 1));
}

static bool ends_with_part(const char *name, const char *part)
{
    const char *last = strchr(name, '.');
    return strncmp(last == NULL ? name : last + 1, part, strlen(part)) == 0;
}

static void see(void *context, const char *name, es_device *device, const es_tensor *tensor)
{
    comparer *c = context;
    const char *stage = strncmp(name, "vision.", 7) == 0 ? name + 7 : strncmp(name, "text.", 5) == 0 ? name + 5 : name;
    bool tokens = ends_with_part(name, "deepstack") || ends_with_part(name, "merger");
    int64_t n, cols, count;
    float *expected = fixture_floats(c->f, &n, &cols, "%s.%s", c->prefix, stage);
    int32_t *rows = fixture_ints(c->f, &count, "%s.%s", c->prefix, tokens ? "token_rows" : "rows");
    assert_int_equal(count, n);
    assert_int_equal(tensor->cols, cols);
    float *seen = malloc((size_t)(n * cols) * sizeof *seen);
    assert_non_null(seen);
    for (int64_t i = 0; i < n; i++) {
        assert_true(rows[i] < tensor->rows);
        es_op_read(device, tensor, rows[i], 1, seen + i * cols);
    }
    double max, relative;
    differ(seen, expected, n * cols, &max, &relative);
    if (!(relative <= c->bound))
        print_error("%s %s: max-abs %.3g, relative L2 %.3g\n", c->prefix, name, max, relative);
    if (!(relative <= c->worst)) {
        c->worst = relative;
        snprintf(c->worst_name, sizeof c->worst_name, "%s %s", c->prefix, name);
    }
    c->compared++;
    free(seen);
    free(rows);
    free(expected);
}

/* --- pictures --- */

/* Levels of a picture are whole numbers of 1/255; the processor's own are met exactly but for float rounding. */
static void compare_pixels(const fixture *f, size_t p)
{
    int64_t n, dim;
    float *expected = fixture_floats(f, &n, &dim, "picture.%zu.pixels", p);
    int32_t *rows = fixture_ints(f, NULL, "picture.%zu.rows", p), *grid = fixture_ints(f, NULL, "picture.%zu.grid", p);
    assert_int_equal(f->pictures[p].grid_h, grid[0]);
    assert_int_equal(f->pictures[p].grid_w, grid[1]);
    assert_int_equal(f->pictures[p].dim, dim);
    float *patch = malloc((size_t)dim * sizeof *patch);
    assert_non_null(patch);
    for (int64_t i = 0; i < n; i++) {
        double max, relative;
        es_patches_floats(&f->pictures[p], rows[i], 1, patch);
        differ(patch, expected + i * dim, dim, &max, &relative);
        if (max > 1e-6)
            fail_msg("picture %zu, patch %d: pixels differ by %g", p, rows[i], max);
    }
    free(patch);
    free(grid);
    free(rows);
    free(expected);
}

static void compare_pictures(const fixture *f, comparer *c, es_vision_output *outputs)
{
    const es_vision_config *v = &f->model->config.vision;
    es_vision_scratch scratch = {0};
    es_watch watch = {see, c};
    es_error err = {0};
    for (size_t p = 0; p < f->picture_count; p++) {
        compare_pixels(f, p);
        snprintf(c->prefix, sizeof c->prefix, "picture.%zu", p);
        c->compared = 0;
        if (es_vision_encode(f->model, &scratch, &f->pictures[p], &outputs[p], &watch, NULL, &err) != ES_OK)
            fail_msg("%s", err.message);
        assert_int_equal(c->compared, v->depth + v->deepstack_count + 3);
    }
    es_vision_scratch_free(&scratch, f->device);
}

/* --- prompts --- */

typedef struct encoded {
    es_ids ids;
    es_position *positions;
    struct es_visual_row *visual;
    int64_t visual_count;
} encoded;

/* The conversation as ids and positions, which are the reference's exactly. */
static void encode(encoded *e, const fixture *f, size_t k, const es_vision_output *outputs)
{
    fixture_prompt p;
    fixture_prompt_get(&p, f, k);
    int32_t grids[FIXTURE_PICTURES][2], tokens[FIXTURE_PICTURES], next;
    es_error err = {0};
    *e = (encoded){0};
    for (size_t i = 0; i < p.picture_count; i++) {
        const es_vision_output *o = &outputs[p.used[i]];
        grids[i][0] = o->grid_h;
        grids[i][1] = o->grid_w;
        tokens[i] = (int32_t)o->tokens;
    }
    assert_int_equal(es_chat_encode(f->model->tokenizer, &f->model->config, p.messages, p.message_count, tokens,
                                    p.picture_count, &e->ids, &err),
                     ES_OK);
    int64_t n;
    int32_t *ids = fixture_ints(f, &n, "prompt.%zu.ids", k), *places = fixture_ints(f, NULL, "prompt.%zu.positions", k);
    int32_t *last = fixture_ints(f, NULL, "prompt.%zu.next", k);
    assert_int_equal(e->ids.count, n);
    assert_memory_equal(e->ids.items, ids, (size_t)n * sizeof *ids);
    e->positions = malloc((size_t)n * sizeof *e->positions);
    assert_non_null(e->positions);
    assert_int_equal(es_text_positions(&f->model->config, e->ids.items, e->ids.count, (const int32_t(*)[2])grids,
                                       p.picture_count, e->positions, &next, &err),
                     ES_OK);
    assert_memory_equal(e->positions, places, (size_t)n * 3 * sizeof *places);
    assert_int_equal(next, last[0]);
    e->visual = calloc((size_t)n, sizeof *e->visual);
    assert_non_null(e->visual);
    size_t picture = 0;
    int32_t token = 0;
    for (int32_t i = 0; i < n; i++) {
        if (ids[i] != f->model->config.image_token)
            continue;
        const es_vision_output *o = &outputs[p.used[picture]];
        e->visual[e->visual_count++] = (struct es_visual_row){i, o, token};
        if (++token == o->tokens)
            picture++, token = 0;
    }
    free(last);
    free(places);
    free(ids);
}

static void encoded_free(encoded *e)
{
    es_ids_free(&e->ids);
    free(e->positions);
    free(e->visual);
}

/* Logits of every row [n, vocab], or with `last` of each step's last, the prompt going through in steps of `chunk`
 * rows, pages handed out backwards. */
static float *forward(const fixture *f, const encoded *e, int64_t chunk, bool last, const es_watch *watch)
{
    const es_text_config *t = &f->model->config.text;
    int64_t n = (int64_t)e->ids.count;
    int32_t pages = (int32_t)((n + PAGE_TOKENS - 1) / PAGE_TOKENS);
    es_kv_shape shape = {t->layers, t->kv_heads, t->head_dim, pages, PAGE_TOKENS};
    int32_t *order = malloc((size_t)pages * sizeof *order), *every = malloc((size_t)n * sizeof *every);
    float *logits = malloc((size_t)(n * t->vocab) * sizeof *logits);
    es_text_scratch scratch = {0};
    es_error err = {0};
    es_kv *kv;
    assert_true(order != NULL && every != NULL && logits != NULL);
    assert_int_equal(es_kv_create(f->device, &kv, &shape, &err), ES_OK);
    for (int32_t i = 0; i < pages; i++)
        order[i] = pages - 1 - i;
    struct es_visual_row *visual = calloc((size_t)n, sizeof *visual);
    assert_non_null(visual);
    for (int64_t first = 0; first < n; first += chunk) {
        int64_t rows = n - first < chunk ? n - first : chunk, seen = 0;
        for (int64_t i = 0; i < rows; i++)
            every[i] = (int32_t)i;
        for (int64_t i = 0; i < e->visual_count; i++)
            if (e->visual[i].row >= first && e->visual[i].row < first + rows) {
                visual[seen] = e->visual[i];
                visual[seen++].row -= (int32_t)first;
            }
        es_attend attend = {0, (int32_t)rows, (int32_t)first, order};
        int64_t skip = last ? rows - 1 : 0;
        es_text_batch batch = {rows, e->ids.items + first, e->positions + first, &attend, 1, visual,
                               seen, every + skip,         rows - skip,          NULL};
        float *to = logits + (first + skip) * t->vocab;
        if (es_text_forward(f->model, &scratch, kv, &batch, to, watch, NULL, &err) != ES_OK)
            fail_msg("%s", err.message);
    }
    es_text_scratch_free(&scratch, f->device);
    es_kv_free(f->device, kv);
    free(visual);
    free(every);
    free(order);
    return logits;
}

/* How many places have another best token than the reference. */
static int64_t compare_top(const fixture *f, size_t k, const float *logits, int64_t n)
{
    int64_t others = 0;
    int32_t vocab = f->model->config.text.vocab, *top = fixture_ints(f, NULL, "prompt.%zu.top1", k);
    for (int64_t i = 0; i < n; i++) {
        const float *row = logits + i * vocab;
        int32_t best = 0;
        for (int32_t j = 1; j < vocab; j++)
            best = row[j] > row[best] ? j : best;
        others += best != top[i];
    }
    free(top);
    return others;
}

static void meet_company(comparer *c, const float *some, const float *whole, int64_t n)
{
    double max, relative;
    differ(some, whole, n, &max, &relative);
    c->company = relative > c->company ? relative : c->company;
}

static void compare_prompts(const fixture *f, comparer *c, const es_vision_output *outputs)
{
    const es_text_config *t = &f->model->config.text;
    es_watch watch = {see, c};
    for (size_t k = 0; k < f->prompt_count; k++) {
        encoded e;
        encode(&e, f, k, outputs);
        int64_t n = (int64_t)e.ids.count;
        bool stages = fixture_has(f, "prompt.%zu.rows", k);
        snprintf(c->prefix, sizeof c->prefix, "prompt.%zu", k);
        c->compared = 0;
        float *whole = forward(f, &e, n, false, stages ? &watch : NULL);
        if (stages)
            assert_int_equal(c->compared, t->layers + 3);
        c->places += n;
        c->others += compare_top(f, k, whole, n);
        /* The same rows in other company. */
        float *parts = forward(f, &e, 7, false, NULL);
        meet_company(c, parts, whole, n * t->vocab);
        free(parts);
        /* And those that nobody wants left out of the last layer. */
        parts = forward(f, &e, 7, true, NULL);
        for (int64_t i = 0; i < n; i++)
            if (i % 7 == 6 || i == n - 1)
                meet_company(c, parts + i * t->vocab, whole + i * t->vocab, t->vocab);
        free(parts);
        free(whole);
        encoded_free(&e);
    }
}

parity parity_of(const char *name, es_device *device, double bound)
{
    fixture f;
    fixture_open_on(&f, name, device);
    comparer c = {.f = &f, .bound = bound};
    es_vision_output outputs[FIXTURE_PICTURES] = {{0}};
    compare_pictures(&f, &c, outputs);
    compare_prompts(&f, &c, outputs);
    print_message("%s, %s: worst relative L2 %.2g (%s)\n", name, device->detail, c.worst, c.worst_name);
    assert_true(c.worst <= bound);
    for (size_t i = 0; i < f.picture_count; i++)
        es_vision_output_free(&outputs[i]);
    fixture_close(&f);
    return (parity){c.worst, c.company, (double)c.others / (double)c.places};
}
