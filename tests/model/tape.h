/* tape.h - a device that only remembers: a vector's numbers, and a matrix unpacked to float32 when it is made. It
 * counts its handles and refuses one when asked. Include it in one file of a test, after cmocka.h. */
#ifndef TESTS_MODEL_TAPE_H
#define TESTS_MODEL_TAPE_H

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/compute.h"
#include "model/safetensors.h"

typedef struct tape_tensor {
    es_tensor base;
    float *data;
} tape_tensor;

typedef struct tape_matrix {
    es_matrix base;
    es_matrix_source source;
    float *data; /* [rows, cols] */
} tape_matrix;

typedef struct tape_device {
    es_device base;
    int live;       /* handles made and not freed */
    int made;       /* handles made */
    int refuse;     /* the handle that cannot be made, from 1; 0: none */
    bool bad_write; /* writes fail, as a lazy device's do: later */
} tape_device;

static es_status tape_made(es_device *d, void *data, es_error *err)
{
    tape_device *t = (tape_device *)d;
    if (data == NULL || ++t->made == t->refuse)
        return es_fail_memory(err, "a handle of the test", 0);
    t->live++;
    return ES_OK;
}

static es_status tape_tensor_create(es_device *d, es_tensor **t, int64_t rows, int64_t cols, es_error *err)
{
    tape_tensor *x = es_calloc(1, sizeof *x + (size_t)(rows * cols) * sizeof(float));
    es_status status = tape_made(d, x, err);
    if (status != ES_OK) {
        free(x);
        return status;
    }
    x->data = (float *)(void *)(x + 1);
    x->base = (es_tensor){0, cols, rows * cols};
    *t = &x->base;
    return ES_OK;
}

static void tape_tensor_free(es_device *d, es_tensor *t)
{
    ((tape_device *)d)->live--;
    free(t);
}

static uint32_t packed_value(const es_matrix_source *s, int64_t row, int64_t col)
{
    const uint8_t *words = (const uint8_t *)s->data + row * (s->cols * s->bits / 32) * 4;
    uint32_t value = 0;
    for (int b = 0; b < s->bits; b++) {
        int64_t at = col * s->bits + b;
        value |= (uint32_t)(words[at / 8] >> (at % 8) & 1) << b; /* little-endian words are a stream of bits */
    }
    return value;
}

/* One number of a plain part, through the reader that has its own test. */
static float number_at(const void *data, es_dtype dtype, int64_t i)
{
    float out = 0;
    const uint8_t *place = (const uint8_t *)data + (size_t)i * (dtype == ES_F32 ? 4 : 2);
    es_view view = {.name = "x", .file = "x", .usable = true, .dtype = dtype, .n_dims = 0, .data = place};
    assert_int_equal(es_view_floats(&view, &out, NULL), ES_OK);
    return out;
}

static es_status tape_matrix_create(es_device *d, es_matrix **m, const es_matrix_source *s, es_error *err)
{
    tape_matrix *x = es_calloc(1, sizeof *x + (size_t)(s->rows * s->cols) * sizeof(float));
    es_status status = tape_made(d, x, err);
    if (status != ES_OK) {
        free(x);
        return status;
    }
    x->data = (float *)(void *)(x + 1);
    x->base = (es_matrix){.rows = s->rows, .cols = s->cols};
    x->source = *s;
    for (int64_t i = 0; i < s->rows * s->cols; i++) {
        int64_t group = s->bits == 0 ? 0 : i / s->cols * (s->cols / s->group) + i % s->cols / s->group;
        if (s->bits == 0)
            x->data[i] = number_at(s->data, s->dtype, i);
        else
            x->data[i] =
                number_at(s->scales, s->scale_dtype, group) * (float)packed_value(s, i / s->cols, i % s->cols) +
                number_at(s->biases, s->scale_dtype, group);
    }
    *m = &x->base;
    return ES_OK;
}

static void tape_matrix_free(es_device *d, es_matrix *m)
{
    ((tape_device *)d)->live--;
    free(m);
}

static void tape_write(es_device *d, es_tensor *t, int64_t first, int64_t rows, const float *host)
{
    if (((tape_device *)d)->bad_write)
        es_device_fail(d, ES_ERR_INTERNAL, "the test's device cannot write");
    memcpy(((tape_tensor *)t)->data + first * t->cols, host, (size_t)(rows * t->cols) * sizeof *host);
}

static void tape_reshape(es_device *d, es_tensor *t, int64_t rows, int64_t cols)
{
    (void)d;
    t->rows = rows;
    t->cols = cols;
}

static const es_device_ops tape_ops = {
    .tensor_create = tape_tensor_create,
    .tensor_free = tape_tensor_free,
    .matrix_create = tape_matrix_create,
    .matrix_free = tape_matrix_free,
    .write = tape_write,
    .reshape = tape_reshape,
};

static tape_device make_device(void)
{
    return (tape_device){.base = {.ops = &tape_ops, .name = "tape"}};
}

#endif
