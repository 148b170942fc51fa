/* store_internal.h - what the store's files share. */
#ifndef ES_SESSION_STORE_INTERNAL_H
#define ES_SESSION_STORE_INTERNAL_H

#include <sqlite3.h>

#include "base/status.h"
#include "session/store.h"

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
    SQL_FIND_CONTENT,
    SQL_ZERO,
    SQL_SET_ZERO,
    SQL_MOVE_AWAY,
    SQL_MOVE_BACK,
    SQL_SET_SOURCE,
    SQL_OTHERS,
    SQL_EACH_FRAME,
    SQL_DROP_TEXTS,
    SQL_DROP_ALL_BLOCKS,
    SQL_END
};

struct es_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *prepared[SQL_END];
};

/* What SQLite last complained of, as one line: what, where, what to do. */
es_status es_store_fault(const char *path, sqlite3 *db, int code, es_error *err);

/* Makes a statement ready. `types` says what follows: i int64_t, d double, t text (NULL: SQL NULL). Texts must live
 * until the statement is reset. */
es_status es_sql_ready(es_store *store, int which, sqlite3_stmt **statement, es_error *err, const char *types, ...);
/* One step; *row says whether there is one. Anything but a row resets the statement. */
es_status es_sql_step(es_store *store, sqlite3_stmt *statement, bool *row, es_error *err);
/* Runs to the end; *first (may be NULL) is the first column of the first row, or is left alone. */
es_status es_sql_finish(es_store *store, sqlite3_stmt *statement, int64_t *first, es_error *err);
/* Ends a transaction by what became of it. */
es_status es_sql_end(es_store *store, es_status status, es_error *err);
/* Never NULL. */
const char *es_sql_text(sqlite3_stmt *statement, int column);

/* Runs statements without results. */
es_status es_store_run(es_store *store, const char *sql, es_error *err);

/* Brings the file to the present schema, or refuses it. */
es_status es_store_migrate(es_store *store, es_error *err);

#endif
