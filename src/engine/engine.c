/* engine.c - an engine's life, its queue, and which work comes next. */
#include "engine/engine.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "engine/internal.h"

#define DEFAULT_BATCH 8
#define DEFAULT_PREFILL_CHUNK 512
#define DEFAULT_VISION_CACHE ((int64_t)256 << 20)
#define PAGE_TOKENS 32
#define MOST_OVERTAKEN 3 /* pieces of work in a row that go ahead of those of lower priority: they get a quarter */
#define GUESSED_ROWS 24  /* rows of guesses in a pass: as many as a pass bound by memory takes along nearly free */
/* Under the latency policy, so long may other work last before decoding sequences get their row: half of the half
 * second that is promised, since the block or chunk under way is finished first. */
#define DEFAULT_PATIENCE 0.25

/* --- life --- */

/* Half of the machine's memory, unless told; only pages in use are touched. */
static int64_t default_kv_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages <= 0 || size <= 0 ? (int64_t)1 << 30 : (int64_t)pages * size / 2;
}

static es_status create_cache(es_engine *e, es_error *err)
{
    const es_text_config *c = &e->model->config.text;
    int64_t number = (int64_t)e->model->device->kv_number_size;
    int64_t page_bytes = (int64_t)c->layers * c->kv_heads * c->head_dim * 2 * number * PAGE_TOKENS;
    int64_t wanted = ((int64_t)e->options.context + PAGE_TOKENS - 1) / PAGE_TOKENS * e->options.batch;
    int64_t pages = e->options.kv_bytes / page_bytes;
    if (pages > wanted)
        pages = wanted;
    if (pages > INT32_MAX / PAGE_TOKENS)
        pages = INT32_MAX / PAGE_TOKENS;
    if (pages < 1)
        return es_fail(err, ES_ERR_LIMIT, "%lld bytes for keys and values do not hold a single page of %lld",
                       (long long)e->options.kv_bytes, (long long)page_bytes);
    es_kv_shape shape = {c->layers, c->kv_heads, c->head_dim, (int32_t)pages, PAGE_TOKENS};
    ES_TRY(es_pages_create(&e->pages, (int32_t)pages, PAGE_TOKENS, err));
    return es_kv_create(e->model->device, &e->kv, &shape, err);
}

size_t es_most_guesses(const es_engine *e)
{
    return e->options.no_drafts ? 0 : GUESSED_ROWS;
}

static es_status create_parts(es_engine *e, es_error *err)
{
    size_t batch = (size_t)e->options.batch + 1, ahead = e->options.no_drafts ? 0 : ES_DRAFT_MAX;
    size_t rows = batch * (1 + ES_AHEAD + ahead) + (size_t)e->options.prefill_chunk,
           picks = batch + 1 + es_most_guesses(e);
    e->logits = es_calloc(picks, (size_t)e->model->config.text.vocab * sizeof *e->logits);
    e->ids = es_calloc(rows, sizeof *e->ids);
    e->positions = es_calloc(rows, sizeof *e->positions);
    e->visual = es_calloc(rows, sizeof *e->visual);
    e->logit_rows = es_calloc(picks, sizeof *e->logit_rows);
    e->best = es_calloc(picks, sizeof *e->best);
    e->attend = es_calloc(batch + 1, sizeof *e->attend);
    e->who = es_calloc(batch + 1, sizeof *e->who);
    if (e->logits == NULL || e->ids == NULL || e->positions == NULL || e->visual == NULL || e->logit_rows == NULL ||
        e->best == NULL || e->attend == NULL || e->who == NULL)
        return es_fail_memory(err, "the engine", 0);
    ES_TRY(es_text_reserve(&e->text, e->model, (int64_t)rows, (int64_t)picks, err)); /* no page of it touched yet */
    ES_TRY(es_answers_create(&e->answers, err));
    if (!e->options.no_drafts)
        ES_TRY(es_drafts_create(&e->drafts, err));
    return create_cache(e, err);
}

static es_status set_options(es_engine *e, const es_engine_options *options, es_error *err)
{
    es_engine_options *o = &e->options;
    if (options != NULL)
        *o = *options;
    if (o->batch == 0)
        o->batch = DEFAULT_BATCH;
    if (o->prefill_chunk == 0)
        o->prefill_chunk = e->model->device->pass_rows > 0 ? e->model->device->pass_rows : DEFAULT_PREFILL_CHUNK;
    if (o->patience <= 0)
        o->patience = DEFAULT_PATIENCE;
    if (o->kv_bytes == 0)
        o->kv_bytes = default_kv_bytes();
    if (o->vision_cache_bytes == 0)
        o->vision_cache_bytes = DEFAULT_VISION_CACHE;
    e->pictures.limit = o->vision_cache_bytes < 0 ? 0 : o->vision_cache_bytes;
    int32_t most = e->model->config.text.max_positions;
    if (o->context == 0 || o->context > most)
        o->context = most;
    if (o->prefill_chunk > o->context && o->context > 0)
        o->prefill_chunk = o->context;
    if (o->batch < 1 || o->batch > 1024 || o->prefill_chunk < 1 || o->context < 1 || o->kv_bytes < 1)
        return es_fail(err, ES_ERR_ARGUMENT, "batch %d (1 to 1024), prefill chunk %d, context %d, %lld bytes", o->batch,
                       o->prefill_chunk, o->context, (long long)o->kv_bytes);
    return ES_OK;
}

