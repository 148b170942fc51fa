/* test_positions.c - rope tables, interpolation and 3-axis positions against the authors' implementation. */
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

static fixture vectors; /* only its tensors */

static int open_vectors(void **state)
{
    (void)state;
    char path[1024];
    es_error err = {0};
    snprintf(path, sizeof path, "%s/tests/vectors/model/positions.safetensors", fixture_root());
    return es_tensors_open_file(&vectors.expected, path, &err) == ES_OK ? 0 : -1;
}

static int close_vectors(void **state)
{
    (void)state;
    es_tensors_close(vectors.expected);
    return 0;
}

/* --- the vision tower's grids --- */

static const struct grid {
    int32_t h, w, side, merge, head_dim;
} grids[] = {{36, 64, 48, 2, 64}, {44, 80, 48, 2, 64}, {2, 2, 48, 2, 64}, {6, 10, 5, 2, 12},
             {9, 3, 7, 3, 4},     {48, 48, 48, 2, 72}, {98, 2, 48, 2, 64}};
#define GRIDS (sizeof grids / sizeof *grids)

static es_vision_config vision_config(const struct grid *g)
{
    return (es_vision_config){
        .head_dim = g->head_dim, .merge_size = g->merge, .position_side = g->side, .rope_theta = 10000.0f};
}

static void grid_key(char key[64], const struct grid *g)
{
    snprintf(key, 64, "vision.%dx%d.side%d.merge%d.head%d", g->h, g->w, g->side, g->merge, g->head_dim);
}

/* What a patch takes from one cell of the learned grid: the reference may name a cell twice, or with no weight. */
static float share_of(const int32_t *index, const float *weight, int32_t cell)
{
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += index[i] == cell ? weight[i] : 0;
    return sum;
}

static void test_interpolation_takes_the_same_cells_with_the_same_weights(void **state)
{
    (void)state;
    for (size_t g = 0; g < GRIDS; g++) {
        char key[64];
        grid_key(key, &grids[g]);
        es_vision_config c = vision_config(&grids[g]);
        int64_t n, patches = (int64_t)grids[g].h * grids[g].w;
        int32_t *rows = fixture_ints(&vectors, &n, "%s.rows", key),
                *cells = fixture_ints(&vectors, NULL, "%s.index", key);
        float *weights = fixture_floats(&vectors, NULL, NULL, "%s.weight", key);
        int32_t *index = malloc((size_t)patches * 4 * sizeof *index);
        float *weight = malloc((size_t)patches * 4 * sizeof *weight);
        assert_true(index != NULL && weight != NULL);
        es_vision_interpolation(&c, grids[g].h, grids[g].w, index, weight);
        for (int64_t i = 0; i < n; i++) {
            const int32_t *own = index + rows[i] * 4;
            for (int j = 0; j < 4; j++) {
                assert_in_range(own[j], 0, c.position_side * c.position_side - 1);
                assert_float_equal(share_of(own, weight + rows[i] * 4, cells[i * 4 + j]),
                                   share_of(cells + i * 4, weights + i * 4, cells[i * 4 + j]), 1e-6);
                assert_float_equal(share_of(own, weight + rows[i] * 4, own[j]),
                                   share_of(cells + i * 4, weights + i * 4, own[j]), 1e-6);
            }
        }
        free(weight);
        free(index);
        free(weights);
        free(cells);
        free(rows);
    }
}

static void test_the_tower_turns_by_row_and_column(void **state)
{
    (void)state;
    for (size_t g = 0; g < GRIDS; g++) {
        char key[64];
        grid_key(key, &grids[g]);
        es_vision_config c = vision_config(&grids[g]);
        int64_t n, dim;
        int32_t *rows = fixture_ints(&vectors, NULL, "%s.rows", key);
        float *expected = fixture_floats(&vectors, &n, &dim, "%s.rope", key);
        float *table = malloc((size_t)(grids[g].h * grids[g].w * c.head_dim) * sizeof *table);
        assert_non_null(table);
        assert_int_equal(dim, c.head_dim);
        es_vision_rope(&c, grids[g].h, grids[g].w, table);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < dim; j++) /* 98 rows: an angle's last bit is 8e-6 */
                assert_float_equal(table[rows[i] * dim + j], expected[i * dim + j], 2e-5);
        free(table);
        free(expected);
        free(rows);
    }
}

/* --- the decoder --- */

