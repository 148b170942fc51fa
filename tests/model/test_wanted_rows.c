/* test_wanted_rows.c - the last layer goes on with the rows whose logits are wanted only: these are bit for bit what
 * they are when all rows go on, whichever are wanted, and the passes after them are too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define PAGE_TOKENS 16
#define SEQUENCES 2
#define PASSES 3

/* Two prompts of a fixture, which go through the decoder side by side in PASSES passes. */
typedef struct subject {
    es_device *device;
    es_model *model;
    es_vision_output outputs[FIXTURE_PICTURES];
    int64_t tokens[SEQUENCES];
    int32_t *ids[SEQUENCES], *pages[SEQUENCES];
    es_position *places[SEQUENCES];
    struct es_visual_row *visual[SEQUENCES]; /* `row` is the token's number */
    int64_t visual_count[SEQUENCES];
} subject;

static void must(es_status status, const es_error *err)
{
    if (status != ES_OK)
        fail_msg("%s", err->message);
}

static void *need(size_t n, size_t size)
{
    void *block = calloc(n, size);
    assert_non_null(block);
    return block;
}

static void load_prompt(subject *s, const fixture *f, size_t k)
{
    fixture_prompt p;
    size_t picture = 0;
    int32_t token = 0;
    fixture_prompt_get(&p, f, k);
    s->ids[k] = fixture_ints(f, &s->tokens[k], "prompt.%zu.ids", k);
    s->places[k] = (es_position *)(void *)fixture_ints(f, NULL, "prompt.%zu.positions", k);
    s->visual[k] = need((size_t)s->tokens[k], sizeof *s->visual[k]);
    s->pages[k] = need((size_t)s->tokens[k], sizeof *s->pages[k]);
    for (int32_t i = 0; i < s->tokens[k]; i++) {
        s->pages[k][i] = i * SEQUENCES + (int32_t)k; /* more than there are; the first ones count */
        if (s->ids[k][i] != s->model->config.image_token)
            continue;
        const es_vision_output *o = &s->outputs[p.used[picture]];
        s->visual[k][s->visual_count[k]++] = (struct es_visual_row){i, o, token};
        if (++token == o->tokens)
            picture++, token = 0;
    }
}

static void subject_open(subject *s, const fixture *f, es_isa isa, es_precision precision)
{
    es_error err = {0};
    es_vision_scratch scratch = {0};
    es_cpu_options options = {.threads = 2, .isa_given = true, .isa = isa, .precision = precision};
    *s = (subject){0};
    must(es_cpu_device_create(&s->device, &options, &err), &err);
    must(es_model_open(&s->model, s->device, f->model->dir, &err), &err);
    for (size_t i = 0; i < f->picture_count; i++)
        must(es_vision_encode(s->model, &scratch, &f->pictures[i], &s->outputs[i], NULL, NULL, &err), &err);
    es_vision_scratch_free(&scratch, s->device);
    for (size_t k = 0; k < SEQUENCES; k++)
        load_prompt(s, f, k);
}

static void subject_close(subject *s, const fixture *f)
{
    for (size_t k = 0; k < SEQUENCES; k++) {
        free(s->ids[k]);
        free(s->places[k]);
        free(s->visual[k]);
        free(s->pages[k]);
    }
    for (size_t i = 0; i < f->picture_count; i++)
        es_vision_output_free(&s->outputs[i]);
    es_model_free(s->model);
    es_device_free(s->device);
}

static es_kv *cache_of(const subject *s)
{
    const es_text_config *t = &s->model->config.text;
    int64_t longest = s->tokens[0] > s->tokens[1] ? s->tokens[0] : s->tokens[1];
    int32_t pages = SEQUENCES * (int32_t)(longest / PAGE_TOKENS + 1);
    es_kv_shape shape = {t->layers, t->kv_heads, t->head_dim, pages, PAGE_TOKENS};
    es_error err = {0};
    es_kv *kv;
    must(es_kv_create(s->device, &kv, &shape, &err), &err);
    return kv;
}

/* Where each sequence's rows of a pass begin: parts of unequal size, and of the last token one row alone. */
static int64_t begin_of(const subject *s, size_t k, size_t pass)
{
    int64_t n = s->tokens[k];
    return pass == 0 ? 0 : pass == 1 ? n / (k == 0 ? 2 : 3) : pass == 2 ? n - 1 : n;
}

