/* cli.h - what the verbs of the `escriba` command share. Only this floor prints and chooses exit codes. */
#ifndef ES_CLI_CLI_H
#define ES_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/status.h"
#include "base/str.h"
#include "compute/compute.h"
#include "escriba.h"
#include "intelligence/settings.h"

/* Exit codes of every verb. */
enum {
    ES_EXIT_OK = 0,
    ES_EXIT_FAILED = 1, /* something, or everything, could not be done */
    ES_EXIT_USAGE = 2,  /* the command line, a variable or a config file makes no sense */
    ES_EXIT_INTERRUPTED = 130
};

/* --- the verbs: argv[0] is the verb's name; the value is the exit code --- */
int es_cmd_run(int argc, char **argv);
int es_cmd_sessions(int argc, char **argv);
int es_cmd_show(int argc, char **argv);
int es_cmd_export(int argc, char **argv);
int es_cmd_search(int argc, char **argv);
int es_cmd_forget(int argc, char **argv);
int es_cmd_describe(int argc, char **argv);
int es_cmd_generate(int argc, char **argv);
int es_cmd_config(int argc, char **argv);
int es_cmd_doctor(int argc, char **argv);
int es_cmd_inspect(int argc, char **argv);
int es_cmd_trace(int argc, char **argv);
int es_cmd_pull(int argc, char **argv);
int es_cmd_models(int argc, char **argv);
int es_cmd_bench(int argc, char **argv);

/* --- flags and help (args.c) --- */
typedef struct es_flag {
    const char *name;  /* "--json" */
    const char *value; /* what the help calls its value, "FILE"; NULL: the flag takes none */
    const char *help;  /* one line */
} es_flag;

/* Everything `escriba help VERB` says. */
typedef struct es_usage {
    const char *verb;
    const char *synopsis; /* after "escriba VERB ", e.g. "[FLAGS] FRAME... | DIRECTORY | -" */
    const char *text;     /* a paragraph or two, newline at the end */
    const es_flag *flags;
    size_t flag_count;
    unsigned settings;    /* groups of settings whose flags the verb takes too (ES_SET_...), 0: none */
    const char *examples; /* lines, newline at the end */
} es_usage;

typedef struct es_args {
    int argc;
    char **argv;
    int at;             /* start with 1 */
    bool only_operands; /* "--" was seen */
} es_args;

typedef enum es_arg {
    ES_ARG_FLAG,    /* *index: of usage->flags; *value: its value or NULL */
    ES_ARG_SETTING, /* *index: of es_setting_at; *value: its value or NULL */
    ES_ARG_OPERAND, /* *value */
    ES_ARG_HELP,    /* --help or -h: the help was printed on stdout; return ES_EXIT_OK */
    ES_ARG_END,
    ES_ARG_BAD /* one line was printed on stderr; return ES_EXIT_USAGE */
} es_arg;

/* The next argument: "--name value", "--name=value", operands ("-" is one), "--". */
es_arg es_args_next(es_args *args, const es_usage *usage, size_t *index, const char **value);
void es_usage_print(FILE *out, const es_usage *usage);
/* Reads the settings (files, variables, then the flags of usage->settings) and hands flags and operands to the verb's
 * own functions, each of which returns ES_EXIT_OK or what it complained with. Help sets *done. The exit code to leave
 * with unless it is ES_EXIT_OK; *settings is freed by the caller in any case. */
typedef struct es_reader {
    int (*flag)(void *context, size_t index, const char *value);
    int (*operand)(void *context, const char *value); /* NULL: the verb takes none */
    void *context;
} es_reader;
int es_read_command_line(int argc, char **argv, const es_usage *usage, const es_reader *reader, es_settings **settings,
                         bool *done);
/* The nearest of n names (items `stride` bytes apart, each beginning with a const char *), or NULL when none
 * is near. */
const char *es_nearest(const char *word, const void *items, size_t n, size_t stride);

/* --- lines and numbers (cli_util.c) --- */
/* "escriba: message" on stderr. */
void es_complain(const char *format, ...) ES_PRINTF(1, 2);
/* Complains with err's message and returns ES_EXIT_USAGE for ES_ERR_ARGUMENT, else ES_EXIT_FAILED. */
int es_complain_error(const es_error *err);
/* Writes to stdout and flushes; on failure complains in one line (a closed pipe: silently) and returns false.
 */
bool es_print(const char *text);
/* A whole number / a number, nothing after it, within the bounds. */
bool es_parse_int(const char *text, long long low, long long high, long long *value);
bool es_parse_number(const char *text, double low, double high, double *value);
/* "1.5 GB", "12 kB": decimal units, three digits. */
const char *es_human_bytes(double bytes, char out[32]);
/* "1:02:03" or "2:03". */
const char *es_human_seconds(double seconds, char out[32]);
/* The n bytes of a JSON number for seconds: three decimals, never NaN. */
void es_append_seconds(es_str *out, double seconds);
/* A copy of text in which bytes that are not UTF-8 are U+FFFD; NULL when memory is short. */
char *es_clean_utf8(const char *text);
/* Reads all settings in order of precedence: defaults, config files, environment; flags come after, by the
 * caller. `config`: the file named by --config, or NULL for the usual ones. */
