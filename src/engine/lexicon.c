#include "engine/lexicon.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct token_bytes {
    const unsigned char *bytes;
    size_t n;
    int32_t id;
} token_bytes;

static int by_bytes(const void *a, const void *b)
{
    const token_bytes *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
    if (order != 0)
        return order;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* How many bytes two tokens begin with alike. */
static size_t alike(const token_bytes *x, const token_bytes *y)
{
    size_t n = 0;
    while (n < x->n && n < y->n && x->bytes[n] == y->bytes[n])
        n++;
    return n;
}

/* The ordinary tokens, sorted; *nodes: how many the tree will have. */
static size_t sort_tokens(es_lexicon *l, token_bytes *list, size_t *nodes)
{
    size_t count = 0;
    for (int32_t id = 0; id < l->vocab; id++) {
        size_t n;
        const char *bytes = es_tokenizer_bytes(l->tokenizer, id, &n);
        if (bytes == NULL || n == 0 || n > UINT16_MAX || es_tokenizer_is_special(l->tokenizer, id))
            continue;
        list[count++] = (token_bytes){(const unsigned char *)bytes, n, id};
        l->longest = n > l->longest ? n : l->longest;
    }
    qsort(list, count, sizeof *list, by_bytes);
    *nodes = 0;
    for (size_t i = 0; i < count; i++)
        *nodes += list[i].n - (i > 0 ? alike(&list[i - 1], &list[i]) : 0);
    return count;
}

/* Lays the sorted tokens out as a tree. */
static es_status plant(es_lexicon *l, const token_bytes *list, size_t count, size_t nodes, es_error *err)
{
    int32_t *way = es_calloc(l->longest + 1, sizeof *way); /* the nodes from the root to the last one made */
    l->bytes = es_calloc(nodes, sizeof *l->bytes);
    l->depths = es_calloc(nodes, sizeof *l->depths);
    l->skip = es_calloc(nodes, sizeof *l->skip);
    l->first = es_calloc(nodes + 1, sizeof *l->first);
    l->tokens = es_calloc(count, sizeof *l->tokens);
    if (way == NULL || l->bytes == NULL || l->depths == NULL || l->skip == NULL || l->first == NULL ||
        l->tokens == NULL) {
        free(way);
        return es_fail_memory(err, "the vocabulary", nodes * 11);
    }
    size_t depth = 0;
    for (size_t i = 0; i < count; i++) {
        size_t shared = i > 0 ? alike(&list[i - 1], &list[i]) : 0;
        while (depth > shared)
            l->skip[way[--depth]] = (int32_t)l->count;
        for (; depth < list[i].n; depth++) {
            way[depth] = (int32_t)l->count;
            l->bytes[l->count] = list[i].bytes[depth];
            l->depths[l->count] = (uint16_t)(depth + 1);
            l->first[l->count++] = (int32_t)i;
        }
        l->tokens[i] = list[i].id;
    }
    while (depth > 0)
        l->skip[way[--depth]] = (int32_t)l->count;
    l->first[l->count] = (int32_t)count;
    free(way);
    return ES_OK;
}

es_status es_lexicon_create(es_lexicon **lexicon, const es_tokenizer *tokenizer, int32_t vocab, es_error *err)
{
    es_lexicon *l = es_calloc(1, sizeof *l);
    token_bytes *list = es_calloc((size_t)vocab, sizeof *list);
    es_status status = ES_OK;
    *lexicon = NULL;
    if (l == NULL || list == NULL) {
        status = es_fail_memory(err, "the vocabulary", (size_t)vocab * sizeof *list);
    } else {
        *l = (es_lexicon){.tokenizer = tokenizer, .vocab = vocab};
        size_t nodes, count = sort_tokens(l, list, &nodes);
        status = nodes < INT32_MAX ? plant(l, list, count, nodes, err)
                                   : es_fail(err, ES_ERR_LIMIT, "the vocabulary has more than 2 GiB of bytes");
    }
    free(list);
    if (status != ES_OK) {
        es_lexicon_free(l);
        return status;
    }
    *lexicon = l;
    return ES_OK;
}

void es_lexicon_free(es_lexicon *l)
{
    if (l == NULL)
        return;
    free(l->bytes);
    free(l->depths);
    free(l->skip);
    free(l->first);
    free(l->tokens);
    free(l);
}
