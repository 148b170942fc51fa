/* safetensors_data.c - the numbers of a checkpoint's tensors: reading them as float32, and writing new files.
 */
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE half precision: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float from_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = (h >> 10) & 31u, fraction = h & 1023u;
    if (exponent == 31) /* infinite, or not a number */
        return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return from_bits(sign | (exponent + 112u) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* zero and subnormals, exact */
    return sign != 0 ? -small : small;
}

es_status es_view_floats(const es_view *view, float *out, es_error *err)
{
    size_t n = (size_t)es_view_count(view);
    const uint8_t *bytes = view->data;
    if (!view->usable || view->dtype == ES_U32)
        return es_fail(err, ES_ERR_FORMAT, "%s: tensor \"%.120s\" is %s, must be F32, F16 or BF16", view->file,
                       view->name, view->type);
    if (view->dtype == ES_F32) {
        if (n > 0)
            memcpy(out, bytes, n * sizeof *out);
        return ES_OK;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
        out[i] = view->dtype == ES_BF16 ? from_bits((uint32_t)half << 16) : from_half(half);
    }
    return ES_OK;
}

typedef struct out_tensor {
    char *name;
    es_dtype dtype;
    int n_dims;
    int64_t dims[ES_MAX_DIMS];
    size_t size;
    void *data;
} out_tensor;

struct es_tensors_out {
    out_tensor *items;
    size_t count, capacity;
    size_t bytes;
};

/* The format's own spelling, not that of messages. */
static const char *type_name(es_dtype dtype)
{
    return dtype == ES_F32 ? "F32" : dtype == ES_F16 ? "F16" : dtype == ES_BF16 ? "BF16" : "U32";
}

es_status es_tensors_out_create(es_tensors_out **out, es_error *err)
{
    *out = es_calloc(1, sizeof **out);
    return *out != NULL ? ES_OK : es_fail_memory(err, "a file of tensors", sizeof **out);
}

es_status es_tensors_out_add(es_tensors_out *out, const char *name, es_dtype dtype, const int64_t *dims, int n_dims,
                             const void *data, es_error *err)
{
    out_tensor t = {.dtype = dtype, .n_dims = n_dims};
    if (n_dims < 0 || n_dims > ES_MAX_DIMS)
        return es_fail(err, ES_ERR_ARGUMENT, "tensor \"%.120s\": %d dimensions, at most %d are written", name, n_dims,
                       ES_MAX_DIMS);
    t.size = dtype == ES_F32 || dtype == ES_U32 ? 4 : 2;
    for (int i = 0; i < n_dims; i++) {
        if (dims[i] < 0 || (dims[i] > 0 && t.size > (size_t)(INT64_MAX / dims[i])))
            return es_fail(err, ES_ERR_ARGUMENT, "tensor \"%.120s\": dimension %lld makes no sense", name,
                           (long long)dims[i]);
        t.dims[i] = dims[i];
        t.size *= (size_t)dims[i];
    }
    for (size_t i = 0; i < out->count; i++) {
        if (strcmp(out->items[i].name, name) == 0)
            return es_fail(err, ES_ERR_ARGUMENT, "tensor \"%.120s\" was added twice", name);
    }
    void *items = out->items;
    if (es_grow(&items, &out->capacity, out->count + 1, sizeof *out->items) != 0)
        return es_fail_memory(err, "a list of tensors", 0);
    out->items = items;
    t.name = es_strdup(name);
    t.data = malloc(t.size == 0 ? 1 : t.size);
    if (t.name == NULL || t.data == NULL || t.size > SIZE_MAX - out->bytes) {
        free(t.name);
        free(t.data);
        return es_fail_memory(err, "a tensor to write", t.size);
    }
    if (t.size > 0)
        memcpy(t.data, data, t.size);
    out->items[out->count++] = t;
    out->bytes += t.size;
    return ES_OK;
}

/* The header, padded with spaces so that the data begins at a multiple of 8. */
static void write_header(const es_tensors_out *out, es_str *header)
{
    size_t at = 0;
    es_str_append(header, "{");
    for (size_t i = 0; i < out->count; i++) {
        const out_tensor *t = &out->items[i];
        es_str_append(header, i == 0 ? "" : ",");
        es_str_append_json(header, t->name);
        es_str_append_format(header, ":{\"dtype\":\"%s\",\"shape\":[", type_name(t->dtype));
        for (int k = 0; k < t->n_dims; k++)
            es_str_append_format(header, k == 0 ? "%lld" : ",%lld", (long long)t->dims[k]);
        es_str_append_format(header, "],\"data_offsets\":[%zu,%zu]}", at, at + t->size);
        at += t->size;
    }
    es_str_append(header, "}");
    while (!header->failed && header->length % 8 != 0)
        es_str_append(header, " ");
}

es_status es_tensors_out_bytes(const es_tensors_out *out, uint8_t **bytes, size_t *size, es_error *err)
{
    es_str header = {0};
    write_header(out, &header);
    es_status status = es_str_check(&header, err);
    size_t at = 8 + header.length;
    *bytes = NULL;
    *size = 0;
    if (status == ES_OK && out->bytes <= SIZE_MAX - at)
        *bytes = malloc(at + out->bytes);
    if (status == ES_OK && *bytes == NULL)
        status = es_fail_memory(err, "a file of tensors", out->bytes);
    if (status == ES_OK) {
        for (int i = 0; i < 8; i++)
            (*bytes)[i] = (uint8_t)((uint64_t)header.length >> (8 * i));
        memcpy(*bytes + 8, es_str_text(&header), header.length);
        for (size_t i = 0; i < out->count; i++) {
            if (out->items[i].size > 0)
                memcpy(*bytes + at, out->items[i].data, out->items[i].size);
            at += out->items[i].size;
        }
        *size = at;
    }
    es_str_free(&header);
    return status;
}

es_status es_tensors_out_write(const es_tensors_out *out, const char *path, es_error *err)
{
    uint8_t *bytes;
    size_t size;
    ES_TRY(es_tensors_out_bytes(out, &bytes, &size, err));
    es_status status = es_file_write(path, bytes, size, 0644, err);
    free(bytes);
    return status;
}

void es_tensors_out_free(es_tensors_out *out)
{
    if (out == NULL)
        return;
    for (size_t i = 0; i < out->count; i++) {
        free(out->items[i].name);
        free(out->items[i].data);
    }
    free(out->items);
    free(out);
}