es_status es_engine_create(es_engine **engine, const es_model *model, const es_engine_options *options, es_error *err)
{
    *engine = NULL;
    es_engine *e = es_calloc(1, sizeof *e);
    if (e == NULL)
        return es_fail_memory(err, "the engine", sizeof *e);
    e->model = model;
    e->hash_key = es_hash_key();
    es_status status = set_options(e, options, err);
    if (status == ES_OK)
        status = create_parts(e, err);
    if (status == ES_OK)
        es_disk_open(e);
    if (status != ES_OK) {
        es_engine_free(e);
        return status;
    }
    *engine = e;
    return ES_OK;
}

void es_engine_free(es_engine *e)
{
    if (e == NULL)
        return;
    es_device *d = e->model->device;
    while (e->first != NULL) {
        es_sequence *s = e->first;
        e->first = s->next;
        es_sequence_free(e, s);
    }
    for (int i = 0; i < ES_LANES; i++)
        es_vision_scratch_free(&e->lanes[i].scratch, d);
    es_text_scratch_free(&e->text, d);
    es_kv_free(d, e->kv);
    es_pages_free(&e->pages);
    es_disk_close(e); /* it may be writing some of them */
    es_pictures_free(&e->pictures);
    es_answers_free(&e->answers);
    es_drafts_free(&e->drafts);
    free(e->logits);
    free(e->ids);
    free(e->positions);
    free(e->visual);
    free(e->logit_rows);
    free(e->best);
    free(e->attend);
    free(e->who);
    free(e);
}

/* --- the queue --- */

es_status es_engine_add(es_engine *e, const es_request *request, uint64_t *id, es_error *err)
{
    es_sequence *s;
    ES_TRY(es_sequence_create(e, request, &s, err));
    s->id = ++e->last_id;
    es_sequence **at = &e->first;
    while (*at != NULL && (*at)->request.priority >= request->priority)
        at = &(*at)->next;
    s->next = *at;
    *at = s;
    if (id != NULL)
        *id = s->id;
    return ES_OK;
}

/* Takes a sequence out of the list, tells its owner, and frees it. */
static void hand_over(es_engine *e, es_sequence **at)
{
    es_sequence *s = *at;
    *at = s->next;
    bool keep = s->answer.status == ES_OK && !s->answer.reused && s->request.watch == NULL;
    if (keep && !e->options.no_answer_cache)
        es_answers_add(&e->answers, s->answer_key, s->answer.text, &s->ids, s->answer.truncated);
    if (keep && s->prompt.ids.count >= ES_DRAFT_CONTEXT)
        es_drafts_learn(&e->drafts, s->prompt.ids.items + s->prompt.ids.count - ES_DRAFT_CONTEXT, s->ids.items,
                        s->ids.count);
    if (s->request.finished != NULL)
        s->request.finished(s->request.context, &s->answer);
    es_sequence_free(e, s);
}

static void hand_over_done(es_engine *e)
{
    for (es_sequence **at = &e->first; *at != NULL;) {
        if ((*at)->stage == ES_STAGE_DONE)
            hand_over(e, at);
        else
            at = &(*at)->next;
    }
}

void es_engine_drop(es_engine *e, uint64_t id)
{
    for (es_sequence **at = &e->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->id != id)
            continue;
        es_error cancelled;
        es_fail(&cancelled, ES_ERR_CANCELLED, "cancelled");
        es_sequence_finish(*at, ES_ERR_CANCELLED, &cancelled);
        hand_over(e, at);
        return;
    }
}

size_t es_engine_count(const es_engine *e)
{
    size_t count = 0;
    for (const es_sequence *s = e->first; s != NULL; s = s->next)
        count++;
    return count;
}

void es_engine_get_stats(const es_engine *e, es_engine_stats *stats)
{
    *stats = e->stats;
    stats->pages_total = e->pages.total;
    stats->pages_cached = e->pages.cached_count;
    stats->pages_used = e->pages.total - es_pages_available(&e->pages);
}

/* --- what comes next --- */

static bool under_way(const es_sequence *s)
{
    return s->stage == ES_STAGE_VISION || s->stage == ES_STAGE_PREFILL || s->stage == ES_STAGE_DECODE;
}

