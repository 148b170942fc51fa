/* describe.c - the main job: frames in, one observation a frame out, as they are done. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/results.h"
#include "cli/resume.h"
#include "escriba.h"

enum {
    FLAG_OUTPUT,
    FLAG_RESUME,
    FLAG_OVERWRITE,
    FLAG_JSON_ARRAY,
    FLAG_TEXT,
    FLAG_ORDERED,
    FLAG_RAW,
    FLAG_INTERVAL,
    FLAG_TIMESTAMPS
};
static const es_flag flags[] = {
    {"--output", "FILE", "write there instead of to stdout; a FILE that is there is not touched"},
    {"--resume", "FILE", "go on with what an interrupted run wrote to FILE"},
    {"--overwrite", NULL, "begin anew when the --output FILE is there"},
    {"--json-array", NULL, "one JSON array instead of a line for each frame"},
    {"--text", NULL, "lines for people instead of JSON"},
    {"--ordered", NULL, "keep the order of the frames; otherwise as they are done"},
    {"--raw", NULL, "the model's answer as it is with every record"},
    {"--interval", "SECONDS", "the frames were taken so many seconds apart"},
    {"--timestamps", "LIST", "seconds of each frame, 0,10,20 or a file with one a line"},
};
static const es_usage usage = {
    .verb = "describe",
    .synopsis = "[FLAGS] FRAME... | DIRECTORY | -",
    .text =
        "Looks at frames of a screen recording (JPEG, PNG, WebP) and prints what the user is doing in each, one JSON\n"
        "object a line, as they are done. A directory means its pictures; - reads paths from stdin, one a line.\n"
        "Timestamps come from the names (frame_0030s.png, 00-01-30.png) unless told. A bad frame gives a record with\n"
        "an \"error\", and the run goes on. Ctrl-C keeps what is done; --resume FILE goes on from there.\n"
        "SIGUSR1 lets servers finish and gives them nothing new: all, or the Nth (/bin/kill -s USR1 -q N PID).\n"
        "Exit: 0 all well, 1 some frames failed, 2 wrong usage, 130 interrupted.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .settings = ES_SET_MODEL | ES_SET_FRAMES | ES_SET_SAMPLING | ES_SET_COMMON,
    .examples = "  escriba describe recording/ > seen.jsonl\n"
                "  escriba describe recording/ --resume seen.jsonl\n"
                "  escriba describe --text --ordered screen1.png screen2.png\n"
                "  ls -t *.png | escriba describe - --interval 10 --json-array\n",
};

typedef struct options {
    es_inputs inputs;
    const char *output, *resume, *timestamps;
    bool overwrite, ordered, raw;
    es_result_form form;
    double interval;
    bool stdin_read, any;
} options;

typedef struct run {
    const options *o;
    const es_settings *settings;
    es_results results;
    es_progress progress;
    es_signals *signals;
    bool shared_terminal; /* results and progress go to the same screen */
    size_t done, failed, skipped;
    double began;
} run;

/* --- the command line --- */

static int read_flag(void *context, size_t index, const char *value)
{
    options *o = context;
    switch (index) {
    case FLAG_OUTPUT:
        o->output = value;
        break;
    case FLAG_RESUME:
        o->resume = value;
        break;
    case FLAG_OVERWRITE:
        o->overwrite = true;
        break;
    case FLAG_JSON_ARRAY:
        o->form = ES_RESULT_ARRAY;
        break;
    case FLAG_TEXT:
        o->form = ES_RESULT_TEXT;
        break;
    case FLAG_ORDERED:
        o->ordered = true;
        break;
    case FLAG_RAW:
        o->raw = true;
        break;
    case FLAG_TIMESTAMPS:
        o->timestamps = value;
        break;
    default:
        if (!es_parse_number(value, 0.001, 1e6, &o->interval)) {
            es_complain("--interval: \"%s\" is not seconds from 0.001 to 1000000", value);
            return ES_EXIT_USAGE;
        }
    }
    return ES_EXIT_OK;
}

