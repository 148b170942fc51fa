/* escriba.c - the public interface over port 1. Translates, checks and locks; decides nothing. */
#include "escriba.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/open.h"
#include "base/mem.h"
#include "intelligence/intelligence.h"

#define DEFAULT_MAX_TOKENS 500
#define ENDPOINTS_MAX 1024 /* as in a fleet */

_Static_assert((int)ESCRIBA_ERR_INTERNAL == (int)ES_ERR_INTERNAL, "the public statuses are the internal ones");
_Static_assert(sizeof(escriba_error) == sizeof(es_error), "the public error is the internal one");

struct escriba_model {
    es_intelligence *who;
    pthread_mutex_t one_call;
    atomic_int cancel;
    atomic_uint drained[ENDPOINTS_MAX / 32 + 1]; /* a bit for each place; 0: all */
};

static escriba_status give(escriba_error *error, es_status status, const es_error *from)
{
    if (error != NULL) {
        error->status = (escriba_status)status;
        memcpy(error->message, status == ES_OK ? "" : from->message,
               status == ES_OK ? (size_t)1 : sizeof error->message);
    }
    return (escriba_status)status;
}

const char *escriba_version(void)
{
    return ESCRIBA_VERSION;
}

const char *escriba_status_name(escriba_status status)
{
    return es_status_name((es_status)status);
}

void escriba_options_init(escriba_options *options)
{
    *options = (escriba_options){.size = sizeof *options};
}

void escriba_request_init(escriba_request *request)
{
    *request = (escriba_request){.size = sizeof *request,
                                 .max_tokens = DEFAULT_MAX_TOKENS,
                                 .top_p = 1.0f,
                                 .repetition_penalty = 1.0f,
                                 .interleaved = 1};
}

escriba_status escriba_open(escriba_model **model, const escriba_options *options, escriba_error *error)
{
    es_error err = {0};
    *model = NULL;
    escriba_model *m = es_calloc(1, sizeof *m);
    if (m == NULL)
        return give(error, es_fail_memory(&err, "a model", sizeof *m), &err);
    if (pthread_mutex_init(&m->one_call, NULL) != 0) {
        free(m);
        return give(error, es_fail_memory(&err, "a lock", 0), &err);
    }
    es_status status = es_open_who(&m->who, options, &err);
    if (status != ES_OK) {
        escriba_free(m);
        return give(error, status, &err);
    }
    *model = m;
    return give(error, ES_OK, NULL);
}

void escriba_free(escriba_model *model)
{
    if (model == NULL)
        return;
    es_intelligence_free(model->who);
    pthread_mutex_destroy(&model->one_call);
    free(model);
}

void escriba_cancel(escriba_model *model)
{
    atomic_store(&model->cancel, 1);
}

void escriba_drain(escriba_model *model, size_t endpoint)
{
    if (endpoint <= ENDPOINTS_MAX)
        atomic_fetch_or(&model->drained[endpoint / 32], 1u << endpoint % 32);
}

static bool drain_asked(void *context, size_t endpoint)
{
    escriba_model *m = context;
    return endpoint <= ENDPOINTS_MAX && (atomic_load(&m->drained[endpoint / 32]) >> endpoint % 32 & 1u) != 0;
}

static bool cancel_asked(void *context)
{
    escriba_model *m = context;
    return atomic_load(&m->cancel) != 0;
}

static es_status read_request(const escriba_request *request, es_ask *ask, es_error *err)
{
    escriba_request r;
    escriba_request_init(&r);
    if (request != NULL) {
        if (request->size == 0 || request->size > sizeof r)
            return es_fail(err, ES_ERR_ARGUMENT, "call escriba_request_init on the request first");
        memcpy(&r, request, request->size);
    }
    es_ask_init(ask);
    ask->prompt = r.prompt;
    ask->max_tokens = r.max_tokens == 0 ? DEFAULT_MAX_TOKENS : r.max_tokens;
    ask->interleaved = r.interleaved;
    ask->free_form = r.free_form != 0;
    ask->sampling = (es_sampling){.temperature = r.temperature,
                                  .top_k = r.top_k,
                                  .top_p = r.top_p,
                                  .min_p = r.min_p,
                                  .repetition_penalty = r.repetition_penalty,
                                  .seed = r.seed};
    return es_sampling_check(&ask->sampling, err);
}

/* --- frames --- */

typedef struct frames_call {
    escriba_observation_fn on_observation;
    escriba_progress_fn on_progress;
    void *user_data;
} frames_call;

