/* store_seen.c - the store's observations and what is made from them: search, blocks, texts, thumbnails. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "session/store_internal.h"

/* ["a", "b"] */
static char *to_list(const char *const *items, size_t count, es_error *err)
{
    es_str out = {0};
    es_str_append(&out, "[");
    for (size_t i = 0; i < count; i++) {
        es_str_append(&out, i > 0 ? ", " : "");
        es_str_append_json(&out, items[i]);
    }
    es_str_append(&out, "]");
    return es_str_take(&out, err);
}

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static es_status put_locked(es_store *store, const es_stored *o, const char *apps, const char *topics, bool *added,
                            es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_PUT, &s, err, "iittttt", o->frame, o->method, text_or_empty(o->moment.activity),
                        text_or_empty(o->moment.description), apps, topics, text_or_empty(o->raw_text)));
    if (o->reused_from != 0)
        sqlite3_bind_int64(s, 8, o->reused_from);
    else
        sqlite3_bind_null(s, 8);
    ES_TRY(es_sql_finish(store, s, NULL, err));
    *added = sqlite3_changes(store->db) > 0;
    if (*added) {
        ES_TRY(es_sql_ready(store, SQL_INDEX, &s, err, "ittt", (int64_t)sqlite3_last_insert_rowid(store->db),
                            text_or_empty(o->moment.description), apps, topics));
        ES_TRY(es_sql_finish(store, s, NULL, err));
    }
    ES_TRY(es_sql_ready(store, SQL_UNCLAIM, &s, err, "ii", o->frame, o->method));
    return es_sql_finish(store, s, NULL, err);
}

es_status es_store_put(es_store *store, const es_stored *stored, bool *added, es_error *err)
{
    char *apps = to_list(stored->moment.apps, stored->moment.app_count, err);
    char *topics = to_list(stored->moment.topics, stored->moment.topic_count, err);
    es_status status = apps == NULL || topics == NULL ? ES_ERR_MEMORY : es_store_run(store, "BEGIN IMMEDIATE", err);
    *added = false;
    if (status == ES_OK)
        status = es_sql_end(store, put_locked(store, stored, apps, topics, added, err), err);
    free(apps);
    free(topics);
    return status;
}

static es_status reuse_locked(es_store *store, int64_t frame, int64_t method, int64_t from, bool *added, es_error *err)
{
    sqlite3_stmt *s;
    int64_t there = 0;
    ES_TRY(es_sql_ready(store, SQL_DONE, &s, err, "ii", from, method));
    ES_TRY(es_sql_finish(store, s, &there, err));
    if (there == 0)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: frame %lld was not observed: nothing to take over", store->path,
                       (long long)from);
    ES_TRY(es_sql_ready(store, SQL_REUSE, &s, err, "iii", frame, method, from));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    *added = sqlite3_changes(store->db) > 0;
    if (!*added)
        return ES_OK;
    ES_TRY(es_sql_ready(store, SQL_INDEX_REUSED, &s, err, "i", (int64_t)sqlite3_last_insert_rowid(store->db)));
    return es_sql_finish(store, s, NULL, err);
}

es_status es_store_reuse(es_store *store, int64_t frame, int64_t method, int64_t from, bool *added, es_error *err)
{
    *added = false;
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return es_sql_end(store, reuse_locked(store, frame, method, from, added, err), err);
}

#define WORDS_MOST 64
typedef struct word_list {
    json_t *root;
    const char *items[WORDS_MOST];
    size_t count;
} word_list;

static void from_list(word_list *list, const char *text)
{
    list->count = 0;
    list->root = text != NULL ? json_loads(text, 0, NULL) : NULL;
    for (size_t i = 0; i < json_array_size(list->root) && list->count < WORDS_MOST; i++) {
        const char *item = json_string_value(json_array_get(list->root, i));
        if (item != NULL)
            list->items[list->count++] = item;
    }
}

/* The columns of COLUMNS; apps and topics hold what the result points to. */
static void read_stored(sqlite3_stmt *s, es_stored *o, word_list *apps, word_list *topics)
{
    from_list(apps, es_sql_text(s, 5));
    from_list(topics, es_sql_text(s, 6));
    *o = (es_stored){.frame = sqlite3_column_int64(s, 0),
                     .method = sqlite3_column_int64(s, 1),
                     .raw_text = es_sql_text(s, 7),
                     .reused_from = sqlite3_column_int64(s, 8),
                     .source = sqlite3_column_int64(s, 9),
                     .filled = sqlite3_column_int(s, 10) != 0};
    o->moment = (es_moment){.at = (double)sqlite3_column_int64(s, 2) / 1000,
                            .activity = es_sql_text(s, 3),
                            .description = es_sql_text(s, 4),
                            .apps = apps->items,
                            .app_count = apps->count,
                            .topics = topics->items,
                            .topic_count = topics->count,
                            .reused = o->reused_from != 0};
}

es_status es_store_each(es_store *store, int64_t recording, int64_t method, es_stored_fn fn, void *context,
                        es_error *err)
{
    sqlite3_stmt *s;
    bool row = true, go_on = true;
    ES_TRY(es_sql_ready(store, SQL_EACH, &s, err, "ii", recording, method));
    while (go_on) {
        word_list apps, topics;
        es_stored stored;
        ES_TRY(es_sql_step(store, s, &row, err));
        if (!row)
            return ES_OK;
        read_stored(s, &stored, &apps, &topics);
        go_on = fn(context, &stored);
        json_decref(apps.root);
        json_decref(topics.root);
    }
    sqlite3_reset(s);
    return ES_OK;
}