/* Answers from what was answered before; *wait when an equal sequence is under way. */
static es_status try_known_answer(es_engine *e, es_sequence *s, bool *wait, es_error *err)
{
    *wait = false;
    if (e->options.no_answer_cache || s->request.watch != NULL || s->request.generation.scored || s->begun)
        return ES_OK;
    for (const es_sequence *other = e->first; other != NULL && other != s; other = other->next)
        *wait = *wait || (under_way(other) && es_hash_equal(other->answer_key, s->answer_key));
    const es_known_answer *known = *wait ? NULL : es_answers_find(&e->answers, s->answer_key);
    if (known == NULL)
        return ES_OK;
    es_str_clear(&s->text);
    s->ids.count = 0;
    es_str_append(&s->text, known->text);
    ES_TRY(es_str_check(&s->text, err));
    for (size_t i = 0; i < known->ids.count; i++)
        ES_TRY(es_ids_add(&s->ids, known->ids.items[i], err));
    s->answer.reused = true;
    s->answer.truncated = known->truncated;
    e->stats.answers_reused++;
    if (s->request.piece != NULL && s->text.length > 0 && !s->request.piece(s->request.context, s->text.data))
        return es_fail(err, ES_ERR_CANCELLED, "stopped by the caller");
    es_sequence_finish(s, ES_OK, NULL);
    return ES_OK;
}

/* Starts queued sequences, in order, while the batch and the pages have room. A batch full of ordinary ones has a seat
 * more for one with priority. */
static void admit(es_engine *e)
{
    int32_t active = 0;
    for (const es_sequence *s = e->first; s != NULL; s = s->next)
        active += under_way(s);
    for (es_sequence *s = e->first; s != NULL && active < e->options.batch + (s->request.priority > 0); s = s->next) {
        es_error own = {0};
        bool wait = false, admitted = false;
        if (s->stage != ES_STAGE_QUEUED)
            continue;
        es_status status = try_known_answer(e, s, &wait, &own);
        if (status == ES_OK && (wait || s->stage == ES_STAGE_DONE))
            continue;
        if (status == ES_OK)
            status = es_sequence_admit(e, s, &admitted, &own);
        if (status != ES_OK)
            es_sequence_finish(s, status, &own);
        else if (!admitted)
            return; /* nobody overtakes a sequence that waits for pages */
        active += admitted;
    }
}

/* The first from s on, of priority below `below`, whose tower or prompt may be worked on. */
static es_sequence *feedable(es_sequence *s, int64_t below)
{
    while (s != NULL && (s->request.priority >= below ||
                         !(s->stage == ES_STAGE_PREFILL || (s->stage == ES_STAGE_VISION && !es_disk_waits(s)))))
        s = s->next;
    return s;
}

/* The sequence whose tower or prompt is next: of the highest priority, but every so often of a lower one, so that no
 * flow of questions can starve anybody. One that is half-way through the tower goes before others of its class. */
static es_sequence *next_to_feed(es_engine *e)
{
    es_sequence *s = feedable(e->first, INT64_MAX);
    es_sequence *lower = s != NULL ? feedable(s, s->request.priority) : NULL;
    if (lower != NULL && e->overtaken >= MOST_OVERTAKEN) {
        s = lower;
        lower = NULL;
    }
    e->overtaken = lower != NULL ? e->overtaken + 1 : 0;
    es_sequence *holder = s != NULL && s->stage == ES_STAGE_VISION ? e->lanes[s->request.priority > 0].sequence : NULL;
    return holder != NULL ? holder : s;
}

#define DISK_GLANCE 0.05 /* seconds between looks at what else there may be to do */

static bool anyone_decodes(const es_engine *e)
{
    for (const es_sequence *s = e->first; s != NULL; s = s->next)
        if (s->stage == ES_STAGE_DECODE)
            return true;
    return false;
}

/* The work of one step. What fails for the sequence that is being fed is that one's own failure, unless the device lost
 * what the others have on it. */
static es_status work(es_engine *e, const es_cancel *cancel, es_error *err)
{
    es_sequence *feed = next_to_feed(e);
    bool decoding = anyone_decodes(e), patient = e->options.policy == ES_POLICY_THROUGHPUT;
    double left = decoding && !patient ? e->options.patience - e->tower_seconds : INFINITY;
    bool due = left <= 0;
    es_status status;
    if (feed == NULL || due) {
        feed = feed != NULL && feed->stage == ES_STAGE_PREFILL ? feed : NULL;
        if (feed == NULL && !decoding && e->wanted > 0)
            es_shelf_wait(e->shelf, DISK_GLANCE);
        return decoding ? es_pass_text(e, feed, true, cancel, err) : ES_OK;
    }
    if (feed->stage == ES_STAGE_VISION)
        status = es_pass_vision(e, feed, patient ? INFINITY : 0.0, cancel, err);
    else
        status = es_pass_text(e, feed, decoding && !patient, cancel, err);
    if (status == ES_OK || status == ES_ERR_CANCELLED || e->model->device->lost)
        return status;
    es_lane_clear(e, feed);
    es_sequence_finish(feed, status, err);
    return ES_OK;
}

es_status es_engine_step(es_engine *e, const es_cancel *cancel, bool *idle, es_error *err)
{
    if (es_cancel_asked(cancel))
        return es_fail(err, ES_ERR_CANCELLED, "cancelled");
    admit(e);
    es_disk_settle(e);
    es_error own = {0};
    es_status status = work(e, cancel, &own);
    if (status != ES_OK && err != NULL)
        *err = own;
    hand_over_done(e);
    *idle = e->first == NULL;
    return status;
}
