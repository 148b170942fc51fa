/* local.c - frames to sequences of our own engine, and answers to observations. */
#include "intelligence/local.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "base/mem.h"
#include "base/thread.h"
#include "base/waiting.h"
#include "intelligence/frame_walk.h"
#include "intelligence/record_grammar.h"

#define FORMS 16 /* frames in one prompt whose records are held to the grammar; more go free */

typedef struct local {
    es_intelligence base;
    es_device *device;
    es_model *model;
    es_engine *engine;
    es_preprocess preprocess;    /* the model's, with the caller's cap */
    es_grammar *grammars[FORMS]; /* of the records of 1, 2, ... frames; made when first needed */
    es_lexicon *lexicon;         /* of the loaded model; made with the first of these */
    es_matcher *matchers[FORMS];
    es_local_options options; /* texts are owned */
    pthread_mutex_t lock;     /* one question, or the unloading, at a time */
    pthread_cond_t changed;   /* a question is over, or all is */
    pthread_t timer;
    bool timed, ending; /* there is a timer; it shall end */
    double last_used;   /* es_now */
} local;

/* --- coming and going --- */

static es_status open_model(local *l, es_error *err)
{
    const es_local_options *o = &l->options;
    es_status status = es_model_open_kept(&l->model, l->device, o->model, o->weight_cache, err);
    if (status == ES_OK)
        status = es_engine_create(&l->engine, l->model, &o->engine, err);
    if (status != ES_OK)
        return status;
    l->preprocess = l->model->preprocess;
    if (o->max_pixels > 0 && o->max_pixels < l->preprocess.max_pixels)
        l->preprocess.max_pixels = o->max_pixels;
    if (l->preprocess.min_pixels > l->preprocess.max_pixels)
        l->preprocess.min_pixels = l->preprocess.max_pixels;
    return ES_OK;
}

static void close_model(local *l)
{
    es_engine_free(l->engine);
    for (size_t i = 0; i < FORMS; i++) { /* they know the model's tokens */
        es_matcher_free(l->matchers[i]);
        l->matchers[i] = NULL;
    }
    es_lexicon_free(l->lexicon);
    l->lexicon = NULL;
    es_model_free(l->model);
    l->engine = NULL;
    l->model = NULL;
}

/* A question may begin: the model is there, and stays until `over`. */
static es_status begin(local *l, es_error *err)
{
    pthread_mutex_lock(&l->lock);
    es_status status = l->engine != NULL ? ES_OK : open_model(l, err);
    if (status != ES_OK) {
        close_model(l);
        pthread_mutex_unlock(&l->lock);
    }
    return status;
}

