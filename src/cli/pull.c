/* pull.c - `escriba pull`: a model from the hub into the cache, with its progress in one line. */
#include "hub/pull.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli/cli.h"
#include "intelligence/net/server.h"

#define REDRAW_SECONDS 0.1
#define LINE_COLUMNS 79

enum { FLAG_BACKEND, FLAG_ENDPOINT, FLAG_VERIFY, FLAG_VERBOSE, FLAG_QUIET };

static const es_flag flags[] = {
    {"--backend", "NAME", "native: from the hub (default); ollama: an Ollama server fetches it for itself"},
    {"--endpoint", "URL", "the hub or a mirror of it ($HF_ENDPOINT, else https://huggingface.co), or Ollama's address"},
    {"--verify", NULL, "read files that are here already and check them too"},
    {"--verbose", NULL, "a line on stderr for each file, and for each pause"},
    {"--quiet", NULL, "no progress"},
};

static const es_usage usage = {
    .verb = "pull",
    .synopsis = "[FLAGS] ORG/NAME[@REVISION]... | --backend ollama MODEL...",
    .text =
        "Downloads Qwen3-VL models from the hub: configuration, tokenizer and safetensors, nothing else. The last "
        "line\n"
        "on stdout is the model's directory. Files go to the cache that other programs use for the hub's models\n"
        "($HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub), and what they have fetched is not fetched\n"
        "again. An interrupted download goes on where it stopped. For private and gated models put your access token\n"
        "in $HF_TOKEN. $HF_HUB_OFFLINE=1 keeps off the network.\n"
        "With --backend ollama the server at $OLLAMA_HOST fetches the model; the last line is the model's name.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .examples = "  escriba pull mlx-community/Qwen3-VL-2B-Instruct-4bit\n"
                "  escriba pull Qwen/Qwen3-VL-2B-Instruct@main\n"
                "  escriba pull --endpoint https://hub.example.org Qwen/Qwen3-VL-4B-Instruct\n"
                "  escriba pull --backend ollama qwen3-vl:2b\n"
                "  escriba describe --model \"$(escriba pull Qwen/Qwen3-VL-2B-Instruct)\" frames/\n",
};

typedef struct request {
    es_pull_options options;
    es_signals *signals;
    es_settings *settings; /* with --backend ollama, else NULL */
    bool ollama;
    char words[64];         /* the last that were told with --verbose */
    bool verbose, terminal; /* terminal: draw the line */
    bool drawn;             /* there is a line to wipe */
    double drawn_at;
} request;

static bool is_cancelled(void *user)
{
    const request *r = user;
    return es_signals_caught(r->signals);
}

static void wipe(request *r)
{
    if (r->drawn)
        fputs("\r\033[K", stderr);
    r->drawn = false;
}

/* "model.safetensors  1.2 GB of 4.3 GB (28%)  35 MB/s  1:20 left" */
static void draw(request *r, const es_pull_progress *p)
{
    char line[256], done[32], total[32], rate[32], left[32];
    double now = es_now();
    bool end = p->phase == ES_PULL_RETRYING || p->phase == ES_PULL_FILE_DONE;
    if (!end && now - r->drawn_at < REDRAW_SECONDS)
        return;
    r->drawn_at = now;
    size_t n = 0;
    if (p->phase == ES_PULL_LISTING) {
        snprintf(line, sizeof line, "asking the hub");
    } else if (p->phase == ES_PULL_RETRYING) {
        snprintf(line, sizeof line, "again in %.0f s: %.200s", p->seconds, p->note);
    } else {
        const char *what = p->phase == ES_PULL_WAITING    ? "waiting for another program: "
                           : p->phase == ES_PULL_CHECKING ? "checking "
                                                          : "";
        n = (size_t)snprintf(line, sizeof line, "%s%.60s  %s of %s (%.0f%%)", what, p->file,
                             es_human_bytes((double)p->done, done), es_human_bytes((double)p->total, total),
                             p->total > 0 ? 100.0 * (double)p->done / (double)p->total : 100.0);
        if (p->phase == ES_PULL_LOADING && p->rate > 0 && n < sizeof line)
            snprintf(line + n, sizeof line - n, "  %s/s  %s left", es_human_bytes(p->rate, rate),
                     es_human_seconds((double)(p->total - p->done) / p->rate, left));
    }
    fprintf(stderr, "\r%.*s\033[K", LINE_COLUMNS, line);
    fflush(stderr);
    r->drawn = true;
}

static void show(void *user, const es_pull_progress *p)
{
    request *r = user;
    char size[32];
    if (r->verbose && p->phase == ES_PULL_FILE_DONE) {
        wipe(r);
        fprintf(stderr, "[%zu/%zu] %s  %s%s\n", p->index + 1, p->count, p->file,
                es_human_bytes((double)p->file_total, size), p->fetched ? "" : "  (was here)");
    } else if (r->verbose && p->phase == ES_PULL_RETRYING) {
        wipe(r);
        fprintf(stderr, "again in %.1f s: %s\n", p->seconds, p->note);
    } else if (r->terminal) {
        draw(r, p);
    }
}

