#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer_load.h"

/* Over twenty times the largest published vocabulary: more is an attack on memory. */
#define ID_MAX ((1 << 22) - 1)
/* The longest published added token has some 40 bytes. A bound, because each place of a text may be compared with it.
 */
#define ADDED_MAX 512
/* NFC makes UTF-8 at most three times as long (Unicode's report 15, section 9). */
#define NFC_GROWTH 3

/* The id of one entry of added_tokens, checked. */
static es_status added_entry(const es_loader *l, const json_t *entry, size_t i, int32_t *id, const char **content,
                             size_t *length)
{
    const json_t *number = json_object_get(entry, "id"), *text = json_object_get(entry, "content");
    if (!json_is_integer(number) || json_integer_value(number) < 0 || json_integer_value(number) > ID_MAX)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: added_tokens[%zu]: \"id\" must be a whole number from 0 to %d",
                       l->name, i, ID_MAX);
    if (!json_is_string(text) || json_string_length(text) == 0 || json_string_length(text) > ADDED_MAX)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: added_tokens[%zu]: \"content\" must be a text of 1 to %d bytes",
                       l->name, i, ADDED_MAX);
    *id = (int32_t)json_integer_value(number);
    *content = json_string_value(text);
    *length = json_string_length(text);
    return ES_OK;
}

/* How much there is of everything, so that tables and arena are made once and in the right size. */
typedef struct extent {
    size_t names;
    size_t vocab_bytes;
    size_t added_bytes;
    int32_t top_id;
} extent;

static es_status count_entry(es_loader *l, const char *key, size_t n, int32_t id, void *context)
{
    extent *e = context;
    (void)l;
    (void)key;
    e->names++;
    e->vocab_bytes += n;
    e->top_id = id > e->top_id ? id : e->top_id;
    return ES_OK;
}

typedef es_status (*entry_fn)(es_loader *l, const char *key, size_t n, int32_t id, void *context);

static es_status scan_entries(es_loader *l, es_scan *scan, entry_fn entry, void *context)
{
    bool more;
    ES_TRY(es_scan_expect(scan, '{', l->err));
    for (bool first = true;; first = false) {
        const char *key;
        size_t n;
        int64_t id;
        ES_TRY(es_scan_more(scan, '}', first, &more, l->err));
        if (!more)
            return ES_OK;
        ES_TRY(es_scan_string(scan, &key, &n, l->err));
        ES_TRY(es_scan_expect(scan, ':', l->err));
        ES_TRY(es_scan_number(scan, 0, ID_MAX, &id, l->err));
        ES_TRY(entry(l, key, n, (int32_t)id, context));
    }
}

static es_status each_entry(es_loader *l, entry_fn entry, void *context)
{
    es_scan scan = es_scan_begin(l->name, l->text, l->vocab);
    es_status status = scan_entries(l, &scan, entry, context);
    es_scan_end(&scan);
    return status;
}

static es_status measure(es_loader *l, extent *e)
{
    *e = (extent){.top_id = -1};
    if (l->vocab.start == 0)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: the model has no \"vocab\"", l->name);
    ES_TRY(each_entry(l, count_entry, e));
    if (e->names == 0)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: the \"vocab\" is empty", l->name);
    for (size_t i = 0; i < json_array_size(l->added); i++) {
        int32_t id;
        const char *content;
        size_t length;
        ES_TRY(added_entry(l, json_array_get(l->added, i), i, &id, &content, &length));
        e->top_id = id > e->top_id ? id : e->top_id;
        e->added_bytes += length;
        e->names++;
    }
    return ES_OK;
}

static char *keep(es_loader *l, const char *bytes, size_t n)
{
    char *place = l->tokenizer->arena + l->arena_used;
    memcpy(place, bytes, n);
    l->arena_used += n;
    return place;
}

/* The text a token of the vocabulary stands for: its characters read as bytes, or itself when one is not of the
 * byte-level alphabet (tokens that never come out of text). */
static uint32_t unspell(const char *key, size_t n, char *out)
{
    uint32_t length = 0;
    for (size_t i = 0; i < n;) {
        size_t width = es_utf8_length(key + i, n - i);
        int byte = width == 0 ? -1 : es_char_to_byte(es_utf8_value(key + i, width));
        if (byte < 0) {
            memcpy(out, key, n);
            return (uint32_t)n;
        }
        out[length++] = (char)byte;
        i += width;
    }
    return length;
}