static int read_operand(void *context, const char *value)
{
    options *o = context;
    es_error err = {0};
    bool is_stdin = strcmp(value, "-") == 0;
    if (is_stdin && o->stdin_read) {
        es_complain("describe: - may be given once");
        return ES_EXIT_USAGE;
    }
    o->stdin_read = o->stdin_read || is_stdin;
    o->any = true;
    if (es_inputs_add(&o->inputs, value, &err) == ES_OK)
        return ES_EXIT_OK;
    return es_complain_error(&err);
}

static int check_options(const options *o)
{
    const char *wrong = NULL;
    if (!o->any)
        wrong = "which frames? Give files, a directory, or - for paths on stdin";
    else if (o->resume != NULL && o->form != ES_RESULT_LINES)
        wrong = "--resume goes on with lines of JSON, not with --json-array or --text";
    else if (o->resume != NULL && o->output != NULL && strcmp(o->resume, o->output) != 0)
        wrong = "--resume FILE writes to the same FILE: leave --output out";
    else if (o->resume != NULL && o->overwrite)
        wrong = "--resume and --overwrite contradict each other";
    else if (o->interval > 0 && o->timestamps != NULL)
        wrong = "give --interval or --timestamps, not both";
    if (wrong == NULL)
        return ES_EXIT_OK;
    es_complain("describe: %s", wrong);
    return ES_EXIT_USAGE;
}

/* --- output --- */

