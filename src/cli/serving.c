#include "cli/serving.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static es_status open_device(void *context, bool again, es_device **device, es_error *err)
{
    return es_open_device(context, again, device, err);
}

static void on_note(void *context, const char *line)
{
    (void)context;
    es_complain("%s", line);
}

es_sampling es_serving_sampling(const es_settings *s)
{
    es_sampling sampling;
    es_sampling_init(&sampling);
    sampling.temperature = (float)es_settings_number(s, ES_SETTING_TEMPERATURE);
    sampling.top_k = (int32_t)es_settings_int(s, ES_SETTING_TOP_K);
    sampling.top_p = (float)es_settings_number(s, ES_SETTING_TOP_P);
    sampling.min_p = (float)es_settings_number(s, ES_SETTING_MIN_P);
    sampling.repetition_penalty = (float)es_settings_number(s, ES_SETTING_REPETITION_PENALTY);
    sampling.seed = (uint64_t)es_settings_int(s, ES_SETTING_SEED);
    return sampling;
}

/* Each connection has a thread. Left alone, the C library gives many of them a heap of their own, of which most stays
 * taken when a model goes: two heaps are enough for what they do. */
static void share_heaps(void)
{
#if defined(__GLIBC__)
    mallopt(M_ARENA_MAX, 2);
#endif
}

es_status es_serving_begin(es_serving *serving, const es_settings *s, const char *name, int32_t queue, int64_t tokens,
                           int64_t keep_ms, es_error *err)
{
    char *dir;
    *serving = (es_serving){.settings = s};
    share_heaps();
    ES_TRY(es_find_model(name, &dir, err));
    es_status status = es_catalog_open(&serving->catalog, name, dir, err);
    free(dir);
    ES_TRY(status);
    int64_t width = es_settings_int(s, ES_SETTING_FRAME_WIDTH), pixels = es_settings_int(s, ES_SETTING_MAX_PIXELS);
    es_picture_door_open(&serving->door);
    serving->door.max_pixels = pixels > 0 ? pixels : width * width * 9 / 16; /* a 16:9 picture of that width */
    es_worker_options options = {.engine = {.batch = (int32_t)es_settings_int(s, ES_SETTING_BATCH),
                                            .context = (int32_t)es_settings_int(s, ES_SETTING_CONTEXT),
                                            .kv_bytes = (int64_t)(es_settings_number(s, ES_SETTING_MEMORY) * 1e9),
                                            .vision_dir = es_vision_folder(s),
                                            .vision_dir_bytes = es_vision_folder_bytes(s),
                                            .note = on_note},
                                 .weight_cache = es_weight_folder(s),
                                 .open_device = open_device,
                                 .context = (void *)(uintptr_t)s,
                                 .queue = queue,
                                 .tokens = tokens,
                                 .keep_ms = keep_ms};
    status = es_worker_create(&serving->worker, &options, err);
    if (status != ES_OK)
        es_serving_end(serving);
    return status;
}

void es_serving_end(es_serving *serving)
{
    if (serving->catalog.dir == NULL)
        return;
    es_worker_free(serving->worker);
    es_picture_door_close(&serving->door);
    es_catalog_close(&serving->catalog);
    *serving = (es_serving){0};
}

es_status es_serving_load(es_serving *serving, int64_t keep_ms, es_error *err)
{
    es_ticket *t;
    ES_TRY(es_ticket_create(&t, err));
    t->kind = ES_TICKET_LOAD;
    t->keep_ms = keep_ms;
    t->model = es_strdup(serving->catalog.dir);
    t->client = es_strdup("start");
    es_status status = t->model != NULL && t->client != NULL ? es_worker_file(serving->worker, t, err)
                                                             : es_fail_memory(err, "a request", 0);
    if (status == ES_OK) {
        while (!es_ticket_wait_finished(t, INFINITY))
            continue;
        status = t->replies[0].status;
        if (status != ES_OK)
            *err = t->replies[0].error;
    }
    es_ticket_free(t);
    return status;
}
