/* sessions.c - what the session store holds: sessions, show, export, search, forget. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/session_out.h"
#include "session/report_text.h"
#include "session/session.h"

typedef struct options {
    const char *store, *which, *format, *output;
    bool json, all;
    long long limit;
    es_out out;
    es_str words;
    const char *verb;
} options;

/* A session by its number, its recording's path or file name; the last one when not named. */
typedef struct wanted {
    const char *which;
    char *real; /* realpath of which, or NULL */
    es_recording found;
    char *path; /* owned: the found one's */
    size_t count;
} wanted;

static bool is_wanted(const wanted *w, const es_recording *r)
{
    long long number;
    const char *slash = strrchr(r->path, '/');
    if (w->which == NULL)
        return true;
    if (es_parse_int(w->which, 1, INT64_MAX, &number))
        return number == r->id;
    return strcmp(w->which, r->path) == 0 || (w->real != NULL && strcmp(w->real, r->path) == 0) ||
           (slash != NULL && strcmp(w->which, slash + 1) == 0);
}

static bool match(void *context, const es_listed *listed)
{
    wanted *w = context;
    w->count++;
    if (!is_wanted(w, &listed->recording))
        return true;
    w->path = es_strdup(listed->recording.path);
    w->found = listed->recording;
    w->found.path = w->path;
    return false;
}

static es_status find_session(es_store *store, const char *which, wanted *w, es_error *err)
{
    *w = (wanted){.which = which, .real = which != NULL ? realpath(which, NULL) : NULL};
    es_status status = es_store_list(store, match, w, err);
    free(w->real);
    if (status == ES_OK && w->found.id != 0 && w->path == NULL)
        return es_fail_memory(err, "a path", 0);
    if (status == ES_OK && w->found.id == 0)
        return which == NULL ? es_fail(err, ES_ERR_ARGUMENT, "no session yet: escriba run RECORDING makes one")
                             : es_fail(err, ES_ERR_ARGUMENT, "no session %s: see 'escriba sessions'", which);
    return status;
}

static es_status open_store(const options *o, es_store **store, es_error *err)
{
    char *path;
    *store = NULL;
    ES_TRY(es_store_place(o->store, &path, err));
    es_status status = es_store_open(store, path, err);
    free(path);
    return status;
}

/* --- sessions --- */

typedef struct listing {
    es_str text;
    bool json;
    size_t count;
} listing;

static bool list_one(void *context, const es_listed *l)
{
    listing *list = context;
    char time[32];
    if (list->json) {
        es_str_append_format(&list->text, "{\"id\": %lld, \"recording\": ", (long long)l->recording.id);
        es_append_escaped(&list->text, l->recording.path, ES_ESCAPE_JSON);
        es_str_append_format(
            &list->text, ", \"seconds\": %.3f, \"frames\": %lld, \"observations\": %lld, \"blocks\": %lld}\n",
            l->recording.seconds, (long long)l->frames, (long long)l->observations, (long long)l->blocks);
    } else {
        es_str_append_format(&list->text, "%5lld  %8s  %6lld seen  %4lld blocks  ", (long long)l->recording.id,
                             l->recording.seconds > 0 ? es_human_seconds(l->recording.seconds, time) : "-",
                             (long long)l->observations, (long long)l->blocks);
        es_append_escaped(&list->text, l->recording.path, ES_ESCAPE_PLAIN); /* a name may hold terminal codes */
        es_str_append(&list->text, "\n");
    }
    list->count++;
    return true;
}

static es_status do_sessions(const options *o, es_store *store, es_error *err)
{
    listing list = {.json = o->json};
    es_status status = es_store_list(store, list_one, &list, err);
    if (status == ES_OK && list.count == 0 && !o->json)
        es_str_append(&list.text, "no session yet: escriba run RECORDING makes one\n");
    if (status == ES_OK)
        status = es_str_check(&list.text, err);
    if (status == ES_OK && !es_print(es_str_text(&list.text)))
        status = es_fail(err, ES_ERR_IO, "the reader of stdout is gone");
    es_str_free(&list.text);
    return status;
}

