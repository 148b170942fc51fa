/* test_precision.c - how far balanced and fast are from exact on the random checkpoints, and that what they compute
 * does not depend on the instruction set, the company or the number of threads beyond what exact allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define PAGE_TOKENS 16

/* A checkpoint on a device of some precision; pictures and prompts come from the fixture. */
typedef struct subject {
    es_device *device;
    es_model *model;
    es_vision_output outputs[FIXTURE_PICTURES];
} subject;

static void must(es_status status, const es_error *err)
{
    if (status != ES_OK)
        fail_msg("%s", err->message);
}

static void subject_open(subject *s, const fixture *f, es_isa isa, size_t threads, es_precision precision)
{
    es_error err = {0};
    es_vision_scratch scratch = {0};
    es_cpu_options options = {.threads = threads, .isa_given = true, .isa = isa, .precision = precision};
    *s = (subject){0};
    must(es_cpu_device_create(&s->device, &options, &err), &err);
    must(es_model_open(&s->model, s->device, f->model->dir, &err), &err);
    for (size_t i = 0; i < f->picture_count; i++)
        must(es_vision_encode(s->model, &scratch, &f->pictures[i], &s->outputs[i], NULL, NULL, &err), &err);
    es_vision_scratch_free(&scratch, s->device);
}

static void subject_close(subject *s, const fixture *f)
{
    for (size_t i = 0; i < f->picture_count; i++)
        es_vision_output_free(&s->outputs[i]);
    es_model_free(s->model);
    es_device_free(s->device);
}

/* Logits [n, vocab] of a prompt of the fixture, in steps of `chunk` rows. */
static float *forward(subject *s, const fixture *f, size_t prompt, int64_t chunk, int64_t *count)
{
    const es_text_config *t = &s->model->config.text;
    fixture_prompt p;
    fixture_prompt_get(&p, f, prompt);
    int64_t n;
    int32_t *ids = fixture_ints(f, &n, "prompt.%zu.ids", prompt);
    int32_t *places = fixture_ints(f, NULL, "prompt.%zu.positions", prompt);
    int32_t pages = (int32_t)((n + PAGE_TOKENS - 1) / PAGE_TOKENS);
    es_kv_shape shape = {t->layers, t->kv_heads, t->head_dim, pages, PAGE_TOKENS};
    int32_t *order = malloc((size_t)pages * sizeof *order), *every = malloc((size_t)n * sizeof *every);
    float *logits = malloc((size_t)(n * t->vocab) * sizeof *logits);
    struct es_visual_row *visual = calloc((size_t)n, sizeof *visual);
    assert_true(order != NULL && every != NULL && logits != NULL && visual != NULL);
    es_text_scratch scratch = {0};
    es_error err = {0};
    es_kv *kv;
    must(es_kv_create(s->device, &kv, &shape, &err), &err);
    for (int32_t i = 0; i < pages; i++)
        order[i] = i;
    size_t picture = 0;
    int32_t token = 0;
    for (int64_t first = 0; first < n; first += chunk) {
        int64_t rows = n - first < chunk ? n - first : chunk, seen = 0;
        for (int32_t i = 0; i < rows; i++) {
            every[i] = i;
            if (ids[first + i] != s->model->config.image_token)
                continue;
            const es_vision_output *o = &s->outputs[p.used[picture]];
            visual[seen++] = (struct es_visual_row){i, o, token};
            if (++token == o->tokens)
                picture++, token = 0;
        }
        es_attend attend = {0, (int32_t)rows, (int32_t)first, order};
        es_text_batch batch = {
            rows, ids + first, (const es_position *)(const void *)(places + 3 * first), &attend, 1, visual, seen, every,
            rows, NULL};
        must(es_text_forward(s->model, &scratch, kv, &batch, logits + first * t->vocab, NULL, NULL, &err), &err);
    }
    es_text_scratch_free(&scratch, s->device);
    es_kv_free(s->device, kv);
    free(visual);
    free(every);
    free(order);
    free(places);
    free(ids);
    *count = n;
    return logits;
}

typedef struct drift {
    double vision, logits; /* the worst relative L2 */
    int64_t same, places;  /* of likeliest tokens */
} drift;

static double relative(const float *a, const float *b, int64_t n)
{
    double square = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        square += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(square / (size > 0 ? size : 1));
}

static int32_t likeliest(const float *row, int32_t n)
{
    int32_t best = 0;
    for (int32_t j = 1; j < n; j++)
        best = row[j] > row[best] ? j : best;
    return best;
}

