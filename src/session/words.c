#include "session/words.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "intelligence/record.h"

#define WORDS_A_MOMENT 64 /* of each field; a record has at most 32 */

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && fold(*a) == fold(*b))
        a++, b++;
    return fold(*a) == fold(*b);
}

static size_t hash_text(es_field field, const char *text)
{
    uint64_t h = 1469598103934665603ULL + (uint64_t)field; /* FNV-1a; a session's own words need no secret key */
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)fold(*text)) * 1099511628211ULL;
    return (size_t)(h ^ (h >> 29));
}

static void put_slot(es_words *words, uint32_t word)
{
    size_t mask = words->slot_count - 1;
    size_t at = hash_text(words->items[word].field, words->items[word].text) & mask;
    while (words->slots[at] != 0)
        at = (at + 1) & mask;
    words->slots[at] = word + 1;
}

static es_status grow_slots(es_words *words, es_error *err)
{
    size_t n = words->slot_count == 0 ? 256 : words->slot_count * 2;
    uint32_t *slots = es_calloc(n, sizeof *slots);
    if (slots == NULL)
        return es_fail_memory(err, "the words of a session", n * sizeof *slots);
    free(words->slots);
    words->slots = slots;
    words->slot_count = n;
    for (size_t i = 0; i < words->count; i++)
        put_slot(words, (uint32_t)i);
    return ES_OK;
}

static es_status find_or_add(es_words *words, es_field field, const char *text, uint32_t *id, es_error *err)
{
    if (words->count * 2 >= words->slot_count)
        ES_TRY(grow_slots(words, err));
    size_t mask = words->slot_count - 1;
    for (size_t at = hash_text(field, text) & mask; words->slots[at] != 0; at = (at + 1) & mask) {
        const es_word *word = &words->items[words->slots[at] - 1];
        if (word->field == field && same_text(word->text, text)) {
            *id = words->slots[at] - 1;
            return ES_OK;
        }
    }
    if (es_grow((void **)&words->items, &words->capacity, words->count + 1, sizeof *words->items) != 0)
        return es_fail_memory(err, "the words of a session", 0);
    *id = (uint32_t)words->count;
    words->items[words->count++] = (es_word){.text = text, .field = field};
    put_slot(words, *id);
    return ES_OK;
}

/* Appends one word of the moment that began at ids[begin]. */
static es_status add(es_words *words, size_t begin, es_field field, const char *text, es_error *err)
{
    uint32_t id = 0;
    if (text == NULL || *text == '\0')
        return ES_OK;
    ES_TRY(find_or_add(words, field, text, &id, err));
    for (size_t i = begin; i < words->id_count; i++)
        if (words->ids[i] == id)
            return ES_OK;
    if (es_grow((void **)&words->ids, &words->id_capacity, words->id_count + 1, sizeof *words->ids) != 0)
        return es_fail_memory(err, "the words of a session", 0);
    words->ids[words->id_count++] = id;
    words->items[id].seen += 1;
    return ES_OK;
}

static es_status add_moment(es_words *words, const es_moment *moment, es_error *err)
{
    size_t begin = words->id_count;
    for (size_t i = 0; moment->activity != NULL && es_activities[i] != NULL; i++)
        if (same_text(es_activities[i], moment->activity))
            ES_TRY(add(words, begin, ES_FIELD_ACTIVITY, es_activities[i], err));
    for (size_t i = 0; i < moment->app_count && i < WORDS_A_MOMENT; i++)
        ES_TRY(add(words, begin, ES_FIELD_APP, moment->apps[i], err));
    for (size_t i = 0; i < moment->topic_count && i < WORDS_A_MOMENT; i++)
        ES_TRY(add(words, begin, ES_FIELD_TOPIC, moment->topics[i], err));
    return ES_OK;
}

static void set_bases(es_words *words)
{
    double total[ES_FIELD_COUNT] = {0}, kinds[ES_FIELD_COUNT] = {0};
    for (size_t i = 0; i < words->count; i++) {
        total[words->items[i].field] += words->items[i].seen;
        kinds[words->items[i].field] += 1;
    }
    for (size_t i = 0; i < words->count; i++) {
        es_field f = words->items[i].field;
        words->items[i].base = (words->items[i].seen + 0.5) / (total[f] + 0.5 * (kinds[f] + 1));
    }
}

es_status es_words_make(es_words *words, const es_moment *moments, size_t count, es_error *err)
{
    memset(words, 0, sizeof *words);
    words->first = es_calloc(count + 1, sizeof *words->first);
    es_status status = words->first == NULL ? es_fail_memory(err, "the words of a session", count * 8) : ES_OK;
    for (size_t i = 0; status == ES_OK && i < count; i++) {
        status = add_moment(words, &moments[i], err);
        words->first[i + 1] = words->id_count;
    }
    if (status != ES_OK) {
        es_words_free(words);
        return status;
    }
    set_bases(words);
    return ES_OK;
}

void es_words_free(es_words *words)
{
    free(words->items);
    free(words->slots);
    free(words->ids);
    free(words->first);
    memset(words, 0, sizeof *words);
}