/* --- show, export --- */

static es_status do_show(const options *o, es_store *store, es_error *err)
{
    wanted w;
    int64_t method = 0;
    char *model = NULL;
    es_status status = find_session(store, o->which, &w, err);
    if (status == ES_OK)
        status = es_store_last_method(store, w.found.id, &method, &model, err);
    if (status == ES_OK)
        status = es_out_write(store, &w.found, method, model, NULL, NULL, &o->out, err);
    free(model);
    free(w.path);
    return status;
}

/* A field of CSV: quoted, and not taken for a formula by a spreadsheet. */
static void append_csv(es_str *out, const char *text)
{
    es_str clean = {0};
    es_append_escaped(&clean, text, ES_ESCAPE_PLAIN);
    es_str_append(out, "\"");
    const char *at = es_str_text(&clean);
    if (*at != '\0' && strchr("=+-@", *at) != NULL)
        es_str_append(out, "'");
    for (; *at != '\0'; at++)
        es_str_append_n(out, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    es_str_append(out, "\"");
    es_str_free(&clean);
}

static void append_csv_list(es_str *out, const char *const *items, size_t n)
{
    es_str joined = {0};
    for (size_t i = 0; i < n; i++)
        es_str_append_format(&joined, "%s%s", i > 0 ? ", " : "", items[i]);
    append_csv(out, es_str_text(&joined));
    es_str_free(&joined);
}

static void append_json_list(es_str *out, const char *key, const char *const *items, size_t n)
{
    es_str_append_format(out, ", \"%s\": [", key);
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, i > 0 ? ", " : "");
        es_append_escaped(out, items[i], ES_ESCAPE_JSON);
    }
    es_str_append(out, "]");
}

static void append_moment(es_str *out, const es_moment *m, char form, double whole)
{
    if (form == 'j') {
        es_str_append_format(out, "{\"timestamp\": %.3f, \"activity\": ", m->at);
        es_append_escaped(out, m->activity, ES_ESCAPE_JSON);
        es_str_append(out, ", \"description\": ");
        es_append_escaped(out, m->description, ES_ESCAPE_JSON);
        append_json_list(out, "apps", m->apps, m->app_count);
        append_json_list(out, "topics", m->topics, m->topic_count);
        es_str_append_format(out, ", \"reused\": %s}\n", m->reused ? "true" : "false");
    } else if (form == 'c') {
        es_str_append_format(out, "%.3f,", m->at);
        append_csv(out, m->activity);
        es_str_append(out, ",");
        append_csv(out, m->description);
        es_str_append(out, ",");
        append_csv_list(out, m->apps, m->app_count);
        es_str_append(out, ",");
        append_csv_list(out, m->topics, m->topic_count);
        es_str_append(out, m->reused ? ",1\n" : ",0\n");
    } else {
        es_str_append(out, "- ");
        es_append_clock(out, m->at, whole);
        es_str_append_format(out, " %s: ", m->activity);
        es_append_escaped(out, m->description, ES_ESCAPE_MARKDOWN);
        es_str_append(out, "\n");
    }
}

static es_status do_export(const options *o, es_store *store, es_error *err)
{
    wanted w;
    int64_t method = 0;
    char *model = NULL;
    es_session session = {0};
    es_str text = {0};
    char form = o->format == NULL ? 'j' : o->format[0];
    es_status status = find_session(store, o->which, &w, err);
    if (status == ES_OK)
        status = es_store_last_method(store, w.found.id, &method, &model, err);
    if (status == ES_OK)
        status = es_session_load(&session, store, w.found.id, method, err);
    if (status == ES_OK) {
        if (form == 'c')
            es_str_append(&text, "timestamp,activity,description,apps,topics,reused\n");
        for (size_t i = 0; i < session.count; i++)
            append_moment(&text, &session.moments[i], form, w.found.seconds);
        status = es_str_check(&text, err);
    }
    if (status == ES_OK && o->output != NULL)
        status = es_file_write(o->output, es_str_text(&text), text.length, 0600, err);
    else if (status == ES_OK && !es_print(es_str_text(&text)))
        status = es_fail(err, ES_ERR_IO, "the reader of stdout is gone");
    es_session_free(&session);
    es_str_free(&text);
    free(model);
    free(w.path);
    return status;
}

