/* open.c - which backend, with what, and who stands by. */
#include "api/open.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/open.h"
#include "intelligence/fallback.h"
#include "intelligence/local.h"
#include "intelligence/net/server.h"

/* The fallback's options until they are needed: with all they point to. */
typedef struct kept_options {
    escriba_options options;
    char *texts[11];
} kept_options;

static bool is_mlx(const escriba_options *o)
{
    return o->backend != NULL && strcmp(o->backend, "mlx") == 0;
}

static const char *device_of(const escriba_options *o)
{
    return o->device != NULL ? o->device : is_mlx(o) ? "mlx" : "cpu";
}

/* *on_mlx: it is MLX that the model was to be opened on. */
static es_status open_local(es_intelligence **who, const escriba_options *o, bool *on_mlx, es_error *err)
{
    *on_mlx = false;
    es_cpu_options cpu = {.exact_below = ES_EXACT_BELOW};
    if (o->model == NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "options.model must name a model's directory");
    cpu.threads = (size_t)o->threads;
    cpu.isa_given = o->isa != NULL;
    if (o->isa != NULL && !es_isa_parse(o->isa, &cpu.isa))
        return es_fail(err, ES_ERR_ARGUMENT, "unknown instruction set \"%s\": scalar, avx2, avxvnni, avx512 or neon",
                       o->isa);
    if (o->precision != NULL && !es_precision_parse(o->precision, &cpu.precision))
        return es_fail(err, ES_ERR_ARGUMENT, "unknown precision \"%s\": exact, balanced or fast", o->precision);
    es_device *device;
    char note[640];
    ES_TRY(es_device_open(&device, device_of(o), &cpu, note, err));
    *on_mlx = es_device_is_mlx(device);
    if (note[0] != '\0' && o->on_note != NULL)
        o->on_note(o->note_data, note);
    es_local_options local = {.model = o->model,
                              .engine = {.batch = o->batch,
                                         .context = o->context,
                                         .kv_bytes = o->memory,
                                         .vision_dir = o->vision_cache,
                                         .vision_dir_bytes = o->vision_cache_bytes,
                                         .note = o->on_note,
                                         .note_context = o->note_data},
                              .max_pixels = o->max_pixels,
                              .weight_cache = o->weight_cache,
                              .idle_unload = o->idle_unload};
    return es_local_create(who, device, &local, err);
}

static es_status open_server(es_intelligence **who, const escriba_options *o, es_error *err)
{
    es_server_options server = {.backend = o->backend,
                                .endpoint = o->endpoint,
                                .key = o->key,
                                .model = o->model,
                                .max_pixels = o->max_pixels,
                                .context = o->context,
                                .most = o->batch,
                                .keep_alive = o->keep_alive,
                                .think = o->think,
                                .answer_seconds = o->timeout,
                                .note = o->on_note,
                                .note_context = o->note_data};
    return es_server_create(who, &server, err);
}

static bool is_native(const escriba_options *o)
{
    return o->backend == NULL || strcmp(o->backend, "native") == 0;
}

static es_status check(const escriba_options *o, es_error *err)
{
    if (o->threads < 0 || o->threads > 1024)
        return es_fail(err, ES_ERR_ARGUMENT, "%d threads: must be from 1 to 1024, or 0 for one a core", o->threads);
    if (o->max_pixels < 0 || o->context < 0 || o->batch < 0)
        return es_fail(err, ES_ERR_ARGUMENT, "batch, max_pixels and context must be 0 (chosen) or more");
    if (!isfinite(o->timeout) || o->timeout < 0 || o->timeout > 86400)
        return es_fail(err, ES_ERR_ARGUMENT, "the timeout must be from 0 (chosen) to 86400 seconds");
    if (o->memory < 0 || o->vision_cache_bytes < 0 || !isfinite(o->idle_unload) || o->idle_unload < 0)
        return es_fail(err, ES_ERR_ARGUMENT, "memory, vision_cache_bytes and idle_unload must be 0 or more");
    if (!es_device_name_ok(device_of(o)))
        return es_fail(err, ES_ERR_ARGUMENT, "unknown device \"%.40s\": auto, cpu, mlx, mlx-cpu or mlx-gpu", o->device);
    if (is_mlx(o) && (strcmp(device_of(o), "cpu") == 0 || strcmp(device_of(o), "auto") == 0))
        return es_fail(err, ES_ERR_ARGUMENT, "the mlx backend computes on mlx, mlx-cpu or mlx-gpu, not on \"%s\"",
                       o->device);
    if (is_native(o) || is_mlx(o) || strcmp(o->backend, "ollama") == 0 || strcmp(o->backend, "openai") == 0)
        return ES_OK;
    return es_fail(err, ES_ERR_ARGUMENT, "unknown backend \"%.40s\": native, mlx, ollama or openai", o->backend);
}

