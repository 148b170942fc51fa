/* plan.c - see plan.h. */
#include "compute/mlx/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void es_plan_clear(es_plan *p)
{
    for (size_t i = 0; i < p->part_count; i++) {
        es_mx_free((es_mx *)(uintptr_t)p->parts[i].pages);
        es_mx_free((es_mx *)(uintptr_t)p->parts[i].mask);
    }
    es_mx_free(p->row_list);
    es_mx_free(p->slot_list);
    p->row_list = p->slot_list = NULL;
    p->part_count = 0;
    p->key_count = 0;
}

void es_plan_free(es_plan *p)
{
    es_plan_clear(p);
    free(p->key);
    free(p->parts);
    *p = (es_plan){0};
}

static int64_t pages_of(int64_t tokens, int32_t page_tokens)
{
    return (tokens + page_tokens - 1) / page_tokens;
}

static int64_t tokens_of(const es_attend *a)
{
    return (int64_t)a->past + a->count;
}

/* Appends to the key; false without memory. */
static bool note(es_plan *p, const int32_t *numbers, size_t n)
{
    if (es_grow((void **)&p->key, &p->key_capacity, p->key_count + n, sizeof *p->key) != 0)
        return false;
    memcpy(p->key + p->key_count, numbers, n * sizeof *numbers);
    p->key_count += n;
    return true;
}

/* Whether the plan was made from just this. */
static bool is_made(const es_plan *p, int32_t page_tokens, const es_attend *sequences, size_t n)
{
    size_t at = 1;
    if (p->key_count == 0 || p->key[0] != page_tokens)
        return false;
    for (size_t i = 0; i < n; i++) {
        const es_attend *a = &sequences[i];
        size_t pages = (size_t)pages_of(tokens_of(a), page_tokens);
        if (p->key_count - at < 3 + pages || p->key[at] != a->first || p->key[at + 1] != a->count ||
            p->key[at + 2] != a->past ||
            (pages > 0 && memcmp(p->key + at + 3, a->pages, pages * sizeof *a->pages) != 0))
            return false;
        at += 3 + pages;
    }
    return at == p->key_count;
}

static bool make_key(es_plan *p, int32_t page_tokens, const es_attend *sequences, size_t n)
{
    bool ok = note(p, &page_tokens, 1);
    for (size_t i = 0; i < n && ok; i++) {
        const es_attend *a = &sequences[i];
        ok = note(p, (const int32_t[]){a->first, a->count, a->past}, 3) &&
             note(p, a->pages, (size_t)pages_of(tokens_of(a), page_tokens));
    }
    return ok;
}

/* Rows and slots of the new tokens. lists [2, rows] is scratch. */
static es_mx_status make_lists(es_plan *p, es_mx_queue *queue, int32_t page_tokens, const es_attend *sequences,
                               size_t n, int32_t *lists)
{
    int32_t *rows = lists, *slots = lists + p->rows;
    int64_t at = 0;
    p->whole = true;
    for (size_t i = 0; i < n; i++) {
        const es_attend *a = &sequences[i];
        for (int32_t j = 0; j < a->count; j++, at++) {
            int32_t token = a->past + j;
            rows[at] = a->first + j;
            slots[at] = a->pages[token / page_tokens] * page_tokens + token % page_tokens;
            p->whole = p->whole && rows[at] == at;
        }
    }
    p->first_slot = slots[0];
    for (int64_t i = 1; i < p->rows; i++)
        p->first_slot = slots[i] == slots[0] + i ? p->first_slot : -1;
    es_mx_status status = es_mx_make_indexes(queue, &p->row_list, rows, p->rows, 0);
    return status == ES_MX_OK ? es_mx_make_indexes(queue, &p->slot_list, slots, p->rows, 0) : status;
}

/* How many sequences from this one on get one row each, side by side: they are computed together. */
static size_t together(const es_attend *sequences, size_t n)
{
    size_t i = 1;
    if (sequences[0].count != 1)
        return 1;
    while (i < n && sequences[i].count == 1 && sequences[i].first == sequences[i - 1].first + 1)
        i++;
    return i;
}

