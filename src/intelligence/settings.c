#include "intelligence/settings.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

/* A config file larger than this is not one. */
#define FILE_LIMIT ((size_t)1 << 20)
/* Longest value shown back in an error. */
#define SHOWN 60

typedef struct value {
    char *text; /* as given */
    char *where;
    es_source source;
    double number; /* for INT, NUMBER and BOOL */
    int64_t integer;
} value;

struct es_settings {
    value values[ES_SETTING_COUNT];
    es_names files;
};

/* 2^53: whole numbers up to here are exact as double, which carries the bounds. */
#define WHOLE_MAX 9007199254740992.0

static const es_setting table[ES_SETTING_COUNT] = {
    [ES_SETTING_MODEL] = {.name = "model",
                          .flag = "--model",
                          .variable = "ESCRIBANO_VLM_MODEL",
                          .type = ES_TYPE_TEXT,
                          .group = ES_SET_MODEL,
                          .standard = "",
                          .value = "MODEL",
                          .help = "directory of a Qwen3-VL checkpoint, the name of a pulled one, or a server's name"},
    [ES_SETTING_BACKEND] = {.name = "backend",
                            .flag = "--backend",
                            .variable = "ESCRIBANO_VLM_BACKEND",
                            .type = ES_TYPE_CHOICE,
                            .group = ES_SET_MODEL,
                            .standard = "auto",
                            .choices = "auto|native|mlx|ollama|openai",
                            .value = "NAME",
                            .help = "who answers: auto, native, mlx, ollama, openai"},
    [ES_SETTING_DEVICE] = {.name = "device",
                           .flag = "--device",
                           .variable = "ESCRIBANO_VLM_DEVICE",
                           .type = ES_TYPE_CHOICE,
                           .group = ES_SET_MODEL,
                           .standard = "auto",
                           .choices = "auto|cpu|mlx|mlx-cpu|mlx-gpu",
                           .value = "NAME",
                           .help = "what our own engine computes on: auto (a GPU through MLX, else the cpu), cpu, mlx, "
                                   "mlx-cpu, mlx-gpu"},
    [ES_SETTING_ENDPOINT] = {.name = "endpoint",
                             .flag = "--endpoint",
                             .variable = "ESCRIBANO_VLM_ENDPOINT",
                             .type = ES_TYPE_TEXT,
                             .group = ES_SET_MODEL,
                             .standard = "",
                             .value = "URL",
                             .help = "a server of ollama or openai; several times, or @FILE with one a line",
                             .many = true},
    [ES_SETTING_FALLBACK] = {.name = "fallback",
                             .flag = "--fallback",
                             .variable = "ESCRIBANO_VLM_FALLBACK",
                             .type = ES_TYPE_TEXT,
                             .group = ES_SET_MODEL,
                             .standard = "",
                             .value = "NAME[:MODEL]",
                             .help = "who goes on when that one cannot: native, mlx, ollama, openai"},
    [ES_SETTING_TIMEOUT] = {.name = "timeout",
                            .flag = "--timeout",
                            .variable = "ESCRIBANO_VLM_TIMEOUT",
                            .type = ES_TYPE_NUMBER,
                            .group = ES_SET_MODEL,
                            .standard = "300",
                            .low = 0.1,
                            .high = 86400,
                            .value = "SECONDS",
                            .help = "a server may be silent so long"},
    [ES_SETTING_BATCH] = {.name = "batch",
                          .flag = "--batch-size",
                          .alias = "--batch",
                          .variable = "ESCRIBANO_VLM_BATCH_SIZE",
                          .type = ES_TYPE_INT,
                          .group = ES_SET_FRAMES,
                          .standard = "0",
                          .high = 1024,
                          .value = "N",
                          .help = "frames in flight at once, or in one prompt if interleaved; 0: chosen"},
    [ES_SETTING_BATCH_MODE] = {.name = "batch_mode",
                               .flag = "--batch-mode",
                               .variable = "ESCRIBANO_VLM_BATCH_MODE",
                               .type = ES_TYPE_CHOICE,
                               .group = ES_SET_FRAMES,
                               .standard = "single",
                               .choices = "single|interleaved",
                               .value = "NAME",
                               .help = "single: each frame its own prompt; interleaved: --batch-size (4) in one"},
    [ES_SETTING_INTERLEAVED] = {.name = "interleaved",
                                .flag = "--interleaved",
                                .variable = "ESCRIBANO_VLM_INTERLEAVED",
                                .type = ES_TYPE_INT,
                                .group = ES_SET_FRAMES,
                                .standard = "1",
                                .low = 1,
                                .high = 64,
                                .value = "N",
                                .help = "frames put into one prompt; 1: each frame its own"},
    [ES_SETTING_MAX_TOKENS] = {.name = "max_tokens",
                               .flag = "--max-tokens",
                               .variable = "ESCRIBANO_VLM_MAX_TOKENS",
                               .type = ES_TYPE_INT,
                               .group = ES_SET_SAMPLING,
                               .standard = "500",
                               .low = 1,
                               .high = 1000000,
                               .value = "N",
                               .help = "tokens an answer may have (a frame's, for describe)"},
    [ES_SETTING_PROMPT] = {.name = "prompt",
                           .flag = "--prompt",
                           .variable = "ESCRIBANO_VLM_PROMPT",
                           .type = ES_TYPE_TEXT,
                           .group = ES_SET_FRAMES,
                           .standard = "",
                           .value = "TEXT",
                           .help = "the question put to each frame instead of escriba's own"},
    [ES_SETTING_FREE_FORM] = {.name = "free_form",
                              .flag = "--free-form",
                              .variable = "ESCRIBANO_VLM_FREE_FORM",
                              .type = ES_TYPE_BOOL,
                              .group = ES_SET_FRAMES,
                              .standard = "false",
                              .help = "do not hold the answers to escriba's own question to the form of a record"},
    [ES_SETTING_FRAME_WIDTH] = {.name = "frame_width",
                                .flag = "--frame-width",
                                .variable = "ESCRIBANO_FRAME_WIDTH",
                                .type = ES_TYPE_INT,
                                .group = ES_SET_FRAMES,
                                .standard = "1024",
                                .high = 8192,
                                .value = "PIXELS",
                                .help = "pictures are reduced to the area of a 16:9 one this wide; 0: not"},
    [ES_SETTING_MAX_PIXELS] = {.name = "max_pixels",
                               .flag = "--max-pixels",
                               .variable = "ESCRIBANO_VLM_MAX_PIXELS",
                               .type = ES_TYPE_INT,
                               .group = ES_SET_FRAMES,
                               .standard = "0",
                               .high = 67108864,
                               .value = "N",
                               .help = "the same as an area in pixels, before --frame-width; 0: as that says"},
    [ES_SETTING_CONTEXT] = {.name = "context",
                            .flag = "--context",
                            .variable = "ESCRIBANO_VLM_CONTEXT",
                            .type = ES_TYPE_INT,
                            .group = ES_SET_MODEL,
                            .standard = "0",
                            .high = 1048576,
                            .value = "N",
                            .help = "tokens of a prompt and its answer; 0: up to the model's own"},
    [ES_SETTING_THREADS] = {.name = "threads",
                            .flag = "--threads",
                            .variable = "ESCRIBANO_VLM_THREADS",
                            .type = ES_TYPE_INT,
                            .group = ES_SET_MODEL,
                            .standard = "0",
                            .high = 1024,
                            .value = "N",
                            .help = "threads that compute; 0: one a core"},
    [ES_SETTING_ISA] = {.name = "isa",
                        .flag = "--isa",
                        .variable = "ESCRIBANO_VLM_ISA",
                        .type = ES_TYPE_CHOICE,
                        .group = ES_SET_MODEL,
                        .standard = "auto",
                        .choices = "auto|scalar|avx2|avxvnni|avx512|neon",
                        .value = "NAME",
                        .help = "instruction set: auto (the best there is), scalar, avx2, avxvnni, avx512, neon"},
    [ES_SETTING_PRECISION] = {.name = "precision",
                              .flag = "--precision",
                              .variable = "ESCRIBANO_VLM_PRECISION",
                              .type = ES_TYPE_CHOICE,
                              .group = ES_SET_MODEL,
                              .standard = "exact",
                              .choices = "exact|balanced|fast",
                              .value = "NAME",
                              .help = "products: exact (float32), balanced (8 bit), fast (text weights 4 bit)"},
    [ES_SETTING_MEMORY] = {.name = "memory",
                           .flag = "--memory",
                           .variable = "ESCRIBANO_VLM_MEMORY",
                           .type = ES_TYPE_NUMBER,
                           .group = ES_SET_MODEL,
                           .standard = "0",
                           .high = 1e6,
                           .value = "GB",
                           .help = "keys and values may take so much; 0: half of the machine's memory"},
    [ES_SETTING_WEIGHT_CACHE] = {.name = "weight_cache",
                                 .flag = "--weight-cache",
                                 .variable = "ESCRIBANO_VLM_WEIGHT_CACHE",
                                 .type = ES_TYPE_TEXT,
                                 .group = ES_SET_MODEL,
                                 .standard = "",
                                 .value = "DIR",
                                 .help = "keep ready weights there, not in ~/.cache/escriba/weights; off: nowhere"},
    [ES_SETTING_VISION_CACHE] = {.name = "vision_cache",
                                 .flag = "--vision-cache",
                                 .variable = "ESCRIBANO_VLM_VISION_CACHE",
                                 .type = ES_TYPE_TEXT,
                                 .group = ES_SET_MODEL,
                                 .standard = "",
                                 .value = "DIR",
                                 .help = "keep there what the tower made of each picture, for the next run; off: not"},
    [ES_SETTING_VISION_CACHE_SIZE] = {.name = "vision_cache_size",
                                      .flag = "--vision-cache-size",
                                      .variable = "ESCRIBANO_VLM_VISION_CACHE_SIZE",
                                      .type = ES_TYPE_NUMBER,
                                      .group = ES_SET_MODEL,
                                      .standard = "2",
                                      .low = 0.001,
                                      .high = 1e6,
                                      .value = "GB",
                                      .help = "that may lie there; what was used longest ago goes first"},
    [ES_SETTING_IDLE_UNLOAD] = {.name = "idle_unload",
                                .flag = "--idle-unload",
                                .variable = "ESCRIBANO_VLM_IDLE_UNLOAD",
                                .type = ES_TYPE_NUMBER,
                                .group = ES_SET_MODEL,
                                .standard = "0",
                                .high = 1e6,
                                .value = "SECONDS",
                                .help = "give the model's memory back when idle for so long; 0: never"},
    [ES_SETTING_TEMPERATURE] = {.name = "temperature",
                                .flag = "--temperature",
                                .variable = "ESCRIBANO_VLM_TEMPERATURE",
                                .type = ES_TYPE_NUMBER,
                                .group = ES_SET_SAMPLING,
                                .standard = "0",
                                .high = 100,
                                .value = "X",
                                .help = "0: always the likeliest token; more: freer"},
    [ES_SETTING_TOP_P] = {.name = "top_p",
                          .flag = "--top-p",
                          .variable = "ESCRIBANO_VLM_TOP_P",
                          .type = ES_TYPE_NUMBER,
                          .group = ES_SET_SAMPLING,
                          .standard = "1",
                          .high = 1,
                          .value = "X",
                          .help = "choose among the likeliest tokens that make up this share; 1: off"},
    [ES_SETTING_TOP_K] = {.name = "top_k",
                          .flag = "--top-k",
                          .variable = "ESCRIBANO_VLM_TOP_K",
                          .type = ES_TYPE_INT,
                          .group = ES_SET_SAMPLING,
                          .standard = "0",
                          .high = 1000000,
                          .value = "N",
                          .help = "choose among so many of the likeliest tokens; 0: off"},
    [ES_SETTING_MIN_P] = {.name = "min_p",
                          .flag = "--min-p",
                          .variable = "ESCRIBANO_VLM_MIN_P",
                          .type = ES_TYPE_NUMBER,
                          .group = ES_SET_SAMPLING,
                          .standard = "0",
                          .high = 1,
                          .value = "X",
                          .help = "drop tokens less likely than this share of the likeliest; 0: off"},
    [ES_SETTING_REPETITION_PENALTY] = {.name = "repetition_penalty",
                                       .flag = "--repetition-penalty",
                                       .variable = "ESCRIBANO_VLM_REPETITION_PENALTY",
                                       .type = ES_TYPE_NUMBER,
                                       .group = ES_SET_SAMPLING,
                                       .standard = "1",
                                       .low = 0.01,
                                       .high = 100,
                                       .value = "X",
                                       .help = "above 1: tokens already there become less likely; 1: off"},
    [ES_SETTING_SEED] = {.name = "seed",
                         .flag = "--seed",
                         .variable = "ESCRIBANO_VLM_SEED",
                         .type = ES_TYPE_INT,
                         .group = ES_SET_SAMPLING,
                         .standard = "0",
                         .high = WHOLE_MAX,
                         .value = "N",
                         .help = "of sampling: the same seed gives the same answer"},
    [ES_SETTING_LLM_BACKEND] = {.name = "llm_backend",
                                .flag = "--llm-backend",
                                .variable = "ESCRIBANO_LLM_BACKEND",
                                .type = ES_TYPE_CHOICE,
                                .group = ES_SET_WORDS,
                                .standard = "same",
                                .choices = "same|auto|native|mlx|ollama|openai",
                                .value = "NAME",
                                .help = "who answers in words; same: as --backend"},
    [ES_SETTING_LLM_MODEL] = {.name = "llm_model",
                              .flag = "--llm-model",
                              .variable = "ESCRIBANO_LLM_MODEL",
                              .type = ES_TYPE_TEXT,
                              .group = ES_SET_WORDS,
                              .standard = "",
                              .value = "MODEL",
                              .help = "the model for words, where it is not --model"},
    [ES_SETTING_OLLAMA_HOST] = {.name = "ollama_host",
                                .variable = "OLLAMA_HOST",
                                .type = ES_TYPE_TEXT,
                                .group = ES_SET_MODEL,
                                .standard = "",
                                .value = "HOST",
                                .help = "where Ollama is: host, host:port, :port or a URL"},
    [ES_SETTING_OLLAMA_KEEP_ALIVE] = {.name = "ollama_keep_alive",
                                      .flag = "--ollama-keep-alive",
                                      .variable = "ESCRIBANO_OLLAMA_KEEP_ALIVE",
                                      .type = ES_TYPE_TEXT,
                                      .group = ES_SET_MODEL,
                                      .standard = "",
                                      .value = "TIME",
                                      .help = "Ollama keeps the model so long: 10m, 24h, seconds, -1: for ever"},
    [ES_SETTING_OLLAMA_THINK] = {.name = "ollama_think",
                                 .flag = "--ollama-think",
                                 .variable = "ESCRIBANO_OLLAMA_THINK",
                                 .type = ES_TYPE_CHOICE,
                                 .group = ES_SET_MODEL,
                                 .standard = "off",
                                 .choices = "off|on|low|medium|high",
                                 .value = "HOW",
                                 .help = "whether an Ollama model that can think aloud first does"},
    [ES_SETTING_OPENAI_BASE_URL] = {.name = "openai_base_url",
                                    .variable = "OPENAI_BASE_URL",
                                    .type = ES_TYPE_TEXT,
                                    .group = ES_SET_MODEL,
                                    .standard = "",
                                    .value = "URL",
                                    .help = "an OpenAI-compatible server, with its /v1"},
    [ES_SETTING_OPENAI_API_KEY] = {.name = "openai_api_key",
                                   .variable = "OPENAI_API_KEY",
                                   .type = ES_TYPE_TEXT,
                                   .group = ES_SET_MODEL,
                                   .standard = "",
                                   .value = "KEY",
                                   .help = "its key",
                                   .secret = true},
    [ES_SETTING_VERBOSE] = {.name = "verbose",
                            .flag = "--verbose",
                            .variable = "ESCRIBANO_VERBOSE",
                            .type = ES_TYPE_BOOL,
                            .group = ES_SET_COMMON,
                            .standard = "false",
                            .help = "say more on stderr, also when it is not a terminal"},
};

