/* run_work.c - frames from the sampler to the model, observations to the store, each as it is done. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cli/run.h"
#include "session/session.h"

#define CHUNK_FRAMES 32
#define CHUNK_BYTES ((size_t)128 << 20)
#define CLAIM_SECONDS 3600.0
#define OTHERS_SECONDS 1.0 /* between looks at what another process is at */

typedef enum state { DONE, WAITING, FAILED, TAKEN, REDACTED } state;

/* What became of a sample. */
typedef struct mark {
    int64_t at_ms, frame;
    state state;
} mark;

/* A sample that shows nothing new, whose original is not answered yet. */
typedef struct follower {
    size_t original; /* of `marks` */
    size_t mark;
} follower;

typedef struct pass {
    es_run_work *w;
    escriba_model *model; /* NULL until the first frame needs it */
    es_sampler *sampler;
    atomic_bool cancel;
    es_session before; /* what the store held when we began */
    mark *marks;       /* by time */
    size_t mark_count, mark_room;
    follower *followers;
    size_t follower_count, follower_room;
    es_shot shots[CHUNK_FRAMES]; /* to be asked together */
    size_t asked[CHUNK_FRAMES];  /* their marks */
    size_t shot_count, shot_bytes;
    es_status status; /* of the store, within a callback */
    es_error error;
    char activity[32];
} pass;

static int compare_marks(const void *a, const void *b)
{
    const mark *x = a, *y = b;
    return (x->at_ms > y->at_ms) - (x->at_ms < y->at_ms);
}

static mark *find_mark(const pass *p, int64_t at_ms)
{
    mark key = {.at_ms = at_ms};
    return p->mark_count == 0 ? NULL : bsearch(&key, p->marks, p->mark_count, sizeof key, compare_marks);
}