static es_status read_entry(es_loader *l, const char *key, size_t n, int32_t id, void *context)
{
    es_tokenizer *t = l->tokenizer;
    es_token *token = &t->tokens[id];
    (void)context;
    const char *spelled = keep(l, key, n);
    if (token->flags != 0 || es_string_table_put(&t->names, spelled, (uint32_t)n, id) >= 0)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: vocab: \"%.*s\" or its id %d is there twice", l->name,
                       n > 40 ? 40 : (int)n, key, id);
    char *text = t->arena + l->arena_used;
    *token = (es_token){.bytes = text, .flags = ES_TOKEN_EXISTS | ES_TOKEN_MODEL};
    token->length = unspell(key, n, text);
    l->arena_used += token->length;
    return ES_OK;
}

/* What merges are read with. */
typedef struct merging {
    size_t count;
    es_str joined;
} merging;

static es_status read_merge(es_loader *l, const char *const side[2], const size_t length[2], merging *m)
{
    es_tokenizer *t = l->tokenizer;
    es_str_clear(&m->joined);
    es_str_append_n(&m->joined, side[0], length[0]);
    es_str_append_n(&m->joined, side[1], length[1]);
    ES_TRY(es_str_check(&m->joined, l->err));
    int32_t a = es_string_table_get(&t->names, side[0], length[0]);
    int32_t b = es_string_table_get(&t->names, side[1], length[1]);
    int32_t id = es_string_table_get(&t->names, es_str_text(&m->joined), m->joined.length);
    if (a < 0 || b < 0 || id < 0)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: merges[%zu] makes \"%.80s\" of tokens that are not all in the vocab",
                       l->name, m->count, es_str_text(&m->joined));
    es_pair_table_put(&t->merges, a, b, (int32_t)m->count, id);
    return ES_OK;
}

/* Reads the two sides of a merge: "a b", or ["a", "b"]. */
static es_status scan_merge(es_loader *l, es_scan *scan, size_t i, const char *side[2], size_t length[2])
{
    if (es_scan_is(scan, '[')) {
        ES_TRY(es_scan_string(scan, &side[0], &length[0], l->err));
        ES_TRY(es_scan_expect(scan, ',', l->err));
        ES_TRY(es_scan_string(scan, &side[1], &length[1], l->err));
        return es_scan_expect(scan, ']', l->err);
    }
    size_t n;
    ES_TRY(es_scan_string(scan, &side[0], &n, l->err));
    const char *space = memchr(side[0], ' ', n);
    if (space == NULL || memchr(space + 1, ' ', n - (size_t)(space + 1 - side[0])) != NULL)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: merges[%zu] must be \"a b\" or [\"a\", \"b\"]", l->name, i);
    side[1] = space + 1;
    length[0] = (size_t)(space - side[0]);
    length[1] = n - length[0] - 1;
    return ES_OK;
}

/* Counts the merges, or (`m->joined` in use) reads them. */
static es_status scan_merges(es_loader *l, es_scan *scan, bool read, merging *m)
{
    bool more;
    ES_TRY(es_scan_expect(scan, '[', l->err));
    for (m->count = 0;; m->count++) {
        const char *side[2];
        size_t length[2];
        ES_TRY(es_scan_more(scan, ']', m->count == 0, &more, l->err));
        if (!more)
            return ES_OK;
        ES_TRY(scan_merge(l, scan, m->count, side, length));
        if (read)
            ES_TRY(read_merge(l, side, length, m));
    }
}

static es_status each_merge(es_loader *l, bool read, merging *m)
{
    es_scan scan = es_scan_begin(l->name, l->text, l->merges);
    es_status status = scan_merges(l, &scan, read, m);
    es_scan_end(&scan);
    return status;
}

static es_status read_merges(es_loader *l)
{
    merging m = {0};
    if (l->merges.start == 0)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: the model has no \"merges\"", l->name);
    ES_TRY(each_merge(l, false, &m));
    ES_TRY(es_pair_table_create(&l->tokenizer->merges, m.count, l->err));
    es_status status = each_merge(l, true, &m);
    es_str_free(&m.joined);
    return status;
}

