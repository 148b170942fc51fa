#include "model/positions.h"

#include <math.h>

/* A picture's tokens: one time, rows by height, columns by width. */
static void place_picture(es_position *positions, int32_t rows, int32_t cols, int32_t start)
{
    for (int32_t r = 0; r < rows; r++)
        for (int32_t c = 0; c < cols; c++)
            positions[(int64_t)r * cols + c] = (es_position){{start, start + r, start + c}};
}

es_status es_text_positions(const es_model_config *config, const int32_t *ids, size_t n, const int32_t (*grids)[2],
                            size_t images, es_position *positions, int32_t *next, es_error *err)
{
    int32_t at = 0;
    size_t image = 0;
    for (size_t i = 0; i < n;) {
        if (ids[i] != config->image_token) {
            positions[i++] = (es_position){{at, at, at}};
            at++;
            continue;
        }
        size_t run = i;
        while (run < n && ids[run] == config->image_token)
            run++;
        if (image >= images || (int64_t)grids[image][0] * grids[image][1] != (int64_t)(run - i))
            return es_fail(err, ES_ERR_ARGUMENT,
                           "the prompt holds %zu picture tokens in a row that no picture explains", run - i);
        int32_t rows = grids[image][0], cols = grids[image][1];
        place_picture(positions + i, rows, cols, at);
        at += rows > cols ? rows : cols;
        image++;
        i = run;
    }
    if (image != images)
        return es_fail(err, ES_ERR_ARGUMENT, "the prompt has places for %zu pictures, but %zu were given", image,
                       images);
    *next = at;
    return ES_OK;
}

/* theta^(-2i / dim), rounded to float32 at each step as the reference does. */
static float inverse_frequency(double theta, int32_t i, int32_t dim)
{
    float exponent = (float)(2 * i) / (float)dim;
    return 1.0f / (float)pow(theta, (double)exponent);
}

void es_text_rope(const es_text_config *config, const es_position *positions, size_t n, float *table)
{
    int32_t half = config->head_dim / 2;
    for (int32_t i = 0; i < half; i++) {
        int axis = 0;
        if (i % 3 == 1 && i < 3 * config->mrope_section[1])
            axis = 1;
        else if (i % 3 == 2 && i < 3 * config->mrope_section[2])
            axis = 2;
        float frequency = inverse_frequency(config->rope_theta, i, config->head_dim);
        for (size_t row = 0; row < n; row++) {
            float angle = (float)positions[row].axis[axis] * frequency;
            float *out = table + row * (size_t)config->head_dim;
            out[i] = (float)cos((double)angle);
            out[half + i] = (float)sin((double)angle);
        }
    }
}

/* Row and column of patch p, which are numbered merge block by merge block. */
static void patch_place(int32_t merge, int32_t grid_w, int64_t p, int32_t *row, int32_t *col)
{
    int32_t in_block = (int32_t)(p % (merge * merge));
    int64_t block = p / (merge * merge);
    int32_t blocks_w = grid_w / merge;
    *row = (int32_t)(block / blocks_w) * merge + in_block / merge;
    *col = (int32_t)(block % blocks_w) * merge + in_block % merge;
}

void es_vision_rope(const es_vision_config *config, int32_t grid_h, int32_t grid_w, float *table)
{
    int32_t half = config->head_dim / 2, quarter = half / 2;
    int64_t count = (int64_t)grid_h * grid_w;
    for (int64_t p = 0; p < count; p++) {
        int32_t row, col;
        patch_place(config->merge_size, grid_w, p, &row, &col);
        float *out = table + p * config->head_dim;
        for (int32_t i = 0; i < half; i++) {
            float frequency = inverse_frequency((double)config->rope_theta, i % quarter, half);
            float angle = (float)(i < quarter ? row : col) * frequency;
            out[i] = (float)cos((double)angle);
            out[half + i] = (float)sin((double)angle);
        }
    }
}

/* Where cell `index` of `size` falls on a line of `side` cells, corners aligned: the cell before it and the
 * share of the next one, in float32 in the reference's order of operations. */
static void along(int32_t index, int32_t size, int32_t side, int32_t *low, int32_t *high, float *share)
{
    float at = (float)index * (float)(side - 1) / (float)(size > 1 ? size - 1 : 1);
    float floor_at = floorf(at);
    *low = (int32_t)floor_at;
    if (*low > side - 1)
        *low = side - 1;
    *high = *low + 1 < side ? *low + 1 : side - 1;
    *share = at - floor_at;
}

void es_vision_interpolation(const es_vision_config *config, int32_t grid_h, int32_t grid_w, int32_t *index,
                             float *weight)
{
    int32_t side = config->position_side;
    int64_t count = (int64_t)grid_h * grid_w;
    for (int64_t p = 0; p < count; p++) {
        int32_t row, col, top, bottom, left, right;
        float down, across;
        patch_place(config->merge_size, grid_w, p, &row, &col);
        along(row, grid_h, side, &top, &bottom, &down);
        along(col, grid_w, side, &left, &right, &across);
        int32_t *i = index + p * 4;
        float *w = weight + p * 4;
        i[0] = top * side + left, w[0] = (1.0f - down) * (1.0f - across);
        i[1] = top * side + right, w[1] = (1.0f - down) * across;
        i[2] = bottom * side + left, w[2] = down * (1.0f - across);
        i[3] = bottom * side + right, w[3] = down * across;
    }
}