/* Rows of pass `pass` of all sequences; those in `wanted` give logits [wanted_count, vocab]. wanted NULL: all. Returns
 * how many rows there are. */
static int64_t run_pass(const subject *s, es_kv *kv, size_t pass, const int32_t *wanted, int64_t wanted_count,
                        float *logits, const es_watch *watch, es_error *err)
{
    int64_t most = s->tokens[0] + s->tokens[1], rows = 0, seen = 0;
    es_text_scratch scratch = {0};
    es_attend attend[SEQUENCES];
    int32_t *ids = need((size_t)most, sizeof *ids), *every = need((size_t)most, sizeof *every);
    es_position *places = need((size_t)most, sizeof *places);
    struct es_visual_row *visual = need((size_t)most, sizeof *visual);
    for (size_t k = 0; k < SEQUENCES; k++) {
        int64_t first = begin_of(s, k, pass), n = begin_of(s, k, pass + 1) - first;
        attend[k] = (es_attend){(int32_t)rows, (int32_t)n, (int32_t)first, s->pages[k]};
        for (int64_t i = 0; i < s->visual_count[k]; i++) {
            struct es_visual_row v = s->visual[k][i];
            if (v.row >= first && v.row < first + n)
                visual[seen++] = (struct es_visual_row){(int32_t)(rows + v.row - first), v.output, v.token};
        }
        for (int64_t i = first; i < first + n; i++, rows++) {
            ids[rows] = s->ids[k][i];
            places[rows] = s->places[k][i];
            every[rows] = (int32_t)rows;
        }
    }
    es_text_batch batch = {.rows = rows,
                           .ids = ids,
                           .positions = places,
                           .sequences = attend,
                           .sequence_count = SEQUENCES,
                           .visual = visual,
                           .visual_count = seen,
                           .logit_rows = wanted != NULL ? wanted : every,
                           .logit_count = wanted != NULL ? wanted_count : rows};
    es_status status = es_text_forward(s->model, &scratch, kv, &batch, logits, watch, NULL, err);
    es_text_scratch_free(&scratch, s->device);
    free(ids);
    free(every);
    free(places);
    free(visual);
    return status == ES_OK ? rows : -1;
}

static unsigned below(unsigned *state, unsigned n)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % n;
}

/* None, the last of each, a run, single ones, out of order and twice: fewer than all. */
static int64_t choose(unsigned *r, int32_t *wanted, int64_t rows, int trial)
{
    int64_t n = trial == 0 ? 0 : 1 + below(r, (unsigned)rows - 1);
    int32_t from = (int32_t)below(r, (unsigned)rows);
    if (n >= rows)
        n = rows - 1;
    for (int64_t i = 0; i < n; i++)
        wanted[i] = trial % 3 == 1   ? (int32_t)((from + i) % rows)
                    : trial % 3 == 2 ? (int32_t)((i * rows) / n)
                                     : (int32_t)below(r, (unsigned)rows);
    return n;
}

/* As all rows give them, and as the wanted ones alone do, pass by pass. */
static void compare(const subject *s)
{
    int64_t vocab = s->model->config.text.vocab, most = s->tokens[0] + s->tokens[1];
    float *all[PASSES], *some = need((size_t)(most * vocab), sizeof *some);
    int32_t *wanted = need((size_t)most, sizeof *wanted);
    int64_t rows[PASSES];
    es_error err = {0};
    es_kv *kv = cache_of(s);
    for (size_t p = 0; p < PASSES; p++) {
        all[p] = need((size_t)(most * vocab), sizeof *all[p]);
        rows[p] = run_pass(s, kv, p, NULL, 0, all[p], NULL, &err);
        assert_true(rows[p] > 1);
    }
    es_kv_free(s->device, kv);
    unsigned r = 7;
    for (int trial = 0; trial < 7; trial++) {
        kv = cache_of(s);
        for (size_t p = 0; p < PASSES; p++) {
            int64_t n = choose(&r, wanted, rows[p], trial);
            if (run_pass(s, kv, p, wanted, n, some, NULL, &err) != rows[p])
                fail_msg("%s", err.message);
            for (int64_t i = 0; i < n; i++)
                if (memcmp(some + i * vocab, all[p] + wanted[i] * vocab, (size_t)vocab * sizeof *some) != 0)
                    fail_msg("%s: trial %d, pass %zu: row %d, the %lldth of %lld wanted, is another", s->device->detail,
                             trial, p, wanted[i], (long long)i, (long long)n);
        }
        es_kv_free(s->device, kv);
    }
    for (size_t p = 0; p < PASSES; p++)
        free(all[p]);
    free(some);
    free(wanted);
}

