#include "session/store.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "session/store_internal.h"

#define BUSY_MS 10000

/* The statements, prepared when first used and kept. */
enum {
    SQL_ADD_RECORDING,
    SQL_FIND_RECORDING,
    SQL_ADD_METHOD,
    SQL_FIND_METHOD,
    SQL_ADD_FRAME,
    SQL_FIND_FRAME,
    SQL_DONE,
    SQL_FIND_CLAIM,
    SQL_CLAIM,
    SQL_UNCLAIM,
    SQL_PUT,
    SQL_INDEX,
    SQL_EACH,
    SQL_SEARCH,
    SQL_DROP_BLOCKS,
    SQL_ADD_BLOCK,
    SQL_PUT_SUMMARY,
    SQL_SUMMARY,
    SQL_LIST,
    SQL_UNINDEX,
    SQL_FORGET,
    SQL_PUT_THUMBNAIL,
    SQL_THUMBNAIL,
    SQL_UNINDEX_METHOD,
    SQL_DROP,
    SQL_LAST_METHOD,
    SQL_REUSE,
    SQL_INDEX_REUSED,
    SQL_LENGTH,
    SQL_UNINDEX_FRAME,
    SQL_FORGET_FRAME,
    SQL_FIRST_OPEN,
    SQL_END
};
_Static_assert((int)SQL_END <= (int)ES_SQL_COUNT, "room for every prepared statement");

