#include "session/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "session/store_internal.h"

#define BUSY_MS 10000

#define COLUMNS                                                                                                        \
    " o.frame, o.method, f.at_ms, o.activity, o.description, o.apps, o.topics, o.raw_text, o.reused_from,"             \
    " f.source, f.filled "
static const char *const sql[SQL_END] = {
    [SQL_ADD_RECORDING] = "INSERT INTO recordings (path, size, mtime_ns, seconds) VALUES (?1, ?2, ?3, ?4)"
                          " ON CONFLICT (path, size, mtime_ns) DO NOTHING",
    [SQL_FIND_RECORDING] = "SELECT id FROM recordings WHERE path = ?1 AND size = ?2 AND mtime_ns = ?3",
    [SQL_ADD_METHOD] = "INSERT INTO methods (model, prompt, settings) VALUES (?1, ?2, ?3)"
                       " ON CONFLICT (model, prompt, settings) DO NOTHING",
    [SQL_FIND_METHOD] = "SELECT id FROM methods WHERE model = ?1 AND prompt = ?2 AND settings = ?3",
    [SQL_ADD_FRAME] = "INSERT INTO frames (recording, at_ms, content_hash, perceptual_hash, source, filled)"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (recording, at_ms) DO NOTHING",
    [SQL_FIND_FRAME] = "SELECT id, content_hash, source, filled FROM frames WHERE recording = ?1 AND at_ms = ?2",
    [SQL_SET_SOURCE] = "UPDATE frames SET source = ?2, filled = ?3 WHERE id = ?1",
    [SQL_FIND_CONTENT] =
        "SELECT f.id FROM frames f JOIN observations o ON o.frame = f.id WHERE f.recording = ?1"
        " AND f.content_hash = ?3 AND o.method = ?2 ORDER BY o.reused_from IS NOT NULL, f.at_ms LIMIT 1",
    [SQL_ZERO] = "SELECT zero FROM recordings WHERE id = ?1",
    [SQL_SET_ZERO] = "UPDATE recordings SET zero = ?2 WHERE id = ?1",
    /* in two steps: no two frames of a recording may have the same time, not even for a moment */
    [SQL_MOVE_AWAY] = "UPDATE frames SET at_ms = at_ms + ?2 + 1000000000000000 WHERE recording = ?1",
    [SQL_MOVE_BACK] = "UPDATE frames SET at_ms = at_ms - 1000000000000000 WHERE recording = ?1",
    [SQL_OTHERS] = "SELECT pid, host, until FROM claims JOIN frames f ON f.id = frame"
                   " WHERE f.recording = ?1 AND method = ?2",
    [SQL_EACH_FRAME] = "SELECT id, at_ms FROM frames WHERE recording = ?1 ORDER BY at_ms",
    [SQL_DROP_TEXTS] = "DELETE FROM summaries WHERE recording = ?1",
    [SQL_DROP_ALL_BLOCKS] = "DELETE FROM blocks WHERE recording = ?1",
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
                 " WHERE f.recording = ?1 AND (?2 = 0 OR o.method = ?2) ORDER BY f.at_ms",
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
    [SQL_FIRST_OPEN] = "SELECT at_ms FROM frames f WHERE recording = ?1 AND filled = 0 AND NOT EXISTS"
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

/* The one statement that SQLite does not wait for by itself: of two processes that turn a new file's journal to WAL at
 * the same moment, one is refused at once. */
static es_status use_wal(es_store *store, es_error *err)
{
    double until = es_now() + BUSY_MS / 1000.0;
    for (;;) {
        int code = sqlite3_exec(store->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if ((code & 0xff) != SQLITE_BUSY || es_now() >= until) /* the primary code is the low byte */
            return code == SQLITE_OK ? ES_OK : fault(store, code, err);
        sqlite3_sleep(5);
    }
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
                        "PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;",
                        err));
    ES_TRY(use_wal(store, err));
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

es_status es_sql_ready(es_store *store, int which, sqlite3_stmt **statement, es_error *err, const char *types, ...)
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

es_status es_sql_step(es_store *store, sqlite3_stmt *statement, bool *row, es_error *err)
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

es_status es_sql_finish(es_store *store, sqlite3_stmt *statement, int64_t *first, es_error *err)
{
    bool row;
    ES_TRY(es_sql_step(store, statement, &row, err));
    if (row && first != NULL)
        *first = sqlite3_column_int64(statement, 0);
    if (row) {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
    return ES_OK;
}

es_status es_sql_end(es_store *store, es_status status, es_error *err)
{
    if (status == ES_OK)
        status = es_store_run(store, "COMMIT", err);
    if (status != ES_OK && !sqlite3_get_autocommit(store->db))
        es_store_run(store, "ROLLBACK", NULL);
    return status;
}

const char *es_sql_text(sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text != NULL ? text : "";
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
    else if (strcmp(es_sql_text(s, 0), "ok") != 0)
        status = es_fail(err, ES_ERR_FORMAT, "%s: the store is damaged (%.200s): move it away and run again",
                         store->path, es_sql_text(s, 0));
    sqlite3_finalize(s);
    if (status == ES_OK)
        status = es_store_run(store, "INSERT INTO found (found) VALUES ('integrity-check')", err);
    return status;
}