const es_setting *es_setting_at(size_t id)
{
    return id < ES_SETTING_COUNT ? &table[id] : NULL;
}

const char *es_source_name(es_source source)
{
    static const char *const names[] = {"default", "file", "variable", "flag"};
    return (unsigned)source < 4 ? names[source] : "?";
}

static void value_free(value *v)
{
    free(v->text);
    free(v->where);
    *v = (value){0};
}

void es_settings_free(es_settings *settings)
{
    if (settings == NULL)
        return;
    for (size_t i = 0; i < ES_SETTING_COUNT; i++)
        value_free(&settings->values[i]);
    es_names_free(&settings->files);
    free(settings);
}

es_status es_settings_create(es_settings **settings, es_error *err)
{
    *settings = es_calloc(1, sizeof **settings);
    if (*settings == NULL)
        return es_fail_memory(err, "the settings", sizeof **settings);
    for (size_t i = 0; i < ES_SETTING_COUNT; i++) {
        es_status status = es_settings_set(*settings, i, table[i].standard, ES_FROM_DEFAULT, "", err);
        if (status != ES_OK) {
            es_settings_free(*settings);
            *settings = NULL;
            return status;
        }
    }
    return ES_OK;
}

/* The value as an error may show it: one line, bounded, printable. */
static const char *shown(const char *text, char out[SHOWN + 4])
{
    size_t n = 0, length = strlen(text);
    for (size_t i = 0; i < length && n < SHOWN;) {
        size_t len = es_utf8_length(text + i, length - i);
        unsigned char c = (unsigned char)text[i];
        if (len == 0 || c < 0x20 || c == 0x7F) {
            out[n++] = '?';
            i++;
        } else if (n + len > SHOWN) {
            break;
        } else {
            memcpy(out + n, text + i, len);
            n += len;
            i += len;
        }
        if (n + 4 > SHOWN && i < length) {
            memcpy(out + n, "...", 3);
            n += 3;
            break;
        }
    }
    out[n] = '\0';
    return out;
}