#define COLUMNS " o.frame, o.method, f.at_ms, o.activity, o.description, o.apps, o.topics, o.raw_text, o.reused_from "
static const char *const sql[SQL_END] = {
    [SQL_ADD_RECORDING] = "INSERT INTO recordings (path, size, mtime_ns, seconds) VALUES (?1, ?2, ?3, ?4)"
                          " ON CONFLICT (path, size, mtime_ns) DO NOTHING",
    [SQL_FIND_RECORDING] = "SELECT id FROM recordings WHERE path = ?1 AND size = ?2 AND mtime_ns = ?3",
    [SQL_ADD_METHOD] = "INSERT INTO methods (model, prompt, settings) VALUES (?1, ?2, ?3)"
                       " ON CONFLICT (model, prompt, settings) DO NOTHING",
    [SQL_FIND_METHOD] = "SELECT id FROM methods WHERE model = ?1 AND prompt = ?2 AND settings = ?3",
    [SQL_ADD_FRAME] = "INSERT INTO frames (recording, at_ms, content_hash, perceptual_hash) VALUES (?1, ?2, ?3, ?4)"
                      " ON CONFLICT (recording, at_ms) DO NOTHING",
    [SQL_FIND_FRAME] = "SELECT id FROM frames WHERE recording = ?1 AND at_ms = ?2",
    [SQL_DONE] = "SELECT 1 FROM observations WHERE frame = ?1 AND method = ?2",
    [SQL_FIND_CLAIM] = "SELECT pid, host, until FROM claims WHERE frame = ?1 AND method = ?2",
    [SQL_CLAIM] = "INSERT INTO claims (frame, method, pid, host, until) VALUES (?1, ?2, ?3, ?4, ?5)"
                  " ON CONFLICT (frame, method) DO UPDATE SET pid = ?3, host = ?4, until = ?5",
    [SQL_UNCLAIM] = "DELETE FROM claims WHERE frame = ?1 AND method = ?2",
    [SQL_PUT] = "INSERT INTO observations (frame, method, activity, description, apps, topics, raw_text, reused_from)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (frame, method) DO NOTHING",
    /* The index is kept by hand: triggers may not touch a virtual table while schemas are not trusted. */
    [SQL_INDEX] = "INSERT INTO found (rowid, description, apps, topics) VALUES (?1, ?2, ?3, ?4)",
    [SQL_EACH] = "SELECT" COLUMNS "FROM observations o JOIN frames f ON f.id = o.frame"
                 " WHERE f.recording = ?1 AND o.method = ?2 ORDER BY f.at_ms",
    [SQL_SEARCH] = "SELECT" COLUMNS ", f.recording, r.path FROM found JOIN observations o ON o.id = found.rowid"
                   " JOIN frames f ON f.id = o.frame JOIN recordings r ON r.id = f.recording"
                   " WHERE found MATCH ?1 AND (?2 = 0 OR f.recording = ?2)"
                   " ORDER BY found.rank, f.recording, f.at_ms LIMIT ?3",
    [SQL_DROP_BLOCKS] = "DELETE FROM blocks WHERE recording = ?1 AND method = ?2",
    [SQL_ADD_BLOCK] = "INSERT INTO blocks (recording, method, number, start, end, activity, apps, topics, subject,"
                      " personal) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [SQL_PUT_SUMMARY] = "INSERT INTO summaries (recording, method, form, writer, text) VALUES (?1, ?2, ?3, ?4, ?5)"
                        " ON CONFLICT (recording, method, form) DO UPDATE SET writer = ?4, text = ?5",
    [SQL_SUMMARY] = "SELECT text FROM summaries WHERE recording = ?1 AND method = ?2 AND form = ?3",
    [SQL_LIST] = "SELECT id, path, size, mtime_ns, seconds, (SELECT count(*) FROM frames WHERE recording = r.id),"
                 " (SELECT count(*) FROM observations o JOIN frames f ON f.id = o.frame WHERE f.recording = r.id),"
                 " (SELECT count(*) FROM blocks WHERE recording = r.id) FROM recordings r ORDER BY id DESC",
    [SQL_UNINDEX] = "INSERT INTO found (found, rowid, description, apps, topics) SELECT 'delete', o.id, o.description,"
                    " o.apps, o.topics FROM observations o JOIN frames f ON f.id = o.frame WHERE f.recording = ?1",
    [SQL_FORGET] = "DELETE FROM recordings WHERE id = ?1",
    [SQL_REUSE] = "INSERT INTO observations (frame, method, activity, description, apps, topics, raw_text, reused_from)"
                  " SELECT ?1, method, activity, description, apps, topics, '', frame FROM observations"
                  " WHERE frame = ?3 AND method = ?2 ON CONFLICT (frame, method) DO NOTHING",
    [SQL_INDEX_REUSED] = "INSERT INTO found (rowid, description, apps, topics) SELECT id, description, apps, topics"
                         " FROM observations WHERE id = ?1",
    [SQL_LENGTH] = "UPDATE recordings SET seconds = ?2 WHERE id = ?1",
    [SQL_UNINDEX_FRAME] =
        "INSERT INTO found (found, rowid, description, apps, topics) SELECT 'delete', id, description,"
        " apps, topics FROM observations WHERE frame = ?1",
    [SQL_FORGET_FRAME] = "DELETE FROM frames WHERE id = ?1",
    [SQL_FIRST_OPEN] = "SELECT at_ms FROM frames f WHERE recording = ?1 AND NOT EXISTS"
                       " (SELECT 1 FROM observations WHERE frame = f.id AND method = ?2) ORDER BY at_ms LIMIT 1",
    [SQL_PUT_THUMBNAIL] = "INSERT INTO thumbnails (frame, jpeg) VALUES (?1, ?2) ON CONFLICT (frame) DO NOTHING",
    [SQL_THUMBNAIL] = "SELECT jpeg FROM thumbnails WHERE frame = ?1",
    [SQL_UNINDEX_METHOD] = "INSERT INTO found (found, rowid, description, apps, topics) SELECT 'delete', o.id,"
                           " o.description, o.apps, o.topics FROM observations o JOIN frames f ON f.id = o.frame"
                           " WHERE f.recording = ?1 AND o.method = ?2",
    [SQL_DROP] = "DELETE FROM observations WHERE method = ?2 AND frame IN (SELECT id FROM frames WHERE recording = ?1)",
    [SQL_LAST_METHOD] = "SELECT m.id, m.model FROM observations o JOIN frames f ON f.id = o.frame"
                        " JOIN methods m ON m.id = o.method WHERE f.recording = ?1 ORDER BY o.id DESC LIMIT 1",
};