/* --- search --- */

static bool show_hit(void *context, const es_hit *hit)
{
    listing *list = context;
    const es_moment *m = &hit->stored.moment;
    const char *slash = strrchr(hit->path, '/');
    if (list->json) {
        es_str_append_format(&list->text, "{\"session\": %lld, \"recording\": ", (long long)hit->recording);
        es_append_escaped(&list->text, hit->path, ES_ESCAPE_JSON);
        es_str_append_format(&list->text, ", \"timestamp\": %.3f, \"activity\": ", m->at);
        es_append_escaped(&list->text, m->activity, ES_ESCAPE_JSON);
        es_str_append(&list->text, ", \"description\": ");
        es_append_escaped(&list->text, m->description, ES_ESCAPE_JSON);
        append_json_list(&list->text, "apps", m->apps, m->app_count);
        append_json_list(&list->text, "topics", m->topics, m->topic_count);
        es_str_append(&list->text, "}\n");
    } else {
        es_str_append_format(&list->text, "%lld  ", (long long)hit->recording);
        es_append_escaped(&list->text, slash != NULL ? slash + 1 : hit->path, ES_ESCAPE_PLAIN);
        es_str_append(&list->text, "  ");
        es_append_clock(&list->text, m->at, 0);
        es_str_append_format(&list->text, "  %s: ", m->activity);
        es_append_escaped(&list->text, m->description, ES_ESCAPE_PLAIN);
        es_str_append(&list->text, "\n");
    }
    list->count++;
    return true;
}

static es_status do_search(const options *o, es_store *store, es_error *err)
{
    listing list = {.json = o->json};
    wanted w = {0};
    es_status status = o->which != NULL ? find_session(store, o->which, &w, err) : ES_OK;
    if (status == ES_OK)
        status = es_store_search(store, es_str_text(&o->words), w.found.id, o->limit, show_hit, &list, err);
    if (status == ES_OK && list.count == 0)
        status = es_fail(err, ES_ERR_IO, "nothing seen holds %s", es_str_text(&o->words));
    if (status == ES_OK)
        status = es_str_check(&list.text, err);
    if (status == ES_OK && !es_print(es_str_text(&list.text)))
        status = es_fail(err, ES_ERR_IO, "the reader of stdout is gone");
    es_str_free(&list.text);
    free(w.path);
    return status;
}

/* --- forget --- */

static es_status do_forget(const options *o, es_store *store, es_error *err)
{
    size_t forgotten = 0;
    wanted w;
    if (o->which == NULL && !o->all)
        return es_fail(err, ES_ERR_ARGUMENT, "forget which session? Give its number or recording, or --all");
    do {
        es_status status = find_session(store, o->which, &w, err);
        if (status == ES_OK)
            status = es_store_forget(store, w.found.id, err);
        free(w.path);
        if (status != ES_OK && !(o->all && forgotten > 0 && status == ES_ERR_ARGUMENT))
            return status;
        if (status != ES_OK)
            break;
        forgotten++;
    } while (o->all);
    fprintf(stderr, "escriba: forgot %zu session%s\n", forgotten, forgotten == 1 ? "" : "s");
    return ES_OK;
}

/* --- the command lines --- */

enum { F_STORE, F_JSON, F_FORMAT, F_OUTPUT, F_STDOUT, F_COPY, F_PERSONAL, F_SESSION, F_LIMIT, F_ALL, F_MIN_SEGMENT };
#define STORE_FLAG                                                                                                     \
    {                                                                                                                  \
        "--store", "FILE", "the session store (ESCRIBA_STORE, or sessions.db in ~/.local/share/escriba)"               \
    }