static es_status open_output(run *r, es_error *err)
{
    const options *o = r->o;
    const char *path = o->resume != NULL ? o->resume : o->output;
    r->results = (es_results){.fd = STDOUT_FILENO, .name = "stdout", .form = o->form, .raw = o->raw};
    if (path != NULL) {
        struct stat st;
        bool there = stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
        if (there && o->resume == NULL && !o->overwrite)
            return es_fail(err, ES_ERR_ARGUMENT,
                           "%s is there already: --resume %s goes on with it, --overwrite begins anew", path, path);
        int mode = O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | (o->resume == NULL && o->overwrite ? O_TRUNC : 0);
        r->results.fd = open(path, mode, 0666);
        r->results.name = path;
        if (r->results.fd < 0)
            return es_fail(err, ES_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    }
    if (o->ordered) {
        r->results.total = o->inputs.count;
        r->results.waiting = es_calloc(o->inputs.count, sizeof *r->results.waiting);
        if (r->results.waiting == NULL)
            return es_fail_memory(err, "the results", o->inputs.count * sizeof *r->results.waiting);
    }
    r->shared_terminal = isatty(r->results.fd) == 1;
    return ES_OK;
}

/* Failures are kept in results.failed_errno. */
static void close_output(run *r)
{
    es_results_finish(&r->results);
    free(r->results.waiting);
    if (r->results.fd != STDOUT_FILENO && r->results.fd >= 0) {
        bool bad = fsync(r->results.fd) != 0 && errno != EINVAL && errno != EROFS;
        if ((close(r->results.fd) != 0 || bad) && r->results.failed_errno == 0)
            r->results.failed_errno = errno;
    }
}

/* --- the run --- */

static int observed(void *context, const escriba_observation *seen)
{
    run *r = context;
    const es_input *input = &r->o->inputs.items[seen->index];
    r->done++;
    r->failed += seen->status != ESCRIBA_OK;
    if (r->shared_terminal)
        es_progress_clear(&r->progress);
    return es_results_put(&r->results, seen->index, input, seen) ? 0 : 1;
}

static void progressed(void *context, size_t done, size_t total)
{
    run *r = context;
    char note[48] = "";
    (void)total;
    if (r->failed > 0)
        snprintf(note, sizeof note, "%zu failed", r->failed);
    es_progress_show(&r->progress, done, note);
}

static void ask_to_stop(void *context)
{
    escriba_cancel(context);
}

static void drain(void *context, size_t endpoint)
{
    escriba_drain(context, endpoint);
}

static es_status classify(run *r, escriba_model *model, es_error *err)
{
    const es_inputs *in = &r->o->inputs;
    escriba_request request;
    escriba_error error = {0};
    escriba_frame *frames = es_calloc(in->count, sizeof *frames);
    if (frames == NULL)
        return es_fail_memory(err, "the list of frames", in->count * sizeof *frames);
    for (size_t i = 0; i < in->count; i++)
        frames[i] = (escriba_frame){.path = in->items[i].path, .timestamp = in->items[i].timestamp};
    es_fill_request(r->settings, &request);
    es_signals_ask(r->signals, ask_to_stop, model);
    es_signals_drain(r->signals, drain, model);
    es_progress_show(&r->progress, 0, NULL);
    escriba_status status =
        escriba_classify_frames(model, frames, in->count, &request, observed, progressed, r, &error);
    es_signals_ask(r->signals, NULL, NULL);
    es_signals_drain(r->signals, NULL, NULL);
    free(frames);
    return status == ESCRIBA_OK ? ES_OK : es_fail(err, (es_status)status, "%s", error.message);
}

static es_status describe(run *r, es_error *err)
{
    escriba_model *model = NULL;
    bool verbose = es_settings_bool(r->settings, ES_SETTING_VERBOSE);
    ES_TRY(es_open_model_beside(r->settings, false, &r->progress, &model, err));
    if (verbose)
        fprintf(stderr, "escriba: %zu frames, %zu done before\n", r->o->inputs.count, r->skipped);
    es_progress_begin(&r->progress, r->o->inputs.count, false, verbose);
    es_status status =
        es_signals_caught(r->signals) ? es_fail(err, ES_ERR_CANCELLED, "cancelled") : classify(r, model, err);
    es_progress_clear(&r->progress);
    escriba_free(model);
    return status;
}

/* What to say at the end, and the exit code. */
static int conclude(const run *r, es_status status, const es_error *err)
{
    size_t total = r->o->inputs.count;
    char time[32];
    if (r->results.failed_errno != 0) {
        es_results_complain(&r->results);
        return ES_EXIT_FAILED;
    }
    if (status == ES_ERR_CANCELLED && es_signals_caught(r->signals)) {
        const char *file = r->o->resume != NULL ? r->o->resume : r->o->output;
        es_complain("interrupted: %zu of %zu frames are done%s%s%s", r->done + r->skipped, total + r->skipped,
                    r->o->form == ES_RESULT_LINES ? "; to go on, the same command with --resume " : "",
                    r->o->form != ES_RESULT_LINES ? ""
                    : file != NULL                ? file
                                                  : "FILE",
                    r->o->form == ES_RESULT_LINES && file == NULL ? ", the file that this output went to" : "");
        return ES_EXIT_INTERRUPTED;
    }
    if (status != ES_OK)
        return es_complain_error(err);
    if (r->failed > 0)
        es_complain("%zu of %zu frames failed: their records say why", r->failed, total);
    if (r->progress.out != NULL)
        fprintf(stderr, "escriba: %zu frames in %s (%.2f s each)\n", r->done,
                es_human_seconds(es_now() - r->began, time), total > 0 ? (es_now() - r->began) / (double)total : 0);
    return r->failed > 0 ? ES_EXIT_FAILED : ES_EXIT_OK;
}

static int run_describe(options *o, const es_settings *settings)
{
    run r = {.o = o, .settings = settings, .began = es_now()};
    es_error err = {0};
    es_status status = es_signals_begin(&r.signals, &err);
    if (status == ES_OK)
        status = es_inputs_date(&o->inputs, o->timestamps, o->interval, &err);
    if (status == ES_OK && o->resume != NULL)
        status = es_resume(o->resume, &o->inputs, &r.skipped, &err);
    if (status == ES_OK)
        status = open_output(&r, &err);
    if (status != ES_OK) {
        es_signals_end(r.signals);
        return es_complain_error(&err);
    }
    if (o->inputs.count > 0)
        status = describe(&r, &err);
    close_output(&r);
    int code = conclude(&r, status, &err);
    es_signals_end(r.signals);
    return code;
}

int es_cmd_describe(int argc, char **argv)
{
    options o = {.form = ES_RESULT_LINES};
    es_reader reader = {read_flag, read_operand, &o};
    es_settings *settings = NULL;
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done)
        code = check_options(&o);
    if (code == ES_EXIT_OK && !done)
        code = run_describe(&o, settings);
    es_inputs_free(&o.inputs);
    es_settings_free(settings);
    return code;
}