es_status es_store_fault(const char *path, sqlite3 *db, int code, es_error *err)
{
    const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    switch (code & 0xFF) {
    case SQLITE_NOMEM:
        return es_fail_memory(err, "the session store", 0);
    case SQLITE_FULL:
        return es_fail(err, ES_ERR_IO, "%s: the disk is full: nothing finished is lost, make room and run again", path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return es_fail(err, ES_ERR_IO, "%s: another process keeps the store locked: run again when it is done", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR: /* the statements are fixed: if one makes no sense, the schema is not ours */
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:
        return es_fail(err, ES_ERR_FORMAT, "%s: the store is damaged (%s): move it away and run again", path, text);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return es_fail(err, ES_ERR_IO, "%s: the store cannot be written (%s): check its permissions", path, text);
    case SQLITE_CANTOPEN:
        return es_fail(err, ES_ERR_IO, "%s: cannot open the store (%s): check its directory and permissions", path,
                       text);
    default:
        return es_fail(err, ES_ERR_IO, "%s: cannot read or write the store (%s): check the disk and its free space",
                       path, text);
    }
}

static es_status fault(es_store *store, int code, es_error *err)
{
    return es_store_fault(store->path, store->db, code, err);
}

es_status es_store_run(es_store *store, const char *text, es_error *err)
{
    int code = sqlite3_exec(store->db, text, NULL, NULL, NULL);
    return code == SQLITE_OK ? ES_OK : fault(store, code, err);
}

/* The file exists with 0600 before SQLite sees it: its -wal and -shm take over the mode. */
static es_status make_private(const char *path, es_error *err)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return es_fail(err, ES_ERR_IO, "%s: cannot open the store: %s", path, strerror(errno));
    es_status status = ES_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = es_fail(err, ES_ERR_IO, "%s: the store must be a regular file", path);
    else if ((st.st_mode & 077) != 0 && fchmod(fd, 0600) != 0)
        status = es_fail(err, ES_ERR_IO, "%s: others may read the store, and that can't be changed: %s", path,
                         strerror(errno));
    close(fd);
    return status;
}

static es_status set_up(es_store *store, es_error *err)
{
    int code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return fault(store, code, err);
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    ES_TRY(es_store_run(store,
                        "PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;",
                        err));
    return es_store_migrate(store, err);
}

es_status es_store_open(es_store **out, const char *path, es_error *err)
{
    *out = NULL;
    ES_TRY(make_private(path, err));
    es_store *store = es_calloc(1, sizeof *store);
    if (store == NULL)
        return es_fail_memory(err, "the session store", sizeof *store);
    store->path = es_strdup(path);
    es_status status = store->path == NULL ? es_fail_memory(err, "the session store", 0) : set_up(store, err);
    if (status != ES_OK) {
        es_store_close(store);
        return status;
    }
    *out = store;
    return ES_OK;
}

void es_store_patience(es_store *store, int milliseconds)
{
    sqlite3_busy_timeout(store->db, milliseconds);
}

void es_store_close(es_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < SQL_END; i++)
        sqlite3_finalize(store->prepared[i]);
    sqlite3_close(store->db);
    free(store->path);
    free(store);
}

/* Makes a statement ready. `types` says what follows: i int64_t, d double, t text (NULL: SQL NULL). Texts must live
 * until the statement is reset. */
static es_status ready(es_store *store, int which, sqlite3_stmt **statement, es_error *err, const char *types, ...)
{
    int code = SQLITE_OK;
    if (store->prepared[which] == NULL)
        code = sqlite3_prepare_v3(store->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, &store->prepared[which], NULL);
    if (code != SQLITE_OK)
        return fault(store, code, err);
    *statement = store->prepared[which];
    sqlite3_reset(*statement); /* its last use may have ended early */
    va_list args;
    va_start(args, types);
    for (int i = 1; *types != '\0' && code == SQLITE_OK; i++, types++) {
        if (*types == 'i')
            code = sqlite3_bind_int64(*statement, i, va_arg(args, int64_t));
        else if (*types == 'd')
            code = sqlite3_bind_double(*statement, i, va_arg(args, double));
        else
            code = sqlite3_bind_text(*statement, i, va_arg(args, const char *), -1, SQLITE_STATIC);
    }
    va_end(args);
    return code == SQLITE_OK ? ES_OK : fault(store, code, err);
}

