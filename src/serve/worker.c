#include "serve/worker.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "base/waiting.h"
#include "compute/open.h"
#include "serve/choice.h"
#include "serve/forms.h"

#define USUAL_QUEUE 64
#define USUAL_PICTURE_BYTES ((int64_t)512 << 20)
#define USUAL_BATCH 8
#define USUAL_TOKENS ((int64_t)1 << 20)
#define TOKEN_BYTES 4       /* of a prompt's text, by and large */
#define MOST_TOKEN_BYTES 16 /* on average, of any prompt */
#define TOKEN_PIXELS 1024   /* of its pictures: 32 x 32 */
#define RATE_SECONDS 1.0    /* tokens a second are counted over so long */

const double es_first_bounds[8] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

/* Where a ticket of the running list stands. */
enum {
    STAGE_CALLED, /* its pictures are being cut into patches */
    STAGE_READY,  /* they are */
    STAGE_STARTED /* the engine has it */
};

struct es_worker {
    es_worker_options options;
    pthread_t thread, porter; /* the porter makes patches, so that nobody waits for them but who asked */
    bool has_porter, porter_ends;
    pthread_mutex_t lock;        /* guards the queue, `ending` and status; taken before a ticket's */
    pthread_cond_t wake, called; /* of the worker; of the porter */
    es_ticket *queue;            /* oldest first */
    es_ticket *running;          /* the worker's own list; changed under the lock */
    bool ending;
    atomic_bool give_up; /* everything under way is to be cancelled */
    atomic_int cancels;  /* running tickets asked to end and not yet let go */
    es_worker_status status;
    es_turns turns;
    int overtaken; /* as in es_line */
    /* only the worker's thread touches what follows */
    es_device *device;
    bool device_failed; /* one did, at its work */
    es_model *model;
    es_engine *engine;
    es_forms forms;
    int64_t keep_ms;
    double rate_began;
    int64_t rate_rows;
};

/* --- the queue; the lock is held --- */

static bool unlink_ticket(es_ticket **list, es_ticket *ticket)
{
    for (es_ticket **at = list; *at != NULL; at = &(*at)->next) {
        if (*at == ticket) {
            *at = ticket->next;
            ticket->next = NULL;
            return true;
        }
    }
    return false;
}

static void take_from_queue(es_worker *w, es_ticket *t)
{
    unlink_ticket(&w->queue, t);
    w->status.queued--;
    w->status.picture_bytes -= (int64_t)es_ticket_bytes(t);
}

static void note_finished(es_worker *w, const es_ticket *t)
{
    es_worker_status *s = &w->status;
    if (t->kind != ES_TICKET_GENERATE)
        return;
    for (int32_t i = 0; i < t->choices; i++) {
        const es_reply *r = &t->replies[i];
        if (r->status == ES_ERR_CANCELLED)
            s->cancelled++;
        else if (r->status != ES_OK)
            s->failed++;
        if (r->status != ES_OK)
            continue;
        s->answered++;
        s->prompt_tokens += r->prompt_tokens;
        s->generated_tokens += r->tokens;
        s->pictures += (int64_t)t->image_count;
        s->queue_seconds += t->started - t->filed;
        s->answer_seconds += es_now() - t->filed;
        double first = r->first > 0 ? r->first - t->filed : es_now() - t->filed;
        s->first_seconds += first;
        for (size_t k = 0; k < sizeof es_first_bounds / sizeof *es_first_bounds; k++)
            s->first_within[k] += first <= es_first_bounds[k];
    }
}

/* --- the model; called by the worker's thread without the lock --- */