static drift compare(subject *a, subject *b, const fixture *f)
{
    drift d = {0};
    int32_t vocab = a->model->config.text.vocab;
    for (size_t i = 0; i < f->picture_count; i++) {
        const es_vision_output *o = &a->outputs[i];
        d.vision = fmax(d.vision, relative(o->data, b->outputs[i].data, (1 + o->levels) * o->tokens * o->dim));
    }
    for (size_t k = 0; k < f->prompt_count; k++) {
        int64_t n;
        float *one = forward(a, f, k, 1000, &n), *other = forward(b, f, k, 1000, &n);
        d.logits = fmax(d.logits, relative(one, other, n * vocab));
        for (int64_t i = 0; i < n; i++)
            d.same += likeliest(one + i * vocab, vocab) == likeliest(other + i * vocab, vocab);
        d.places += n;
        free(one);
        free(other);
    }
    return d;
}

static void drift_on(const char *name, es_isa isa, double balanced_most, double fast_most)
{
    fixture f;
    fixture_open(&f, name, isa);
    subject exact, other;
    subject_open(&exact, &f, isa, 2, ES_PRECISION_EXACT);
    for (es_precision p = ES_PRECISION_BALANCED; p <= ES_PRECISION_FAST; p++) {
        subject_open(&other, &f, isa, 2, p);
        drift d = compare(&other, &exact, &f);
        print_message("%s, %s, %s: vision %.2g, logits %.2g, likeliest token the same at %d of %d places\n", name,
                      es_isa_name(isa), p == ES_PRECISION_FAST ? "fast" : "balanced", d.vision, d.logits, (int)d.same,
                      (int)d.places);
        assert_true(d.vision <= balanced_most); /* 8 bit in both */
        assert_true(d.logits <= (p == ES_PRECISION_FAST ? fast_most : balanced_most));
        assert_true(d.logits > 0.0); /* the precision was not just ignored */
        subject_close(&other, &f);
    }
    subject_close(&exact, &f);
    fixture_close(&f);
}

/* Bounds: what was seen, about doubled. Random weights without structure are the worst case for 4 bits. */
static void drift_of(const char *name, double balanced_most, double fast_most)
{
    for (es_isa isa = ES_ISA_SCALAR; isa <= ES_ISA_NEON; isa++)
        if (es_cpu_has_isa(isa))
            drift_on(name, isa, balanced_most, fast_most);
}

static void bf16_checkpoint_drifts_within_bounds(void **state)
{
    (void)state;
    drift_of("sharded-bf16", 0.08, 0.7);
}

/* Its columns are not whole groups: attention alone works with fewer bits. */
static void a_checkpoint_that_cannot_be_packed_drifts_by_attention_only(void **state)
{
    (void)state;
    drift_of("single-f32", 0.02, 0.02);
}

static void mlx_4_bit_checkpoint_drifts_within_bounds(void **state)
{
    (void)state;
    drift_of("mlx-4bit-g64", 0.05, 0.05);
}

static void mlx_8_bit_checkpoint_drifts_within_bounds(void **state)
{
    (void)state;
    drift_of("mlx-8bit-mixed", 0.05, 0.12);
}

static void chunks_and_threads_change_no_bit_of_fast(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, "sharded-bf16", es_cpu_best_isa());
    int64_t n;
    subject one, three;
    subject_open(&one, &f, es_cpu_best_isa(), 1, ES_PRECISION_FAST);
    subject_open(&three, &f, es_cpu_best_isa(), 3, ES_PRECISION_FAST);
    for (size_t k = 0; k < f.prompt_count; k++) {
        float *whole = forward(&one, &f, k, 1000, &n), *parts = forward(&three, &f, k, 5, &n);
        assert_memory_equal(whole, parts, (size_t)(n * one.model->config.text.vocab) * sizeof *whole);
        free(whole);
        free(parts);
    }
    subject_close(&one, &f);
    subject_close(&three, &f);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_checkpoint_drifts_within_bounds),
        cmocka_unit_test(a_checkpoint_that_cannot_be_packed_drifts_by_attention_only),
        cmocka_unit_test(mlx_4_bit_checkpoint_drifts_within_bounds),
        cmocka_unit_test(mlx_8_bit_checkpoint_drifts_within_bounds),
        cmocka_unit_test(chunks_and_threads_change_no_bit_of_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