static bool choice_known(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *at = choices; n > 0 && *at != '\0';) {
        size_t len = strcspn(at, "|");
        if (len == n && strncmp(at, text, n) == 0)
            return true;
        at += len + (at[len] == '|');
    }
    return false;
}

static bool read_bool(const char *text, double *number)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = 0;
        while (words[i][n] != '\0' && tolower((unsigned char)text[n]) == words[i][n])
            n++;
        if (words[i][n] == '\0' && text[n] == '\0') {
            *number = (double)(i % 2);
            return true;
        }
    }
    return false;
}

/* Checks text against its row and fills the number; false when it does not fit. */
static bool check(const es_setting *row, const char *text, value *v)
{
    char *end = NULL;
    errno = 0;
    switch (row->type) {
    case ES_TYPE_TEXT:
        return true;
    case ES_TYPE_CHOICE:
        return choice_known(row->choices, text);
    case ES_TYPE_BOOL:
        return read_bool(text, &v->number);
    case ES_TYPE_INT:
        if (!isdigit((unsigned char)*text) && *text != '-')
            return false;
        v->integer = strtoll(text, &end, 10);
        v->number = (double)v->integer;
        break;
    case ES_TYPE_NUMBER:
        if (strspn(text, "0123456789.eE+-") != strlen(text))
            return false; /* no hexadecimal, no "inf", no "nan" */
        v->number = strtod(text, &end);
        break;
    }
    return errno == 0 && end != text && *end == '\0' && isfinite(v->number) && v->number >= row->low &&
           v->number <= row->high;
}

