/* pull.c - `escriba pull`: a model from the hub into the cache, with its progress in one line. */
#include "hub/pull.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli/cli.h"

#define REDRAW_SECONDS 0.1
#define LINE_COLUMNS 79

enum { FLAG_ENDPOINT, FLAG_VERIFY, FLAG_VERBOSE, FLAG_QUIET };

static const es_flag flags[] = {
    {"--endpoint", "URL", "the hub or a mirror of it (default: $HF_ENDPOINT, else https://huggingface.co)"},
    {"--verify", NULL, "read files that are here already and check them too"},
    {"--verbose", NULL, "a line on stderr for each file, and for each pause"},
    {"--quiet", NULL, "no progress"},
};

static const es_usage usage = {
    .verb = "pull",
    .synopsis = "[FLAGS] ORG/NAME[@REVISION]...",
    .text =
        "Downloads Qwen3-VL models from the hub: configuration, tokenizer and safetensors, nothing else. The last "
        "line\n"
        "on stdout is the model's directory. Files go to the cache that other programs use for the hub's models\n"
        "($HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub), and what they have fetched is not fetched\n"
        "again. An interrupted download goes on where it stopped. For private and gated models put your access token\n"
        "in $HF_TOKEN. $HF_HUB_OFFLINE=1 keeps off the network.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .examples = "  escriba pull mlx-community/Qwen3-VL-2B-Instruct-4bit\n"
                "  escriba pull Qwen/Qwen3-VL-2B-Instruct@main\n"
                "  escriba pull --endpoint https://hub.example.org Qwen/Qwen3-VL-4B-Instruct\n"
                "  escriba describe --model \"$(escriba pull Qwen/Qwen3-VL-2B-Instruct)\" frames/\n",
};

typedef struct request {
    es_pull_options options;
    es_signals *signals;
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

static int pull_one(request *r, const char *name)
{
    char *dir = NULL;
    es_error err = {0};
    es_status status = es_hub_pull(name, &r->options, &dir, &err);
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
        es_complain("pull: which model? Name it as the hub does, e.g. mlx-community/Qwen3-VL-2B-Instruct-4bit");
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
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of write, answered with a line */
    if (es_signals_begin(&r.signals, &err) != ES_OK)
        return es_complain_error(&err);
    r.options.progress = show;
    r.options.cancelled = is_cancelled;
    r.options.user = &r;
    for (int i = 0; i < names && code != ES_EXIT_INTERRUPTED; i++) {
        int one = pull_one(&r, argv[i]);
        code = one != ES_EXIT_OK ? one : code;
    }
    es_signals_end(r.signals);
    return code;
}