#define JSON_FLAG                                                                                                      \
    {                                                                                                                  \
        "--json", NULL, "lines of JSON"                                                                                \
    }

typedef struct session_verb {
    es_usage usage;
    const int *kinds; /* what each flag is */
    es_status (*act)(const options *o, es_store *store, es_error *err);
    bool operand_is_words, needs_words;
} session_verb;

typedef struct reading {
    const session_verb *verb;
    options *o;
} reading;

static int read_format(const reading *r, const char *value)
{
    static const char *const exports[] = {"jsonl", "csv", "markdown"};
    if (r->verb->act == do_show)
        return es_out_read_forms("show", value, &r->o->out.forms) ? ES_EXIT_OK : ES_EXIT_USAGE;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(value, exports[i]) == 0) {
            r->o->format = exports[i];
            return ES_EXIT_OK;
        }
    es_complain("export: --format %s: must be jsonl, csv or markdown", value);
    return ES_EXIT_USAGE;
}

static int read_flag(void *context, size_t index, const char *value)
{
    reading *r = context;
    options *o = r->o;
    switch (r->verb->kinds[index]) {
    case F_STORE:
        o->store = value;
        break;
    case F_JSON:
        o->json = true;
        break;
    case F_FORMAT:
        return read_format(r, value);
    case F_OUTPUT:
        o->output = o->out.output = value;
        break;
    case F_STDOUT:
        o->out.to_stdout = true;
        break;
    case F_COPY:
        o->out.copy = true;
        break;
    case F_PERSONAL:
        o->out.include_personal = true;
        break;
    case F_SESSION:
        o->which = value;
        break;
    case F_ALL:
        o->all = true;
        break;
    case F_MIN_SEGMENT:
        if (!es_parse_number(value, 0.1, 86400, &o->out.min_segment)) {
            es_complain("--min-segment: \"%s\" is not seconds from 0.1 to 86400", value);
            return ES_EXIT_USAGE;
        }
        break;
    default:
        if (!es_parse_int(value, 1, 100000, &o->limit)) {
            es_complain("--limit: \"%s\" is not from 1 to 100000", value);
            return ES_EXIT_USAGE;
        }
    }
    return ES_EXIT_OK;
}

static int read_operand(void *context, const char *value)
{
    reading *r = context;
    if (r->verb->operand_is_words) {
        es_str_append(&r->o->words, r->o->words.length > 0 ? " " : "");
        es_str_append(&r->o->words, value);
    } else if (r->o->which != NULL) {
        es_complain("%s: one session at a time: %s and %s", r->verb->usage.verb, r->o->which, value);
        return ES_EXIT_USAGE;
    } else {
        r->o->which = value;
    }
    return ES_EXIT_OK;
}

static int run_verb(const session_verb *verb, int argc, char **argv)
{
    options o = {.limit = 20, .out = {.forms = 1u << ES_FORM_CARD}};
    reading context = {verb, &o};
    bool takes_operands = verb->act != do_sessions;
    es_reader reader = {read_flag, takes_operands ? read_operand : NULL, &context};
    es_settings *settings = NULL;
    es_store *store = NULL;
    es_error err = {0};
    bool done;
    int code = es_read_command_line(argc, argv, &verb->usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done && verb->needs_words && o.words.length == 0) {
        es_complain("search for what?");
        code = ES_EXIT_USAGE;
    }
    if (code == ES_EXIT_OK && !done) {
        es_status status = open_store(&o, &store, &err);
        if (status == ES_OK)
            status = verb->act(&o, store, &err);
        if (status != ES_OK)
            code = es_complain_error(&err);
    }
    es_store_close(store);
    es_str_free(&o.words);
    es_settings_free(settings);
    return code;
}

int es_cmd_sessions(int argc, char **argv)
{
    static const es_flag flags[] = {JSON_FLAG, STORE_FLAG};
    static const int kinds[] = {F_JSON, F_STORE};
    static const session_verb verb = {
        .usage = {.verb = "sessions",
                  .synopsis = "[FLAGS]",
                  .text = "Lists the recordings in the session store, the last one first.\n",
                  .flags = flags,
                  .flag_count = sizeof flags / sizeof *flags,
                  .examples = "  escriba sessions\n"},
        .kinds = kinds,
        .act = do_sessions};
    return run_verb(&verb, argc, argv);
}

