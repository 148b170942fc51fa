/* redact.h - what is not to be looked at: rules on apps, window titles and times, applied before a frame is decoded.
 *
 * A video knows nothing of windows; a recorder may write a log of them beside it, lines of JSON in order of time:
 *     {"timestamp": 12.5, "app": "Signal", "title": "Mum"}
 * Each line holds until the next. A screenshot's title is its file name. Where there is no log, app rules still apply
 * to what the model names, before anything is kept. */
#ifndef ES_SESSION_REDACT_H
#define ES_SESSION_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct es_redaction es_redaction;

es_status es_redaction_create(es_redaction **redaction, es_error *err);
void es_redaction_free(es_redaction *redaction); /* NULL is fine */
/* "app:Signal", "title:*bank*" (* and ? as in file names, letter case aside), "time:0:10-1:02:03". */
es_status es_redaction_add(es_redaction *redaction, const char *rule, es_error *err);
size_t es_redaction_count(const es_redaction *redaction);
/* Rules on apps or titles there are, but no log to apply them to. */
bool es_redaction_wants_windows(const es_redaction *redaction);
es_status es_redaction_read_windows(es_redaction *redaction, const char *path, es_error *err);

/* Whether the moment is not to be looked at. path: a screenshot's, or NULL. May be called from any thread. */
bool es_redaction_drops(const es_redaction *redaction, double seconds, const char *path);
/* Whether one of the apps is not to be told of. */
bool es_redaction_drops_apps(const es_redaction *redaction, const char *const *apps, size_t count);

#endif