/* The question ended so. */
static void over(local *l, es_status status)
{
    if (status != ES_OK && status != ES_ERR_CANCELLED)
        close_model(l); /* a device that failed may have lost keys and values: the next question begins anew */
    l->last_used = es_now();
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

/* Under the lock. */
static void let_go(local *l)
{
    close_model(l);
#if defined(__GLIBC__)
    malloc_trim(0); /* what was freed in small pieces goes back to the system, too */
#endif
}

void es_local_unload(es_intelligence *self)
{
    local *l = (local *)self;
    pthread_mutex_lock(&l->lock);
    let_go(l);
    pthread_mutex_unlock(&l->lock);
}

bool es_local_is_loaded(es_intelligence *self)
{
    local *l = (local *)self;
    pthread_mutex_lock(&l->lock);
    bool loaded = l->engine != NULL;
    pthread_mutex_unlock(&l->lock);
    return loaded;
}

static void *watch_the_clock(void *context)
{
    local *l = context;
    pthread_mutex_lock(&l->lock);
    while (!l->ending) {
        double left = l->last_used + l->options.idle_unload - es_now();
        if (l->engine == NULL)
            pthread_cond_wait(&l->changed, &l->lock);
        else if (left > 0.0)
            es_cond_wait_for(&l->changed, &l->lock, left);
        else
            let_go(l);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* A run of classify_frames. */
typedef struct frames_run {
    local *self;
    es_frame_walk walk;
} frames_run;

/* --- frames --- */

static es_status make_patches(void *context, const es_image *image, void *picture, int32_t *tokens, es_error *err)
{
    const local *self = context;
    es_patches *patches = picture;
    ES_TRY(es_preprocess_image(&self->preprocess, image, patches, err));
    int64_t merge = self->preprocess.merge_size;
    *tokens = (int32_t)(patches->count / (merge * merge));
    return ES_OK;
}

static void free_patches(void *picture)
{
    es_patches_free(picture);
}

/* What holds the records of so many frames to their form; NULL where nothing does. */
static es_status form_of(local *self, const es_ask *ask, size_t frames, es_matcher **matcher, es_error *err)
{
    *matcher = NULL;
    if (ask->prompt != NULL || ask->free_form || frames < 1 || frames > FORMS)
        return ES_OK;
    size_t i = frames - 1;
    if (self->grammars[i] == NULL)
        ES_TRY(es_record_grammar(&self->grammars[i], frames, err));
    if (self->lexicon == NULL)
        ES_TRY(es_lexicon_create(&self->lexicon, self->model->tokenizer, self->model->config.text.vocab, err));
    if (self->matchers[i] == NULL)
        ES_TRY(es_matcher_create(&self->matchers[i], self->grammars[i], self->lexicon, err));
    *matcher = self->matchers[i];
    return ES_OK;
}

static es_status next_prompt(void *context, es_prompt *prompt, es_generation *generation, void **tag, bool *more,
                             es_error *err)
{
    frames_run *run = context;
    es_frame_walk *walk = &run->walk;
    es_frame_group *group = es_frame_walk_next(walk);
    *tag = group;
    *more = group != NULL;
    if (group == NULL)
        return ES_OK;
    es_matcher *matcher;
    ES_TRY(form_of(run->self, walk->ask, group->count, &matcher, err));
    *prompt = (es_prompt){&group->message, 1, group->pictures, group->count};
    *generation = (es_generation){.max_tokens = group->max_tokens, .sampling = walk->ask->sampling, .matcher = matcher};
    return ES_OK;
}

static bool prompt_finished(void *context, void *tag, const es_answer *answer)
{
    frames_run *run = context;
    es_frame_walk_answer(&run->walk, tag, answer);
    return !run->walk.stopped;
}

static es_status classify_frames(es_intelligence *base, const es_frame *frames, size_t count, const es_ask *ask,
                                 const es_listener *listener, es_error *err)
{
    local *self = (local *)base;
    frames_run run = {.self = self};
    es_picture_maker maker = {self, sizeof(es_patches), make_patches, free_patches};
    ES_TRY(begin(self, err));
    es_status status = ES_OK;
    es_frame_walk_begin(&run.walk, frames, count, ask, listener, &maker);
    /* More than once: the last answers may leave frames to ask again. */
    while (status == ES_OK && es_frame_walk_more(&run.walk)) {
        es_job job = {.context = &run, .next = next_prompt, .finished = prompt_finished, .cancel = listener->cancel};
        status = es_engine_run(self->engine, &job, err);
    }
    if (status == ES_OK && run.walk.stopped)
        status = es_fail(err, ES_ERR_CANCELLED, "stopped by the caller");
    es_frame_walk_end(&run.walk);
    over(self, status);
    return status;
}

/* --- text --- */

typedef struct text_run {
    const es_message *messages;
    size_t count;
    const es_ask *ask;
    const es_listener *listener;
    bool given;
    es_str *text;
    es_status status;
    es_error error;
} text_run;

static es_status next_text(void *context, es_prompt *prompt, es_generation *generation, void **tag, bool *more,
                           es_error *err)
{
    text_run *r = context;
    (void)err;
    *tag = NULL;
    *more = !r->given;
    r->given = true;
    *prompt = (es_prompt){r->messages, r->count, NULL, 0};
    *generation = (es_generation){.max_tokens = r->ask->max_tokens, .sampling = r->ask->sampling};
    return ES_OK;
}

static bool text_piece(void *context, void *tag, const char *text)
{
    text_run *r = context;
    (void)tag;
    return r->listener->piece(r->listener->context, text);
}

static bool text_finished(void *context, void *tag, const es_answer *answer)
{
    text_run *r = context;
    (void)tag;
    r->status = answer->status;
    r->error = answer->error;
    if (answer->status == ES_OK)
        es_str_append(r->text, answer->text);
    return true;
}

static es_status generate_text(es_intelligence *base, const es_message *messages, size_t count, const es_ask *ask,
                               const es_listener *listener, es_str *text, es_error *err)
{
    local *self = (local *)base;
    text_run r = {.messages = messages, .count = count, .ask = ask, .listener = listener, .text = text};
    es_job job = {.context = &r,
                  .next = next_text,
                  .piece = listener->piece != NULL ? text_piece : NULL,
                  .finished = text_finished,
                  .cancel = listener->cancel};
    ES_TRY(begin(self, err));
    es_status status = es_engine_run(self->engine, &job, err);
    over(self, status);
    if (status != ES_OK)
        return status;
    if (r.status != ES_OK) {
        if (err != NULL)
            *err = r.error;
        return r.status;
    }
    return es_str_check(text, err);
}

static void destroy(es_intelligence *base)
{
    local *self = (local *)base;
    if (self->timed) {
        pthread_mutex_lock(&self->lock);
        self->ending = true;
        pthread_cond_signal(&self->changed);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->timer, NULL);
    }
    close_model(self);
    for (size_t i = 0; i < FORMS; i++)
        es_grammar_free(self->grammars[i]);
    es_device_free(self->device);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free((char *)(uintptr_t)self->options.model);
    free((char *)(uintptr_t)self->options.weight_cache);
    free((char *)(uintptr_t)self->options.engine.vision_dir);
    free(self);
}

static const es_intelligence_ops local_ops = {destroy, classify_frames, generate_text};

static es_status fill(local *l, const es_local_options *options, es_error *err)
{
    const char *const given[] = {options->model, options->weight_cache, options->engine.vision_dir};
    const char **const own[] = {&l->options.model, &l->options.weight_cache, &l->options.engine.vision_dir};
    bool failed = false;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        *own[i] = given[i] != NULL ? es_strdup(given[i]) : NULL;
        failed = failed || (given[i] != NULL && *own[i] == NULL);
    }
    if (failed)
        return es_fail_memory(err, "a path", 0);
    ES_TRY(open_model(l, err));
    l->last_used = es_now();
    if (!(options->idle_unload > 0.0))
        return ES_OK;
    l->timed = pthread_create(&l->timer, NULL, watch_the_clock, l) == 0;
    return l->timed ? ES_OK : es_fail(err, ES_ERR_MEMORY, "cannot start the thread that unloads an idle model");
}

es_status es_local_create(es_intelligence **self, es_device *device, const es_local_options *options, es_error *err)
{
    *self = NULL;
    local *l = es_calloc(1, sizeof *l);
    if (l == NULL) {
        es_device_free(device);
        return es_fail_memory(err, "the local engine", sizeof *l);
    }
    l->base = (es_intelligence){&local_ops, strcmp(device->name, "mlx") == 0 ? "mlx" : "native"};
    l->device = device;
    l->options = *options;
    pthread_mutex_init(&l->lock, NULL);
    es_cond_init(&l->changed);
    es_status status = fill(l, options, err);
    if (status != ES_OK) {
        destroy(&l->base);
        return status;
    }
    *self = &l->base;
    return ES_OK;
}