static void to_public(const es_observation *seen, escriba_observation *out)
{
    const es_record *r = &seen->record;
    *out = (escriba_observation){
        .index = seen->index,
        .timestamp = seen->timestamp,
        .image_path = seen->image_path,
        .status = (escriba_status)seen->status,
        .error = seen->status == ES_OK ? "" : seen->error.message,
        .parsed = seen->status == ES_OK && r->parsed,
        .description = r->description != NULL ? r->description : "",
        .activity = r->activity != NULL ? r->activity : "",
        .app_count = r->app_count,
        .topic_count = r->topic_count,
        .apps = (const char *const *)r->apps,
        .topics = (const char *const *)r->topics,
        .raw_text = seen->raw_text != NULL ? seen->raw_text : "",
        .reason = seen->reason != NULL ? seen->reason : "",
        .truncated = seen->truncated,
        .prompt_tokens = seen->prompt_tokens,
        .image_tokens = seen->image_tokens,
        .generated_tokens = seen->generated_tokens,
        .seconds_decode_image = seen->seconds_decode_image,
        .seconds_vision = seen->seconds_vision,
        .seconds_prefill = seen->seconds_prefill,
        .seconds_generate = seen->seconds_generate,
    };
}

static bool observed(void *context, const es_observation *seen)
{
    frames_call *call = context;
    escriba_observation out;
    to_public(seen, &out);
    return call->on_observation(call->user_data, &out) == 0;
}

static void progressed(void *context, size_t done, size_t total)
{
    frames_call *call = context;
    call->on_progress(call->user_data, done, total);
}

/* A caller's pixels as an es_image; rows are packed anew only when they are apart. *owned tells whether to free them.
 */
static es_status borrow_pixels(const escriba_frame *f, es_image *image, bool *owned, es_error *err)
{
    *owned = false;
    if (f->rgb == NULL || f->width < 1 || f->height < 1 || (int64_t)f->width * f->height > ES_IMAGE_MAX_PIXELS)
        return es_fail(err, ES_ERR_ARGUMENT, "a frame needs a path, or pixels of 1 to %lld in all (here %d x %d)",
                       (long long)ES_IMAGE_MAX_PIXELS, f->width, f->height);
    size_t row = (size_t)f->width * 3, stride = f->stride == 0 ? row : f->stride;
    if (stride < row)
        return es_fail(err, ES_ERR_ARGUMENT, "a frame's stride is %zu bytes, less than its %zu a row", stride, row);
    *image = (es_image){f->width, f->height, (uint8_t *)(uintptr_t)f->rgb};
    if (stride == row)
        return ES_OK;
    uint8_t *packed = es_calloc((size_t)f->height, row);
    if (packed == NULL)
        return es_fail_memory(err, "a frame", (size_t)f->height * row);
    for (size_t y = 0; y < (size_t)f->height; y++)
        memcpy(packed + y * row, f->rgb + y * stride, row);
    image->rgb = packed;
    *owned = true;
    return ES_OK;
}

/* The caller's frames as the port's; `images` and `owned` hold those given as pixels. */
static es_status read_frames(const escriba_frame *frames, size_t count, es_frame *out, es_image *images, bool *owned,
                             es_error *err)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (es_frame){.path = frames[i].path, .timestamp = frames[i].timestamp};
        if (frames[i].path != NULL)
            continue;
        ES_TRY(borrow_pixels(&frames[i], &images[i], &owned[i], err));
        out[i].image = &images[i];
    }
    return ES_OK;
}

static es_status classify(escriba_model *m, const escriba_frame *frames, size_t count, const es_ask *ask,
                          const es_listener *listener, es_error *err)
{
    es_frame *list = es_calloc(count, sizeof *list);
    es_image *images = es_calloc(count, sizeof *images);
    bool *owned = es_calloc(count, sizeof *owned);
    es_status status;
    if (list == NULL || images == NULL || owned == NULL)
        status = es_fail_memory(err, "the list of frames", count * (sizeof *list + sizeof *images));
    else
        status = read_frames(frames, count, list, images, owned, err);
    if (status == ES_OK) {
        pthread_mutex_lock(&m->one_call);
        status = es_classify_frames(m->who, list, count, ask, listener, err);
        if (status == ES_ERR_CANCELLED)
            atomic_store(&m->cancel, 0);
        pthread_mutex_unlock(&m->one_call);
    }
    for (size_t i = 0; owned != NULL && i < count; i++)
        if (owned[i])
            es_image_free(&images[i]);
    free(list);
    free(images);
    free(owned);
    return status;
}

escriba_status escriba_classify_frames(escriba_model *model, const escriba_frame *frames, size_t count,
                                       const escriba_request *request, escriba_observation_fn on_observation,
                                       escriba_progress_fn on_progress, void *user_data, escriba_error *error)
{
    es_error err = {0};
    es_ask ask;
    if (on_observation == NULL || (frames == NULL && count > 0))
        return give(error, es_fail(&err, ES_ERR_ARGUMENT, "frames and on_observation must be given"), &err);
    es_status status = read_request(request, &ask, &err);
    frames_call call = {on_observation, on_progress, user_data};
    es_cancel cancel = {cancel_asked, model};
    es_drain drain = {drain_asked, model};
    es_listener listener = {.context = &call,
                            .observed = observed,
                            .progress = on_progress != NULL ? progressed : NULL,
                            .cancel = &cancel,
                            .drain = &drain};
    if (status == ES_OK)
        status = classify(model, frames, count, &ask, &listener, &err);
    return give(error, status, &err);
}