static void test_the_decoder_turns_by_three_axes_interleaved(void **state)
{
    (void)state;
    static const struct {
        double theta;
        int32_t sections[3], head_dim;
    } cases[] = {{5e6, {24, 20, 20}, 128}, {5e6, {6, 2, 4}, 24}, {1e4, {5, 3, 2}, 20}, {1e6, {8, 4, 4}, 32}};
    int64_t count;
    int32_t *places = fixture_ints(&vectors, &count, "text.places");
    int64_t n = count / 3;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const int32_t *s = cases[k].sections;
        es_text_config c = {.head_dim = cases[k].head_dim, .rope_theta = cases[k].theta};
        memcpy(c.mrope_section, s, sizeof c.mrope_section);
        int64_t dim;
        float *expected = fixture_floats(&vectors, NULL, &dim, "text.theta%.0f.sections%d-%d-%d.head%d.rope",
                                         cases[k].theta, s[0], s[1], s[2], c.head_dim);
        float *table = malloc((size_t)(n * dim) * sizeof *table);
        assert_non_null(table);
        es_text_rope(&c, (const es_position *)places, (size_t)n, table);
        for (int64_t i = 0; i < n; i++) {
            int32_t far = places[i * 3 + 2];
            /* A frequency's last bit, which two pow functions may round differently, times the place. */
            double tolerance = 1e-6 + 2.4e-7 * far;
            for (int64_t j = 0; j < dim; j++)
                assert_float_equal(table[i * dim + j], expected[i * dim + j], (float)tolerance);
        }
        free(table);
        free(expected);
    }
    free(places);
}

/* --- positions of a prompt --- */

static const es_model_config config = {.image_token = 9, .video_token = 8};

static es_status place(const int32_t *ids, size_t n, const int32_t (*pictures)[2], size_t count, es_position *out,
                       int32_t *next)
{
    es_error err = {0};
    es_status status = es_text_positions(&config, ids, n, pictures, count, out, next, &err);
    if (status != ES_OK)
        assert_true(err.message[0] != '\0');
    return status;
}

static void test_text_goes_on_after_the_larger_side_of_a_picture(void **state)
{
    (void)state;
    const int32_t ids[] = {1, 2, 9, 9, 9, 9, 9, 9, 3, 9, 9, 4}, pictures[][2] = {{3, 2}, {1, 2}};
    const int32_t expected[][3] = {{0, 0, 0}, {1, 1, 1}, {2, 2, 2}, {2, 2, 3}, {2, 3, 2}, {2, 3, 3},
                                   {2, 4, 2}, {2, 4, 3}, {5, 5, 5}, {6, 6, 6}, {6, 6, 7}, {8, 8, 8}};
    es_position out[12];
    int32_t next;
    assert_int_equal(place(ids, 12, pictures, 2, out, &next), ES_OK);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(next, 9);
}

static void test_a_prompt_may_be_empty_text_or_end_with_a_picture(void **state)
{
    (void)state;
    const int32_t ids[] = {9, 9}, pictures[][2] = {{1, 2}};
    es_position out[2];
    int32_t next = -1;
    assert_int_equal(place(ids, 0, NULL, 0, out, &next), ES_OK);
    assert_int_equal(next, 0);
    assert_int_equal(place(ids, 2, pictures, 1, out, &next), ES_OK);
    assert_int_equal(next, 2);
}

static void test_places_and_pictures_that_do_not_agree_are_refused(void **state)
{
    (void)state;
    const int32_t ids[] = {1, 9, 9, 1}, small[][2] = {{1, 1}}, right[][2] = {{1, 2}, {1, 2}}, none[][2] = {{0, 0}};
    es_position out[4];
    int32_t next;
    assert_int_equal(place(ids, 4, small, 1, out, &next), ES_ERR_ARGUMENT);
    assert_int_equal(place(ids, 4, right, 0, out, &next), ES_ERR_ARGUMENT);
    assert_int_equal(place(ids, 4, right, 2, out, &next), ES_ERR_ARGUMENT);
    assert_int_equal(place(ids, 4, none, 1, out, &next), ES_ERR_ARGUMENT);
    assert_int_equal(place(ids, 4, right, 1, out, &next), ES_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpolation_takes_the_same_cells_with_the_same_weights),
        cmocka_unit_test(test_the_tower_turns_by_row_and_column),
        cmocka_unit_test(test_the_decoder_turns_by_three_axes_interleaved),
        cmocka_unit_test(test_text_goes_on_after_the_larger_side_of_a_picture),
        cmocka_unit_test(test_a_prompt_may_be_empty_text_or_end_with_a_picture),
        cmocka_unit_test(test_places_and_pictures_that_do_not_agree_are_refused),
    };
    return cmocka_run_group_tests_name("positions", tests, open_vectors, close_vectors);
}
