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
#include "session/novelty.h"
#include "session/session.h"
#include "session/shots.h"

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
    es_sampler *sampler;
    atomic_bool cancel;
    es_session before; /* what the store held when we began */
    bool filling;      /* samples between those of the interval, after each of which a known one comes */
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
        p->status =
            es_store_forget_frames(p->w->store, p->w->recording, &p->marks[p->asked[place]].frame, 1, &p->error);
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
    if (p->w->model != NULL)
        escriba_cancel(p->w->model);
}

static void drain(void *context, size_t endpoint)
{
    escriba_drain(context, endpoint);
}

static es_status open_model(pass *p, es_error *err)
{
    escriba_model *model;
    if (p->w->model != NULL)
        return ES_OK;
    ES_TRY(es_open_model(p->w->settings, false, &model, err));
    es_signals_ask(p->w->signals, NULL, NULL); /* waits for a call under way: it may look at the model */
    p->w->model = model;
    es_signals_ask(p->w->signals, ask_to_stop, p);
    es_signals_drain(p->w->signals, drain, model);
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
        escriba_classify_frames(p->w->model, frames, p->shot_count, &request, observed, NULL, p, &error);
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

/* What the sampler need not look at. On its thread: `before` stays as it is. */
static es_known what_is_known(void *context, int64_t at_ms, int64_t source)
{
    const pass *p = context;
    size_t known = was_done(p, at_ms);
    if (known == SIZE_MAX || p->before.kept[known].source != source)
        return ES_KNOWN_NOT;
    return p->before.kept[known].own ? ES_KNOWN_OWN : ES_KNOWN_SAME;
}

/* Takes over what was said of the very same picture at another time, by an earlier run. */
static es_status take_over(pass *p, const es_shot *shot, mark *m, es_error *err)
{
    int64_t from;
    bool added = false;
    m->state = WAITING;
    if (p->w->sampling.threshold < 0)
        return ES_OK;
    ES_TRY(es_store_find_content(p->w->store, p->w->recording, p->w->method, shot->content, &from, err));
    if (from == 0)
        return ES_OK;
    es_status status =
        from == m->frame ? ES_OK : es_store_reuse(p->w->store, m->frame, p->w->method, from, &added, err);
    if (status == ES_ERR_ARGUMENT) /* another process dropped it meanwhile */
        return ES_OK;
    ES_TRY(status);
    if (shot->jpeg != NULL)
        ES_TRY(es_store_put_thumbnail(p->w->store, m->frame, shot->jpeg, shot->jpeg_size, err));
    m->state = DONE;
    p->w->counts.reused += added;
    p->w->counts.before += !added;
    return ES_OK;
}

/* A sample to be asked of the model, unless somebody else is at it; takes the shot over. */
static es_status ask_for(pass *p, es_shot *shot, mark m, es_error *err)
{
    es_claim claim;
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

/* Decides what a sample needs. */
static es_status take(pass *p, es_shot *shot, es_error *err)
{
    mark m = {.at_ms = shot->at_ms, .state = DONE};
    if (shot->known != ES_KNOWN_NOT) {
        const es_kept *kept = &p->before.kept[was_done(p, shot->at_ms)];
        m.frame = kept->frame;
        p->w->counts.before += !p->filling || kept->filled;
        if (kept->filled && !p->filling) { /* a finer interval came upon what once filled a gap */
            es_sample beat = {.recording = p->w->recording, .at_ms = shot->at_ms};
            ES_TRY(es_store_frame(p->w->store, &beat, &m.frame, err));
        }
        return add_mark(p, m, err);
    }
    es_sample sample = {.recording = p->w->recording,
                        .at_ms = shot->at_ms,
                        .content_hash = shot->content[0] != '\0' ? shot->content : NULL,
                        .perceptual_hash = shot->perceptual,
                        .source = shot->source,
                        .filled = p->filling};
    ES_TRY(es_store_frame(p->w->store, &sample, &m.frame, err));
    if (shot->status != ES_OK) {
        failed(p, shot->error.message);
        m.state = FAILED;
        return add_mark(p, m, err);
    }
    if (shot->same)
        return follow(p, shot, m, err);
    ES_TRY(take_over(p, shot, &m, err));
    return m.state == DONE ? add_mark(p, m, err) : ask_for(p, shot, m, err);
}

static es_status take_all(pass *p, es_error *err)
{
    for (;;) {
        es_shot shot;
        bool ready, end, follow_up = p->w->sampling.follow && p->shot_count > 0;
        if (atomic_load(&p->cancel))
            return es_fail(err, ES_ERR_CANCELLED, "cancelled");
        double began = es_now();
        es_status status = es_sampler_next(p->sampler, !follow_up, &shot, &ready, &end, err);
        p->w->counts.waited += p->w->sampling.follow ? 0 : es_now() - began;
        if (status != ES_OK) {
            flush(p, NULL); /* what was found before is not lost */
            return status;
        }
        if (!p->filling) {
            es_sampler_tell(p->sampler, &p->w->info);
            p->w->counts.expected = p->w->info.expected;
        }
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

/* Where to begin: up to there every beat of the interval, and every sample in between, is done. The last few samples
 * that were new are looked at again, so that the next one can be compared with them. */
static es_status begin_at(const pass *p, int64_t *from_ms, es_error *err)
{
    double interval = p->w->sampling.interval > 0 ? p->w->sampling.interval : 10;
    int64_t open, own[ES_ANCHORS] = {0};
    size_t owns = 0;
    *from_ms = 0;
    if (es_dir_exists(p->w->path)) /* its pictures keep to no beat */
        return ES_OK;
    ES_TRY(es_store_first_open(p->w->store, p->w->recording, p->w->method, &open, err));
    for (size_t beat = 0; beat < p->before.count; beat++) {
        int64_t at = (int64_t)llround((double)beat * interval * 1000);
        size_t known = was_done(p, at);
        if (known == SIZE_MAX || (open >= 0 && at >= open))
            break;
        if (p->before.kept[known].own)
            own[owns++ % ES_ANCHORS] = at;
    }
    *from_ms = owns >= ES_ANCHORS ? own[owns % ES_ANCHORS] : 0;
    return ES_OK;
}

/* moments NULL: by the interval; else samples to fill in, each stretch of them after one that is known. */
static es_status run_pass(es_run_work *w, const double *moments, size_t count, es_error *err)
{
    pass p = {.w = w, .filling = moments != NULL};
    es_sampler_options sampling = w->sampling;
    w->taken = 0;
    ES_TRY(es_session_load(&p.before, w->store, w->recording, w->method, err));
    sampling.moments = moments;
    sampling.moment_count = count;
    sampling.known = what_is_known;
    sampling.known_context = &p;
    es_status status = p.filling ? ES_OK : begin_at(&p, &sampling.from_ms, err);
    for (size_t i = 0; i < p.before.count; i++) /* those passed over */
        w->counts.before += (int64_t)llround(p.before.moments[i].at * 1000) < sampling.from_ms;
    if (status == ES_OK)
        status = es_sampler_open(&p.sampler, w->path, &sampling, err);
    if (status == ES_OK) {
        es_signals_ask(w->signals, ask_to_stop, &p);
        if (w->model != NULL) /* of the pass before */
            es_signals_drain(w->signals, drain, w->model);
        status = take_all(&p, err);
        es_signals_ask(w->signals, NULL, NULL);
        es_signals_drain(w->signals, NULL, NULL);
        if (!p.filling)
            es_sampler_tell(p.sampler, &w->info);
    }
    w->counts.activity = NULL;
    for (size_t i = 0; i < p.shot_count; i++)
        es_shot_free(&p.shots[i]);
    es_sampler_close(p.sampler);
    es_session_free(&p.before);
    free(p.marks);
    free(p.followers);
    return status;
}

/* Until no other process is at a frame of this recording, or one left its frame to us. */
static es_status wait_for_others(es_run_work *w, es_error *err)
{
    size_t taken = w->taken;
    while (taken > 0 && !es_signals_caught(w->signals)) {
        for (double waited = 0; waited < OTHERS_SECONDS && !es_signals_caught(w->signals); waited += 0.1)
            usleep(100000);
        ES_TRY(es_store_others(w->store, w->recording, w->method, &taken, err));
    }
    return ES_OK;
}

/* Describes all samples of that kind, those too that another process began and left. */
static es_status describe_all(es_run_work *w, const double *moments, size_t count, es_error *err)
{
    es_run_counts first = w->counts;
    for (size_t passes = 0;; passes++) {
        w->counts.before = first.before;
        w->counts.failed = first.failed;
        ES_TRY(run_pass(w, moments, count, err));
        if (passes > 0) { /* it found our own done before */
            size_t own = w->counts.asked + w->counts.reused - first.asked - first.reused;
            w->counts.before = w->counts.before > own ? w->counts.before - own : 0;
        }
        if (w->taken == 0 || es_signals_caught(w->signals))
            return ES_OK;
        if (passes == 0 && w->progress.out != NULL && !w->progress.json) {
            es_run_progress_clear(&w->progress);
            fprintf(w->progress.out, "escriba: another escriba is describing %zu of the frames: waiting for it\n",
                    w->taken);
        }
        ES_TRY(wait_for_others(w, err));
    }
}

/* --- between samples --- */

typedef struct gaps {
    double *moments;
    size_t count, room, anchors;
} gaps;

static es_status add_moment(gaps *g, double seconds, es_error *err)
{
    void *moments = g->moments;
    if (es_grow(&moments, &g->room, g->count + 1, sizeof *g->moments) != 0)
        return es_fail_memory(err, "the samples of a recording", g->count * sizeof *g->moments);
    g->moments = moments;
    g->moments[g->count++] = seconds;
    return ES_OK;
}

/* Moments between the last sample of each block and the first of the next; before them that last sample, which they
 * are compared with. */
static es_status fill_between(gaps *g, const es_outline *o, const es_moment *moments, double fill, es_error *err)
{
    for (size_t b = 0; b + 1 < o->block_count; b++) {
        const es_block *next = &o->blocks[b + 1];
        double last = moments[next->first - 1].at, first = moments[next->first].at;
        if (o->blocks[b].end < next->start - 0.001 || first - last - fill < fill / 2)
            continue; /* a pause; or near enough */
        ES_TRY(add_moment(g, last, err));
        g->anchors++;
        for (double at = last + fill; first - at >= fill / 2; at += fill)
            ES_TRY(add_moment(g, round(at * 1000) / 1000, err));
    }
    return ES_OK;
}

/* Where the samples by the interval say that one thing ended and another began, the moment is looked for. */
static es_status find_gaps(es_run_work *w, gaps *g, es_error *err)
{
    es_session session;
    es_outline outline = {0};
    es_segment_options options;
    size_t count = 0;
    es_out_segments(w->out, w->info.seconds, w->sampling.interval, &options);
    ES_TRY(es_session_load(&session, w->store, w->recording, w->method, err));
    es_moment *moments = es_calloc(session.count + 1, sizeof *moments);
    es_status status = moments != NULL ? ES_OK : es_fail_memory(err, "a session", session.count * sizeof *moments);
    for (size_t i = 0; status == ES_OK && i < session.count; i++)
        if (!session.kept[i].filled)
            moments[count++] = session.moments[i];
    if (status == ES_OK)
        status = es_outline_make(&outline, moments, count, &options, err);
    if (status == ES_OK)
        status = fill_between(g, &outline, moments, es_sampler_fill(&w->sampling), err);
    es_outline_free(&outline);
    es_session_free(&session);
    free(moments);
    return status;
}

static es_status describe_gaps(es_run_work *w, es_error *err)
{
    gaps g = {0};
    if (es_dir_exists(w->path) || es_sampler_fill(&w->sampling) <= 0)
        return ES_OK;
    es_status status = find_gaps(w, &g, err);
    if (status == ES_OK && g.count > 0) {
        w->counts.expected += g.count - g.anchors;
        status = describe_all(w, g.moments, g.count, err);
    }
    free(g.moments);
    return status;
}

/* --- what is not to be kept --- */

typedef struct redaction {
    const es_run_work *w;
    struct {
        int64_t frame, at_ms;
        bool dropped;
    } * frames; /* by time */
    size_t count, room;
    bool short_of_memory;
} redaction;

static bool redact_by_time(void *context, int64_t frame, int64_t at_ms)
{
    redaction *r = context;
    void *frames = r->frames;
    r->short_of_memory = es_grow(&frames, &r->room, r->count + 1, sizeof *r->frames) != 0;
    if (r->short_of_memory)
        return false;
    r->frames = frames;
    r->frames[r->count].frame = frame;
    r->frames[r->count].at_ms = at_ms;
    r->frames[r->count++].dropped = es_redaction_drops(r->w->redaction, (double)at_ms / 1000, NULL);
    return true;
}

static bool redact_by_apps(void *context, const es_stored *stored)
{
    redaction *r = context;
    if (es_redaction_drops_apps(r->w->redaction, stored->moment.apps, stored->moment.app_count))
        for (size_t i = 0; i < r->count; i++)
            r->frames[i].dropped = r->frames[i].dropped || r->frames[i].frame == stored->frame;
    return true;
}

static void redact_by_names(redaction *r, const es_shot_files *files)
{
    for (size_t i = 0, k = 0; i < files->count && k < r->count; i++) {
        double seconds = files->items[i].at - r->w->sampling.zero;
        int64_t at_ms = (int64_t)llround(seconds * 1000);
        while (k < r->count && r->frames[k].at_ms < at_ms)
            k++;
        if (k < r->count && r->frames[k].at_ms == at_ms &&
            es_redaction_drops(r->w->redaction, seconds, files->items[i].path))
            r->frames[k].dropped = true;
    }
}

/* What earlier runs kept, by whatever method, and the rules of this one forbid is taken out of the store. files: of a
 * directory, or none. */
static es_status redact_kept(es_run_work *w, const es_shot_files *files, es_error *err)
{
    redaction r = {.w = w};
    if (w->redaction == NULL)
        return ES_OK;
    es_status status = es_store_each_frame(w->store, w->recording, redact_by_time, &r, err);
    if (status == ES_OK && r.short_of_memory)
        status = es_fail_memory(err, "the frames of a recording", r.count * sizeof *r.frames);
    if (status == ES_OK)
        status = es_store_each(w->store, w->recording, 0, redact_by_apps, &r, err);
    redact_by_names(&r, files);
    int64_t *ids = es_calloc(r.count + 1, sizeof *ids);
    size_t count = 0;
    if (status == ES_OK && ids == NULL)
        status = es_fail_memory(err, "the frames of a recording", r.count * sizeof *ids);
    for (size_t i = 0; status == ES_OK && i < r.count; i++)
        if (r.frames[i].dropped)
            ids[count++] = r.frames[i].frame;
    if (status == ES_OK)
        status = es_store_forget_frames(w->store, w->recording, ids, count, err);
    w->counts.redacted += status == ES_OK ? count : 0;
    free(ids);
    free(r.frames);
    return status;
}

static es_status describe(es_run_work *w, es_error *err)
{
    es_shot_files files = {0};
    es_status status = ES_OK;
    if (es_dir_exists(w->path)) {
        ES_TRY(es_shots_list(&files, w->path, w->sampling.seconds_of, err));
        w->sampling.zero = files.count > 0 ? files.zero : INFINITY;
        status = es_store_set_zero(w->store, w->recording, &w->sampling.zero, err);
        if (files.undated > 0 && w->progress.out != NULL && !w->progress.json)
            fprintf(w->progress.out, "escriba: %zu pictures without a time in their names are left out\n",
                    files.undated);
    }
    if (status == ES_OK)
        status = redact_kept(w, &files, err);
    es_shots_free(&files);
    ES_TRY(status);
    ES_TRY(describe_all(w, NULL, 0, err));
    return es_signals_caught(w->signals) ? ES_OK : describe_gaps(w, err);
}

es_status es_run_describe(es_run_work *w, es_error *err)
{
    es_status status = describe(w, err);
    escriba_free(w->model);
    w->model = NULL;
    return status;
}
