/* resize.c - antialiased bicubic resizing of 8-bit RGB, bit for bit as torch does it on uint8 tensors.
 *
 * What that is (found by experiment, see tests/vectors/make_image_vectors.py): two passes, along x and then along y,
 * with bytes between them; a pass whose size does not change is left out. Each output sample is a weighted sum of the
 * inputs under a Keys cubic (a = -0.5) stretched by the reduction, weights computed in double, normalised, and rounded
 * half away from zero to integers with as many bits as let the largest of the pass fit 16 bits; the sum is rounded by
 * half, shifted and clipped.
 */
#include "model/preprocess.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    LANES = 32,        /* rows that the horizontal pass takes together: gcc vectorises across 32, but unrolls 16 away */
    COLUMNS = 256,     /* samples that the vertical pass sums together */
    MAX_PRECISION = 22 /* bits after the point of a weight, at most */
};

/* The taps of one pass. */
typedef struct taps {
    int32_t *first;  /* [count] the first input that output i reads */
    int32_t *length; /* [count] how many it reads, at least 1 */
    int16_t *weight; /* [count, width] */
    size_t width;
    int precision;
} taps;

static void taps_free(taps *t)
{
    free(t->first);
    free(t->length);
    free(t->weight);
    *t = (taps){0};
}

static double cubic(double x)
{
    const double a = -0.5;
    if (x < 0)
        x = -x;
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

/* Where output i reads, and its normalised weights; w has room for t->width. Returns the largest weight. */
static double tap_weights(taps *t, double *w, int32_t i, int32_t from, double scale)
{
    const double stretch = scale > 1 ? scale : 1, support = 2 * stretch;
    const double centre = scale * (i + 0.5);
    int64_t low = (int64_t)(centre - support + 0.5), high = (int64_t)(centre + support + 0.5);
    if (low < 0)
        low = 0;
    if (high > from)
        high = from;
    const size_t n = (size_t)(high - low);
    double total = 0, most = 0;
    for (size_t k = 0; k < n; k++) {
        w[k] = cubic(((double)((int64_t)k + low) - centre + 0.5) * (1 / stretch));
        total += w[k];
    }
    for (size_t k = 0; k < n; k++) {
        w[k] /= total;
        if (w[k] > most)
            most = w[k];
    }
    t->first[i] = (int32_t)low;
    t->length[i] = (int32_t)n;
    return most;
}

static es_status taps_create(taps *t, int32_t from, int32_t to, es_error *err)
{
    const double scale = (double)from / (double)to;
    const size_t count = (size_t)to;
    es_status status = ES_OK;
    *t = (taps){0};
    t->width = (size_t)(4 * (scale > 1 ? scale : 1)) + 3;
    t->first = es_calloc(count, sizeof *t->first);
    t->length = es_calloc(count, sizeof *t->length);
    t->weight = t->width <= SIZE_MAX / count ? es_calloc(count * t->width, sizeof *t->weight) : NULL;
    double *w = es_calloc(t->width, sizeof *w);
    if (t->first == NULL || t->length == NULL || t->weight == NULL || w == NULL) {
        status = es_fail_memory(err, "the weights of a resize", count * t->width * sizeof *t->weight);
        goto done;
    }
    double most = 0;
    for (int32_t i = 0; i < to; i++) {
        const double m = tap_weights(t, w, i, from, scale);
        most = m > most ? m : most;
    }
    while (t->precision < MAX_PRECISION && (int)(0.5 + most * (1 << (t->precision + 1))) < 1 << 15)
        t->precision++;
    for (int32_t i = 0; i < to; i++) {
        tap_weights(t, w, i, from, scale);
        for (size_t k = 0; k < (size_t)t->length[i]; k++) {
            const double v = w[k] * (1 << t->precision);
            t->weight[(size_t)i * t->width + k] = (int16_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
    }
done:
    free(w);
    if (status != ES_OK)
        taps_free(t);
    return status;
}

static inline uint8_t clip(int32_t v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* An 8 x 8 block of bytes, rows and columns exchanged; a stride is the bytes from one row to the next. */
static void transpose_block(uint8_t *to, size_t to_stride, const uint8_t *from, size_t from_stride)
{
    static const uint64_t masks[3] = {0x00000000ffffffff, 0x0000ffff0000ffff, 0x00ff00ff00ff00ff};
    uint64_t r[8];
    for (size_t i = 0; i < 8; i++)
        memcpy(&r[i], from + i * from_stride, 8);
    for (size_t stage = 0; stage < 3; stage++) {
        const size_t half = (size_t)4 >> stage; /* exchange the off-diagonal quarters of 2 half x 2 half squares */
        for (size_t i = 0; i < 8; i++) {
            if ((i & half) != 0)
                continue;
            const uint64_t swap = ((r[i] >> (8 * half)) ^ r[i + half]) & masks[stage];
            r[i + half] ^= swap;
            r[i] ^= swap << (8 * half);
        }
    }
    for (size_t i = 0; i < 8; i++)
        memcpy(to + i * to_stride, &r[i], 8);
}

/* to[x][y] = from[y][x] for y < height, x < width; strides as above. */
static void transpose(uint8_t *to, size_t to_stride, const uint8_t *from, size_t from_stride, size_t height,
                      size_t width)
{
    for (size_t y = 0; y < height; y += 8) {
        size_t x = 0;
        for (; y + 8 <= height && x + 8 <= width; x += 8)
            transpose_block(to + x * to_stride + y, to_stride, from + y * from_stride + x, from_stride);
        for (; x < width; x++)
            for (size_t i = y; i < height && i < y + 8; i++)
                to[x * to_stride + i] = from[i * from_stride + x];
    }
}

/* columns: [width, 3, LANES], one sample of LANES rows side by side; wide: the same for the output's width. */
static void resize_lanes(uint8_t *wide, const uint8_t *columns, const taps *t, int32_t width)
{
    const int32_t half = 1 << (t->precision - 1);
    for (int32_t x = 0; x < width; x++) {
        const int16_t *weight = t->weight + (size_t)x * t->width;
        const int32_t n = t->length[x];
        for (size_t c = 0; c < 3; c++) {
            const uint8_t *in = columns + ((size_t)t->first[x] * 3 + c) * LANES;
            int32_t sum[LANES];
            for (size_t l = 0; l < LANES; l++)
                sum[l] = half;
            for (int32_t k = 0; k < n; k++, in += 3 * LANES) {
                const int16_t w = weight[k];
                for (size_t l = 0; l < LANES; l++)
                    sum[l] += (int32_t)w * (int32_t)(int16_t)in[l];
            }
            uint8_t *out = wide + ((size_t)x * 3 + c) * LANES;
            for (size_t l = 0; l < LANES; l++)
                out[l] = clip(sum[l] >> t->precision);
        }
    }
}

/* Along x: src [height, src width, 3] to dst [height, dst width, 3]. */
static es_status resize_rows(es_image *dst, const es_image *src, es_error *err)
{
    const size_t in = (size_t)src->width * 3, out = (size_t)dst->width * 3, height = (size_t)src->height;
    taps t;
    ES_TRY(taps_create(&t, src->width, dst->width, err));
    uint8_t *columns = es_calloc(in, LANES), *wide = es_calloc(out, LANES);
    es_status status = ES_OK;
    if (columns == NULL || wide == NULL)
        status = es_fail_memory(err, "rows to resize", (in + out) * LANES);
    for (size_t y = 0; status == ES_OK && y < height; y += LANES) {
        const size_t rows = height - y < LANES ? height - y : LANES;
        transpose(columns, LANES, src->rgb + y * in, in, rows, in);
        resize_lanes(wide, columns, &t, dst->width);
        transpose(dst->rgb + y * out, out, wide, LANES, out, rows);
    }
    free(columns);
    free(wide);
    taps_free(&t);
    return status;
}

/* COLUMNS samples of one output row; the inputs lie `stride` apart. */
static void sum_rows(uint8_t *out, const uint8_t *in, size_t stride, const int16_t *weight, int32_t n, int precision)
{
    int32_t sum[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++)
        sum[i] = 1 << (precision - 1);
    for (int32_t k = 0; k < n; k++, in += stride) {
        const int16_t w = weight[k];
        for (size_t i = 0; i < COLUMNS; i++)
            sum[i] += (int32_t)w * (int32_t)(int16_t)in[i];
    }
    for (size_t i = 0; i < COLUMNS; i++)
        out[i] = clip(sum[i] >> precision);
}

/* Along y: src [src height, width, 3] to dst [dst height, width, 3]. */
static es_status resize_columns(es_image *dst, const es_image *src, es_error *err)
{
    const size_t stride = (size_t)src->width * 3;
    taps t;
    ES_TRY(taps_create(&t, src->height, dst->height, err));
    for (int32_t y = 0; y < dst->height; y++) {
        const uint8_t *in = src->rgb + (size_t)t.first[y] * stride;
        const int16_t *weight = t.weight + (size_t)y * t.width;
        uint8_t *out = dst->rgb + (size_t)y * stride;
        size_t x = 0;
        for (; x + COLUMNS <= stride; x += COLUMNS)
            sum_rows(out + x, in + x, stride, weight, t.length[y], t.precision);
        for (; x < stride; x++) {
            int32_t sum = 1 << (t.precision - 1);
            for (int32_t k = 0; k < t.length[y]; k++)
                sum += weight[k] * in[x + (size_t)k * stride];
            out[x] = clip(sum >> t.precision);
        }
    }
    taps_free(&t);
    return ES_OK;
}

static es_status make(es_image *image, int32_t width, int32_t height, es_error *err)
{
    *image = (es_image){0};
    if (width < 1 || height < 1 || (int64_t)width * height > 2 * ES_IMAGE_MAX_PIXELS)
        return es_fail(err, ES_ERR_LIMIT, "cannot resize a picture to %d x %d", (int)width, (int)height);
    image->rgb = es_calloc((size_t)width * (size_t)height, 3);
    if (image->rgb == NULL)
        return es_fail_memory(err, "a resized picture", (size_t)width * (size_t)height * 3);
    image->width = width;
    image->height = height;
    return ES_OK;
}

es_status es_resize_bicubic(es_image *dst, const es_image *src, int32_t width, int32_t height, es_error *err)
{
    es_image wide = {0}; /* after the first pass */
    es_status status = ES_OK;
    *dst = (es_image){0};
    if (width != src->width || height == src->height) {
        ES_TRY(make(&wide, width, src->height, err));
        if (width != src->width)
            status = resize_rows(&wide, src, err);
        else
            memcpy(wide.rgb, src->rgb, (size_t)width * (size_t)height * 3);
    }
    if (status == ES_OK && height == src->height) {
        *dst = wide;
        return ES_OK;
    }
    if (status == ES_OK)
        status = make(dst, width, height, err);
    if (status == ES_OK)
        status = resize_columns(dst, wide.rgb != NULL ? &wide : src, err);
    es_image_free(&wide);
    if (status != ES_OK)
        es_image_free(dst);
    return status;
}
