#include "session/same.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define CELL 8       /* pixels: about a letter's width */
#define CELL_HOT 3   /* differing pixels that make a cell differ */
#define SPOTS_MOST 4 /* pointer and caret, where they were and where they are */
/* The largest spot that is no change, on a screen of 1080 lines: an arrow is 12 x 19 pixels, two digits are 18 wide.
 * The width goes with the screen, but letters on large screens may be small, and arrows on small ones are no smaller.
 */
#define SPOT_WIDTH 18.0
#define SPOT_HEIGHT 26.0
#define LINES 1080.0
#define SCALE_LEAST 0.7
#define SCALE_MOST 1.1

void es_content_hash(const es_image *image, char hex[ES_CONTENT_HEX + 1])
{
    es_hash hash = {(uint64_t)image->width, (uint64_t)image->height};
    hash = es_hash_bytes(hash, image->rgb, (size_t)image->width * (size_t)image->height * 3);
    snprintf(hex, ES_CONTENT_HEX + 1, "%016llx%016llx", (unsigned long long)hash.a, (unsigned long long)hash.b);
}

/* Mean of the green channel over a part of the picture, every other pixel: enough to compare areas. */
static uint64_t area_mean(const es_image *image, size_t column, size_t columns, size_t row, size_t rows)
{
    size_t w = (size_t)image->width, h = (size_t)image->height;
    size_t x0 = column * w / columns, x1 = (column + 1) * w / columns;
    size_t y0 = row * h / rows, y1 = (row + 1) * h / rows;
    uint64_t sum = 0, n = 0;
    x1 = x1 > x0 ? x1 : x0 + 1;
    y1 = y1 > y0 ? y1 : y0 + 1;
    for (size_t y = y0; y < y1; y += 2)
        for (size_t x = x0; x < x1; x += 2, n++)
            sum += image->rgb[(y * w + x) * 3 + 1];
    return sum * 16 / n;
}

uint64_t es_perceptual_hash(const es_image *image)
{
    uint64_t hash = 0;
    for (size_t row = 0; row < 8; row++) {
        uint64_t left = area_mean(image, 0, 9, row, 8);
        for (size_t column = 1; column < 9; column++) {
            uint64_t right = area_mean(image, column, 9, row, 8);
            hash = hash << 1 | (left > right);
            left = right;
        }
    }
    return hash;
}

int es_hash_distance(uint64_t a, uint64_t b)
{
    int n = 0;
    for (uint64_t x = a ^ b; x != 0; x &= x - 1)
        n++;
    return n;
}

typedef struct cell {
    uint8_t hot;            /* differing pixels, at most 64; 0 once it was counted to a spot */
    uint8_t x0, x1, y0, y1; /* where they lie within the cell, inclusive */
} cell;

/* The differing pixels of the cells of one row of pixels. */
static void compare_row(const uint8_t *a, const uint8_t *b, size_t width, int threshold, uint8_t y, cell *row)
{
    if (memcmp(a, b, width * 3) == 0)
        return;
    for (size_t x = 0; x < width; x++) {
        int most = 0;
        for (size_t c = 0; c < 3; c++) {
            int d = abs(a[x * 3 + c] - b[x * 3 + c]);
            most = d > most ? d : most;
        }
        if (most <= threshold)
            continue;
        cell *k = &row[x / CELL];
        uint8_t at = (uint8_t)(x % CELL);
        if (k->hot == 0)
            *k = (cell){0, at, at, y, y};
        k->hot++;
        k->x0 = at < k->x0 ? at : k->x0;
        k->x1 = at > k->x1 ? at : k->x1;
        k->y1 = y;
    }
}

typedef struct field {
    size_t columns, rows;
    cell *cells;   /* [rows, columns] */
    size_t *stack; /* [rows * columns] */
} field;

/* Takes the spot that cell `start` belongs to out of the field, and its size. */
static void take_spot(field *f, size_t start, es_difference *d)
{
    size_t x0 = SIZE_MAX, x1 = 0, y0 = SIZE_MAX, y1 = 0, depth = 0;
    f->stack[depth++] = start;
    cell first = f->cells[start];
    f->cells[start].hot = 0;
    f->cells[start] = (cell){0, first.x0, first.x1, first.y0, first.y1};
    while (depth > 0) {
        size_t at = f->stack[--depth], row = at / f->columns, column = at % f->columns;
        const cell *k = &f->cells[at];
        x0 = column * CELL + k->x0 < x0 ? column * CELL + k->x0 : x0;
        x1 = column * CELL + k->x1 > x1 ? column * CELL + k->x1 : x1;
        y0 = row * CELL + k->y0 < y0 ? row * CELL + k->y0 : y0;
        y1 = row * CELL + k->y1 > y1 ? row * CELL + k->y1 : y1;
        d->cells++;
        for (size_t near = 0; near < 9; near++) {
            size_t r = row + near / 3, c = column + near % 3; /* one more than the neighbour's */
            if (r == 0 || c == 0 || r > f->rows || c > f->columns)
                continue;
            size_t next = (r - 1) * f->columns + (c - 1);
            if (f->cells[next].hot < CELL_HOT)
                continue;
            f->cells[next].hot = 0;
            f->stack[depth++] = next;
        }
    }
    int32_t width = (int32_t)(x1 - x0 + 1), height = (int32_t)(y1 - y0 + 1);
    d->spots++;
    d->widest = width > d->widest ? width : d->widest;
    d->tallest = height > d->tallest ? height : d->tallest;
}

static void judge(const es_image *a, es_difference *d)
{
    double scale = a->height / LINES;
    scale = scale < SCALE_LEAST ? SCALE_LEAST : scale > SCALE_MOST ? SCALE_MOST : scale;
    d->changed =
        d->spots > SPOTS_MOST || d->widest > SPOT_WIDTH * scale || d->tallest > SPOT_HEIGHT * (scale > 1 ? scale : 1);
}

es_status es_compare_images(const es_image *a, const es_image *b, int threshold, es_difference *d, es_error *err)
{
    *d = (es_difference){.changed = true};
    if (a->width != b->width || a->height != b->height)
        return ES_OK;
    if (threshold >= 255) {
        d->changed = false;
        return ES_OK;
    }
    if (es_hash_distance(es_perceptual_hash(a), es_perceptual_hash(b)) > ES_HASH_FAR)
        return ES_OK;
    size_t w = (size_t)a->width, h = (size_t)a->height;
    field f = {.columns = (w + CELL - 1) / CELL, .rows = (h + CELL - 1) / CELL};
    f.cells = es_calloc(f.columns * f.rows, sizeof *f.cells);
    f.stack = es_calloc(f.columns * f.rows, sizeof *f.stack);
    if (f.cells == NULL || f.stack == NULL) {
        free(f.cells);
        free(f.stack);
        return es_fail_memory(err, "comparing two frames", f.columns * f.rows * sizeof *f.stack);
    }
    for (size_t y = 0; y < h; y++)
        compare_row(a->rgb + y * w * 3, b->rgb + y * w * 3, w, threshold, (uint8_t)(y % CELL),
                    f.cells + y / CELL * f.columns);
    for (size_t i = 0; i < f.columns * f.rows; i++)
        if (f.cells[i].hot >= CELL_HOT)
            take_spot(&f, i, d);
    free(f.cells);
    free(f.stack);
    judge(a, d);
    return ES_OK;
}
