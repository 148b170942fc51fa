#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *es_calloc(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
}

void *es_realloc(void *old, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    size_t bytes = count * size;
    return realloc(old, bytes == 0 ? 1 : bytes);
}

void *es_aligned_calloc(size_t count, size_t size)
{
    if (size != 0 && count > (SIZE_MAX - 63) / size)
        return NULL;
    size_t bytes = (count * size + 63) / 64 * 64;
    if (bytes == 0)
        bytes = 64;
    void *block = aligned_alloc(64, bytes);
    if (block != NULL)
        memset(block, 0, bytes);
    return block;
}

void es_aligned_free(void *block)
{
    free(block);
}

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0 /* where the system knows no such thing it does so anyway */
#endif

void *es_reserve(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    size_t bytes = count * size;
    void *block =
        mmap(NULL, bytes == 0 ? 1 : bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

void es_reserve_free(void *block, size_t count, size_t size)
{
    if (block != NULL)
        munmap(block, count * size == 0 ? 1 : count * size);
}

char *es_strndup(const char *text, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *copy = malloc(n + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *es_strdup(const char *text)
{
    return es_strndup(text, strlen(text));
}

int es_grow(void **items, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return 0;
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2)
            return -1;
        wanted *= 2;
    }
    void *grown = es_realloc(*items, wanted, size);
    if (grown == NULL)
        return -1;
    *items = grown;
    *capacity = wanted;
    return 0;
}
