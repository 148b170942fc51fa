/* fuzz_safetensors.c - any bytes as a file of tensors: opened with every view inside the bytes, or refused in one line.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -D_GNU_SOURCE -Isrc
 *         tests/fuzz/fuzz_safetensors.c src/model/safetensors*.c
 *         src/base/{file,json,mem,status,str,utf8}.c -ljansson
 *
 * The header's length, which random bytes hardly ever get right, is put there when the first byte asks for it.
 * Saved cases are in corpus-safetensors; tests/model/test_safetensors.c replays them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

static void check_view(const es_view *view, const uint8_t *bytes, size_t size)
{
    const uint8_t *at = view->data;
    must(view->name != NULL && at >= bytes && at <= bytes + size && view->size <= (size_t)(bytes + size - at));
    must(view->n_dims >= 0 && view->n_dims <= ES_MAX_DIMS && es_view_count(view) >= 0);
    if (!view->usable)
        return;
    size_t item = view->dtype == ES_F32 || view->dtype == ES_U32 ? 4 : 2;
    must((size_t)es_view_count(view) * item == view->size);
    float *numbers = malloc((size_t)es_view_count(view) * sizeof *numbers + 1);
    must(numbers != NULL);
    must(es_view_floats(view, numbers, NULL) == (view->dtype == ES_U32 ? ES_ERR_FORMAT : ES_OK));
    free(numbers);
}

/* The file that a case stands for; free it. */
static uint8_t *make_bytes(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    must(bytes != NULL);
    memcpy(bytes, data, size);
    const uint8_t *end = size > 8 && bytes[0] == '~' ? memchr(bytes + 8, '~', size - 8) : NULL;
    if (end != NULL) { /* "~", seven bytes, a header up to the next "~", data */
        uint64_t length = (uint64_t)(end - bytes) - 8;
        for (int i = 0; i < 8; i++)
            bytes[i] = (uint8_t)(length >> (8 * i));
        memmove(bytes + 8 + length, end + 1, size - 9 - (size_t)length);
    }
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    es_error err = {0};
    es_tensors *tensors;
    uint8_t *bytes = make_bytes(data, size);
    size -= size > 8 && data[0] == '~' && memchr(data + 8, '~', size - 8) != NULL;
    es_status status = es_tensors_open_memory(&tensors, bytes, size, "case", &err);
    if (status != ES_OK) {
        must(tensors == NULL && err.status == status && err.message[0] != '\0' && strchr(err.message, '\n') == NULL);
    } else {
        size_t total = 0;
        for (size_t i = 0; i < es_tensors_count(tensors); i++) {
            const es_view *view = es_tensors_at(tensors, i);
            check_view(view, bytes, size);
            must(es_tensors_find(tensors, view->name) == view);
            must(i == 0 || strcmp(es_tensors_at(tensors, i - 1)->name, view->name) < 0);
            total += view->size;
        }
        must(total == es_tensors_bytes(tensors) && total <= size);
        es_tensors_close(tensors);
    }
    free(bytes);
    return 0;
}