static es_status refuse(const es_setting *row, const char *text, const char *where, es_error *err)
{
    char given[SHOWN + 4];
    shown(text, given);
    if (row->type == ES_TYPE_CHOICE)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: \"%s\" is not one of %s", where, given, row->choices);
    if (row->type == ES_TYPE_BOOL)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: \"%s\" is not true or false", where, given);
    return es_fail(err, ES_ERR_ARGUMENT, "%s: \"%s\" is not a %snumber from %.10g to %.16g", where, given,
                   row->type == ES_TYPE_INT ? "whole " : "", row->low, row->high);
}

/* Two texts with a space between; NULL when memory is short. */
static char *joined(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    char *text = es_calloc(n + m + 2, 1);
    if (text == NULL)
        return NULL;
    memcpy(text, a, n);
    text[n] = ' ';
    memcpy(text + n + 1, b, m);
    return text;
}

es_status es_settings_set(es_settings *settings, size_t id, const char *text, es_source source, const char *where,
                          es_error *err)
{
    if (id >= ES_SETTING_COUNT)
        return es_fail(err, ES_ERR_INTERNAL, "there is no setting number %zu", id);
    value v = {.source = source};
    if (!check(&table[id], text, &v))
        return refuse(&table[id], text, where, err);
    value *old = &settings->values[id];
    bool add = table[id].many && source == ES_FROM_FLAG && old->source == ES_FROM_FLAG && *old->text != '\0';
    v.text = add ? joined(old->text, text) : es_strdup(text);
    v.where = es_strdup(where);
    if (v.text == NULL || v.where == NULL) {
        value_free(&v);
        return es_fail_memory(err, "a setting", strlen(text) + strlen(where));
    }
    value_free(old);
    *old = v;
    return ES_OK;
}

