/* store_frames.c - the store's recordings, methods, frames and claims: who looks at what, and forgetting it. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "session/store_internal.h"

static es_status found(es_store *store, int64_t id, es_error *err)
{
    return id != 0 ? ES_OK : es_store_fault(store->path, store->db, SQLITE_CORRUPT, err);
}

es_status es_store_recording(es_store *store, es_recording *r, es_error *err)
{
    sqlite3_stmt *s;
    r->id = 0;
    ES_TRY(es_sql_ready(store, SQL_FIND_RECORDING, &s, err, "tii", r->path, r->size, r->mtime_ns));
    ES_TRY(es_sql_finish(store, s, &r->id, err));
    if (r->id != 0)
        return ES_OK;
    ES_TRY(es_sql_ready(store, SQL_ADD_RECORDING, &s, err, "tiid", r->path, r->size, r->mtime_ns, r->seconds));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_FIND_RECORDING, &s, err, "tii", r->path, r->size, r->mtime_ns));
    ES_TRY(es_sql_finish(store, s, &r->id, err));
    return found(store, r->id, err);
}

es_status es_store_method(es_store *store, const char *model, const char *prompt, const char *settings, int64_t *id,
                          es_error *err)
{
    sqlite3_stmt *s;
    *id = 0;
    ES_TRY(es_sql_ready(store, SQL_ADD_METHOD, &s, err, "ttt", model, prompt, settings));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_FIND_METHOD, &s, err, "ttt", model, prompt, settings));
    ES_TRY(es_sql_finish(store, s, id, err));
    return found(store, *id, err);
}

static es_status forget_frame_locked(es_store *store, int64_t frame, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_UNINDEX_FRAME, &s, err, "i", frame));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_FORGET_FRAME, &s, err, "i", frame));
    return es_sql_finish(store, s, NULL, err);
}

typedef struct kept_frame {
    int64_t id, source; /* id 0: there is none */
    bool filled, other; /* its content is known to be another */
} kept_frame;

static es_status find_frame(es_store *store, const es_sample *sample, kept_frame *kept, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    *kept = (kept_frame){0};
    ES_TRY(es_sql_ready(store, SQL_FIND_FRAME, &s, err, "ii", sample->recording, sample->at_ms));
    ES_TRY(es_sql_step(store, s, &row, err));
    if (!row)
        return ES_OK;
    const char *content = (const char *)sqlite3_column_text(s, 1);
    *kept = (kept_frame){.id = sqlite3_column_int64(s, 0),
                         .source = sqlite3_column_int64(s, 2),
                         .filled = sqlite3_column_int(s, 3) != 0};
    kept->other = sample->source != 0 && kept->source != sample->source && content != NULL &&
                  (sample->content_hash == NULL || strcmp(content, sample->content_hash) != 0);
    sqlite3_reset(s);
    return ES_OK;
}

static es_status frame_locked(es_store *store, const es_sample *sample, int64_t *id, es_error *err)
{
    sqlite3_stmt *s;
    kept_frame kept;
    int64_t bits;
    memcpy(&bits, &sample->perceptual_hash, sizeof bits);
    ES_TRY(find_frame(store, sample, &kept, err));
    if (kept.id != 0 && !kept.other) {
        bool filled = kept.filled && sample->filled;
        *id = kept.id;
        if (kept.source == sample->source && kept.filled == filled)
            return ES_OK;
        ES_TRY(es_sql_ready(store, SQL_SET_SOURCE, &s, err, "iii", kept.id, sample->source, (int64_t)filled));
        return es_sql_finish(store, s, NULL, err);
    }
    if (kept.id != 0)
        ES_TRY(forget_frame_locked(store, kept.id, err));
    ES_TRY(es_sql_ready(store, SQL_ADD_FRAME, &s, err, "iitiii", sample->recording, sample->at_ms, sample->content_hash,
                        bits, sample->source, (int64_t)sample->filled));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_FIND_FRAME, &s, err, "ii", sample->recording, sample->at_ms));
    ES_TRY(es_sql_finish(store, s, id, err));
    return found(store, *id, err);
}

es_status es_store_frame(es_store *store, const es_sample *sample, int64_t *id, es_error *err)
{
    kept_frame kept;
    *id = 0;
    if (sample->at_ms < 0)
        return es_fail(err, ES_ERR_ARGUMENT, "a frame has no usable time (%lld ms)", (long long)sample->at_ms);
    ES_TRY(find_frame(store, sample, &kept, err)); /* most are there as they should be: nobody need wait then */
    *id = kept.id;
    if (kept.id != 0 && !kept.other && kept.source == sample->source && kept.filled <= sample->filled)
        return ES_OK;
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return es_sql_end(store, frame_locked(store, sample, id, err), err);
}

