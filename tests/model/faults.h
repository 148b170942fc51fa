/* faults.h - makes the Nth allocation fail, here and in jansson, and counts what is not given back.
 *
 * For a test linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free; include it in one file of it. */
#ifndef TESTS_MODEL_FAULTS_H
#define TESTS_MODEL_FAULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

static struct {
    long countdown; /* the allocation that fails; 0: none does */
    bool lasting;   /* all after it fail too */
    long live;      /* allocated and not freed */
} faults;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);

static bool faults_now(void)
{
    if (faults.countdown <= 0)
        return faults.countdown < 0;
    if (--faults.countdown > 0)
        return false;
    faults.countdown = faults.lasting ? -1 : 0;
    return true;
}

void *__wrap_malloc(size_t size)
{
    void *block = faults_now() ? NULL : __real_malloc(size);
    faults.live += block != NULL;
    return block;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *block = faults_now() ? NULL : __real_calloc(count, size);
    faults.live += block != NULL;
    return block;
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block = faults_now() ? NULL : __real_realloc(old, size);
    faults.live += block != NULL && old == NULL;
    return block;
}

void __wrap_free(void *block)
{
    faults.live -= block != NULL;
    __real_free(block);
}

#ifdef FAULTS_ALIGNED /* for tests that also link with --wrap=aligned_alloc */
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    void *block = faults_now() ? NULL : __real_aligned_alloc(alignment, size);
    faults.live += block != NULL;
    return block;
}
#endif

/* Jansson's own allocations fail and count too from here on. */
static inline void faults_begin(void)
{
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
}

/* Fails allocation 1, 2, 3... of `once`, which returns 0 when it succeeded, 1 when it reported want of memory and -1
 * when it did anything else, until it succeeds. Returns how many failures it survived, or -1. */
static long faults_sweep(int (*once)(void *context), void *context, bool lasting)
{
    for (long n = 1; n < 1000000; n++) {
        long before = faults.live;
        faults.lasting = lasting;
        faults.countdown = n;
        int result = once(context);
        bool reached = faults.countdown <= 0;
        faults.countdown = 0;
        if (faults.live != before)
            return -1;
        if (!reached)
            return result == 0 ? n - 1 : -1;
        if (result != 1)
            return -1;
    }
    return -1;
}

#endif
