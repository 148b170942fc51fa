#include "session/store_internal.h"

#define APPLICATION_ID 0x65736372 /* "escr" */

/* Step i brings version i to i + 1. A step that was ever released is never changed; a change is a new step. */
static const char *const steps[] = {
    "CREATE TABLE recordings (id INTEGER PRIMARY KEY, path TEXT NOT NULL, size INTEGER NOT NULL,"
    " mtime_ns INTEGER NOT NULL, seconds REAL NOT NULL DEFAULT 0, added INTEGER NOT NULL DEFAULT (unixepoch()),"
    " UNIQUE (path, size, mtime_ns));"
    "CREATE TABLE methods (id INTEGER PRIMARY KEY, model TEXT NOT NULL, prompt TEXT NOT NULL, settings TEXT NOT NULL,"
    " UNIQUE (model, prompt, settings));"
    "CREATE TABLE frames (id INTEGER PRIMARY KEY,"
    " recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, at_ms INTEGER NOT NULL CHECK (at_ms >= 0),"
    " content_hash TEXT, perceptual_hash INTEGER NOT NULL DEFAULT 0, UNIQUE (recording, at_ms));"
    "CREATE TABLE claims (frame INTEGER NOT NULL REFERENCES frames ON DELETE CASCADE,"
    " method INTEGER NOT NULL REFERENCES methods ON DELETE CASCADE, pid INTEGER NOT NULL, host TEXT NOT NULL,"
    " until INTEGER NOT NULL, PRIMARY KEY (frame, method)) WITHOUT ROWID;"
    "CREATE TABLE observations (id INTEGER PRIMARY KEY,"
    " frame INTEGER NOT NULL REFERENCES frames ON DELETE CASCADE,"
    " method INTEGER NOT NULL REFERENCES methods ON DELETE CASCADE, activity TEXT NOT NULL, description TEXT NOT NULL,"
    " apps TEXT NOT NULL, topics TEXT NOT NULL, raw_text TEXT NOT NULL DEFAULT '',"
    " reused_from INTEGER REFERENCES frames ON DELETE SET NULL, UNIQUE (frame, method));"
    "CREATE INDEX observations_reused ON observations (reused_from) WHERE reused_from IS NOT NULL;"
    "CREATE TABLE blocks (recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,"
    " method INTEGER NOT NULL REFERENCES methods ON DELETE CASCADE, number INTEGER NOT NULL, start REAL NOT NULL,"
    " end REAL NOT NULL, activity TEXT NOT NULL, apps TEXT NOT NULL, topics TEXT NOT NULL, subject TEXT NOT NULL,"
    " personal INTEGER NOT NULL, PRIMARY KEY (recording, method, number)) WITHOUT ROWID;"
    "CREATE TABLE summaries (recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,"
    " method INTEGER NOT NULL REFERENCES methods ON DELETE CASCADE, form TEXT NOT NULL, writer TEXT NOT NULL,"
    " text TEXT NOT NULL, PRIMARY KEY (recording, method, form)) WITHOUT ROWID;"
    "CREATE VIRTUAL TABLE found USING fts5 (description, apps, topics, content='observations', content_rowid='id',"
    " tokenize='unicode61 remove_diacritics 2');",
    "CREATE TABLE thumbnails (frame INTEGER PRIMARY KEY REFERENCES frames ON DELETE CASCADE, jpeg BLOB NOT NULL);",
    "ALTER TABLE recordings ADD COLUMN zero REAL;"
    "ALTER TABLE frames ADD COLUMN source INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE frames ADD COLUMN filled INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX frames_content ON frames (recording, content_hash);",
};
#define VERSION ((int)(sizeof steps / sizeof *steps))

static es_status read_pragma(es_store *store, const char *sql, int *value, es_error *err)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        *value = code == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
        if (code == SQLITE_ROW || code == SQLITE_DONE)
            code = SQLITE_OK;
    }
    es_status status = code == SQLITE_OK ? ES_OK : es_store_fault(store->path, store->db, code, err);
    sqlite3_finalize(statement);
    return status;
}

/* Within a transaction that holds the write lock: another process may have done it meanwhile. */
static es_status run_steps(es_store *store, es_error *err)
{
    int id = 0, version = 0, tables = 0;
    ES_TRY(read_pragma(store, "PRAGMA application_id", &id, err));
    ES_TRY(read_pragma(store, "PRAGMA user_version", &version, err));
    ES_TRY(read_pragma(store, "SELECT count(*) FROM sqlite_schema", &tables, err));
    if (id != APPLICATION_ID && (id != 0 || tables > 0))
        return es_fail(err, ES_ERR_FORMAT, "%s: a database of another program: choose another place for the store",
                       store->path);
    if (version > VERSION)
        return es_fail(err, ES_ERR_UNSUPPORTED,
                       "%s: written by a newer escriba (schema %d, this one knows %d): update escriba", store->path,
                       version, VERSION);
    if (version < 0 || (version == 0) != (tables == 0))
        return es_fail(err, ES_ERR_FORMAT,
                       "%s: the store is damaged (schema %d with %d tables): move it away and run again", store->path,
                       version, tables);
    for (; version < VERSION; version++) {
        char set[80];
        sqlite3_snprintf(sizeof set, set, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID,
                         version + 1);
        ES_TRY(es_store_run(store, steps[version], err));
        ES_TRY(es_store_run(store, set, err));
    }
    return ES_OK;
}

es_status es_store_migrate(es_store *store, es_error *err)
{
    int id = 0, version = 0;
    ES_TRY(read_pragma(store, "PRAGMA application_id", &id, err));
    ES_TRY(read_pragma(store, "PRAGMA user_version", &version, err));
    if (id == APPLICATION_ID && version == VERSION)
        return ES_OK; /* nothing to write: the store may be busy */
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    es_status status = run_steps(store, err);
    if (status == ES_OK)
        return es_store_run(store, "COMMIT", err);
    es_store_run(store, "ROLLBACK", NULL);
    return status;
}