es_status es_settings_read_variables(es_settings *settings, const char *(*get)(void *context, const char *name),
                                     void *context, es_error *err)
{
    for (size_t i = 0; i < ES_SETTING_COUNT; i++) {
        const char *text = get(context, table[i].variable);
        if (text != NULL && *text != '\0')
            ES_TRY(es_settings_set(settings, i, text, ES_FROM_VARIABLE, table[i].variable, err));
    }
    return ES_OK;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = '\0';
    return text;
}

/* The value of a line, in place: quotes taken off, or a comment after white-space when there are none. NULL: a quote
 * is not closed. */
static char *unquote(char *text)
{
    char quote = *text;
    if (quote == '"' || quote == '\'') {
        char *end = strchr(text + 1, quote);
        if (end == NULL)
            return NULL;
        char *rest = end + 1;
        rest += strspn(rest, " \t");
        if (*rest != '\0' && *rest != '#')
            return NULL;
        *end = '\0';
        return text + 1;
    }
    for (char *at = text; *at != '\0'; at++)
        if (*at == '#' && (at == text || isspace((unsigned char)at[-1]))) {
            *at = '\0';
            break;
        }
    return trim(text);
}

/* One line of a file; known keys are set, others passed over. */
static es_status read_line(es_settings *settings, char *line, const char *where, es_error *err)
{
    char *key = trim(line);
    if (*key == '\0' || *key == '#')
        return ES_OK;
    if (strncmp(key, "export", 6) == 0 && isspace((unsigned char)key[6]))
        key = trim(key + 6);
    char *equals = strchr(key, '=');
    if (equals == NULL || equals == key) {
        char given[SHOWN + 4];
        return es_fail(err, ES_ERR_ARGUMENT, "%s: \"%s\" is not KEY=VALUE", where, shown(key, given));
    }
    *equals = '\0';
    char *name = trim(key);
    for (size_t i = 0; i < ES_SETTING_COUNT; i++) {
        if (strcmp(name, table[i].variable) != 0)
            continue;
        char *text = unquote(trim(equals + 1));
        if (text == NULL)
            return es_fail(err, ES_ERR_ARGUMENT, "%s: the quotes around the value of %s do not match", where, name);
        if (*text == '\0')
            return ES_OK; /* KEY= leaves what was, as an empty variable does */
        char place[480];
        snprintf(place, sizeof place, "%s: %s", where, name);
        return es_settings_set(settings, i, text, ES_FROM_FILE, place, err);
    }
    return ES_OK;
}

