/* run.c - from a recording to a session card, in one command. */
#include "cli/run.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cli/inputs.h"
#include "cli/session_out.h"
#include "intelligence/prompts.h"
#include "session/shots.h"
#include "session/video.h"

enum {
    FLAG_FORMAT,
    FLAG_OUTPUT,
    FLAG_STDOUT,
    FLAG_COPY,
    FLAG_PERSONAL,
    FLAG_LATEST,
    FLAG_INTERVAL,
    FLAG_SCENE,
    FLAG_GAP,
    FLAG_FILL,
    FLAG_SAME,
    FLAG_NO_REUSE,
    FLAG_MIN_SEGMENT,
    FLAG_SKIP_SUMMARY,
    FLAG_REDACT,
    FLAG_WINDOWS,
    FLAG_FOLLOW,
    FLAG_FORCE,
    FLAG_STORE,
    FLAG_QUIET,
    FLAG_JSON_PROGRESS
};
static const es_flag flags[] = {
    {"--format", "FORMATS", "card (the default), standup, narrative, json, html; several with commas, or all"},
    {"--output", "PATH", "write there: a file, or for several formats a directory"},
    {"--stdout", NULL, "html to stdout too, instead of to a file here"},
    {"--copy", NULL, "the last text to the clipboard as well"},
    {"--include-personal", NULL, "tell of personal time what was done, not only how long"},
    {"--latest", "DIRECTORY", "the newest recording in DIRECTORY"},
    {"--interval", "SECONDS", "between frames (10); of a directory, every picture unless given"},
    {"--scene-threshold", "SHARE", "of the screen that must change for a frame in between (0.4); 0: none"},
    {"--gap-threshold", "SECONDS", "between frames, from which on others are put in between (1.5 intervals)"},
    {"--gap-fill", "SECONDS", "between those, and where one thing ends and another begins (0.3 intervals); 0: none"},
    {"--same-threshold", "LEVELS", "of 255 up to which a difference is a codec's noise (32)"},
    {"--no-reuse", NULL, "describe frames that show nothing new, too"},
    {"--min-segment", "SECONDS", "the shortest block (30, less for a recording of a few minutes)"},
    {"--skip-summary", NULL, "no language model for the subjects: escriba's own grouping"},
    {"--redact", "RULE", "never look at app:NAME, title:PATTERN or time:0:10-1:02:03; may be given again"},
    {"--windows", "FILE", "lines of {timestamp, app, title} for --redact (RECORDING.windows.jsonl if there)"},
    {"--follow", NULL, "wait for more pictures in the directory, until Ctrl-C; then write the card"},
    {"--force", NULL, "describe every frame again"},
    {"--store", "FILE", "the session store (ESCRIBA_STORE, or sessions.db in ~/.local/share/escriba)"},
    {"--quiet", NULL, "no progress"},
    {"--json-progress", NULL, "progress as lines of JSON on stderr"},
};
static const es_usage usage = {
    .verb = "run",
    .synopsis = "[FLAGS] RECORDING | DIRECTORY",
    .text =
        "Describes a screen recording (mp4, mov, mkv, webm, avi...) or a directory of timestamped screenshots frame\n"
        "by frame, and tells what was done: blocks of time, grouped into subjects. Everything seen is kept in the\n"
        "session store, so that a run that was interrupted goes on where it was, and a second one costs nothing.\n"
        "Frames that show nothing new take over what was said of the one before. Nothing leaves this machine unless a\n"
        "backend on another one is chosen. Exit: 0 all well, 1 some frames failed, 2 wrong usage, 130 interrupted.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .settings = ES_SET_MODEL | ES_SET_FRAMES | ES_SET_SAMPLING | ES_SET_WORDS | ES_SET_COMMON,
    .examples = "  escriba run recording.mp4\n"
                "  escriba run recording.mp4 --format html --output day.html\n"
                "  escriba run --latest ~/Movies --format standup --copy\n"
                "  escriba run screenshots/ --follow\n",
};

#define INTERVAL 10.0 /* seconds, of a video */

