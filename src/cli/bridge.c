/* bridge.c - `escriba bridge`: Escribano's own protocol on a Unix socket. */
#include <stdlib.h>
#include <string.h>

#include "cli/serving.h"
#include "serve/bridge.h"

#define USUAL_SOCKET "/tmp/escribano-mlx.sock"
#define QUEUE 1024 /* Escribano's own requests: they wait, they are not refused */

enum { FLAG_MODE, FLAG_SOCKET };
static const es_flag flags[] = {
    {"--mode", "MODE", "vlm (frames, the default) or llm (words)"},
    {"--socket", "PATH",
     "the socket, to which -vlm or -llm is added (default $ESCRIBANO_MLX_SOCKET_PATH, else\n"
     "                       " USUAL_SOCKET ")"},
};
static const es_usage usage = {
    .verb = "bridge",
    .synopsis = "[--mode vlm|llm] [FLAGS] [SCRIPT]",
    .text =
        "Answers Escribano over its bridge's protocol (lines of JSON on a Unix socket), in the place of its Python\n"
        "bridge: set ESCRIBANO_PYTHON_PATH to the installed escriba-bridge, which calls this verb. The SCRIPT that\n"
        "Escribano names is ignored. Prints one line when ready, or one that says why not. The frames of a request "
        "are\n"
        "answered each by itself and put together again, so none is confused with another or cut short.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .settings = ES_SET_MODEL | ES_SET_FRAMES | ES_SET_SAMPLING | ES_SET_COMMON,
    .examples = "  escriba bridge --mode vlm\n"
                "  ESCRIBANO_PYTHON_PATH=/usr/local/bin/escriba-bridge npx escribano\n",
};

typedef struct options {
    bool words;
    const char *socket;
    bool script;
} options;

static int read_flag(void *context, size_t index, const char *value)
{
    options *o = context;
    if (index == FLAG_SOCKET) {
        o->socket = value;
        return ES_EXIT_OK;
    }
    o->words = strcmp(value, "llm") == 0;
    if (o->words || strcmp(value, "vlm") == 0)
        return ES_EXIT_OK;
    es_complain("bridge: --mode is vlm or llm, not %s", value);
    return ES_EXIT_USAGE;
}

static int read_operand(void *context, const char *value)
{
    options *o = context;
    if (!o->script) {
        o->script = true;
        return ES_EXIT_OK;
    }
    es_complain("bridge: takes one script's path at most, and %s is another", value);
    return ES_EXIT_USAGE;
}

/* The line Escribano waits for. */
static bool say_ready(const options *o, const char *model)
{
    es_str line = {0};
    es_str_append(&line, "{\"status\":\"ready\",\"model\":");
    es_str_append_json(&line, model);
    es_str_append_format(&line, ",\"mode\":\"%s\"}\n", o->words ? "llm" : "vlm");
    bool said = !line.failed && es_print(es_str_text(&line));
    es_str_free(&line);
    return said;
}

static void say_fatal(const es_error *err)
{
    es_str line = {0};
    es_str_append(&line, "{\"status\":\"fatal\",\"error\":");
    es_str_append_json(&line, err->message);
    es_str_append(&line, "}\n");
    es_print(es_str_text(&line));
    es_str_free(&line);
}

static void ask_to_stop(void *context)
{
    es_bridge_stop(context);
}

static es_status answer(const options *o, const es_settings *settings, es_serving *serving, const char *path,
                        es_signals *signals, es_error *err)
{
    es_bridge_options wanted = {.path = path,
                                .words = o->words,
                                .worker = serving->worker,
                                .catalog = &serving->catalog,
                                .door = &serving->door,
                                .sampling = es_serving_sampling(settings)};
    es_bridge *bridge;
    serving->door.any_file = true;
    ES_TRY(es_bridge_open(&bridge, &wanted, err));
    es_status status = o->words ? ES_OK : es_serving_load(serving, ES_KEEP_FOREVER, err);
    if (status == ES_OK && !say_ready(o, serving->catalog.name))
        status = es_fail(err, ES_ERR_IO, "cannot write to stdout");
    if (status == ES_OK) {
        es_signals_ask(signals, ask_to_stop, bridge);
        status = es_bridge_run(bridge, err);
        es_signals_ask(signals, NULL, NULL);
    }
    es_bridge_close(bridge);
    return status;
}

static int run(const options *o, const es_settings *settings)
{
    const char *variable = getenv("ESCRIBANO_MLX_SOCKET_PATH");
    const char *base = o->socket != NULL ? o->socket : variable != NULL && *variable != '\0' ? variable : USUAL_SOCKET;
    char *path = es_bridge_path(base, o->words ? "llm" : "vlm");
    es_signals *signals = NULL;
    es_serving serving = {0};
    es_error err = {0};
    es_status status = path != NULL ? es_signals_begin(&signals, &err) : es_fail_memory(&err, "a path", 0);
    const char *own = es_settings_text(settings, ES_SETTING_LLM_MODEL);
    bool other = o->words && *own != '\0';
    if (status == ES_OK)
        status = es_serving_begin(&serving, settings, other ? own : es_settings_text(settings, ES_SETTING_MODEL), QUEUE,
                                  INT64_MAX / 2, ES_KEEP_FOREVER, &err);
    if (status == ES_OK)
        status = answer(o, settings, &serving, path, signals, &err);
    es_serving_end(&serving);
    es_signals_end(signals);
    free(path);
    if (status == ES_OK)
        return ES_EXIT_OK;
    say_fatal(&err);
    return es_complain_error(&err);
}

int es_cmd_bridge(int argc, char **argv)
{
    options o = {0};
    es_reader reader = {read_flag, read_operand, &o};
    es_settings *settings = NULL;
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done)
        code = run(&o, settings);
    es_settings_free(settings);
    return code;
}