es_status es_settings_read_file(es_settings *settings, const char *path, bool required, es_error *err)
{
    if (!required && !es_file_exists(path))
        return ES_OK;
    char *data = NULL;
    size_t size = 0;
    ES_TRY(es_file_read(path, FILE_LIMIT, &data, &size, err));
    es_status status = ES_OK;
    if (memchr(data, '\0', size) != NULL)
        status = es_fail(err, ES_ERR_ARGUMENT, "%s: not a config file: it holds binary data", path);
    if (status == ES_OK)
        status = es_names_add(&settings->files, path, err);
    size_t number = 1;
    for (char *line = data; status == ES_OK && line != NULL; number++) {
        char *next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        char where[400];
        snprintf(where, sizeof where, "%s:%zu", path, number);
        if (number == 1 && strncmp(line, "\xEF\xBB\xBF", 3) == 0)
            line += 3; /* a byte order mark */
        status = read_line(settings, line, where, err);
        line = next;
    }
    free(data);
    return status;
}

const char *es_settings_text(const es_settings *settings, es_setting_id id)
{
    return settings->values[id].text;
}

int64_t es_settings_int(const es_settings *settings, es_setting_id id)
{
    return settings->values[id].integer;
}

double es_settings_number(const es_settings *settings, es_setting_id id)
{
    return settings->values[id].number;
}

bool es_settings_bool(const es_settings *settings, es_setting_id id)
{
    return settings->values[id].number > 0;
}

es_source es_settings_source(const es_settings *settings, es_setting_id id)
{
    return settings->values[id].source;
}

const char *es_settings_where(const es_settings *settings, es_setting_id id)
{
    return settings->values[id].where;
}

size_t es_settings_file_count(const es_settings *settings)
{
    return settings->files.count;
}

const char *es_settings_file_at(const es_settings *settings, size_t i)
{
    return i < settings->files.count ? settings->files.items[i] : NULL;
}