static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long long size = 0, resident = 0;
    if (file == NULL)
        return 0;
    if (fscanf(file, "%lld %lld", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void unload(es_worker *w)
{
    if (w->engine == NULL && w->model == NULL && w->device == NULL)
        return;
    es_forms_close(&w->forms);
    es_engine_free(w->engine);
    es_model_free(w->model);
    es_device_free(w->device);
    w->engine = NULL;
    w->model = NULL;
    w->device = NULL;
#if defined(__GLIBC__)
    malloc_trim(0); /* what was freed in small pieces goes back to the system too */
#endif
    pthread_mutex_lock(&w->lock);
    w->status.unloads += w->status.model[0] != '\0';
    w->status.model[0] = '\0';
    w->status.model_bytes = 0;
    w->status.engine = (es_engine_stats){0};
    pthread_mutex_unlock(&w->lock);
}

static es_status open_all(es_worker *w, const char *dir, es_error *err)
{
    ES_TRY(w->options.open_device(w->options.context, w->device_failed, &w->device, err));
    ES_TRY(es_model_open_kept(&w->model, w->device, dir, w->options.weight_cache, err));
    ES_TRY(es_engine_create(&w->engine, w->model, &w->options.engine, err));
    return es_forms_open(&w->forms, w->model->tokenizer, w->model->config.text.vocab, err);
}

static es_status load(es_worker *w, const char *dir, es_error *err)
{
    int64_t before = resident_bytes();
    unload(w);
    pthread_mutex_lock(&w->lock);
    w->status.loading = true;
    pthread_mutex_unlock(&w->lock);
    es_status status = open_all(w, dir, err);
    if (status != ES_OK && w->device != NULL && es_device_is_mlx(w->device) && !w->device_failed) {
        w->device_failed = true; /* a GPU too small for the model, say */
        unload(w);
        status = open_all(w, dir, err);
    }
    pthread_mutex_lock(&w->lock);
    w->status.loading = false;
    if (status == ES_OK) {
        snprintf(w->status.model, sizeof w->status.model, "%s", dir);
        int64_t took = resident_bytes() - before, context = w->model->config.text.max_positions;
        if (w->options.engine.context > 0 && w->options.engine.context < context)
            context = w->options.engine.context;
        w->status.model_bytes = took > 0 ? took : 0;
        w->status.context = (int32_t)context;
        w->status.loads++;
        w->rate_rows = 0;
    }
    pthread_mutex_unlock(&w->lock);
    if (status != ES_OK)
        unload(w);
    return status;
}

/* --- tickets under way; the worker's thread --- */

static size_t text_bytes(const es_ticket *t)
{
    size_t sum = 0;
    for (size_t i = 0; i < t->content_count; i++)
        sum += t->content[i].text != NULL ? strlen(t->content[i].text) : 0;
    return sum;
}

static void free_patches(es_ticket *t)
{
    for (size_t i = 0; t->patches != NULL && i < t->image_count; i++)
        es_patches_free(&t->patches[i]);
    free(t->patches);
    t->patches = NULL;
}

/* Lets go of a ticket: it is its maker's again, and may be freed by it at once. */
static void let_go(es_worker *w, es_ticket *t, es_status status, const es_error *error)
{
    bool broken = false;
    free_patches(t);
    for (int32_t i = 0; i < t->choices; i++)
        broken = broken || (t->replies[i].status != ES_OK && t->replies[i].status != ES_ERR_CANCELLED);
    if (t->held != NULL)
        es_forms_release(&w->forms, t->held, broken || (status != ES_OK && status != ES_ERR_CANCELLED));
    t->held = NULL;
    pthread_mutex_lock(&w->lock);
    unlink_ticket(&w->running, t);
    w->status.promised -= t->promised;
    if (atomic_load(&t->cancelled))
        atomic_fetch_sub(&w->cancels, 1);
    w->status.running = es_sequences_of(w->running, NULL);
    if (w->engine != NULL)
        es_engine_get_stats(w->engine, &w->status.engine);
    if (t->keep_ms != ES_KEEP_USUAL)
        w->keep_ms = t->keep_ms;
    else if (t->kind != ES_TICKET_COUNT)
        w->keep_ms = w->options.keep_ms;
    w->status.expires =
        w->keep_ms < 0 || w->keep_ms == ES_KEEP_FOREVER ? INFINITY : es_now() + (double)w->keep_ms / 1000;
    if (status != ES_OK) /* so that what is counted is what is told */
        for (int32_t i = 0; i < t->choices; i++)
            if (!t->replies[i].done)
                t->replies[i].status = status;
    note_finished(w, t);
    es_ticket_fail(t, status, error);
    pthread_mutex_unlock(&w->lock);
}

static bool on_piece(void *context, const char *text)
{
    return es_reply_add(context, text);
}

static void on_finished(void *context, const es_answer *answer)
{
    es_reply_finish(context, answer);
}

static void on_token(void *context, const es_token_score *score)
{
    es_reply_score(context, score);
}

/* --- patches; the porter's thread --- */

static es_status make_patches(const es_preprocess *rules, es_ticket *t, es_error *err)
{
    es_preprocess as_they_are = *rules; /* their size was settled when they were read */
    as_they_are.min_pixels = 1;
    t->patches = es_calloc(t->image_count + 1, sizeof *t->patches);
    if (t->patches == NULL)
        return es_fail_memory(err, "pictures", 0);
    for (size_t i = 0; i < t->image_count && !atomic_load(&t->cancelled); i++)
        ES_TRY(es_preprocess_image(&as_they_are, &t->images[i], &t->patches[i], err));
    return ES_OK;
}

/* The ticket called first. The lock is held. */
static es_ticket *next_called(const es_worker *w)
{
    es_ticket *found = NULL;
    for (es_ticket *t = w->running; t != NULL; t = t->next)
        if (t->stage == STAGE_CALLED)
            found = t; /* the newest is at the front */
    return found;
}

static void *carry(void *argument)
{
    es_worker *w = argument;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        es_ticket *t = next_called(w);
        if (t == NULL && w->porter_ends)
            break;
        if (t == NULL) {
            pthread_cond_wait(&w->called, &w->lock);
            continue;
        }
        es_preprocess rules = w->model->preprocess; /* the model stays while anybody is in the running list */
        pthread_mutex_unlock(&w->lock);
        es_error err = {0};
        make_patches(&rules, t, &err);
        pthread_mutex_lock(&w->lock);
        t->failure = err;
        t->stage = STAGE_READY;
        pthread_cond_broadcast(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* --- tickets under way, again --- */

static es_status count_tokens(es_worker *w, es_ticket *t, const es_prompt *prompt, es_error *err)
{
    es_encoded encoded = {0};
    ES_TRY(es_engine_encode(w->model, prompt, &encoded, err));
    t->replies[0].prompt_tokens = (int32_t)encoded.ids.count;
    t->replies[0].image_tokens = encoded.image_tokens;
    es_encoded_free(&encoded);
    return ES_OK;
}

/* A text that no context could hold is not even cut into tokens, in which time nobody is answered. */
static es_status check_text(const es_worker *w, const es_ticket *t, es_error *err)
{
    size_t text = text_bytes(t), context = (size_t)w->status.context; /* written by this thread only */
    if (t->kind == ES_TICKET_GENERATE && text / MOST_TOKEN_BYTES > context)
        return es_fail(err, ES_ERR_LIMIT,
                       "the prompt has %zu bytes of text, more than a context of %zu tokens can hold", text, context);
    return ES_OK;
}

static es_status start(es_worker *w, es_ticket *t, es_error *err)
{
    if (t->kind == ES_TICKET_LOAD)
        return ES_OK;
    ES_TRY(check_text(w, t, err));
    t->tokenizer = w->model->tokenizer;
    es_prompt prompt = {t->messages, t->message_count, t->patches, t->image_count};
    if (t->kind == ES_TICKET_COUNT)
        return count_tokens(w, t, &prompt, err);
    if (t->form != NULL)
        ES_TRY(es_forms_take(&w->forms, t->form, &t->grammar, &t->held, err));
    for (int32_t i = 0; i < t->choices; i++) {
        es_reply *r = &t->replies[i];
        es_request request = {.prompt = prompt,
                              .generation = {.max_tokens = t->max_tokens,
                                             .sampling = t->sampling,
                                             .matcher = t->held != NULL ? t->held->matcher : NULL,
                                             .scored = t->scored,
                                             .best_count = t->best_count},
                              .priority = t->priority,
                              .context = r,
                              .piece = on_piece,
                              .token = on_token,
                              .finished = on_finished};
        request.generation.sampling.seed += (uint64_t)i;
        ES_TRY(es_engine_add(w->engine, &request, &r->id, err));
        r->running = true;
    }
    return ES_OK;
}

static bool all_done(const es_ticket *t)
{
    for (int32_t i = 0; i < t->choices; i++)
        if (t->replies[i].running)
            return false;
    return true;
}

static void drop_sequences(es_worker *w, es_ticket *t)
{
    for (int32_t i = 0; i < t->choices; i++)
        if (t->replies[i].running)
            es_engine_drop(w->engine, t->replies[i].id);
}

/* Gives a ticket whose pictures are ready to the engine. */
static void start_ticket(es_worker *w, es_ticket *t)
{
    es_error err = t->failure;
    es_status status = err.status;
    if (atomic_load(&t->cancelled) || atomic_load(&w->give_up))
        status = es_fail(&err, ES_ERR_CANCELLED, "cancelled");
    pthread_mutex_lock(&w->lock);
    t->stage = STAGE_STARTED;
    pthread_mutex_unlock(&w->lock);
    if (status == ES_OK)
        status = start(w, t, &err);
    if (status != ES_OK)
        drop_sequences(w, t);
    if (status != ES_OK || t->kind != ES_TICKET_GENERATE)
        let_go(w, t, status, &err);
}

/* Begins tickets while the batch has room. */
static void begin_tickets(es_worker *w)
{
    for (;;) {
        es_error err = {0};
        pthread_mutex_lock(&w->lock);
        es_line line = {w->queue, w->running, w->status.model, &w->turns, w->status.batch, w->overtaken};
        es_ticket *t = es_choose_ticket(&line);
        w->overtaken = line.overtaken;
        if (t == NULL) {
            pthread_mutex_unlock(&w->lock);
            return;
        }
        take_from_queue(w, t);
        es_turns_note(&w->turns, t->client);
        t->stage = STAGE_STARTED;
        t->next = w->running;
        w->running = t;
        w->status.running = es_sequences_of(w->running, NULL);
        t->started = es_now();
        bool swap = strcmp(t->model, w->status.model) != 0;
        pthread_mutex_unlock(&w->lock);
        es_status status = ES_OK;
        if (t->kind == ES_TICKET_LOAD && t->keep_ms == 0)
            swap = false; /* only to be gone */
        if (swap) {
            double began = es_now();
            status = load(w, t->model, &err);
            t->loaded_seconds = es_now() - began;
        }
        if (status != ES_OK) {
            let_go(w, t, status, &err);
        } else if (t->kind == ES_TICKET_LOAD || t->image_count == 0) {
            start_ticket(w, t);
        } else {
            pthread_mutex_lock(&w->lock);
            t->stage = STAGE_CALLED;
            pthread_cond_signal(&w->called);
            pthread_mutex_unlock(&w->lock);
        }
    }
}

static size_t count_stage(const es_worker *w, int stage)
{
    size_t n = 0;
    for (const es_ticket *t = w->running; t != NULL; t = t->next)
        n += t->stage == stage;
    return n;
}

/* Starts those whose pictures are ready, the one called first before the others. */
static void start_ready(es_worker *w)
{
    for (;;) {
        es_ticket *ready = NULL;
        pthread_mutex_lock(&w->lock);
        for (es_ticket *t = w->running; t != NULL; t = t->next)
            if (t->stage == STAGE_READY)
                ready = t;
        pthread_mutex_unlock(&w->lock);
        if (ready == NULL)
            return;
        start_ticket(w, ready);
    }
}

/* Lets go of what is done, and of what is cancelled. */
static void end_tickets(es_worker *w)
{
    es_error err = {0};
    for (es_ticket *t = w->running, *next; t != NULL; t = next) {
        next = t->next;
        pthread_mutex_lock(&w->lock);
        bool started = t->stage == STAGE_STARTED;
        pthread_mutex_unlock(&w->lock);
        if (!started)
            continue;
        if (atomic_load(&t->cancelled) || atomic_load(&w->give_up))
            drop_sequences(w, t);
        if (all_done(t))
            let_go(w, t, ES_OK, &err);
    }
}

/* A pass under way ends early only when nobody loses by it. */
static bool nobody_waits(void *context)
{
    es_worker *w = context;
    if (atomic_load(&w->give_up))
        return true;
    if (atomic_load(&w->cancels) == 0)
        return false;
    for (const es_ticket *t = w->running; t != NULL; t = t->next)
        if (!atomic_load(&t->cancelled))
            return false;
    return true;
}

static void fail_all(es_worker *w, const es_error *error)
{
    pthread_mutex_lock(&w->lock);
    while (count_stage(w, STAGE_CALLED) > 0) /* the porter has them in hand */
        pthread_cond_wait(&w->wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
    for (es_ticket *t = w->running, *next; t != NULL; t = next) {
        next = t->next;
        drop_sequences(w, t);
        pthread_mutex_lock(&t->lock);
        for (int32_t i = 0; i < t->choices; i++) {
            if (t->replies[i].status != ES_ERR_CANCELLED)
                continue;
            t->replies[i].status = error->status;
            t->replies[i].error = *error;
        }
        pthread_mutex_unlock(&t->lock);
        let_go(w, t, error->status, error);
    }
}

static void step(es_worker *w)
{
    es_cancel cancel = {nobody_waits, w};
    es_error err = {0};
    bool idle;
    es_status status = es_engine_step(w->engine, &cancel, &idle, &err);
    if (status != ES_OK && status != ES_ERR_CANCELLED) {
        w->device_failed = w->device_failed || w->device->lost;
        fail_all(w, &err);
        unload(w); /* a device that failed is opened anew, or another */
        return;
    }
    es_engine_stats stats;
    es_engine_get_stats(w->engine, &stats);
    double now = es_now();
    pthread_mutex_lock(&w->lock);
    w->status.engine = stats;
    if (now - w->rate_began > RATE_SECONDS) {
        w->status.tokens_per_second = (double)(stats.decoded_rows - w->rate_rows) / (now - w->rate_began);
        w->rate_began = now;
        w->rate_rows = stats.decoded_rows;
    }
    pthread_mutex_unlock(&w->lock);
}

/* Waits for tickets, or until the model's time is over. The lock is held. */
static void rest(es_worker *w)
{
    double left = w->status.expires - es_now();
    w->status.tokens_per_second = 0;
    if (w->status.model[0] == '\0' || isinf(left)) {
        pthread_cond_wait(&w->wake, &w->lock);
        return;
    }
    es_cond_wait_for(&w->wake, &w->lock, left);
}

static void *work(void *argument)
{
    es_worker *w = argument;
    for (;;) {
        begin_tickets(w);
        start_ready(w);
        pthread_mutex_lock(&w->lock);
        bool any = count_stage(w, STAGE_STARTED) > 0;
        pthread_mutex_unlock(&w->lock);
        if (any)
            step(w);
        end_tickets(w);
        pthread_mutex_lock(&w->lock);
        if (w->running != NULL && count_stage(w, STAGE_STARTED) + count_stage(w, STAGE_READY) == 0)
            pthread_cond_wait(&w->wake, &w->lock); /* for the porter */
        bool expired =
            w->running == NULL && w->queue == NULL && w->status.model[0] != '\0' && es_now() >= w->status.expires;
        if (w->ending && w->running == NULL && w->queue == NULL) {
            pthread_mutex_unlock(&w->lock);
            break;
        }
        if (!expired && w->running == NULL && w->queue == NULL)
            rest(w);
        pthread_mutex_unlock(&w->lock);
        if (expired)
            unload(w);
    }
    unload(w);
    return NULL;
}

/* --- for everybody --- */

/* The worker's own thread has ended, or never began. */
static void free_worker(es_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->porter_ends = true;
    pthread_cond_signal(&w->called);
    pthread_mutex_unlock(&w->lock);
    if (w->has_porter)
        pthread_join(w->porter, NULL);
    es_turns_free(&w->turns);
    pthread_cond_destroy(&w->called);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

es_status es_worker_create(es_worker **worker, const es_worker_options *options, es_error *err)
{
    es_worker *w = es_calloc(1, sizeof *w);
    *worker = NULL;
    if (w == NULL)
        return es_fail_memory(err, "the worker", sizeof *w);
    w->options = *options;
    w->options.engine.policy = ES_POLICY_LATENCY;
    if (w->options.queue == 0)
        w->options.queue = USUAL_QUEUE;
    if (w->options.picture_bytes == 0)
        w->options.picture_bytes = USUAL_PICTURE_BYTES;
    if (w->options.engine.batch == 0)
        w->options.engine.batch = USUAL_BATCH;
    if (w->options.tokens == 0)
        w->options.tokens = USUAL_TOKENS;
    w->status.tokens = w->options.tokens;
    w->status.batch = (size_t)w->options.engine.batch;
    w->status.expires = INFINITY;
    w->keep_ms = w->options.keep_ms;
    pthread_mutex_init(&w->lock, NULL);
    es_cond_init(&w->wake);
    es_cond_init(&w->called);
    w->has_porter = pthread_create(&w->porter, NULL, carry, w) == 0;
    if (!w->has_porter || pthread_create(&w->thread, NULL, work, w) != 0) {
        free_worker(w);
        return es_fail(err, ES_ERR_IO, "cannot start a thread: the system's limit on threads is reached");
    }
    *worker = w;
    return ES_OK;
}

/* Finishes all that waits. The lock is held. */
static void refuse_queued(es_worker *w)
{
    es_error err;
    es_fail(&err, ES_ERR_CANCELLED, "the server is ending");
    while (w->queue != NULL) {
        es_ticket *t = w->queue;
        take_from_queue(w, t);
        w->status.promised -= t->promised;
        w->status.cancelled++;
        es_ticket_fail(t, ES_ERR_CANCELLED, &err);
    }
}

void es_worker_free(es_worker *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    atomic_store(&w->give_up, true);
    refuse_queued(w);
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    free_worker(w);
}

/* What an answer may come to, by and large: how many tokens a prompt has is known when it is encoded. The lock is held.
 */
static int64_t promise_of(const es_worker *w, const es_ticket *t)
{
    if (t->kind != ES_TICKET_GENERATE)
        return 0;
    int64_t most = w->status.context > 0 && t->max_tokens > w->status.context ? w->status.context : t->max_tokens;
    return most * t->choices + (int64_t)(text_bytes(t) / TOKEN_BYTES + es_ticket_bytes(t) / 3 / TOKEN_PIXELS);
}

es_status es_worker_file(es_worker *w, es_ticket *t, es_error *err)
{
    es_status status = ES_OK;
    int64_t bytes = (int64_t)es_ticket_bytes(t);
    if (strlen(t->model) >= sizeof w->status.model)
        return es_fail(err, ES_ERR_LIMIT, "the model's path is longer than %zu bytes", sizeof w->status.model - 1);
    pthread_mutex_lock(&w->lock);
    t->promised = promise_of(w, t);
    t->interactive = t->streamed && t->kind == ES_TICKET_GENERATE && !es_client_in(w->queue, t->client) &&
                     !es_client_in(w->running, t->client);
    if (w->ending || w->status.draining)
        status = es_fail(err, ES_ERR_CANCELLED, "the server is ending and takes no new requests");
    else if (w->status.queued >= (size_t)w->options.queue)
        status = es_fail(err, ES_ERR_LIMIT, "%zu requests wait already: try again in a while", w->status.queued);
    else if (w->status.picture_bytes > 0 && w->status.picture_bytes + bytes > w->options.picture_bytes)
        status = es_fail(err, ES_ERR_LIMIT, "too many pictures wait already: try again in a while");
    else if (w->status.promised > 0 && w->status.promised + t->promised > w->status.tokens)
        status =
            es_fail(err, ES_ERR_LIMIT,
                    "what is asked already may come to %lld tokens of %lld: try again in a while, or ask for fewer",
                    (long long)w->status.promised, (long long)w->status.tokens);
    if (status != ES_OK) {
        w->status.refused++;
    } else {
        es_ticket **at = &w->queue;
        while (*at != NULL)
            at = &(*at)->next;
        *at = t;
        t->next = NULL;
        t->filed = es_now();
        w->status.queued++;
        w->status.filed++;
        w->status.picture_bytes += bytes;
        w->status.promised += t->promised;
        pthread_cond_broadcast(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return status;
}

void es_worker_cancel(es_worker *w, es_ticket *t)
{
    es_error err;
    es_fail(&err, ES_ERR_CANCELLED, "cancelled");
    pthread_mutex_lock(&w->lock);
    bool queued = false, running = false;
    for (const es_ticket *q = w->queue; q != NULL; q = q->next)
        queued = queued || q == t;
    for (const es_ticket *q = w->running; q != NULL; q = q->next)
        running = running || q == t;
    if (queued) {
        take_from_queue(w, t);
        w->status.promised -= t->promised;
        w->status.cancelled++;
        es_ticket_fail(t, ES_ERR_CANCELLED, &err);
    } else if (running && !atomic_exchange(&t->cancelled, true)) {
        atomic_fetch_add(&w->cancels, 1);
    }
    pthread_mutex_unlock(&w->lock);
}

void es_worker_drop(es_worker *w, es_ticket *t)
{
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    bool waits = t->filed > 0 && !t->finished;
    pthread_mutex_unlock(&t->lock);
    if (waits) {
        es_worker_cancel(w, t);
        while (!es_ticket_wait_finished(t, INFINITY))
            continue;
    }
    es_ticket_free(t);
}

void es_worker_drain(es_worker *w, double seconds)
{
    double until = es_now() + seconds;
    bool busy = true;
    pthread_mutex_lock(&w->lock);
    w->status.draining = true;
    pthread_mutex_unlock(&w->lock);
    while (busy && es_now() < until) {
        struct timespec pause = {0, 20000000}; /* 20 ms: nobody is in a hurry here */
        pthread_mutex_lock(&w->lock);
        busy = w->queue != NULL || w->running != NULL;
        pthread_mutex_unlock(&w->lock);
        if (busy)
            nanosleep(&pause, NULL);
    }
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->give_up, true);
    refuse_queued(w);
    pthread_mutex_unlock(&w->lock);
}

void es_worker_get_status(es_worker *w, es_worker_status *status)
{
    pthread_mutex_lock(&w->lock);
    *status = w->status;
    pthread_mutex_unlock(&w->lock);
}

int es_worker_patience(es_worker *w)
{
    es_worker_status s;
    es_worker_get_status(w, &s);
    double each = s.answered > 0 ? (s.answer_seconds - s.queue_seconds) / (double)s.answered : 2;
    double wait = each * (double)(s.queued + 1) / (double)(s.batch > 0 ? s.batch : 1);
    return wait < 1 ? 1 : wait > 60 ? 60 : (int)ceil(wait);
}