/* What an added token looks like in text: in normalized text, if that is where it is looked for, its NFC form. */
static es_status added_text(es_loader *l, const char *content, size_t n, uint8_t flags, es_token *token)
{
    es_str buffer = {0};
    es_status status = ES_OK;
    size_t given = n;
    if ((flags & ES_TOKEN_NORMALIZED) != 0 && l->tokenizer->nfc)
        status = es_nfc(content, n, &buffer, &content, &n, l->err);
    if (status == ES_OK && n > NFC_GROWTH * given)
        status = es_fail(l->err, ES_ERR_INTERNAL, "%s: normalization made \"%.40s\" too long", l->name, content);
    if (status == ES_OK)
        *token = (es_token){.bytes = keep(l, content, n), .length = (uint32_t)n, .flags = flags};
    es_str_free(&buffer);
    return status;
}

static es_status read_added_flags(es_loader *l, const json_t *entry, uint8_t *flags)
{
    static const struct {
        const char *key;
        uint8_t flag;
    } known[] = {{"special", ES_TOKEN_SPECIAL},
                 {"normalized", ES_TOKEN_NORMALIZED},
                 {"lstrip", ES_TOKEN_LSTRIP},
                 {"rstrip", ES_TOKEN_RSTRIP},
                 {"single_word", ES_TOKEN_SINGLE_WORD}};
    *flags = ES_TOKEN_EXISTS | ES_TOKEN_ADDED;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        bool on = false;
        ES_TRY(es_loader_flag(l, entry, "added_tokens", known[i].key, &on));
        *flags = (uint8_t)(*flags | (on ? known[i].flag : 0));
    }
    return ES_OK;
}

static es_status read_added(es_loader *l, const json_t *entry, size_t i)
{
    es_tokenizer *t = l->tokenizer;
    int32_t id;
    const char *content;
    size_t n;
    uint8_t flags;
    ES_TRY(added_entry(l, entry, i, &id, &content, &n));
    ES_TRY(read_added_flags(l, entry, &flags));
    es_token *token = &t->tokens[id];
    const char *text = keep(l, content, n);
    int32_t known = es_string_table_put(&t->names, text, (uint32_t)n, id);
    if ((known >= 0 && known != id) || (known < 0 && token->flags != 0) || (token->flags & ES_TOKEN_ADDED) != 0)
        return es_fail(l->err, ES_ERR_FORMAT, "%s: added_tokens[%zu]: \"%.40s\" and id %d contradict another token",
                       l->name, i, content, id);
    ES_TRY(added_text(l, content, n, (uint8_t)(token->flags | flags), token));
    es_trie *trie = (flags & ES_TOKEN_NORMALIZED) != 0 ? &t->normalized : &t->raw;
    if (!es_trie_add(trie, token->bytes, token->length, id))
        return es_fail(l->err, ES_ERR_FORMAT, "%s: added_tokens[%zu] is the same text as another", l->name, i);
    return ES_OK;
}

static void find_bytes(es_tokenizer *t)
{
    for (int byte = 0; byte < 256; byte++) {
        char spelled[4];
        size_t n = es_utf8_write(es_byte_to_char((uint8_t)byte), spelled);
        t->byte_ids[byte] = es_string_table_get(&t->names, spelled, n);
    }
}

es_status es_loader_tables(es_loader *l)
{
    es_tokenizer *t = l->tokenizer;
    extent e;
    ES_TRY(measure(l, &e));
    t->size = (size_t)e.top_id + 1;
    /* Each token as it is spelled and as the text it stands for. */
    size_t arena = 2 * e.vocab_bytes + (1 + NFC_GROWTH) * e.added_bytes;
    t->tokens = es_calloc(t->size, sizeof *t->tokens);
    t->arena = es_calloc(arena, 1);
    if (t->tokens == NULL || t->arena == NULL)
        return es_fail_memory(l->err, "the vocabulary", t->size * sizeof *t->tokens + arena);
    ES_TRY(es_string_table_create(&t->names, e.names, l->err));
    ES_TRY(each_entry(l, read_entry, NULL));
    find_bytes(t);
    ES_TRY(read_merges(l));
    ES_TRY(es_trie_create(&t->raw, e.added_bytes, l->err));
    ES_TRY(es_trie_create(&t->normalized, NFC_GROWTH * e.added_bytes, l->err));
    for (size_t i = 0; i < json_array_size(l->added); i++)
        ES_TRY(read_added(l, json_array_get(l->added, i), i));
    return ES_OK;
}
