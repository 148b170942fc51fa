#include "engine/answers.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

es_status es_answers_create(es_answers *a, es_error *err)
{
    a->next = 0;
    a->items = es_calloc(ES_ANSWERS, sizeof *a->items);
    return a->items != NULL ? ES_OK : es_fail_memory(err, "the answer cache", ES_ANSWERS * sizeof *a->items);
}

static void clear(es_known_answer *item)
{
    free(item->text);
    es_ids_free(&item->ids);
    *item = (es_known_answer){.text = NULL};
}

void es_answers_free(es_answers *a)
{
    for (size_t i = 0; a->items != NULL && i < ES_ANSWERS; i++)
        clear(&a->items[i]);
    free(a->items);
    *a = (es_answers){0};
}

const es_known_answer *es_answers_find(const es_answers *a, es_hash key)
{
    for (size_t i = 0; i < ES_ANSWERS; i++)
        if (a->items[i].text != NULL && es_hash_equal(a->items[i].key, key))
            return &a->items[i];
    return NULL;
}

void es_answers_add(es_answers *a, es_hash key, const char *text, const es_ids *ids, bool truncated)
{
    if (es_answers_find(a, key) != NULL)
        return;
    es_known_answer item = {.key = key, .text = es_strdup(text), .truncated = truncated};
    item.ids.items = es_calloc(ids->count, sizeof *ids->items);
    if (item.text == NULL || item.ids.items == NULL) {
        clear(&item);
        return;
    }
    if (ids->count > 0)
        memcpy(item.ids.items, ids->items, ids->count * sizeof *ids->items);
    item.ids.count = item.ids.capacity = ids->count;
    clear(&a->items[a->next]);
    a->items[a->next] = item;
    a->next = (a->next + 1) % ES_ANSWERS;
}