/* A copy that outlives the callback, with everything it points to. */
typedef struct kept_observation {
    escriba_observation public;
    char *image_path, *error, *description, *activity, *raw_text;
    char **apps, **topics;
} kept_observation;

static char **copy_list(const char *const *items, size_t count)
{
    char **list = es_calloc(count, sizeof *list);
    for (size_t i = 0; list != NULL && i < count; i++) {
        list[i] = es_strdup(items[i]);
        if (list[i] == NULL) {
            while (i > 0)
                free(list[--i]);
            free(list);
            return NULL;
        }
    }
    return list;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; list != NULL && i < count; i++)
        free(list[i]);
    free(list);
}

void escriba_observation_free(escriba_observation *observation)
{
    if (observation == NULL)
        return;
    kept_observation *k = (kept_observation *)observation;
    free_list(k->apps, k->public.app_count);
    free_list(k->topics, k->public.topic_count);
    free(k->image_path);
    free(k->error);
    free(k->description);
    free(k->activity);
    free(k->raw_text);
    free(k);
}

static int keep(void *user_data, const escriba_observation *seen)
{
    kept_observation **kept = user_data;
    kept_observation *k = es_calloc(1, sizeof *k);
    if (k == NULL)
        return 0;
    k->public = *seen;
    k->image_path = seen->image_path != NULL ? es_strdup(seen->image_path) : NULL;
    k->error = es_strdup(seen->error);
    k->description = es_strdup(seen->description);
    k->activity = es_strdup(seen->activity);
    k->raw_text = es_strdup(seen->raw_text);
    k->apps = copy_list(seen->apps, seen->app_count);
    k->topics = copy_list(seen->topics, seen->topic_count);
    if ((seen->image_path != NULL && k->image_path == NULL) || k->error == NULL || k->description == NULL ||
        k->activity == NULL || k->raw_text == NULL || k->apps == NULL || k->topics == NULL) {
        escriba_observation_free(&k->public);
        return 0;
    }
    k->public.image_path = k->image_path;
    k->public.error = k->error;
    k->public.description = k->description;
    k->public.activity = k->activity;
    k->public.raw_text = k->raw_text;
    k->public.apps = (const char *const *)k->apps;
    k->public.topics = (const char *const *)k->topics;
    *kept = k;
    return 0;
}

escriba_status escriba_classify_frame(escriba_model *model, const escriba_frame *frame, const escriba_request *request,
                                      escriba_observation **observation, escriba_error *error)
{
    kept_observation *kept = NULL;
    *observation = NULL;
    escriba_status status = escriba_classify_frames(model, frame, 1, request, keep, NULL, &kept, error);
    if (status != ESCRIBA_OK) {
        if (kept != NULL)
            escriba_observation_free(&kept->public);
        return status;
    }
    es_error err = {0};
    if (kept == NULL)
        return give(error, es_fail_memory(&err, "an observation", 0), &err);
    if (kept->public.status != ESCRIBA_OK) { /* with a single frame, its failure is the call's */
        status = kept->public.status;
        es_fail(&err, (es_status)status, "%s", kept->public.error);
        escriba_observation_free(&kept->public);
        return give(error, (es_status)status, &err);
    }
    *observation = &kept->public;
    return ESCRIBA_OK;
}

/* --- text --- */

typedef struct text_call {
    escriba_text_fn on_text;
    void *user_data;
} text_call;

static bool text_piece(void *context, const char *text)
{
    text_call *call = context;
    return call->on_text(call->user_data, text) == 0;
}

escriba_status escriba_generate_text(escriba_model *model, const escriba_request *request, escriba_text_fn on_text,
                                     void *user_data, char **text, escriba_error *error)
{
    es_error err = {0};
    es_ask ask;
    es_str out = {0};
    *text = NULL;
    es_status status = read_request(request, &ask, &err);
    if (status == ES_OK && ask.prompt == NULL)
        status = es_fail(&err, ES_ERR_ARGUMENT, "request.prompt must be given");
    text_call call = {on_text, user_data};
    es_cancel cancel = {cancel_asked, model};
    es_listener listener = {.context = &call, .piece = on_text != NULL ? text_piece : NULL, .cancel = &cancel};
    es_content content = {.text = ask.prompt};
    es_message message = {ES_ROLE_USER, &content, 1};
    if (status == ES_OK) {
        pthread_mutex_lock(&model->one_call);
        status = es_generate_text(model->who, &message, 1, &ask, &listener, &out, &err);
        if (status == ES_ERR_CANCELLED)
            atomic_store(&model->cancel, 0);
        pthread_mutex_unlock(&model->one_call);
    }
    if (status == ES_OK) {
        *text = es_str_take(&out, &err);
        status = *text != NULL ? ES_OK : err.status;
    }
    es_str_free(&out);
    return give(error, status, &err);
}

void escriba_text_free(char *text)
{
    free(text);
}