/* The observation of that moment that was there when we began; SIZE_MAX: none. */
static size_t was_done(const pass *p, int64_t at_ms)
{
    size_t low = 0, high = p->before.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int64_t at = (int64_t)llround(p->before.moments[middle].at * 1000);
        if (at == at_ms)
            return middle;
        if (at < at_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

/* Samples come in order of time, so the marks are in order. */
static es_status add_mark(pass *p, mark m, es_error *err)
{
    void *marks = p->marks;
    if (es_grow(&marks, &p->mark_room, p->mark_count + 1, sizeof *p->marks) != 0)
        return es_fail_memory(err, "the samples of a recording", p->mark_count * sizeof *p->marks);
    p->marks = marks;
    p->marks[p->mark_count++] = m;
    return ES_OK;
}

static void failed(pass *p, const char *why)
{
    if (p->w->counts.failed++ == 0)
        snprintf(p->w->first_failure, sizeof p->w->first_failure, "%s", why);
}

/* --- answers --- */

/* Gives the samples that show the same what this one became. */
static es_status settle_followers(pass *p, size_t original, es_error *err)
{
    const mark *m = &p->marks[original];
    size_t kept = 0;
    es_status status = ES_OK;
    for (size_t i = 0; i < p->follower_count; i++) {
        follower f = p->followers[i];
        if (f.original != original || status != ES_OK) {
            p->followers[kept++] = f;
            continue;
        }
        bool added = false;
        p->marks[f.mark].state = m->state;
        if (m->state == DONE)
            status = es_store_reuse(p->w->store, p->marks[f.mark].frame, p->w->method, m->frame, &added, err);
        p->w->counts.failed += m->state == FAILED;
        p->w->counts.redacted += m->state == REDACTED;
        p->w->counts.reused += added;
    }
    p->follower_count = kept;
    return status;
}

static es_status keep(pass *p, size_t place, const escriba_observation *seen, es_error *err)
{
    const es_shot *shot = &p->shots[place];
    mark *m = &p->marks[p->asked[place]];
    bool added;
    es_stored stored = {.frame = m->frame, .method = p->w->method, .raw_text = seen->raw_text};
    stored.moment = (es_moment){.activity = seen->activity,
                                .description = seen->description,
                                .apps = seen->apps,
                                .app_count = seen->app_count,
                                .topics = seen->topics,
                                .topic_count = seen->topic_count};
    if (shot->jpeg != NULL)
        ES_TRY(es_store_put_thumbnail(p->w->store, m->frame, shot->jpeg, shot->jpeg_size, err));
    ES_TRY(es_store_put(p->w->store, &stored, &added, err));
    m->state = DONE;
    return ES_OK;
}

static int observed(void *context, const escriba_observation *seen)
{
    pass *p = context;
    size_t place = seen->index;
    if (seen->status != ESCRIBA_OK) {
        p->marks[p->asked[place]].state = FAILED;
        failed(p, seen->error);
    } else if (p->w->redaction != NULL && es_redaction_drops_apps(p->w->redaction, seen->apps, seen->app_count)) {
        p->marks[p->asked[place]].state = REDACTED;
        p->w->counts.redacted++;
        p->status = es_store_forget_frame(p->w->store, p->marks[p->asked[place]].frame, &p->error);
    } else {
        p->status = keep(p, place, seen, &p->error);
        p->w->counts.asked++;
        p->w->counts.unparsed += !seen->parsed;
        snprintf(p->activity, sizeof p->activity, "%s", seen->activity);
        p->w->counts.activity = p->activity;
    }
    if (p->status == ES_OK)
        p->status = settle_followers(p, p->asked[place], &p->error);
    es_run_progress_show(&p->w->progress, &p->w->counts, false);
    return p->status == ES_OK ? 0 : 1;
}

static void ask_to_stop(void *context)
{
    pass *p = context;
    if (p->w->sampling.follow) {
        es_sampler_finish(p->sampler); /* what is there is still described, and the card made */
        return;
    }
    atomic_store(&p->cancel, true);
    if (p->model != NULL)
        escriba_cancel(p->model);
}

static es_status open_model(pass *p, es_error *err)
{
    escriba_model *model;
    if (p->model != NULL)
        return ES_OK;
    ES_TRY(es_open_model(p->w->settings, false, &model, err));
    es_signals_ask(p->w->signals, NULL, NULL); /* waits for a call under way: it may look at p->model */
    p->model = model;
    es_signals_ask(p->w->signals, ask_to_stop, p);
    p->w->progress.began = es_now(); /* a rate without the time to open the model */
    return ES_OK;
}

/* Asks for all shots that were gathered. */
static es_status flush(pass *p, es_error *err)
{
    escriba_frame frames[CHUNK_FRAMES];
    escriba_request request;
    escriba_error error = {0};
    if (p->shot_count == 0)
        return ES_OK;
    if (!p->w->sampling.follow && es_signals_caught(p->w->signals))
        return es_fail(err, ES_ERR_CANCELLED, "cancelled");
    ES_TRY(open_model(p, err));
    for (size_t i = 0; i < p->shot_count; i++)
        frames[i] = (escriba_frame){.rgb = p->shots[i].image.rgb,
                                    .width = p->shots[i].image.width,
                                    .height = p->shots[i].image.height,
                                    .timestamp = (double)p->shots[i].at_ms / 1000};
    es_fill_request(p->w->settings, &request);
    escriba_status status =
        escriba_classify_frames(p->model, frames, p->shot_count, &request, observed, NULL, p, &error);
    for (size_t i = 0; i < p->shot_count; i++)
        es_shot_free(&p->shots[i]);
    p->shot_count = p->shot_bytes = 0;
    if (p->status != ES_OK) { /* the store's fault, not the model's */
        *err = p->error;
        return p->status;
    }
    return status == ESCRIBA_OK ? ES_OK : es_fail(err, (es_status)status, "%s", error.message);
}

/* --- samples --- */

/* A sample that equals an earlier one. */
static es_status follow(pass *p, const es_shot *shot, mark m, es_error *err)
{
    const mark *original = find_mark(p, shot->same_as_ms);
    bool added = false;
    m.state = original == NULL ? FAILED : original->state;
    if (original != NULL && original->state == DONE)
        ES_TRY(es_store_reuse(p->w->store, m.frame, p->w->method, original->frame, &added, err));
    p->w->counts.reused += added;
    p->w->counts.failed += m.state == FAILED;
    p->w->counts.redacted += m.state == REDACTED;
    p->w->taken += m.state == TAKEN;
    if (m.state == WAITING) {
        void *followers = p->followers;
        if (es_grow(&followers, &p->follower_room, p->follower_count + 1, sizeof *p->followers) != 0)
            return es_fail_memory(err, "the samples of a recording", 0);
        p->followers = followers;
        p->followers[p->follower_count++] = (follower){(size_t)(original - p->marks), p->mark_count};
    }
    return add_mark(p, m, err);
}

/* Decides what a sample needs; takes the shot over when it is to be asked. */
static es_status take(pass *p, es_shot *shot, es_error *err)
{
    mark m = {.at_ms = shot->at_ms, .state = DONE};
    es_claim claim;
    size_t known = was_done(p, shot->at_ms);
    if (known != SIZE_MAX) {
        m.frame = p->before.frames[known];
        p->w->counts.before++;
        return add_mark(p, m, err);
    }
    const char *content = shot->content[0] != '\0' ? shot->content : NULL;
    ES_TRY(es_store_frame(p->w->store, p->w->recording, shot->at_ms, content, shot->perceptual, &m.frame, err));
    if (shot->status != ES_OK) {
        failed(p, shot->error.message);
        m.state = FAILED;
        return add_mark(p, m, err);
    }
    if (shot->same)
        return follow(p, shot, m, err);
    ES_TRY(es_store_claim(p->w->store, m.frame, p->w->method, CLAIM_SECONDS, &claim, err));
    m.state = claim == ES_CLAIM_MINE ? WAITING : claim == ES_CLAIM_DONE ? DONE : TAKEN;
    p->w->counts.before += claim == ES_CLAIM_DONE;
    p->w->taken += claim == ES_CLAIM_TAKEN;
    ES_TRY(add_mark(p, m, err));
    if (m.state == WAITING) {
        p->asked[p->shot_count] = p->mark_count - 1;
        p->shot_bytes += (size_t)shot->image.width * (size_t)shot->image.height * 3;
        p->shots[p->shot_count++] = *shot;
        *shot = (es_shot){0};
    }
    return ES_OK;
}

static es_status take_all(pass *p, es_error *err)
{
    for (;;) {
        es_shot shot;
        bool ready, end, follow_up = p->w->sampling.follow && p->shot_count > 0;
        if (atomic_load(&p->cancel))
            return es_fail(err, ES_ERR_CANCELLED, "cancelled");
        es_status status = es_sampler_next(p->sampler, !follow_up, &shot, &ready, &end, err);
        if (status != ES_OK) {
            flush(p, NULL); /* what was found before is not lost */
            return status;
        }
        es_sampler_tell(p->sampler, &p->w->info);
        p->w->counts.expected = p->w->info.expected;
        if (ready) {
            status = take(p, &shot, err);
            es_shot_free(&shot);
            ES_TRY(status);
            es_run_progress_show(&p->w->progress, &p->w->counts, false);
        }
        if (end || !ready || p->shot_count == CHUNK_FRAMES || p->shot_bytes > CHUNK_BYTES)
            ES_TRY(flush(p, err));
        if (end)
            return ES_OK;
    }
}

/* Where to begin: up to there every beat of the interval, and every sample in between, is done. That sample is looked
 * at again, so that the next one can be compared with it. */
static es_status begin_at(const pass *p, int64_t *from_ms, es_error *err)
{
    double interval = p->w->sampling.interval > 0 ? p->w->sampling.interval : 10;
    int64_t open;
    *from_ms = 0;
    if (es_dir_exists(p->w->path)) /* its pictures keep to no beat */
        return ES_OK;
    ES_TRY(es_store_first_open(p->w->store, p->w->recording, p->w->method, &open, err));
    for (size_t beat = 0; beat < p->before.count; beat++) {
        int64_t at = (int64_t)llround((double)beat * interval * 1000);
        size_t known = was_done(p, at);
        if (known == SIZE_MAX || (open >= 0 && at >= open))
            break;
        *from_ms = p->before.own[known] ? at : *from_ms;
    }
    return ES_OK;
}

/* What an earlier run kept and the rules of this one forbid is taken out of the store. */
static es_status redact_kept(es_run_work *w, es_error *err)
{
    es_session kept;
    if (w->redaction == NULL)
        return ES_OK;
    ES_TRY(es_session_load(&kept, w->store, w->recording, w->method, err));
    es_status status = ES_OK;
    for (size_t i = 0; i < kept.count && status == ES_OK; i++) {
        const es_moment *m = &kept.moments[i];
        if (es_redaction_drops(w->redaction, m->at, NULL) ||
            es_redaction_drops_apps(w->redaction, m->apps, m->app_count)) {
            status = es_store_forget_frame(w->store, kept.frames[i], err);
            w->counts.redacted++;
        }
    }
    es_session_free(&kept);
    return status;
}

static es_status run_pass(es_run_work *w, es_error *err)
{
    pass p = {.w = w};
    w->taken = 0;
    w->counts.before = w->counts.failed = 0;
    ES_TRY(es_session_load(&p.before, w->store, w->recording, w->method, err));
    es_sampler_options sampling = w->sampling;
    es_status status = begin_at(&p, &sampling.from_ms, err);
    w->counts.before = 0;
    for (size_t i = 0; i < p.before.count; i++) /* those passed over */
        w->counts.before += (int64_t)llround(p.before.moments[i].at * 1000) < sampling.from_ms;
    if (status == ES_OK)
        status = es_sampler_open(&p.sampler, w->path, &sampling, err);
    if (status == ES_OK) {
        es_signals_ask(w->signals, ask_to_stop, &p);
        status = take_all(&p, err);
        es_signals_ask(w->signals, NULL, NULL);
        es_sampler_tell(p.sampler, &w->info);
    }
    w->counts.activity = NULL;
    for (size_t i = 0; i < p.shot_count; i++)
        es_shot_free(&p.shots[i]);
    es_sampler_close(p.sampler);
    escriba_free(p.model);
    es_session_free(&p.before);
    free(p.marks);
    free(p.followers);
    return status;
}

es_status es_run_describe(es_run_work *w, es_error *err)
{
    size_t passes = 0;
    ES_TRY(redact_kept(w, err));
    for (;;) {
        ES_TRY(run_pass(w, err));
        if (w->taken == 0 || es_signals_caught(w->signals))
            break;
        /* Another process is at some frames. Wait: it will finish them, or die and leave them to us. */
        if (passes++ == 0 && w->progress.out != NULL)
            fprintf(stderr, "escriba: another escriba is describing %zu of the frames: waiting for it\n", w->taken);
        for (double waited = 0; waited < OTHERS_SECONDS && !es_signals_caught(w->signals); waited += 0.1)
            usleep(100000);
    }
    w->stopped = es_signals_caught(w->signals);
    size_t own = w->counts.asked + w->counts.reused; /* a second pass finds them done before */
    w->counts.before = passes > 0 && w->counts.before >= own ? w->counts.before - own : w->counts.before;
    return ES_OK;
}
