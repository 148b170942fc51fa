/* mem.h - allocation with the multiplication checked, and nothing else.
 *
 * All but es_reserve call the C library's allocator directly, so a test that interposes malloc sees every allocation.
 */
#ifndef ES_BASE_MEM_H
#define ES_BASE_MEM_H

#include <stddef.h>

/* count * size zeroed bytes, or NULL when the product overflows or memory is short. count 0 gives a valid pointer. */
void *es_calloc(size_t count, size_t size);

/* Grows or shrinks an array; NULL (old block untouched) when the product overflows or memory is short. */
void *es_realloc(void *old, size_t count, size_t size);

/* count * size zeroed bytes aligned to 64 (a cache line, and the widest vector); free with es_aligned_free. */
void *es_aligned_calloc(size_t count, size_t size);
void es_aligned_free(void *block);

/* count * size zeroed bytes straight from the system, which finds memory for a page of them when it is first touched:
 * for pools that are set aside whole and filled little by little. NULL as es_calloc; count and size again to free. */
void *es_reserve(size_t count, size_t size);
void es_reserve_free(void *block, size_t count, size_t size); /* NULL is fine */

/* A copy of a string, or of its first n bytes with a terminator added; NULL when memory is short. Free with free. */
char *es_strdup(const char *text);
char *es_strndup(const char *text, size_t n);

/* Makes room for `need` elements in *items (of *capacity elements of `size` bytes), doubling. 0, or -1 and no change.
 */
int es_grow(void **items, size_t *capacity, size_t need, size_t size);

#endif
