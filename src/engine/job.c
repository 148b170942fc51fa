/* job.c - a whole list through an engine. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/internal.h"

typedef struct job_run {
    es_engine *engine;
    const es_job *job;
    bool stopped;
    bool more;
} job_run;

/* One sequence of the job. */
typedef struct entry {
    job_run *run;
    void *tag;
} entry;

static bool on_piece(void *context, const char *text)
{
    entry *one = context;
    if (!one->run->job->piece(one->run->job->context, one->tag, text))
        one->run->stopped = true;
    return !one->run->stopped;
}

static void on_finished(void *context, const es_answer *answer)
{
    entry *one = context;
    job_run *r = one->run;
    /* After a stop what was under way goes without a word. */
    if (!r->stopped && !r->job->finished(r->job->context, one->tag, answer))
        r->stopped = true;
    free(one);
}

/* Answers a prompt that never became a sequence. */
static void refuse(job_run *r, void *tag, es_status status, const es_error *error)
{
    es_answer answer = {.status = status, .error = *error, .text = ""};
    if (!r->job->finished(r->job->context, tag, &answer))
        r->stopped = true;
}

static void add_next(job_run *r)
{
    es_error own = {0};
    void *tag = NULL;
    es_request request = {
        .piece = r->job->piece != NULL ? on_piece : NULL, .finished = on_finished, .watch = r->job->watch};
    es_status status = r->job->next(r->job->context, &request.prompt, &request.generation, &tag, &r->more, &own);
    if (status == ES_OK && !r->more)
        return;
    r->more = true;
    entry *one = NULL;
    if (status == ES_OK) {
        one = es_calloc(1, sizeof *one);
        if (one == NULL)
            status = es_fail_memory(&own, "a sequence", sizeof *one);
    }
    if (status == ES_OK) {
        *one = (entry){r, tag};
        request.context = one;
        status = es_engine_add(r->engine, &request, NULL, &own);
    }
    if (status != ES_OK) {
        free(one);
        refuse(r, tag, status, &own);
    }
}

es_status es_engine_run(es_engine *engine, const es_job *job, es_error *err)
{
    job_run r = {.engine = engine, .job = job, .more = true};
    bool idle = false;
    es_status status = ES_OK;
    if (engine->first != NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "the engine has other work");
    while (status == ES_OK && !r.stopped && (r.more || !idle)) {
        while (r.more && !r.stopped && es_engine_count(engine) < (size_t)engine->options.batch &&
               !es_cancel_asked(job->cancel))
            add_next(&r);
        if (!r.stopped)
            status = es_engine_step(engine, job->cancel, &idle, err);
    }
    if (status == ES_OK && r.stopped)
        status = es_fail(err, ES_ERR_CANCELLED, "stopped by the caller");
    r.stopped = true;
    while (engine->first != NULL)
        es_engine_drop(engine, engine->first->id);
    return status;
}
