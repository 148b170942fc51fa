/* requests.c - the settings as the public library's options and request. */
#include <string.h>

#include "cli/cli.h"
#include "escriba.h"

#define INTERLEAVED 4 /* frames in one prompt when only the mode is given */

static bool is_interleaved(const es_settings *s)
{
    return strcmp(es_settings_text(s, ES_SETTING_BATCH_MODE), "interleaved") == 0;
}

/* --interleaved N, or --batch-mode interleaved with --batch-size N. */
static int32_t frames_in_prompt(const es_settings *s)
{
    int64_t own = es_settings_int(s, ES_SETTING_INTERLEAVED), size = es_settings_int(s, ES_SETTING_BATCH);
    if (own > 1 || !is_interleaved(s))
        return (int32_t)own;
    return size > 0 ? (int32_t)size : INTERLEAVED;
}

const char *es_weight_folder(const es_settings *s)
{
    const char *folder = es_settings_text(s, ES_SETTING_WEIGHT_CACHE);
    return strcmp(folder, "off") == 0 ? "" : *folder != '\0' ? folder : NULL;
}

const char *es_vision_folder(const es_settings *s)
{
    const char *folder = es_settings_text(s, ES_SETTING_VISION_CACHE);
    return strcmp(folder, "off") == 0 || *folder == '\0' ? NULL : folder;
}

int64_t es_vision_folder_bytes(const es_settings *s)
{
    return (int64_t)(es_settings_number(s, ES_SETTING_VISION_CACHE_SIZE) * 1e9);
}

void es_fill_options(const es_settings *s, const char *model, escriba_options *o)
{
    const char *isa = es_settings_text(s, ES_SETTING_ISA);
    int64_t width = es_settings_int(s, ES_SETTING_FRAME_WIDTH), pixels = es_settings_int(s, ES_SETTING_MAX_PIXELS);
    escriba_options_init(o);
    o->model = model;
    o->isa = strcmp(isa, "auto") == 0 ? NULL : isa;
    o->precision = es_settings_text(s, ES_SETTING_PRECISION);
    o->threads = (int32_t)es_settings_int(s, ES_SETTING_THREADS);
    o->batch = is_interleaved(s) ? 0 : (int32_t)es_settings_int(s, ES_SETTING_BATCH);
    o->timeout = es_settings_number(s, ES_SETTING_TIMEOUT);
    o->context = (int32_t)es_settings_int(s, ES_SETTING_CONTEXT);
    o->memory = (int64_t)(es_settings_number(s, ES_SETTING_MEMORY) * 1e9);
    o->weight_cache = es_weight_folder(s);
    o->vision_cache = es_vision_folder(s);
    o->vision_cache_bytes = es_vision_folder_bytes(s);
    o->idle_unload = es_settings_number(s, ES_SETTING_IDLE_UNLOAD);
    o->keep_alive = es_settings_text(s, ES_SETTING_OLLAMA_KEEP_ALIVE);
    o->think = es_settings_text(s, ES_SETTING_OLLAMA_THINK);
    o->max_pixels = pixels > 0 ? pixels : width * width * 9 / 16; /* a 16:9 picture of that width */
}

void es_fill_request(const es_settings *s, escriba_request *q)
{
    const char *prompt = es_settings_text(s, ES_SETTING_PROMPT);
    escriba_request_init(q);
    q->prompt = *prompt != '\0' ? prompt : NULL;
    q->free_form = es_settings_bool(s, ES_SETTING_FREE_FORM);
    q->max_tokens = (int32_t)es_settings_int(s, ES_SETTING_MAX_TOKENS);
    q->temperature = (float)es_settings_number(s, ES_SETTING_TEMPERATURE);
    q->top_k = (int32_t)es_settings_int(s, ES_SETTING_TOP_K);
    q->top_p = (float)es_settings_number(s, ES_SETTING_TOP_P);
    q->min_p = (float)es_settings_number(s, ES_SETTING_MIN_P);
    q->repetition_penalty = (float)es_settings_number(s, ES_SETTING_REPETITION_PENALTY);
    q->seed = (uint64_t)es_settings_int(s, ES_SETTING_SEED);
    q->interleaved = frames_in_prompt(s);
}
