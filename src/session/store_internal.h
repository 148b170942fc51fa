/* store_internal.h - what the store's files share. */
#ifndef ES_SESSION_STORE_INTERNAL_H
#define ES_SESSION_STORE_INTERNAL_H

#include <sqlite3.h>

#include "base/status.h"
#include "session/store.h"

enum { ES_SQL_COUNT = 32 }; /* at most so many prepared statements */

struct es_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *prepared[ES_SQL_COUNT];
};

/* What SQLite last complained of, as one line: what, where, what to do. */
es_status es_store_fault(const char *path, sqlite3 *db, int code, es_error *err);

/* Runs statements without results. */
es_status es_store_run(es_store *store, const char *sql, es_error *err);

/* Brings the file to the present schema, or refuses it. */
es_status es_store_migrate(es_store *store, es_error *err);

#endif