/* The part of `b` sequences. Short ones are filled up with their first page, which is masked. */
static es_mx_status make_part(es_mx_part *part, es_mx_queue *queue, int32_t page_tokens, const es_attend *sequences,
                              size_t b)
{
    const es_attend *first = &sequences[0];
    *part = (es_mx_part){.first = first->first, .count = first->count, .sequences = (int64_t)b, .slot = -1};
    for (size_t i = 0; i < b; i++)
        part->longest = tokens_of(&sequences[i]) > part->longest ? tokens_of(&sequences[i]) : part->longest;
    int64_t each = pages_of(part->longest, page_tokens);
    bool run = b == 1;
    for (int64_t i = 1; i < each && run; i++)
        run = first->pages[i] == first->pages[0] + i;
    if (run) {
        part->slot = (int64_t)first->pages[0] * page_tokens;
        return ES_MX_OK;
    }
    int32_t *list = es_calloc(b * (size_t)each + b, sizeof *list);
    if (list == NULL)
        return ES_MX_MEMORY;
    int32_t *lengths = list + b * (size_t)each;
    bool equal = true;
    for (size_t i = 0; i < b; i++) {
        int64_t own = pages_of(tokens_of(&sequences[i]), page_tokens);
        for (int64_t j = 0; j < each; j++)
            list[(int64_t)i * each + j] = sequences[i].pages[j < own ? j : 0];
        lengths[i] = (int32_t)tokens_of(&sequences[i]);
        equal = equal && lengths[i] == lengths[0];
    }
    es_mx *pages = NULL, *mask = NULL;
    es_mx_status status = es_mx_make_indexes(queue, &pages, list, (int64_t)b, each);
    if (status == ES_MX_OK && !equal) /* without a mask MLX has better kernels */
        status = es_mx_mask(queue, &mask, lengths, (int64_t)b, part->longest);
    part->pages = pages;
    part->mask = mask;
    free(list);
    return status;
}

static es_mx_status make_parts(es_plan *p, es_mx_queue *queue, int32_t page_tokens, const es_attend *sequences,
                               size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t b = together(sequences + i, n - i);
        if (sequences[i].count > 0) {
            if (es_grow((void **)&p->parts, &p->part_capacity, p->part_count + 1, sizeof *p->parts) != 0)
                return ES_MX_MEMORY;
            es_mx_status status = make_part(&p->parts[p->part_count++], queue, page_tokens, sequences + i, b);
            if (status != ES_MX_OK)
                return status;
        }
        i += b;
    }
    return ES_MX_OK;
}

es_mx_status es_plan_make(es_plan *p, es_mx_queue *queue, int32_t page_tokens, const es_attend *sequences, size_t n)
{
    if (is_made(p, page_tokens, sequences, n))
        return ES_MX_OK;
    es_plan_clear(p);
    p->rows = 0;
    p->last_slot = -1;
    for (size_t i = 0; i < n; i++) {
        p->rows += sequences[i].count;
        for (int64_t j = pages_of(tokens_of(&sequences[i]), page_tokens) - 1; j >= 0; j--) {
            int64_t last = (int64_t)sequences[i].pages[j] * page_tokens + page_tokens - 1;
            p->last_slot = last > p->last_slot ? last : p->last_slot;
        }
    }
    int32_t *lists = es_calloc((size_t)p->rows + 1, 2 * sizeof *lists);
    es_mx_status status = lists == NULL || !make_key(p, page_tokens, sequences, n) ? ES_MX_MEMORY : ES_MX_OK;
    if (status == ES_MX_OK && p->rows > 0)
        status = make_lists(p, queue, page_tokens, sequences, n, lists);
    if (status == ES_MX_OK)
        status = make_parts(p, queue, page_tokens, sequences, n);
    free(lists);
    if (status != ES_MX_OK)
        es_plan_clear(p);
    return status;
}
