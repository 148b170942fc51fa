/* settings.h - every setting in one table: its flag, its variable, its key in a config file, its range and
 * default.
 *
 * Precedence: flags over environment over config file over default. Whoever reads sources applies them from
 * the weakest to the strongest; a later source replaces an earlier one.
 */
#ifndef ES_INTELLIGENCE_SETTINGS_H
#define ES_INTELLIGENCE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Names of the rows of the table, in its order. */
typedef enum es_setting_id {
    ES_SETTING_MODEL,
    ES_SETTING_BACKEND,
    ES_SETTING_DEVICE,
    ES_SETTING_ENDPOINT,
    ES_SETTING_FALLBACK,
    ES_SETTING_TIMEOUT,
    ES_SETTING_BATCH,
    ES_SETTING_BATCH_MODE,
    ES_SETTING_INTERLEAVED,
    ES_SETTING_MAX_TOKENS,
    ES_SETTING_PROMPT,
    ES_SETTING_FREE_FORM,
    ES_SETTING_FRAME_WIDTH,
    ES_SETTING_MAX_PIXELS,
    ES_SETTING_CONTEXT,
    ES_SETTING_THREADS,
    ES_SETTING_ISA,
    ES_SETTING_PRECISION,
    ES_SETTING_MEMORY,
    ES_SETTING_WEIGHT_CACHE,
    ES_SETTING_VISION_CACHE,
    ES_SETTING_VISION_CACHE_SIZE,
    ES_SETTING_IDLE_UNLOAD,
    ES_SETTING_TEMPERATURE,
    ES_SETTING_TOP_P,
    ES_SETTING_TOP_K,
    ES_SETTING_MIN_P,
    ES_SETTING_REPETITION_PENALTY,
    ES_SETTING_SEED,
    ES_SETTING_LLM_BACKEND,
    ES_SETTING_LLM_MODEL,
    ES_SETTING_OLLAMA_HOST,
    ES_SETTING_OLLAMA_KEEP_ALIVE,
    ES_SETTING_OLLAMA_THINK,
    ES_SETTING_OPENAI_BASE_URL,
    ES_SETTING_OPENAI_API_KEY,
    ES_SETTING_VERBOSE,
    ES_SETTING_COUNT
} es_setting_id;

typedef enum es_setting_type {
    ES_TYPE_TEXT,
    ES_TYPE_CHOICE,
    ES_TYPE_INT,
    ES_TYPE_NUMBER,
    ES_TYPE_BOOL
} es_setting_type;

/* Groups, for verbs that take some of the flags. */
enum {
    ES_SET_MODEL = 1,    /* which model, on what */
    ES_SET_FRAMES = 2,   /* how frames are put to it */
    ES_SET_SAMPLING = 4, /* how tokens are chosen */
    ES_SET_COMMON = 8,   /* --verbose */
    ES_SET_WORDS = 16    /* who answers questions without pictures */
};

typedef struct es_setting {
    const char *name;     /* as `escriba config` prints it, "max_tokens" */
    const char *flag;     /* "--max-tokens"; NULL: it has none */
    const char *alias;    /* another name for the flag, or NULL */
    const char *variable; /* of the environment, and the key in config files, "ESCRIBANO_VLM_MAX_TOKENS" */
    es_setting_type type;
    unsigned group;
    const char *standard; /* the default, as text; "" for a text that is not set */
    double low, high;     /* inclusive, for numbers */
    const char *choices;  /* "a|b|c" for ES_TYPE_CHOICE */
    const char *value;    /* what the help calls its value; NULL for a flag without one */
    const char *help;
    bool secret; /* its value is never shown */
    bool many;   /* a flag given again adds to its value, parted by a space */
} es_setting;

const es_setting *es_setting_at(size_t id); /* id < ES_SETTING_COUNT */

typedef enum es_source { ES_FROM_DEFAULT, ES_FROM_FILE, ES_FROM_VARIABLE, ES_FROM_FLAG } es_source;
const char *es_source_name(es_source source); /* "default", "file", "variable", "flag" */

typedef struct es_settings es_settings;

es_status es_settings_create(es_settings **settings, es_error *err); /* all defaults */
void es_settings_free(es_settings *settings);                        /* NULL is fine */

/* Checks and sets one value. `where` names the place: a flag, a variable, "file:line". Errors are
 * ES_ERR_ARGUMENT and say where, what was given and what is expected. */
es_status es_settings_set(es_settings *settings, size_t id, const char *text, es_source source, const char *where,
                          es_error *err);

/* Applies the variables that are set and not empty; `get` is getenv, or a test's own. */
es_status es_settings_read_variables(es_settings *settings, const char *(*get)(void *context, const char *name),
                                     void *context, es_error *err);
/* Applies a file of KEY=VALUE lines: # comments, blank lines, `export `, quotes around values. Keys are the
 * variables' names; keys that escriba does not know are skipped (the file is shared with other programs). A
 * missing file is an error only when `required`. */
es_status es_settings_read_file(es_settings *settings, const char *path, bool required, es_error *err);

/* The value in force. Texts stay the settings'. */
const char *es_settings_text(const es_settings *settings, es_setting_id id); /* any type, as given */
int64_t es_settings_int(const es_settings *settings, es_setting_id id);
double es_settings_number(const es_settings *settings, es_setting_id id);
bool es_settings_bool(const es_settings *settings, es_setting_id id);
es_source es_settings_source(const es_settings *settings, es_setting_id id);
const char *es_settings_where(const es_settings *settings, es_setting_id id); /* "" for a default */

/* How many values were applied from files, and the files' names, for `escriba config`. */
size_t es_settings_file_count(const es_settings *settings);
const char *es_settings_file_at(const es_settings *settings, size_t i);

#endif
