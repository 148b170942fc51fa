/* run.h - describing a recording: what the files of the verb `run` share. */
#ifndef ES_CLI_RUN_H
#define ES_CLI_RUN_H

#include <stdint.h>

#include "cli/cli.h"
#include "cli/session_out.h"
#include "session/redact.h"
#include "session/sampler.h"
#include "session/store.h"

/* --- progress (run_progress.c) --- */
typedef struct es_run_counts {
    size_t asked, reused, before, failed, unparsed, redacted; /* frames */
    size_t expected;                                          /* in all, as far as is known */
    double waited;                                            /* seconds in which no frame was ready for the model */
    const char *activity;                                     /* of the last one; may be NULL */
} es_run_counts;

typedef struct es_run_progress {
    FILE *out; /* NULL: quiet */
    bool json, terminal, shown;
    double began, drawn;
} es_run_progress;

void es_run_progress_begin(es_run_progress *progress, bool quiet, bool json);
void es_run_progress_show(es_run_progress *progress, const es_run_counts *counts, bool now);
void es_run_progress_clear(es_run_progress *progress);

/* --- the work (run_work.c) --- */
typedef struct es_run_work {
    const es_settings *settings;
    es_store *store;
    int64_t recording, method;
    const char *path;
    es_sampler_options sampling;
    const es_out *out;             /* how blocks will be made of it */
    const es_redaction *redaction; /* what is never to be kept; NULL: nothing */
    es_signals *signals;
    escriba_model *model; /* NULL until the first frame needs it */
    es_run_progress progress;
    es_run_counts counts;
    es_sampler_info info; /* out */
    size_t taken;         /* out: frames that another process was at when this one ended */
    char first_failure[512];
} es_run_work;

/* Describes what is not described yet. ES_ERR_CANCELLED: the user asked to stop. All that is done is kept in any
 * case. */
es_status es_run_describe(es_run_work *work, es_error *err);

#endif