typedef struct options {
    const char *recording, *latest, *store;
    double interval, scene, gap, fill; /* fill below 0: chosen */
    long long same;
    const char *windows;
    es_redaction *redaction; /* NULL: no rules */
    bool no_reuse, follow, force, quiet, json_progress;
    es_out out;
} options;

static int bad_number(const char *flag, const char *value, const char *wanted)
{
    es_complain("%s: \"%s\" is not %s", flag, value, wanted);
    return ES_EXIT_USAGE;
}

static int read_number_flag(options *o, size_t index, const char *value)
{
    if (index == FLAG_INTERVAL && !es_parse_number(value, 0.01, 86400, &o->interval))
        return bad_number("--interval", value, "seconds from 0.01 to 86400");
    if (index == FLAG_MIN_SEGMENT && !es_parse_number(value, 0.1, 86400, &o->out.min_segment))
        return bad_number("--min-segment", value, "seconds from 0.1 to 86400");
    if (index == FLAG_GAP && !es_parse_number(value, 0.01, 86400, &o->gap))
        return bad_number("--gap-threshold", value, "seconds from 0.01 to 86400");
    if (index == FLAG_FILL && !es_parse_number(value, 0, 86400, &o->fill))
        return bad_number("--gap-fill", value, "seconds from 0 to 86400");
    if (index == FLAG_FILL && o->fill > 0 && o->fill < 0.01)
        return bad_number("--gap-fill", value, "0 or seconds from 0.01");
    if (index == FLAG_SCENE && !es_parse_number(value, 0, 1, &o->scene))
        return bad_number("--scene-threshold", value, "a share from 0 to 1");
    if (index == FLAG_SAME && !es_parse_int(value, 0, 255, &o->same))
        return bad_number("--same-threshold", value, "from 0 to 255");
    return ES_EXIT_OK;
}

static int read_rule(options *o, const char *value)
{
    es_error err = {0};
    es_status status = o->redaction == NULL ? es_redaction_create(&o->redaction, &err) : ES_OK;
    if (status == ES_OK)
        status = es_redaction_add(o->redaction, value, &err);
    return status == ES_OK ? ES_EXIT_OK : es_complain_error(&err);
}

static int read_flag(void *context, size_t index, const char *value)
{
    options *o = context;
    switch (index) {
    case FLAG_REDACT:
        return read_rule(o, value);
    case FLAG_WINDOWS:
        o->windows = value;
        break;
    case FLAG_FORMAT:
        return es_out_read_forms("run", value, &o->out.forms) ? ES_EXIT_OK : ES_EXIT_USAGE;
    case FLAG_OUTPUT:
        o->out.output = value;
        break;
    case FLAG_STDOUT:
        o->out.to_stdout = true;
        break;
    case FLAG_COPY:
        o->out.copy = true;
        break;
    case FLAG_PERSONAL:
        o->out.include_personal = true;
        break;
    case FLAG_LATEST:
        o->latest = value;
        break;
    case FLAG_NO_REUSE:
        o->no_reuse = true;
        break;
    case FLAG_FOLLOW:
        o->follow = true;
        break;
    case FLAG_SKIP_SUMMARY:
        o->out.no_summary = true;
        break;
    case FLAG_FORCE:
        o->force = o->out.fresh_summary = true;
        break;
    case FLAG_STORE:
        o->store = value;
        break;
    case FLAG_QUIET:
        o->quiet = o->out.quiet = true;
        break;
    case FLAG_JSON_PROGRESS:
        o->json_progress = true;
        break;
    default:
        return read_number_flag(o, index, value);
    }
    return ES_EXIT_OK;
}

static int read_operand(void *context, const char *value)
{
    options *o = context;
    if (o->recording != NULL) {
        es_complain("run: one recording at a time: %s and %s", o->recording, value);
        return ES_EXIT_USAGE;
    }
    o->recording = value;
    return ES_EXIT_OK;
}