es_status es_read_settings(es_settings **settings, const char *config, es_error *err);
/* One pass over the arguments for "--config FILE" only, so that files are read before flags. NULL when
 * absent. */
const char *es_find_config_flag(int argc, char **argv);
/* Finds the directory of the model that `name` means (NULL or "": the default). *dir is freed by the caller.
 */
es_status es_find_model(const char *name, char **dir, es_error *err);
/* What --device means with that backend ("native", "mlx"), as escriba_options has it. ES_ERR_ARGUMENT: they contradict
 * each other. */
es_status es_device_name(const es_settings *settings, const char *backend, const char **name, es_error *err);
/* The device of the settings, with its instruction set, threads and precision. Says on stderr when auto had to give up
 * MLX; `again`: auto gives it up, for it failed at its work. */
es_status es_open_device(const es_settings *settings, bool again, es_device **device, es_error *err);
/* The settings as the public library takes them. `model` and the settings must outlive what is filled. */
void es_fill_options(const es_settings *settings, const char *model, escriba_options *options);
/* Where ready weights are kept, as escriba_options says it. */
const char *es_weight_folder(const es_settings *settings);
/* Where embeddings of pictures are kept, NULL: nowhere, and how many bytes may lie there. */
const char *es_vision_folder(const es_settings *settings);
int64_t es_vision_folder_bytes(const es_settings *settings);
void es_fill_request(const es_settings *settings, escriba_request *request);

/* --- who answers (backend.c) --- */
typedef struct es_choice {
    const char *backend;  /* "native", "mlx", "ollama" or "openai" */
    const char *device;   /* of the first two, as escriba_options has it */
    char *model;          /* native, mlx: a directory; else the server's name for it, NULL: what the server has */
    const char *endpoint; /* of a server, as given; NULL: its usual place */
    const char *key;      /* NULL: none */
    char why[400];        /* one line: why this backend */
} es_choice;
/* Decides by the settings, what is here, and (auto) what answers; for frames, or for words alone. */
es_status es_choose(const es_settings *settings, bool words, es_choice *choice, es_error *err);
void es_choice_free(es_choice *choice);
/* Chooses and opens, with the fallback the settings name; says on stderr who and why with --verbose, and in any case
 * when the fallback takes over. */
es_status es_open_model(const es_settings *settings, bool words, escriba_model **model, es_error *err);
/* The same, with a line of progress (which outlives the model) that is wiped before anything is said. */
struct es_progress;
es_status es_open_model_beside(const es_settings *settings, bool words, struct es_progress *progress,
                               escriba_model **model, es_error *err);
/* What a server says, in a few words, for doctor: "answers, with 3 models; ...". `choice`: where it is (several: each
 * with its address) and the model it is to answer with; NULL: at its usual place, with the model of its choice. */
void es_server_tells(const es_settings *settings, const char *backend, const es_choice *choice, char *out, size_t size);
/* Has Ollama, at its usual place or at `endpoint`, fetch a model. */
struct es_server_pull;
es_status es_pull_from_ollama(const es_settings *settings, const char *endpoint, const char *model,
                              const struct es_server_pull *how, es_error *err);

/* --- Ctrl-C (signals.c) --- */
/* A thread waits for SIGINT and SIGTERM: the first calls ask(context) once and is remembered, the second ends
 * the process as the signal does by default. Begin before other threads are made: they inherit the blocked
 * mask. */
typedef struct es_signals es_signals;
es_status es_signals_begin(es_signals **signals, es_error *err);
/* Sets who is asked; when a signal came already, asks at once. ask NULL: nobody. */
void es_signals_ask(es_signals *signals, void (*ask)(void *context), void *context);
/* Sets who is told of SIGUSR1, with the number that came with it (sigqueue; 0 from a plain kill); NULL: nobody. */
void es_signals_drain(es_signals *signals, void (*drain)(void *context, size_t number), void *context);
bool es_signals_caught(const es_signals *signals);
/* Ends the watching. The signals stay blocked: it is called when nothing is left but to exit. NULL is fine. */
void es_signals_end(es_signals *signals);

/* --- one line of progress on a terminal (progress.c) --- */
typedef struct es_progress {
    FILE *out; /* NULL: quiet */
    bool terminal;
    double began, drawn;
    size_t done, total;
    size_t unit_is_bytes; /* 0: counts; else numbers are bytes */
    int width_drawn;
} es_progress;
/* Quiet unless stderr is a terminal or `always` (then plain lines now and then). */
void es_progress_begin(es_progress *progress, size_t total, bool bytes, bool always);
void es_progress_show(es_progress *progress, size_t done,
                      const char *note);       /* note may be NULL; redraws at most 10 times a second */
void es_progress_clear(es_progress *progress); /* wipes the line, so that something else can be printed */
/* The text of the line for a terminal of `width` columns; separate so that tests can see it. */
void es_progress_line(char *line, size_t size, int width, size_t done, size_t total, bool bytes, double elapsed,
                      const char *note);

#endif