static void compare_everywhere(const char *name, bool few_layers)
{
    for (es_isa isa = ES_ISA_SCALAR; isa <= ES_ISA_NEON; isa++) {
        if (!es_cpu_has_isa(isa))
            continue;
        fixture f;
        fixture_open(&f, name, isa);
        for (int precise = 0; precise < 2; precise++) {
            subject s;
            subject_open(&s, &f, isa, precise ? ES_PRECISION_EXACT : ES_PRECISION_FAST);
            if (few_layers)
                s.model->config.text.layers = s.model->config.vision.deepstack_count;
            compare(&s);
            s.model->config.text.layers = f.model->config.text.layers;
            subject_close(&s, &f);
        }
        fixture_close(&f);
    }
}

static void plain_weights(void **state)
{
    (void)state;
    compare_everywhere("single-f32", false);
    compare_everywhere("sharded-bf16", false);
}

static void quantised_weights(void **state)
{
    (void)state;
    compare_everywhere("mlx-4bit-g64", false);
}

static void a_model_whose_last_layer_gets_features_of_pictures(void **state)
{
    (void)state;
    compare_everywhere("single-f32", true);
}

/* --- what is computed --- */

static es_device_ops counting;
static void (*counted)(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                       es_activation act, const es_tensor *residual);
static int64_t multiplied; /* rows of all products */

static void count_linear(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                         es_activation act, const es_tensor *residual)
{
    multiplied += x->rows;
    counted(d, y, x, w, bias, act, residual);
}

static void see_all(void *context, const char *name, es_device *device, const es_tensor *tensor)
{
    (void)device;
    if (strncmp(name, "text.layer.", 11) == 0)
        assert_int_equal(tensor->rows, *(int64_t *)context);
}

static void rows_left_out_are_not_computed(void **state)
{
    (void)state;
    fixture f;
    subject s;
    es_error err = {0};
    fixture_open(&f, "single-f32", es_cpu_best_isa());
    subject_open(&s, &f, es_cpu_best_isa(), ES_PRECISION_EXACT);
    int64_t layers = s.model->config.text.layers, vocab = s.model->config.text.vocab;
    int64_t rows = begin_of(&s, 0, 1) + begin_of(&s, 1, 1);
    const int32_t wanted[] = {(int32_t)rows - 1, 0, 1};
    float *logits = need((size_t)(rows * vocab), sizeof *logits);
    const es_device_ops *own = s.device->ops;
    counting = *own;
    counted = own->linear;
    counting.linear = count_linear;
    s.device->ops = &counting;
    es_watch watch = {see_all, &rows};
    es_kv *kv = cache_of(&s);
    for (int64_t n = 0; n <= 3; n++) {
        multiplied = 0;
        assert_int_equal(run_pass(&s, kv, 0, wanted, n, logits, NULL, &err), rows);
        assert_int_equal(multiplied, (layers - 1) * 7 * rows + 2 * rows + 5 * n + n);
        multiplied = 0;
        assert_int_equal(run_pass(&s, kv, 0, wanted, n, logits, &watch, &err), rows); /* all, where somebody looks */
        assert_int_equal(multiplied, layers * 7 * rows + n);
    }
    assert_int_equal(run_pass(&s, kv, 0, (const int32_t[]){(int32_t)rows}, 1, logits, NULL, &err), -1);
    assert_non_null(strstr(err.message, "of no sequence"));
    s.device->ops = own;
    es_kv_free(s.device, kv);
    free(logits);
    subject_close(&s, &f);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_weights),
        cmocka_unit_test(quantised_weights),
        cmocka_unit_test(a_model_whose_last_layer_gets_features_of_pictures),
        cmocka_unit_test(rows_left_out_are_not_computed),
    };
    return cmocka_run_group_tests_name("wanted rows", tests, NULL, NULL);
}