/* One step; *row says whether there is one. Anything but a row resets the statement. */
static es_status step(es_store *store, sqlite3_stmt *statement, bool *row, es_error *err)
{
    int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return ES_OK;
    es_status status = code == SQLITE_DONE ? ES_OK : fault(store, code, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

/* Runs to the end; *first (may be NULL) is the first column of the first row, or is left alone. */
static es_status finish(es_store *store, sqlite3_stmt *statement, int64_t *first, es_error *err)
{
    bool row;
    ES_TRY(step(store, statement, &row, err));
    if (row && first != NULL)
        *first = sqlite3_column_int64(statement, 0);
    if (row) {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
    return ES_OK;
}

/* Ends a transaction by what became of it. */
static es_status end(es_store *store, es_status status, es_error *err)
{
    if (status == ES_OK)
        status = es_store_run(store, "COMMIT", err);
    if (status != ES_OK && !sqlite3_get_autocommit(store->db))
        es_store_run(store, "ROLLBACK", NULL);
    return status;
}

static es_status found(es_store *store, int64_t id, es_error *err)
{
    return id != 0 ? ES_OK : fault(store, SQLITE_CORRUPT, err);
}

es_status es_store_recording(es_store *store, es_recording *r, es_error *err)
{
    sqlite3_stmt *s;
    r->id = 0;
    ES_TRY(ready(store, SQL_FIND_RECORDING, &s, err, "tii", r->path, r->size, r->mtime_ns));
    ES_TRY(finish(store, s, &r->id, err));
    if (r->id != 0)
        return ES_OK;
    ES_TRY(ready(store, SQL_ADD_RECORDING, &s, err, "tiid", r->path, r->size, r->mtime_ns, r->seconds));
    ES_TRY(finish(store, s, NULL, err));
    ES_TRY(ready(store, SQL_FIND_RECORDING, &s, err, "tii", r->path, r->size, r->mtime_ns));
    ES_TRY(finish(store, s, &r->id, err));
    return found(store, r->id, err);
}

es_status es_store_method(es_store *store, const char *model, const char *prompt, const char *settings, int64_t *id,
                          es_error *err)
{
    sqlite3_stmt *s;
    *id = 0;
    ES_TRY(ready(store, SQL_ADD_METHOD, &s, err, "ttt", model, prompt, settings));
    ES_TRY(finish(store, s, NULL, err));
    ES_TRY(ready(store, SQL_FIND_METHOD, &s, err, "ttt", model, prompt, settings));
    ES_TRY(finish(store, s, id, err));
    return found(store, *id, err);
}

es_status es_store_frame(es_store *store, int64_t recording, int64_t at_ms, const char *content_hash,
                         uint64_t perceptual_hash, int64_t *id, es_error *err)
{
    sqlite3_stmt *s;
    int64_t bits;
    memcpy(&bits, &perceptual_hash, sizeof bits);
    *id = 0;
    if (at_ms < 0)
        return es_fail(err, ES_ERR_ARGUMENT, "a frame has no usable time (%lld ms)", (long long)at_ms);
    ES_TRY(ready(store, SQL_ADD_FRAME, &s, err, "iiti", recording, at_ms, content_hash, bits));
    ES_TRY(finish(store, s, NULL, err));
    ES_TRY(ready(store, SQL_FIND_FRAME, &s, err, "ii", recording, at_ms));
    ES_TRY(finish(store, s, id, err));
    return found(store, *id, err);
}

es_status es_store_first_open(es_store *store, int64_t recording, int64_t method, int64_t *at_ms, es_error *err)
{
    sqlite3_stmt *s;
    *at_ms = -1;
    ES_TRY(ready(store, SQL_FIRST_OPEN, &s, err, "ii", recording, method));
    return finish(store, s, at_ms, err);
}

/* True when the claim under the statement's row holds no more. */
static bool is_stale(sqlite3_stmt *s, const char *host, int64_t now)
{
    pid_t pid = (pid_t)sqlite3_column_int64(s, 0);
    const char *where = (const char *)sqlite3_column_text(s, 1);
    if (pid == getpid() || sqlite3_column_int64(s, 2) <= now || where == NULL)
        return true;
    return strcmp(where, host) == 0 && pid > 0 && kill(pid, 0) != 0 && errno == ESRCH;
}

static es_status claim_locked(es_store *store, int64_t frame, int64_t method, double seconds, es_claim *claim,
                              es_error *err)
{
    char host[256] = "";
    sqlite3_stmt *s;
    int64_t done = 0, now = (int64_t)time(NULL);
    bool row, stale = true;
    gethostname(host, sizeof host - 1);
    ES_TRY(ready(store, SQL_DONE, &s, err, "ii", frame, method));
    ES_TRY(finish(store, s, &done, err));
    *claim = ES_CLAIM_DONE;
    if (done != 0)
        return ES_OK;
    ES_TRY(ready(store, SQL_FIND_CLAIM, &s, err, "ii", frame, method));
    ES_TRY(step(store, s, &row, err));
    if (row) {
        stale = is_stale(s, host, now);
        sqlite3_reset(s);
    }
    *claim = ES_CLAIM_TAKEN;
    if (!stale)
        return ES_OK;
    *claim = ES_CLAIM_MINE;
    ES_TRY(ready(store, SQL_CLAIM, &s, err, "iiiti", frame, method, (int64_t)getpid(), host,
                 now + (int64_t)(seconds < 1 ? 1 : seconds)));
    return finish(store, s, NULL, err);
}

es_status es_store_claim(es_store *store, int64_t frame, int64_t method, double seconds, es_claim *claim, es_error *err)
{
    *claim = ES_CLAIM_TAKEN;
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return end(store, claim_locked(store, frame, method, seconds, claim, err), err);
}

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
    ES_TRY(ready(store, SQL_PUT, &s, err, "iittttt", o->frame, o->method, text_or_empty(o->moment.activity),
                 text_or_empty(o->moment.description), apps, topics, text_or_empty(o->raw_text)));
    if (o->reused_from != 0)
        sqlite3_bind_int64(s, 8, o->reused_from);
    else
        sqlite3_bind_null(s, 8);
    ES_TRY(finish(store, s, NULL, err));
    *added = sqlite3_changes(store->db) > 0;
    if (*added) {
        ES_TRY(ready(store, SQL_INDEX, &s, err, "ittt", (int64_t)sqlite3_last_insert_rowid(store->db),
                     text_or_empty(o->moment.description), apps, topics));
        ES_TRY(finish(store, s, NULL, err));
    }
    ES_TRY(ready(store, SQL_UNCLAIM, &s, err, "ii", o->frame, o->method));
    return finish(store, s, NULL, err);
}

es_status es_store_put(es_store *store, const es_stored *stored, bool *added, es_error *err)
{
    char *apps = to_list(stored->moment.apps, stored->moment.app_count, err);
    char *topics = to_list(stored->moment.topics, stored->moment.topic_count, err);
    es_status status = apps == NULL || topics == NULL ? ES_ERR_MEMORY : es_store_run(store, "BEGIN IMMEDIATE", err);
    *added = false;
    if (status == ES_OK)
        status = end(store, put_locked(store, stored, apps, topics, added, err), err);
    free(apps);
    free(topics);
    return status;
}

static es_status reuse_locked(es_store *store, int64_t frame, int64_t method, int64_t from, bool *added, es_error *err)
{
    sqlite3_stmt *s;
    int64_t there = 0;
    ES_TRY(ready(store, SQL_DONE, &s, err, "ii", from, method));
    ES_TRY(finish(store, s, &there, err));
    if (there == 0)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: frame %lld was not observed: nothing to take over", store->path,
                       (long long)from);
    ES_TRY(ready(store, SQL_REUSE, &s, err, "iii", frame, method, from));
    ES_TRY(finish(store, s, NULL, err));
    *added = sqlite3_changes(store->db) > 0;
    if (!*added)
        return ES_OK;
    ES_TRY(ready(store, SQL_INDEX_REUSED, &s, err, "i", (int64_t)sqlite3_last_insert_rowid(store->db)));
    return finish(store, s, NULL, err);
}

es_status es_store_reuse(es_store *store, int64_t frame, int64_t method, int64_t from, bool *added, es_error *err)
{
    *added = false;
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return end(store, reuse_locked(store, frame, method, from, added, err), err);
}

es_status es_store_set_length(es_store *store, int64_t recording, double seconds, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(ready(store, SQL_LENGTH, &s, err, "id", recording, seconds));
    return finish(store, s, NULL, err);
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

static const char *column_text(sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text != NULL ? text : "";
}

/* The columns of COLUMNS; apps and topics hold what the result points to. */
static void read_stored(sqlite3_stmt *s, es_stored *o, word_list *apps, word_list *topics)
{
    from_list(apps, column_text(s, 5));
    from_list(topics, column_text(s, 6));
    *o = (es_stored){.frame = sqlite3_column_int64(s, 0),
                     .method = sqlite3_column_int64(s, 1),
                     .raw_text = column_text(s, 7),
                     .reused_from = sqlite3_column_int64(s, 8)};
    o->moment = (es_moment){.at = (double)sqlite3_column_int64(s, 2) / 1000,
                            .activity = column_text(s, 3),
                            .description = column_text(s, 4),
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
    ES_TRY(ready(store, SQL_EACH, &s, err, "ii", recording, method));
    while (go_on) {
        word_list apps, topics;
        es_stored stored;
        ES_TRY(step(store, s, &row, err));
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
    es_status status = ready(store, SQL_SEARCH, &s, err, "tii", query, recording, limit);
    while (status == ES_OK && row) {
        word_list apps, topics;
        es_hit hit;
        status = step(store, s, &row, err);
        if (status != ES_OK || !row)
            break;
        hit.recording = sqlite3_column_int64(s, 9);
        hit.path = column_text(s, 10);
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
        status = ready(store, SQL_ADD_BLOCK, &s, err, "iiiddtttti", recording, method, (int64_t)number, b->start,
                       b->end, b->activity, apps, topics, outline->subjects[b->subject].name, (int64_t)b->personal);
    if (status == ES_OK)
        status = finish(store, s, NULL, err);
    free(apps);
    free(topics);
    return status;
}

static es_status put_outline_locked(es_store *store, int64_t recording, int64_t method, const es_outline *outline,
                                    es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(ready(store, SQL_DROP_BLOCKS, &s, err, "ii", recording, method));
    ES_TRY(finish(store, s, NULL, err));
    for (size_t i = 0; i < outline->block_count; i++)
        ES_TRY(add_block(store, recording, method, outline, i, err));
    return ES_OK;
}

es_status es_store_put_outline(es_store *store, int64_t recording, int64_t method, const es_outline *outline,
                               es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return end(store, put_outline_locked(store, recording, method, outline, err), err);
}

es_status es_store_put_summary(es_store *store, int64_t recording, int64_t method, const char *form, const char *writer,
                               const char *text, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(ready(store, SQL_PUT_SUMMARY, &s, err, "iittt", recording, method, form, writer, text));
    return finish(store, s, NULL, err);
}

es_status es_store_summary(es_store *store, int64_t recording, int64_t method, const char *form, char **text,
                           es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    *text = NULL;
    ES_TRY(ready(store, SQL_SUMMARY, &s, err, "iit", recording, method, form));
    ES_TRY(step(store, s, &row, err));
    if (!row)
        return ES_OK;
    *text = es_strdup(column_text(s, 0));
    sqlite3_reset(s);
    return *text != NULL ? ES_OK : es_fail_memory(err, "a summary", 0);
}

es_status es_store_list(es_store *store, es_listed_fn fn, void *context, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    ES_TRY(ready(store, SQL_LIST, &s, err, ""));
    for (;;) {
        ES_TRY(step(store, s, &row, err));
        if (!row)
            return ES_OK;
        es_listed listed = {.frames = sqlite3_column_int64(s, 5),
                            .observations = sqlite3_column_int64(s, 6),
                            .blocks = sqlite3_column_int64(s, 7)};
        listed.recording = (es_recording){.id = sqlite3_column_int64(s, 0),
                                          .path = column_text(s, 1),
                                          .size = sqlite3_column_int64(s, 2),
                                          .mtime_ns = sqlite3_column_int64(s, 3),
                                          .seconds = sqlite3_column_double(s, 4)};
        if (!fn(context, &listed))
            break;
    }
    sqlite3_reset(s);
    return ES_OK;
}

static es_status forget_locked(es_store *store, int64_t recording, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(ready(store, SQL_UNINDEX, &s, err, "i", recording));
    ES_TRY(finish(store, s, NULL, err));
    ES_TRY(ready(store, SQL_FORGET, &s, err, "i", recording));
    ES_TRY(finish(store, s, NULL, err));
    /* the index keeps words of deleted rows until it is rewritten */
    return es_store_run(store, "INSERT INTO found (found) VALUES ('optimize')", err);
}

es_status es_store_forget(es_store *store, int64_t recording, es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    ES_TRY(end(store, forget_locked(store, recording, err), err));
    es_store_run(store, "PRAGMA wal_checkpoint(TRUNCATE)", NULL); /* the log holds old pages; a reader may prevent it */
    return ES_OK;
}

static es_status drop_locked(es_store *store, int64_t recording, int64_t method, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(ready(store, SQL_UNINDEX_METHOD, &s, err, "ii", recording, method));
    ES_TRY(finish(store, s, NULL, err));
    ES_TRY(ready(store, SQL_DROP, &s, err, "ii", recording, method));
    ES_TRY(finish(store, s, NULL, err));
    ES_TRY(ready(store, SQL_DROP_BLOCKS, &s, err, "ii", recording, method));
    ES_TRY(finish(store, s, NULL, err));
    return es_store_put_summary(store, recording, method, "run", "", "", err);
}

es_status es_store_drop(es_store *store, int64_t recording, int64_t method, es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return end(store, drop_locked(store, recording, method, err), err);
}

static es_status forget_frame_locked(es_store *store, int64_t frame, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(ready(store, SQL_UNINDEX_FRAME, &s, err, "i", frame));
    ES_TRY(finish(store, s, NULL, err));
    ES_TRY(ready(store, SQL_FORGET_FRAME, &s, err, "i", frame));
    return finish(store, s, NULL, err);
}

es_status es_store_forget_frame(es_store *store, int64_t frame, es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return end(store, forget_frame_locked(store, frame, err), err);
}

es_status es_store_last_method(es_store *store, int64_t recording, int64_t *method, char **model, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    *method = 0;
    *model = NULL;
    ES_TRY(ready(store, SQL_LAST_METHOD, &s, err, "i", recording));
    ES_TRY(step(store, s, &row, err));
    if (!row)
        return ES_OK;
    *method = sqlite3_column_int64(s, 0);
    *model = es_strdup(column_text(s, 1));
    sqlite3_reset(s);
    return *model != NULL ? ES_OK : es_fail_memory(err, "the name of a model", 0);
}

es_status es_store_put_thumbnail(es_store *store, int64_t frame, const void *jpeg, size_t size, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(ready(store, SQL_PUT_THUMBNAIL, &s, err, "i", frame));
    int code = sqlite3_bind_blob64(s, 2, jpeg, size, SQLITE_STATIC);
    return code == SQLITE_OK ? finish(store, s, NULL, err) : fault(store, code, err);
}

es_status es_store_thumbnail(es_store *store, int64_t frame, uint8_t **jpeg, size_t *size, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    *jpeg = NULL;
    *size = 0;
    ES_TRY(ready(store, SQL_THUMBNAIL, &s, err, "i", frame));
    ES_TRY(step(store, s, &row, err));
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

es_status es_store_check(es_store *store, es_error *err)
{
    sqlite3_stmt *s;
    int code = sqlite3_prepare_v2(store->db, "PRAGMA integrity_check(1)", -1, &s, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(s);
    es_status status = ES_OK;
    if (code != SQLITE_ROW)
        status = fault(store, code, err);
    else if (strcmp(column_text(s, 0), "ok") != 0)
        status = es_fail(err, ES_ERR_FORMAT, "%s: the store is damaged (%.200s): move it away and run again",
                         store->path, column_text(s, 0));
    sqlite3_finalize(s);
    if (status == ES_OK)
        status = es_store_run(store, "INSERT INTO found (found) VALUES ('integrity-check')", err);
    return status;
}