int es_cmd_show(int argc, char **argv)
{
    static const es_flag flags[] = {
        {"--format", "FORMATS", "card (the default), standup, narrative, json, html; several with commas, or all"},
        {"--output", "PATH", "write there: a file, or for several formats a directory"},
        {"--stdout", NULL, "html to stdout too, instead of to a file here"},
        {"--copy", NULL, "the last text to the clipboard as well"},
        {"--include-personal", NULL, "tell of personal time what was done, not only how long"},
        {"--min-segment", "SECONDS", "the shortest block (30, less for a recording of a few minutes)"},
        STORE_FLAG};
    static const int kinds[] = {F_FORMAT, F_OUTPUT, F_STDOUT, F_COPY, F_PERSONAL, F_MIN_SEGMENT, F_STORE};
    static const session_verb verb = {
        .usage =
            {.verb = "show",
             .synopsis = "[FLAGS] [NUMBER | RECORDING]",
             .text =
                 "Tells a session again from the store, without looking at its recording; the last one unless named.\n",
             .flags = flags,
             .flag_count = sizeof flags / sizeof *flags,
             .examples = "  escriba show --format standup --copy\n  escriba show 3 --format html\n"},
        .kinds = kinds,
        .act = do_show};
    return run_verb(&verb, argc, argv);
}

int es_cmd_export(int argc, char **argv)
{
    static const es_flag flags[] = {{"--format", "FORMAT", "jsonl (the default), csv or markdown"},
                                    {"--output", "FILE", "write there instead of to stdout"},
                                    STORE_FLAG};
    static const int kinds[] = {F_FORMAT, F_OUTPUT, F_STORE};
    static const session_verb verb = {
        .usage = {.verb = "export",
                  .synopsis = "[FLAGS] [NUMBER | RECORDING]",
                  .text = "Writes every observation of a session, personal ones too; the last session unless named.\n",
                  .flags = flags,
                  .flag_count = sizeof flags / sizeof *flags,
                  .examples = "  escriba export --format csv --output day.csv\n"},
        .kinds = kinds,
        .act = do_export};
    return run_verb(&verb, argc, argv);
}

int es_cmd_search(int argc, char **argv)
{
    static const es_flag flags[] = {{"--session", "WHICH", "only in this one: its number or recording"},
                                    {"--limit", "N", "at most so many (20)"},
                                    JSON_FLAG,
                                    STORE_FLAG};
    static const int kinds[] = {F_SESSION, F_LIMIT, F_JSON, F_STORE};
    static const session_verb verb = {
        .usage = {.verb = "search",
                  .synopsis = "[FLAGS] WORD...",
                  .text =
                      "Finds observations that hold all the words, the last one as a beginning. Exit 1: none does.\n",
                  .flags = flags,
                  .flag_count = sizeof flags / sizeof *flags,
                  .examples = "  escriba search segfault\n  escriba search --session 3 code rev\n"},
        .kinds = kinds,
        .act = do_search,
        .operand_is_words = true,
        .needs_words = true};
    return run_verb(&verb, argc, argv);
}

int es_cmd_forget(int argc, char **argv)
{
    static const es_flag flags[] = {{"--all", NULL, "every session"}, STORE_FLAG};
    static const int kinds[] = {F_ALL, F_STORE};
    static const session_verb verb = {
        .usage =
            {.verb = "forget",
             .synopsis = "[FLAGS] NUMBER | RECORDING",
             .text =
                 "Drops a session and all that was seen in it from the store. The recording itself is not touched.\n",
             .flags = flags,
             .flag_count = sizeof flags / sizeof *flags,
             .examples = "  escriba forget 3\n  escriba forget --all\n"},
        .kinds = kinds,
        .act = do_forget};
    return run_verb(&verb, argc, argv);
}
