#include <stdlib.h>

#include "base/mem.h"
#include "model/tokenizer_parts.h"

/* A token within the word, in a doubly linked list by position. */
typedef struct es_symbol {
    int32_t id; /* -1: merged into its left neighbour */
    int32_t prev;
    int32_t next; /* -1: none */
} es_symbol;

/* A merge that was possible when it was pushed. */
typedef struct es_candidate {
    int32_t rank;
    int32_t position; /* of the left symbol */
    int32_t id;       /* what the two become */
} es_candidate;

void es_bpe_free(es_bpe *bpe)
{
    free(bpe->symbols);
    free(bpe->heap);
    es_str_free(&bpe->spelled);
    *bpe = (es_bpe){0};
}

/* Lower rank first; among equals the leftmost. */
static bool before(const es_candidate *a, const es_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void push(es_bpe *bpe, es_candidate candidate)
{
    size_t i = bpe->heap_count++;
    while (i > 0 && before(&candidate, &bpe->heap[(i - 1) / 2])) {
        bpe->heap[i] = bpe->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    bpe->heap[i] = candidate;
}

static es_candidate pop(es_bpe *bpe)
{
    es_candidate top = bpe->heap[0], last = bpe->heap[--bpe->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < bpe->heap_count; i = child) {
        if (child + 1 < bpe->heap_count && before(&bpe->heap[child + 1], &bpe->heap[child]))
            child++;
        if (!before(&bpe->heap[child], &last))
            break;
        bpe->heap[i] = bpe->heap[child];
    }
    bpe->heap[i] = last;
    return top;
}

/* Pushes the merge of the symbol at `position` with its right neighbour, if there is one. */
static void consider(es_bpe *bpe, const es_tokenizer *tokenizer, int32_t position)
{
    const es_symbol *left = &bpe->symbols[position];
    if (left->next < 0)
        return;
    const es_pair_slot *merge = es_pair_table_get(&tokenizer->merges, left->id, bpe->symbols[left->next].id);
    if (merge != NULL)
        push(bpe, (es_candidate){merge->rank, position, merge->value});
}

/* Room for a word of n bytes: every merge takes a candidate off the heap and adds at most two. */
static es_status reserve(es_bpe *bpe, size_t n, es_error *err)
{
    void *symbols = bpe->symbols, *heap = bpe->heap;
    if (n > INT32_MAX / 2)
        return es_fail(err, ES_ERR_LIMIT, "a word of %zu bytes is too long to tokenize", n);
    if (es_grow(&symbols, &bpe->symbols_capacity, n, sizeof *bpe->symbols) != 0)
        return es_fail_memory(err, "a word to tokenize", n * sizeof *bpe->symbols);
    bpe->symbols = symbols;
    if (es_grow(&heap, &bpe->heap_capacity, 2 * n, sizeof *bpe->heap) != 0)
        return es_fail_memory(err, "a word to tokenize", 2 * n * sizeof *bpe->heap);
    bpe->heap = heap;
    return ES_OK;
}

/* Fills the list with the tokens of single bytes; bytes the vocabulary lacks are left out, as the reference does. */
static int32_t spread(es_bpe *bpe, const es_tokenizer *tokenizer, const char *word, size_t n)
{
    int32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = tokenizer->byte_ids[(unsigned char)word[i]];
        if (id >= 0) {
            bpe->symbols[count] = (es_symbol){id, count - 1, count + 1};
            count++;
        }
    }
    if (count > 0)
        bpe->symbols[count - 1].next = -1;
    return count;
}

static void merge_all(es_bpe *bpe, const es_tokenizer *tokenizer, int32_t count)
{
    es_symbol *symbols = bpe->symbols;
    bpe->heap_count = 0;
    for (int32_t i = 0; i + 1 < count; i++)
        consider(bpe, tokenizer, i);
    while (bpe->heap_count > 0) {
        es_candidate top = pop(bpe);
        es_symbol *left = &symbols[top.position];
        if (left->id < 0 || left->next < 0)
            continue;
        es_symbol *right = &symbols[left->next];
        /* Is it still the pair it was? The reference compares what the pair becomes, not the pair: so do we. */
        const es_pair_slot *merge = es_pair_table_get(&tokenizer->merges, left->id, right->id);
        if (merge == NULL || merge->value != top.id)
            continue;
        left->id = top.id;
        right->id = -1;
        left->next = right->next;
        if (left->next >= 0)
            symbols[left->next].prev = top.position;
        if (left->prev >= 0)
            consider(bpe, tokenizer, left->prev);
        consider(bpe, tokenizer, top.position);
    }
}

/* The id of a word that is in the vocabulary as a whole, or -1. */
static es_status whole_word(es_bpe *bpe, const es_tokenizer *tokenizer, const char *word, size_t n, int32_t *id,
                            es_error *err)
{
    es_str_clear(&bpe->spelled);
    for (size_t i = 0; i < n; i++) {
        char character[4];
        size_t length = es_utf8_write(es_byte_to_char((uint8_t)word[i]), character);
        es_str_append_n(&bpe->spelled, character, length);
    }
    ES_TRY(es_str_check(&bpe->spelled, err));
    *id = es_string_table_get(&tokenizer->names, es_str_text(&bpe->spelled), bpe->spelled.length);
    if (*id >= 0 && (tokenizer->tokens[*id].flags & ES_TOKEN_MODEL) == 0)
        *id = -1;
    return ES_OK;
}

es_status es_bpe_word(es_bpe *bpe, const es_tokenizer *tokenizer, const char *word, size_t n, es_ids *ids,
                      es_error *err)
{
    if (n == 1 && tokenizer->byte_ids[(unsigned char)word[0]] >= 0)
        return es_ids_add(ids, tokenizer->byte_ids[(unsigned char)word[0]], err);
    if (tokenizer->ignore_merges) {
        int32_t id;
        ES_TRY(whole_word(bpe, tokenizer, word, n, &id, err));
        if (id >= 0)
            return es_ids_add(ids, id, err);
    }
    ES_TRY(reserve(bpe, n, err));
    int32_t count = spread(bpe, tokenizer, word, n);
    if (count == 0)
        return ES_OK;
    merge_all(bpe, tokenizer, count);
    for (int32_t i = 0; i >= 0; i = bpe->symbols[i].next)
        ES_TRY(es_ids_add(ids, bpe->symbols[i].id, err));
    return ES_OK;
}