es_status es_store_find_content(es_store *store, int64_t recording, int64_t method, const char *content_hash,
                                int64_t *frame, es_error *err)
{
    sqlite3_stmt *s;
    *frame = 0;
    ES_TRY(es_sql_ready(store, SQL_FIND_CONTENT, &s, err, "iit", recording, method, content_hash));
    return es_sql_finish(store, s, frame, err);
}

static es_status set_zero_locked(es_store *store, int64_t recording, double *zero, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    ES_TRY(es_sql_ready(store, SQL_ZERO, &s, err, "i", recording));
    ES_TRY(es_sql_step(store, s, &row, err));
    bool any = row && sqlite3_column_type(s, 0) != SQLITE_NULL;
    double before = any ? sqlite3_column_double(s, 0) : INFINITY;
    if (row)
        sqlite3_reset(s);
    if (!(*zero < before)) {
        *zero = before;
        return ES_OK;
    }
    int64_t later = any ? (int64_t)llround((before - *zero) * 1000) : 0;
    for (int back = 0; later > 0 && back < 2; back++) {
        ES_TRY(back ? es_sql_ready(store, SQL_MOVE_BACK, &s, err, "i", recording)
                    : es_sql_ready(store, SQL_MOVE_AWAY, &s, err, "ii", recording, later));
        ES_TRY(es_sql_finish(store, s, NULL, err));
    }
    ES_TRY(es_sql_ready(store, SQL_SET_ZERO, &s, err, "id", recording, *zero));
    return es_sql_finish(store, s, NULL, err);
}

es_status es_store_set_zero(es_store *store, int64_t recording, double *zero, es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return es_sql_end(store, set_zero_locked(store, recording, zero, err), err);
}

es_status es_store_first_open(es_store *store, int64_t recording, int64_t method, int64_t *at_ms, es_error *err)
{
    sqlite3_stmt *s;
    *at_ms = -1;
    ES_TRY(es_sql_ready(store, SQL_FIRST_OPEN, &s, err, "ii", recording, method));
    return es_sql_finish(store, s, at_ms, err);
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

es_status es_store_others(es_store *store, int64_t recording, int64_t method, size_t *taken, es_error *err)
{
    char host[256] = "";
    sqlite3_stmt *s;
    bool row;
    *taken = 0;
    gethostname(host, sizeof host - 1);
    ES_TRY(es_sql_ready(store, SQL_OTHERS, &s, err, "ii", recording, method));
    for (;;) {
        ES_TRY(es_sql_step(store, s, &row, err));
        if (!row)
            return ES_OK;
        if (is_stale(s, host, (int64_t)time(NULL))) { /* free for us: no need to wait for the rest */
            *taken = 0;
            sqlite3_reset(s);
            return ES_OK;
        }
        ++*taken;
    }
}

static es_status claim_locked(es_store *store, int64_t frame, int64_t method, double seconds, es_claim *claim,
                              es_error *err)
{
    char host[256] = "";
    sqlite3_stmt *s;
    int64_t done = 0, now = (int64_t)time(NULL);
    bool row, stale = true;
    gethostname(host, sizeof host - 1);
    ES_TRY(es_sql_ready(store, SQL_DONE, &s, err, "ii", frame, method));
    ES_TRY(es_sql_finish(store, s, &done, err));
    *claim = ES_CLAIM_DONE;
    if (done != 0)
        return ES_OK;
    ES_TRY(es_sql_ready(store, SQL_FIND_CLAIM, &s, err, "ii", frame, method));
    ES_TRY(es_sql_step(store, s, &row, err));
    if (row) {
        stale = is_stale(s, host, now);
        sqlite3_reset(s);
    }
    *claim = ES_CLAIM_TAKEN;
    if (!stale)
        return ES_OK;
    *claim = ES_CLAIM_MINE;
    ES_TRY(es_sql_ready(store, SQL_CLAIM, &s, err, "iiiti", frame, method, (int64_t)getpid(), host,
                        now + (int64_t)(seconds < 1 ? 1 : seconds)));
    return es_sql_finish(store, s, NULL, err);
}

es_status es_store_claim(es_store *store, int64_t frame, int64_t method, double seconds, es_claim *claim, es_error *err)
{
    *claim = ES_CLAIM_TAKEN;
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return es_sql_end(store, claim_locked(store, frame, method, seconds, claim, err), err);
}

es_status es_store_set_length(es_store *store, int64_t recording, double seconds, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_LENGTH, &s, err, "id", recording, seconds));
    return es_sql_finish(store, s, NULL, err);
}

