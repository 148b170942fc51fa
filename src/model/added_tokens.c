#include <stdlib.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer_parts.h"

es_status es_trie_create(es_trie *trie, size_t total_bytes, es_error *err)
{
    *trie = (es_trie){0};
    if (total_bytes >= INT32_MAX)
        return es_fail(err, ES_ERR_LIMIT, "added tokens of %zu bytes are too many", total_bytes);
    ES_TRY(es_pair_table_create(&trie->next, total_bytes, err));
    trie->ids = es_realloc(NULL, total_bytes + 1, sizeof *trie->ids);
    if (trie->ids == NULL)
        return es_fail_memory(err, "added tokens", (total_bytes + 1) * sizeof *trie->ids);
    trie->ids[0] = -1;
    trie->nodes = 1;
    return ES_OK;
}

void es_trie_free(es_trie *trie)
{
    es_pair_table_free(&trie->next);
    free(trie->ids);
    *trie = (es_trie){0};
}

bool es_trie_add(es_trie *trie, const char *bytes, size_t n, int32_t id)
{
    int32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        const es_pair_slot *slot = es_pair_table_get(&trie->next, node, byte);
        if (slot != NULL) {
            node = slot->value;
            continue;
        }
        es_pair_table_put(&trie->next, node, byte, 0, trie->nodes);
        node = trie->nodes++;
        trie->ids[node] = -1;
    }
    if (n == 0 || trie->ids[node] >= 0)
        return false;
    trie->first[(unsigned char)bytes[0]] = true;
    trie->ids[node] = id;
    return true;
}

/* The longest token that starts here, or -1. */
static int32_t longest_at(const es_trie *trie, const char *text, size_t n, size_t *length)
{
    int32_t node = 0, found = -1;
    for (size_t i = 0; i < n; i++) {
        const es_pair_slot *slot = es_pair_table_get(&trie->next, node, (unsigned char)text[i]);
        if (slot == NULL)
            break;
        node = slot->value;
        if (trie->ids[node] >= 0) {
            found = trie->ids[node];
            *length = i + 1;
        }
    }
    return found;
}

/* Unicode's White_Space. */
static bool is_space(uint32_t c)
{
    if ((c >= 9 && c <= 13) || c == 0x85)
        return true;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/* A word character after Unicode's UTS 18: alphabetic, a mark, a digit, a connector or a joiner. */
static bool is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        /* The joiners, and the circled and squared letters, which are alphabetic symbols. */
        return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
               (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    }
}

/* The character that starts at `at`; text is valid UTF-8. */
static uint32_t char_at(const char *text, size_t n, size_t at, size_t *length)
{
    *length = es_utf8_length(text + at, n - at);
    if (*length == 0)
        *length = 1;
    return es_utf8_value(text + at, *length);
}

/* The character that ends just before `at`, at > 0. */
static uint32_t char_before(const char *text, size_t at, size_t *length)
{
    size_t start = at - 1;
    while (start > 0 && at - start < 4 && ((unsigned char)text[start] & 0xC0) == 0x80)
        start--;
    *length = at - start;
    return es_utf8_value(text + start, *length);
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    size_t length;
    return (start == 0 || !is_word(char_before(text, start, &length))) &&
           (end == n || !is_word(char_at(text, n, end, &length)));
}

int32_t es_trie_next(const es_tokenizer *tokenizer, const es_trie *trie, const char *text, size_t n, bool special,
                     size_t from, size_t *at, size_t *start, size_t *end)
{
    while (*at < n) {
        size_t length = 0;
        int32_t id = -1;
        if (trie->first[(unsigned char)text[*at]])
            id = longest_at(trie, text + *at, n - *at, &length);
        if (id < 0) {
            (*at)++;
            continue;
        }
        size_t a = *at, b = *at + length;
        *at = b;
        unsigned flags = tokenizer->tokens[id].flags;
        if ((flags & ES_TOKEN_SPECIAL) != 0 && !special)
            continue;
        if ((flags & ES_TOKEN_SINGLE_WORD) != 0 && !stands_alone(text, n, a, b))
            continue;
        while ((flags & ES_TOKEN_LSTRIP) != 0 && a > from && is_space(char_before(text, a, &length)))
            a -= length;
        while ((flags & ES_TOKEN_RSTRIP) != 0 && b < n && is_space(char_at(text, n, b, &length)))
            b += length;
        *start = a > from ? a : from;
        *end = b > from ? b : from;
        return id;
    }
    return -1;
}