/* The user's words as an FTS5 query of quoted strings: none of its syntax gets through. */
static char *to_query(const char *text, es_error *err)
{
    es_str out = {0};
    while (*text != '\0') {
        text += strspn(text, " \t\r\n");
        size_t n = strcspn(text, " \t\r\n");
        if (n == 0)
            break;
        es_str_append(&out, out.length > 0 ? " \"" : "\"");
        for (size_t i = 0; i < n; i++)
            es_str_append_n(&out, text[i] == '"' ? "\"\"" : &text[i], text[i] == '"' ? 2 : 1);
        es_str_append(&out, "\"");
        text += n;
    }
    es_str_append(&out, out.length > 0 ? "*" : "\"\"");
    return es_str_take(&out, err);
}

es_status es_store_search(es_store *store, const char *text, int64_t recording, int64_t limit, es_hit_fn fn,
                          void *context, es_error *err)
{
    sqlite3_stmt *s;
    bool row = true;
    char *query = to_query(text, err);
    if (query == NULL)
        return ES_ERR_MEMORY;
    es_status status = es_sql_ready(store, SQL_SEARCH, &s, err, "tii", query, recording, limit);
    while (status == ES_OK && row) {
        word_list apps, topics;
        es_hit hit;
        status = es_sql_step(store, s, &row, err);
        if (status != ES_OK || !row)
            break;
        hit.recording = sqlite3_column_int64(s, 11);
        hit.path = es_sql_text(s, 12);
        read_stored(s, &hit.stored, &apps, &topics);
        bool go_on = fn(context, &hit);
        json_decref(apps.root);
        json_decref(topics.root);
        if (!go_on)
            break;
    }
    if (status == ES_OK) {
        sqlite3_reset(s);
        sqlite3_clear_bindings(s); /* the query is freed */
    }
    free(query);
    return status;
}

static es_status add_block(es_store *store, int64_t recording, int64_t method, const es_outline *outline, size_t number,
                           es_error *err)
{
    sqlite3_stmt *s;
    const es_block *b = &outline->blocks[number];
    char *apps = to_list(b->apps, b->app_count, err), *topics = to_list(b->topics, b->topic_count, err);
    es_status status = apps == NULL || topics == NULL ? ES_ERR_MEMORY : ES_OK;
    if (status == ES_OK)
        status =
            es_sql_ready(store, SQL_ADD_BLOCK, &s, err, "iiiddtttti", recording, method, (int64_t)number, b->start,
                         b->end, b->activity, apps, topics, outline->subjects[b->subject].name, (int64_t)b->personal);
    if (status == ES_OK)
        status = es_sql_finish(store, s, NULL, err);
    free(apps);
    free(topics);
    return status;
}

static es_status put_outline_locked(es_store *store, int64_t recording, int64_t method, const es_outline *outline,
                                    es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_DROP_BLOCKS, &s, err, "ii", recording, method));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    for (size_t i = 0; i < outline->block_count; i++)
        ES_TRY(add_block(store, recording, method, outline, i, err));
    return ES_OK;
}

es_status es_store_put_outline(es_store *store, int64_t recording, int64_t method, const es_outline *outline,
                               es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return es_sql_end(store, put_outline_locked(store, recording, method, outline, err), err);
}

es_status es_store_put_summary(es_store *store, int64_t recording, int64_t method, const char *form, const char *writer,
                               const char *text, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_PUT_SUMMARY, &s, err, "iittt", recording, method, form, writer, text));
    return es_sql_finish(store, s, NULL, err);
}

es_status es_store_summary(es_store *store, int64_t recording, int64_t method, const char *form, char **text,
                           es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    *text = NULL;
    ES_TRY(es_sql_ready(store, SQL_SUMMARY, &s, err, "iit", recording, method, form));
    ES_TRY(es_sql_step(store, s, &row, err));
    if (!row)
        return ES_OK;
    *text = es_strdup(es_sql_text(s, 0));
    sqlite3_reset(s);
    return *text != NULL ? ES_OK : es_fail_memory(err, "a summary", 0);
}

es_status es_store_put_thumbnail(es_store *store, int64_t frame, const void *jpeg, size_t size, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_PUT_THUMBNAIL, &s, err, "i", frame));
    int code = sqlite3_bind_blob64(s, 2, jpeg, size, SQLITE_STATIC);
    return code == SQLITE_OK ? es_sql_finish(store, s, NULL, err) : es_store_fault(store->path, store->db, code, err);
}

es_status es_store_thumbnail(es_store *store, int64_t frame, uint8_t **jpeg, size_t *size, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    *jpeg = NULL;
    *size = 0;
    ES_TRY(es_sql_ready(store, SQL_THUMBNAIL, &s, err, "i", frame));
    ES_TRY(es_sql_step(store, s, &row, err));
    if (!row)
        return ES_OK;
    const void *bytes = sqlite3_column_blob(s, 0);
    size_t n = (size_t)sqlite3_column_bytes(s, 0);
    es_status status = ES_OK;
    if (bytes != NULL && n > 0) {
        *jpeg = es_calloc(n, 1);
        if (*jpeg == NULL)
            status = es_fail_memory(err, "a thumbnail", n);
        else
            memcpy(*jpeg, bytes, *size = n);
    }
    sqlite3_reset(s);
    return status;
}