es_status es_store_list(es_store *store, es_listed_fn fn, void *context, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    ES_TRY(es_sql_ready(store, SQL_LIST, &s, err, ""));
    for (;;) {
        ES_TRY(es_sql_step(store, s, &row, err));
        if (!row)
            return ES_OK;
        es_listed listed = {.frames = sqlite3_column_int64(s, 5),
                            .observations = sqlite3_column_int64(s, 6),
                            .blocks = sqlite3_column_int64(s, 7)};
        listed.recording = (es_recording){.id = sqlite3_column_int64(s, 0),
                                          .path = es_sql_text(s, 1),
                                          .size = sqlite3_column_int64(s, 2),
                                          .mtime_ns = sqlite3_column_int64(s, 3),
                                          .seconds = sqlite3_column_double(s, 4)};
        if (!fn(context, &listed))
            break;
    }
    sqlite3_reset(s);
    return ES_OK;
}

/* The index keeps words of deleted rows until it is rewritten. */
static es_status scrub_index(es_store *store, es_error *err)
{
    return es_store_run(store, "INSERT INTO found (found) VALUES ('optimize')", err);
}

/* The log holds old pages; a reader may prevent this, then the next one to close the store does it. */
static void scrub_log(es_store *store)
{
    es_store_run(store, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
}

static es_status forget_locked(es_store *store, int64_t recording, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_UNINDEX, &s, err, "i", recording));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_FORGET, &s, err, "i", recording));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    return scrub_index(store, err);
}

es_status es_store_forget(es_store *store, int64_t recording, es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    ES_TRY(es_sql_end(store, forget_locked(store, recording, err), err));
    scrub_log(store);
    return ES_OK;
}

static es_status drop_locked(es_store *store, int64_t recording, int64_t method, es_error *err)
{
    sqlite3_stmt *s;
    ES_TRY(es_sql_ready(store, SQL_UNINDEX_METHOD, &s, err, "ii", recording, method));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_DROP, &s, err, "ii", recording, method));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_DROP_BLOCKS, &s, err, "ii", recording, method));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    return es_store_put_summary(store, recording, method, "run", "", "", err);
}

es_status es_store_drop(es_store *store, int64_t recording, int64_t method, es_error *err)
{
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    return es_sql_end(store, drop_locked(store, recording, method, err), err);
}

es_status es_store_each_frame(es_store *store, int64_t recording, es_frame_fn fn, void *context, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    ES_TRY(es_sql_ready(store, SQL_EACH_FRAME, &s, err, "i", recording));
    for (;;) {
        ES_TRY(es_sql_step(store, s, &row, err));
        if (!row)
            return ES_OK;
        if (!fn(context, sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1)))
            break;
    }
    sqlite3_reset(s);
    return ES_OK;
}

static es_status forget_frames_locked(es_store *store, int64_t recording, const int64_t *frames, size_t count,
                                      es_error *err)
{
    sqlite3_stmt *s;
    for (size_t i = 0; i < count; i++)
        ES_TRY(forget_frame_locked(store, frames[i], err));
    ES_TRY(es_sql_ready(store, SQL_DROP_TEXTS, &s, err, "i", recording));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    ES_TRY(es_sql_ready(store, SQL_DROP_ALL_BLOCKS, &s, err, "i", recording));
    ES_TRY(es_sql_finish(store, s, NULL, err));
    return scrub_index(store, err);
}

es_status es_store_forget_frames(es_store *store, int64_t recording, const int64_t *frames, size_t count, es_error *err)
{
    if (count == 0)
        return ES_OK;
    ES_TRY(es_store_run(store, "BEGIN IMMEDIATE", err));
    ES_TRY(es_sql_end(store, forget_frames_locked(store, recording, frames, count, err), err));
    scrub_log(store);
    return ES_OK;
}

es_status es_store_last_method(es_store *store, int64_t recording, int64_t *method, char **model, es_error *err)
{
    sqlite3_stmt *s;
    bool row;
    *method = 0;
    *model = NULL;
    ES_TRY(es_sql_ready(store, SQL_LAST_METHOD, &s, err, "i", recording));
    ES_TRY(es_sql_step(store, s, &row, err));
    if (!row)
        return ES_OK;
    *method = sqlite3_column_int64(s, 0);
    *model = es_strdup(es_sql_text(s, 1));
    sqlite3_reset(s);
    return *model != NULL ? ES_OK : es_fail_memory(err, "the name of a model", 0);
}