static es_status open_one(es_intelligence **who, const escriba_options *o, es_error *err)
{
    bool on_mlx;
    return is_native(o) || is_mlx(o) ? open_local(who, o, &on_mlx, err) : open_server(who, o, err);
}

/* The caller's options, which may be of an older version of the header, in full. */
static es_status read_options(const escriba_options *given, escriba_options *known, es_error *err)
{
    escriba_options_init(known);
    if (given == NULL || given->size == 0 || given->size > sizeof *known)
        return es_fail(err, ES_ERR_ARGUMENT, "call escriba_options_init on the options first");
    memcpy(known, given, given->size);
    return check(known, err);
}

/* --- the fallback --- */

static void kept_free(void *context)
{
    kept_options *kept = context;
    char *key = kept->texts[5];
    if (key != NULL)
        memset(key, 0, strlen(key));
    for (size_t i = 0; i < sizeof kept->texts / sizeof *kept->texts; i++)
        free(kept->texts[i]);
    free(kept);
}

static es_status keep(const escriba_options *given, kept_options **out, es_error *err)
{
    kept_options *kept = es_calloc(1, sizeof *kept);
    if (kept == NULL)
        return es_fail_memory(err, "options", sizeof *kept);
    escriba_options *o = &kept->options;
    es_status status = read_options(given, o, err);
    if (status == ES_OK && o->fallback != NULL)
        status = es_fail(err, ES_ERR_ARGUMENT, "a fallback cannot have a fallback");
    const char **texts[] = {&o->model,        &o->isa,        &o->precision, &o->backend, &o->endpoint,    &o->key,
                            &o->weight_cache, &o->keep_alive, &o->think,     &o->device,  &o->vision_cache};
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == ES_OK; i++) {
        if (*texts[i] == NULL)
            continue;
        kept->texts[i] = es_strdup(*texts[i]);
        *texts[i] = kept->texts[i];
        if (kept->texts[i] == NULL)
            status = es_fail_memory(err, "options", 0);
    }
    if (status == ES_OK)
        *out = kept;
    else
        kept_free(kept);
    return status;
}

static es_status open_kept(void *context, es_intelligence **second, es_error *err)
{
    const kept_options *kept = context;
    return open_one(second, &kept->options, err);
}

/* MLX may fail later than when it is opened: then the cpu takes the frames that are left. */
static es_status open_auto(es_intelligence **who, const escriba_options *known, es_error *err)
{
    escriba_options on_cpu = *known;
    es_fallback_options two = {.open = open_kept, .free = kept_free, .note = known->on_note};
    kept_options *kept = NULL;
    bool on_mlx;
    es_status status = open_local(&two.first, known, &on_mlx, &two.why);
    if (!on_mlx) {
        *who = two.first;
        if (status != ES_OK && err != NULL)
            *err = two.why;
        return status;
    }
    on_cpu.device = "cpu";
    status = keep(&on_cpu, &kept, err);
    if (status != ES_OK) {
        es_intelligence_free(two.first);
        return status;
    }
    two.context = kept;
    two.note_context = known->note_data;
    return es_fallback_create(who, &two, err);
}

es_status es_open_who(es_intelligence **who, const escriba_options *options, es_error *err)
{
    escriba_options known;
    es_fallback_options two = {0};
    kept_options *kept = NULL;
    *who = NULL;
    ES_TRY(read_options(options, &known, err));
    if (known.fallback == NULL && is_native(&known) && strcmp(device_of(&known), "auto") == 0)
        return open_auto(who, &known, err);
    if (known.fallback == NULL)
        return open_one(who, &known, err);
    ES_TRY(keep(known.fallback, &kept, err));
    two.open = open_kept;
    two.free = kept_free;
    two.context = kept;
    two.note = known.on_note;
    two.note_context = known.note_data;
    if (open_one(&two.first, &known, &two.why) != ES_OK)
        two.first = NULL;
    return es_fallback_create(who, &two, err);
}