static int check_options(const options *o)
{
    const char *wrong = NULL;
    if (o->recording == NULL && o->latest == NULL)
        wrong = "which recording? Give a file, a directory of screenshots, or --latest DIRECTORY";
    else if (o->recording != NULL && o->latest != NULL)
        wrong = "give a recording or --latest, not both";
    else if (o->out.to_stdout && o->out.output != NULL)
        wrong = "--stdout and --output contradict each other";
    else if (o->follow && o->latest != NULL)
        wrong = "--follow watches a directory, --latest takes a file";
    else if (o->windows != NULL && o->redaction == NULL)
        wrong = "--windows is for --redact";
    if (wrong == NULL)
        return ES_EXIT_OK;
    es_complain("run: %s", wrong);
    return ES_EXIT_USAGE;
}

/* --- which recording --- */

static int64_t changed_ns(const struct stat *st)
{
#ifdef __APPLE__
    return (int64_t)st->st_mtimespec.tv_sec * 1000000000 + st->st_mtimespec.tv_nsec;
#else
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
#endif
}

static bool is_video(const char *name)
{
    static const char *const endings[] = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".ts", ".flv", ".ogv"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && name[0] != '.' && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static es_status find_latest(const char *dir, char **path, es_error *err)
{
    es_names names = {0};
    int64_t newest = INT64_MIN;
    struct stat st;
    *path = NULL;
    ES_TRY(es_dir_list(dir, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        char *file = is_video(names.items[i]) ? es_path_join(dir, names.items[i]) : NULL;
        if (file == NULL || stat(file, &st) != 0 || !S_ISREG(st.st_mode) || changed_ns(&st) <= newest) {
            free(file);
            continue;
        }
        newest = changed_ns(&st);
        free(*path);
        *path = file;
    }
    es_names_free(&names);
    return *path != NULL ? ES_OK : es_fail(err, ES_ERR_IO, "%s: no recording in this directory", dir);
}

/* The recording's absolute path, and what tells whether it is still the same. A directory is known by its path: it
 * grows. */
static es_status identify(const options *o, char **path, es_recording *recording, es_error *err)
{
    char *latest = NULL;
    struct stat st;
    const char *given = o->recording;
    *path = NULL;
    if (o->latest != NULL)
        ES_TRY(find_latest(o->latest, &latest, err));
    given = latest != NULL ? latest : given;
    es_status status = ES_OK;
    *path = realpath(given, NULL);
    if (*path == NULL || stat(*path, &st) != 0)
        status = es_fail(err, ES_ERR_IO, "cannot open %s: %s", given, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        *recording = (es_recording){.path = *path, .size = st.st_size, .mtime_ns = changed_ns(&st)};
    else
        *recording = (es_recording){.path = *path};
    free(latest);
    return status;
}

/* --- who describes it, and how --- */

/* All that an answer depends on. */
static es_status find_method(es_store *store, const es_settings *s, const char *model, int64_t *method, es_error *err)
{
    static const es_setting_id ids[] = {
        ES_SETTING_BACKEND,
        ES_SETTING_MAX_TOKENS,
        ES_SETTING_FRAME_WIDTH,
        ES_SETTING_MAX_PIXELS,
        ES_SETTING_PRECISION,
        ES_SETTING_TEMPERATURE,
        ES_SETTING_TOP_P,
        ES_SETTING_TOP_K,
        ES_SETTING_MIN_P,
        ES_SETTING_SEED,
        ES_SETTING_REPETITION_PENALTY,
        ES_SETTING_INTERLEAVED,
    };
    es_str how = {0};
    struct stat st;
    const char *prompt = es_settings_text(s, ES_SETTING_PROMPT);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        es_str_append_format(&how, "%s=%s ", es_setting_at(ids[i])->name, es_settings_text(s, ids[i]));
    char *weights = es_path_join(model, "model.safetensors"); /* other weights under the same name answer otherwise */
    if (weights != NULL && stat(weights, &st) == 0)
        es_str_append_format(&how, "weights=%lld@%lld", (long long)st.st_size, (long long)st.st_mtime);
    free(weights);
    es_status status = es_str_check(&how, err);
    if (status == ES_OK)
        status =
            es_store_method(store, model, *prompt != '\0' ? prompt : es_prompt_frame, es_str_text(&how), method, err);
    es_str_free(&how);
    return status;
}

/* --- the run --- */

typedef struct run {
    const options *o;
    const es_settings *settings;
    es_signals *signals;
    es_store *store;
    char *path, *store_path;
    es_recording recording;
    es_choice choice, words; /* who describes, who summarises */
    es_run_work work;
    double began;
    bool complete; /* all of it was described by an earlier run */
} run;

/* What a finished run notes down, so that the next one need not even decode. */
static void describe_run(const run *r, char *text, size_t size, bool truncated)
{
    const es_sampler_options *s = &r->work.sampling;
    snprintf(text, size, "interval=%g scene=%g gap=%g fill=%g min=%g same=%d truncated=%d", s->interval, s->scene,
             s->gap_threshold, es_sampler_fill(s), r->o->out.min_segment, s->threshold, truncated);
}

static bool is_redacted(void *context, double seconds, const char *path)
{
    return es_redaction_drops(context, seconds, path);
}

/* The log of windows: named, or beside the recording. */
static es_status prepare_redaction(run *r, es_error *err)
{
    es_redaction *rules = r->o->redaction;
    if (rules == NULL)
        return ES_OK;
    char *beside = NULL;
    if (r->o->windows == NULL && asprintf(&beside, "%s.windows.jsonl", r->path) < 0)
        return es_fail_memory(err, "a path", 0);
    es_status status = ES_OK;
    if (r->o->windows != NULL || es_file_exists(beside))
        status = es_redaction_read_windows(rules, r->o->windows != NULL ? r->o->windows : beside, err);
    free(beside);
    if (status == ES_OK && es_redaction_wants_windows(rules) && !es_dir_exists(r->path) && !r->o->quiet)
        es_complain(
            "no log of windows (%s.windows.jsonl): rules on apps hold for what the model names, rules on titles "
            "for nothing",
            r->recording.path);
    r->work.redaction = rules;
    r->work.sampling.drop = is_redacted;
    r->work.sampling.context = rules;
    return status;
}

/* Whether all of the servers, spaces or commas between them, are on this machine. */
static bool is_here(const char *endpoints)
{
    static const char *const here[] = {"localhost", "127.0.0.1", "[::1]"};
    while (*endpoints != '\0') {
        size_t n = strcspn(endpoints, " ,\n\t"), found = 0;
        const char *host = endpoints;
        const char *scheme = strstr(endpoints, "://");
        if (scheme != NULL && scheme < endpoints + n)
            host = scheme + 3;
        size_t length = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?# ,\n\t");
        for (size_t i = 0; i < sizeof here / sizeof *here; i++)
            found += strlen(here[i]) == length && strncasecmp(host, here[i], length) == 0;
        if (n > 0 && (found == 0 || memchr(host, '@', (size_t)(endpoints + n - host)) != NULL))
            return false;
        endpoints += n;
        endpoints += strspn(endpoints, " ,\n\t");
    }
    return true;
}

/* What goes to another machine is said, once. */
static void tell_where(const es_choice *choice, const char *what)
{
    if (strcmp(choice->backend, "native") != 0 && choice->endpoint != NULL && !is_here(choice->endpoint))
        es_complain("%s go to %s at %s", what, choice->backend, choice->endpoint);
}

/* Before the store learns of it: what is no recording shall not be listed. */
static es_status look_at(run *r, es_error *err)
{
    if (es_dir_exists(r->path)) {
        es_shot_files files;
        ES_TRY(es_shots_list(&files, r->path, es_name_seconds, err));
        size_t count = files.count;
        es_shots_free(&files);
        if (count == 0 && !r->o->follow)
            return es_fail(err, ES_ERR_IO, "%s: no pictures in this directory (.png, .jpg, .jpeg, .webp)", r->path);
        return ES_OK;
    }
    es_video *video;
    es_video_info info;
    if (r->o->follow)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: only a directory of screenshots can be followed", r->path);
    ES_TRY(es_video_open(&video, r->path, 1, err));
    es_video_tell(video, &info);
    es_video_close(video);
    r->recording.seconds = info.seconds;
    return ES_OK;
}

static es_status prepare(run *r, es_error *err)
{
    char how[2][160], *noted = NULL;
    ES_TRY(identify(r->o, &r->path, &r->recording, err));
    ES_TRY(es_choose(r->settings, false, &r->choice, err));
    ES_TRY(es_store_place(r->o->store, &r->store_path, err));
    ES_TRY(es_store_open(&r->store, r->store_path, err));
    es_run_work *w = &r->work;
    *w = (es_run_work){.settings = r->settings, .store = r->store, .path = r->path, .signals = r->signals};
    es_sampler_options_init(&w->sampling);
    w->sampling.interval = r->o->interval > 0 || es_dir_exists(r->path) ? r->o->interval : INTERVAL;
    w->sampling.scene = r->o->scene;
    w->sampling.gap_threshold = r->o->gap;
    w->sampling.gap_fill = r->o->fill;
    w->out = &r->o->out;
    w->sampling.threshold = r->o->no_reuse ? -1 : (int)r->o->same;
    w->sampling.follow = r->o->follow;
    w->sampling.thumbnails = true;
    w->sampling.seconds_of = es_name_seconds;
    ES_TRY(prepare_redaction(r, err));
    ES_TRY(look_at(r, err));
    ES_TRY(es_store_recording(r->store, &r->recording, err));
    w->recording = r->recording.id;
    ES_TRY(find_method(r->store, r->settings, r->choice.model != NULL ? r->choice.model : r->choice.backend, &w->method,
                       err));
    if (r->o->force)
        return es_store_drop(r->store, w->recording, w->method, err);
    ES_TRY(es_store_summary(r->store, w->recording, w->method, ES_RUN_FORM, &noted, err));
    for (int truncated = 0; truncated < 2; truncated++) {
        describe_run(r, how[truncated], sizeof how[truncated], truncated);
        r->complete = r->complete || (noted != NULL && strcmp(noted, how[truncated]) == 0);
    }
    r->complete = r->complete && !es_dir_exists(r->path) && r->o->redaction == NULL;
    free(noted);
    return ES_OK;
}

static es_status describe(run *r, es_error *err)
{
    char how[160], partial[176];
    es_run_work *w = &r->work;
    tell_where(&r->choice, "frames");
    es_run_progress_begin(&w->progress, r->o->quiet, r->o->json_progress);
    es_status status = es_run_describe(w, err);
    es_run_progress_show(&w->progress, &w->counts, r->o->json_progress);
    es_run_progress_clear(&w->progress);
    ES_TRY(status);
    if (w->info.seconds > 0 && !es_dir_exists(r->path)) {
        r->recording.seconds = w->info.seconds;
        ES_TRY(es_store_set_length(r->store, w->recording, w->info.seconds, err));
    }
    describe_run(r, how, sizeof how, w->info.truncated);
    bool complete = w->counts.failed == 0 && w->taken == 0 && r->o->redaction == NULL;
    snprintf(partial, sizeof partial, "%s%s", complete ? "" : "partial ", how);
    return es_store_put_summary(r->store, w->recording, w->method, ES_RUN_FORM, "", partial, err);
}

/* --- the summary --- */

#define BOX_MODEL "escriba-tiny" /* knows nothing but screens: no use in asking it */
#define SUMMARY_TOKENS 1500      /* for an answer, at least */

static void stop_model(void *context)
{
    escriba_cancel(context);
}

static es_status write_summary(void *context, const char *question, char **text, es_error *err)
{
    run *r = context;
    escriba_model *model;
    escriba_request request;
    escriba_error error = {0};
    char *answer = NULL;
    *text = NULL;
    ES_TRY(es_open_model(r->settings, true, &model, err));
    tell_where(&r->words, "the descriptions of the frames");
    if (!r->o->quiet && !r->o->json_progress)
        fprintf(stderr, "escriba: writing the summary\n");
    es_fill_request(r->settings, &request);
    request.prompt = question;
    request.max_tokens = request.max_tokens < SUMMARY_TOKENS ? SUMMARY_TOKENS : request.max_tokens;
    es_signals_ask(r->signals, stop_model, model);
    escriba_status status = escriba_generate_text(model, &request, NULL, NULL, &answer, &error);
    es_signals_ask(r->signals, NULL, NULL);
    if (status == ESCRIBA_OK && (*text = es_strdup(answer)) == NULL)
        status = (escriba_status)es_fail_memory(err, "a summary", strlen(answer));
    else if (status != ESCRIBA_OK)
        es_fail(err, (es_status)status, "%s", error.message);
    escriba_text_free(answer);
    escriba_free(model);
    return (es_status)status;
}

/* Whom to ask for the summary; answer NULL: nobody. */
static void find_writer(run *r, es_writer *writer)
{
    es_error err = {0};
    es_choice *choice = &r->words;
    *writer = (es_writer){0};
    if (r->o->out.no_summary || es_choose(r->settings, true, choice, &err) != ES_OK)
        return;
    const char *slash = choice->model != NULL ? strrchr(choice->model, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : choice->model;
    if (name != NULL && strcmp(name, BOX_MODEL) == 0)
        return;
    *writer = (es_writer){write_summary, r, name != NULL ? name : choice->backend};
}

static int conclude(run *r, es_status status, const es_error *err)
{
    const es_run_counts *c = &r->work.counts;
    char time[32];
    size_t done = c->asked + c->reused + c->before;
    if (status == ES_ERR_CANCELLED && es_signals_caught(r->signals)) {
        es_complain("interrupted: %zu frames are kept; the same command goes on from there", done);
        return ES_EXIT_INTERRUPTED;
    }
    if (status != ES_OK)
        return es_complain_error(err);
    if (r->o->redaction != NULL && !r->o->quiet)
        es_complain("%zu frames were not looked at, %zu not kept, as --redact says", r->work.info.dropped, c->redacted);
    if (c->failed > 0)
        es_complain("%zu frames failed; the first: %s", c->failed, r->work.first_failure);
    if (!r->o->quiet && !r->o->json_progress && !r->complete)
        fprintf(stderr, "escriba: %zu frames in %s: %zu described, %zu unchanged, %zu known before\n", done,
                es_human_seconds(es_now() - r->began, time), c->asked, c->reused, c->before);
    return c->failed > 0 ? ES_EXIT_FAILED : ES_EXIT_OK;
}

static int run_all(const options *o, const es_settings *settings)
{
    run r = {.o = o, .settings = settings, .began = es_now()};
    es_error err = {0};
    char notice[160] = "";
    es_writer writer;
    es_status status = es_signals_begin(&r.signals, &err);
    if (status == ES_OK)
        status = prepare(&r, &err);
    if (status == ES_OK && !r.complete)
        status = describe(&r, &err);
    if (status == ES_OK && r.work.counts.failed > 0)
        snprintf(notice, sizeof notice, "%zu frames could not be described.", r.work.counts.failed);
    if (status == ES_OK) {
        find_writer(&r, &writer);
        status = es_out_write(r.store, &r.recording, r.work.method, r.choice.model,
                              writer.answer != NULL ? &writer : NULL, notice[0] != '\0' ? notice : NULL, &o->out, &err);
    }
    es_choice_free(&r.words);
    int code = conclude(&r, status, &err);
    es_store_close(r.store);
    es_choice_free(&r.choice);
    free(r.path);
    free(r.store_path);
    es_signals_end(r.signals);
    return code;
}

int es_cmd_run(int argc, char **argv)
{
    options o = {.scene = 0.4, .fill = -1, .same = ES_SAME_THRESHOLD, .out = {.forms = 1u << ES_FORM_CARD}};
    es_reader reader = {read_flag, read_operand, &o};
    es_settings *settings = NULL;
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done)
        code = check_options(&o);
    if (code == ES_EXIT_OK && !done)
        code = run_all(&o, settings);
    es_redaction_free(o.redaction);
    es_settings_free(settings);
    return code;
}