/* Ollama's steps as the hub's: a layer is a file. */
static void show_step(void *context, const es_pull_step *s)
{
    request *r = context;
    es_pull_progress p = {.phase = s->pause > 0   ? ES_PULL_RETRYING
                                   : s->total > 0 ? ES_PULL_LOADING
                                                  : ES_PULL_CHECKING,
                          .file = s->words,
                          .done = s->done,
                          .total = s->total,
                          .rate = s->rate,
                          .note = s->words,
                          .seconds = s->pause};
    char words[sizeof r->words], size[32];
    snprintf(words, sizeof words, "%.63s", s->words);
    for (char *at = words; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = ' ';
    if (s->pause <= 0)
        p.file = words;
    if (!r->verbose || s->pause > 0) {
        show(r, &p);
    } else if (strcmp(words, r->words) != 0) {
        wipe(r);
        fprintf(stderr, "%s%s%s\n", words, s->total > 0 ? "  " : "",
                s->total > 0 ? es_human_bytes((double)s->total, size) : "");
        memcpy(r->words, words, sizeof words);
    } else if (r->terminal) {
        draw(r, &p);
    }
}

static es_status pull_from(request *r, const char *name, char **told, es_error *err)
{
    if (!r->ollama)
        return es_hub_pull(name, &r->options, told, err);
    es_server_pull how = {r, show_step, is_cancelled};
    ES_TRY(es_pull_from_ollama(r->settings, r->options.endpoint, name, &how, err));
    *told = strdup(name);
    return *told != NULL ? ES_OK : es_fail_memory(err, "a name", strlen(name));
}

static int pull_one(request *r, const char *name)
{
    char *dir = NULL;
    es_error err = {0};
    es_status status = pull_from(r, name, &dir, &err);
    wipe(r);
    if (status != ES_OK) {
        int code = es_complain_error(&err);
        return status == ES_ERR_CANCELLED ? ES_EXIT_INTERRUPTED : code;
    }
    bool printed = es_print(dir) && es_print("\n");
    free(dir);
    return printed ? ES_EXIT_OK : ES_EXIT_FAILED;
}

/* Takes flags into r and moves the names to the front of argv. */
static int read_arguments(int argc, char **argv, request *r, int *names, bool *done)
{
    es_args args = {.argc = argc, .argv = argv, .at = 1};
    bool quiet = false;
    *names = 0;
    *done = true;
    for (;;) {
        size_t index = 0;
        const char *value = NULL;
        es_arg kind = es_args_next(&args, &usage, &index, &value);
        if (kind == ES_ARG_HELP)
            return ES_EXIT_OK;
        if (kind == ES_ARG_BAD || kind == ES_ARG_SETTING)
            return ES_EXIT_USAGE;
        if (kind == ES_ARG_END)
            break;
        if (kind == ES_ARG_OPERAND)
            argv[(*names)++] = argv[args.at - 1]; /* at or before the place it was read from */
        else if (index == FLAG_BACKEND && strcmp(value, "ollama") != 0 && strcmp(value, "native") != 0)
            return es_complain("pull: --backend: \"%.40s\" is not native or ollama", value), ES_EXIT_USAGE;
        else if (index == FLAG_BACKEND)
            r->ollama = strcmp(value, "ollama") == 0;
        else if (index == FLAG_ENDPOINT)
            r->options.endpoint = value;
        else if (index == FLAG_VERIFY)
            r->options.verify = true;
        else if (index == FLAG_VERBOSE)
            r->verbose = true;
        else
            quiet = true;
    }
    if (*names == 0) {
        es_complain("pull: which model? Name it as %s",
                    r->ollama ? "Ollama does, e.g. qwen3-vl:2b"
                              : "the hub does, e.g. mlx-community/Qwen3-VL-2B-Instruct-4bit");
        return ES_EXIT_USAGE;
    }
    r->terminal = !quiet && isatty(STDERR_FILENO) == 1;
    *done = false;
    return ES_EXIT_OK;
}

int es_cmd_pull(int argc, char **argv)
{
    request r = {.options = es_pull_default_options()};
    es_error err = {0};
    int names;
    bool done;
    int code = read_arguments(argc, argv, &r, &names, &done);
    if (done)
        return code;
    if (r.ollama && es_read_settings(&r.settings, NULL, &err) != ES_OK)
        return es_complain_error(&err);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of write, answered with a line */
    if (es_signals_begin(&r.signals, &err) != ES_OK) {
        es_settings_free(r.settings);
        return es_complain_error(&err);
    }
    r.options.progress = show;
    r.options.cancelled = is_cancelled;
    r.options.user = &r;
    for (int i = 0; i < names && code != ES_EXIT_INTERRUPTED; i++) {
        int one = pull_one(&r, argv[i]);
        code = one != ES_EXIT_OK ? one : code;
    }
    es_signals_end(r.signals);
    es_settings_free(r.settings);
    return code;
}
