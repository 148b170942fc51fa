/* help.h - random numbers and random weights for the tests of compute. */
#ifndef ES_TESTS_COMPUTE_HELP_H
#define ES_TESTS_COMPUTE_HELP_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compute/cpu/cpu.h"
#include "compute/cpu/kernels.h"

typedef struct rng {
    uint64_t state;
} rng;

static inline uint64_t rng_next(rng *r) /* splitmix64 */
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline size_t rng_below(rng *r, size_t n)
{
    return (size_t)(rng_next(r) % n);
}

/* About normal: mean 0, deviation 1, within +-3.5. */
static inline float rng_float(rng *r)
{
    float sum = 0.0f;
    for (int i = 0; i < 4; i++)
        sum += (float)(rng_next(r) >> 40) * 0x1p-24f - 0.5f;
    return sum * 1.7320508f;
}

static inline void rng_fill(rng *r, float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = rng_float(r) * scale;
}

static inline void *need(size_t bytes)
{
    void *block = malloc(bytes == 0 ? 1 : bytes);
    assert_non_null(block);
    return block;
}

static inline float *need_floats(size_t n)
{
    return need(n * sizeof(float));
}

/* A weight in random bits, one byte off any alignment; `plain` holds what it means. */
typedef struct weight {
    es_matrix_source source;
    uint8_t *blocks[3];
    float *plain; /* [rows, cols] */
} weight;

static inline uint8_t *random_numbers(rng *r, es_dtype dtype, size_t n, float scale, float *values, uint8_t **block)
{
    size_t size = es_dtype_size(dtype);
    *block = need(n * size + 1);
    uint8_t *at = *block + 1;
    for (size_t i = 0; i < n; i++) {
        float value = rng_float(r) * scale;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (dtype == ES_F16) { /* any sign and fraction, exponents 2^-10 .. 2^1, some subnormals */
            uint32_t exponent = rng_below(r, 50) == 0 ? 0 : 5 + (uint32_t)rng_below(r, 12);
            bits = (uint32_t)(rng_next(r) & 0x83ffu) | exponent << 10;
        } else if (dtype == ES_BF16) {
            bits >>= 16;
        }
        memcpy(at + i * size, &bits, size);
        values[i] = dtype == ES_F32   ? es_load_f32(at + i * size)
                    : dtype == ES_F16 ? es_load_f16(at + i * size)
                                      : es_load_bf16(at + i * size);
    }
    return at;
}

static inline void weight_make(weight *w, rng *r, size_t rows, size_t cols, es_dtype dtype, int bits, int group)
{
    memset(w, 0, sizeof *w);
    w->source = (es_matrix_source){.rows = (int64_t)rows, .cols = (int64_t)cols, .dtype = dtype, .bits = bits};
    w->plain = need_floats(rows * cols);
    if (bits == 0) {
        w->source.data = random_numbers(r, dtype, rows * cols, 1.0f, w->plain, &w->blocks[0]);
        return;
    }
    size_t bytes = rows * cols * (size_t)bits / 8, groups = cols / (size_t)group;
    float *scales = need_floats(rows * groups), *biases = need_floats(rows * groups);
    w->blocks[0] = need(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        w->blocks[0][i + 1] = (uint8_t)rng_next(r);
    w->source.dtype = ES_U32;
    w->source.data = w->blocks[0] + 1;
    w->source.group = group;
    w->source.scale_dtype = dtype;
    w->source.scales = random_numbers(r, dtype, rows * groups, 0.1f, scales, &w->blocks[1]);
    w->source.biases = random_numbers(r, dtype, rows * groups, 1.0f, biases, &w->blocks[2]);
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < cols; i++) {
            /* The definition once more, value by value from a bit stream, in other words than the kernels'. */
            uint32_t q = 0;
            for (size_t b = 0; b < (size_t)bits; b++) {
                size_t bit = (row * cols + i) * (size_t)bits + b;
                q |= (uint32_t)((w->blocks[0][1 + bit / 8] >> (bit % 8)) & 1) << b;
            }
            size_t at = row * groups + i / (size_t)group;
            float product = scales[at] * (float)q;
            w->plain[row * cols + i] = product + biases[at];
        }
    }
    free(scales);
    free(biases);
}

static inline void weight_free(weight *w)
{
    for (size_t i = 0; i < 3; i++)
        free(w->blocks[i]);
    free(w->plain);
}

#define ISAS (ES_ISA_NEON + 1)

/* The instruction sets usable here, scalar first. */
static inline size_t usable_isas(es_isa isas[ISAS])
{
    size_t n = 0;
    for (es_isa isa = ES_ISA_SCALAR; isa < ISAS; isa++)
        if (es_cpu_has_isa(isa))
            isas[n++] = isa;
    return n;
}

static inline es_device *device_of(es_isa isa, size_t threads)
{
    es_device *d = NULL;
    es_error err = {0};
    es_cpu_options options = {.threads = threads, .isa_given = true, .isa = isa};
    if (es_cpu_device_create(&d, &options, &err) != ES_OK)
        fail_msg("%s", err.message);
    return d;
}

static inline void check_device(es_device *d)
{
    es_error err = {0};
    if (es_device_check(d, &err) != ES_OK)
        fail_msg("%s", err.message);
}

static inline es_tensor *tensor_of(es_device *d, size_t rows, size_t cols, const float *values)
{
    es_tensor *t = NULL;
    es_error err = {0};
    if (es_tensor_create(d, &t, (int64_t)rows, (int64_t)cols, &err) != ES_OK)
        fail_msg("%s", err.message);
    if (values != NULL)
        es_op_write(d, t, values, (int64_t)rows);
    return t;
}

static inline es_matrix *matrix_of(es_device *d, const es_matrix_source *source)
{
    es_matrix *m = NULL;
    es_error err = {0};
    if (es_matrix_create(d, &m, source, &err) != ES_OK)
        fail_msg("%s", err.message);
    return m;
}

static inline void expect_same_bits(const char *what, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0)
            fail_msg("%s: element %zu is %.9g in one, %.9g in the other", what, i, (double)a[i], (double)b[i]);
}

#endif
