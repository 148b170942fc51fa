#include "cli/session_out.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "session/session.h"
#include "session/summary.h"

#define SEGMENTS_LEAST 15 /* blocks of the least length that a recording should have room for */
#define SHORTEST 10.0     /* seconds */

bool es_out_read_forms(const char *verb, const char *text, unsigned *forms)
{
    *forms = 0;
    while (*text != '\0') {
        char name[16] = "";
        es_form form;
        size_t n = strcspn(text, ",");
        memcpy(name, text, n < sizeof name ? n : sizeof name - 1);
        if (strcmp(name, "all") == 0) {
            *forms = (1u << ES_FORM_COUNT) - 1;
        } else if (es_form_parse(name, &form)) {
            *forms |= 1u << form;
        } else {
            es_complain("%s: --format %s: must be card, standup, narrative, json, html, several with commas, or all",
                        verb, name);
            return false;
        }
        text += n + (text[n] == ',');
    }
    if (*forms == 0)
        es_complain("%s: --format needs a format: card, standup, narrative, json, html or all", verb);
    return *forms != 0;
}

es_status es_store_place(const char *given, char **path, es_error *err)
{
    const char *own = getenv("ESCRIBA_STORE"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    es_str dir = {0};
    *path = NULL;
    if (given == NULL && own != NULL && *own != '\0')
        given = own;
    if (given != NULL) {
        *path = es_strdup(given);
        return *path != NULL ? ES_OK : es_fail_memory(err, "a path", 0);
    }
    if (data != NULL && *data == '/')
        es_str_append_format(&dir, "%s/escriba", data);
    else if (home != NULL && *home != '\0')
        es_str_append_format(&dir, "%s/.local/share/escriba", home);
    else
        return es_fail(err, ES_ERR_ARGUMENT, "where is the session store? HOME is not set: give --store FILE");
    es_status status = es_str_check(&dir, err);
    if (status == ES_OK)
        status = es_mkdirs(es_str_text(&dir), err);
    if (status == ES_OK && (*path = es_path_join(es_str_text(&dir), "sessions.db")) == NULL)
        status = es_fail_memory(err, "a path", 0);
    es_str_free(&dir);
    return status;
}

/* --- clipboard --- */

static bool feed(const char *const *command, const char *text)
{
    int ends[2], code;
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        int nothing = open("/dev/null", O_WRONLY);
        dup2(ends[0], STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
        dup2(nothing, STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(command[0], (char *const *)(uintptr_t)command);
        _exit(127);
    }
    close(ends[0]);
    size_t n = child > 0 ? strlen(text) : 0;
    while (n > 0) {
        ssize_t wrote = write(ends[1], text, n);
        if (wrote < 0 && errno != EINTR)
            break;
        text += wrote > 0 ? wrote : 0;
        n -= wrote > 0 ? (size_t)wrote : 0;
    }
    close(ends[1]);
    while (child > 0 && waitpid(child, &code, 0) < 0 && errno == EINTR)
        ;
    return child > 0 && n == 0 && WIFEXITED(code) && WEXITSTATUS(code) == 0;
}

static es_status copy(const char *text, es_error *err)
{
    static const char *const commands[][5] = {{"pbcopy", NULL},
                                              {"wl-copy", NULL},
                                              {"xclip", "-selection", "clipboard", NULL},
                                              {"xsel", "--clipboard", "--input", NULL}};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (feed(commands[i], text))
            return ES_OK;
    return es_fail(err, ES_ERR_UNSUPPORTED, "--copy: no clipboard answers (pbcopy, wl-copy, xclip, xsel)");
}

/* --- files --- */

/* "day" of "/recordings/day.mp4" */
static char *stem_of(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t begin = n;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    size_t end = n;
    for (size_t i = begin + 1; i < n; i++)
        end = path[i] == '.' ? i : end;
    return es_strndup(path + begin, end > begin ? end - begin : n - begin);
}

static es_status file_name(const es_out *o, const es_recording *recording, es_form form, char **path, es_error *err)
{
    static const char *const endings[] = {"card.md", "standup.md", "narrative.md", "json", "html"};
    bool many = (o->forms & (o->forms - 1)) != 0;
    es_str name = {0};
    *path = NULL;
    if (o->output != NULL && !es_dir_exists(o->output) && !many) {
        es_str_append(&name, o->output);
    } else {
        char *stem = stem_of(recording->path);
        if (many && o->output != NULL)
            ES_TRY(es_mkdirs(o->output, err));
        if (o->output != NULL)
            es_str_append_format(&name, "%s/", o->output);
        es_str_append_format(&name, "%s.%s", stem != NULL ? stem : "session", endings[form]);
        free(stem);
    }
    *path = es_str_take(&name, err);
    return *path != NULL ? ES_OK : ES_ERR_MEMORY;
}

static es_status deliver(const es_out *o, const es_recording *recording, es_form form, const es_str *text,
                         es_error *err)
{
    char *path;
    if (o->to_stdout || (o->output == NULL && form != ES_FORM_HTML))
        return es_print(es_str_text(text)) ? ES_OK : es_fail(err, ES_ERR_IO, "the reader of stdout is gone");
    ES_TRY(file_name(o, recording, form, &path, err));
    es_status status = es_file_write(path, text->data, text->length, 0600, err);
    if (status == ES_OK && !o->quiet)
        fprintf(stderr, "escriba: wrote %s\n", path);
    free(path);
    return status;
}

/* --- the report --- */

/* The block's frame nearest to its middle that has a picture of its own. */
static size_t middle_of(const es_session *session, const es_block *block)
{
    double middle = (block->start + block->end) / 2;
    size_t best = block->first;
    for (size_t i = block->first; i < block->first + block->count; i++) {
        bool nearer = fabs(session->moments[i].at - middle) < fabs(session->moments[best].at - middle);
        if (session->kept[i].own && (nearer || !session->kept[best].own))
            best = i;
    }
    while (best > 0 && !session->kept[best].own) /* it began before */
        best--;
    return best;
}

static es_status load_pictures(es_store *store, const es_session *session, const es_report *report,
                               es_picture *pictures, es_error *err)
{
    for (size_t b = 0; b < report->outline->block_count; b++) {
        const es_block *block = &report->outline->blocks[b];
        size_t at = middle_of(session, block);
        uint8_t *jpeg;
        ES_TRY(es_store_thumbnail(store, session->kept[at].frame, &jpeg, &pictures[b].size, err));
        pictures[b].jpeg = jpeg;
    }
    return ES_OK;
}

static es_status write_forms(es_store *store, const es_session *session, es_report *report,
                             const es_recording *recording, const es_out *o, es_error *err)
{
    es_str text = {0}, clip = {0};
    es_picture *pictures = NULL;
    size_t blocks = report->outline->block_count;
    es_status status = ES_OK;
    if ((o->forms & 1u << ES_FORM_HTML) != 0) {
        pictures = es_calloc(blocks, sizeof *pictures);
        status = pictures == NULL ? es_fail_memory(err, "thumbnails", blocks * sizeof *pictures)
                                  : load_pictures(store, session, report, pictures, err);
        report->pictures = pictures;
    }
    for (es_form form = ES_FORM_CARD; form < ES_FORM_COUNT && status == ES_OK; form++) {
        if ((o->forms & 1u << form) == 0)
            continue;
        es_str_clear(&text);
        status = es_report_write(&text, report, form, err);
        if (status == ES_OK)
            status = deliver(o, recording, form, &text, err);
        if (o->copy && (form != ES_FORM_HTML || clip.length == 0)) {
            es_str_clear(&clip);
            es_str_append_n(&clip, es_str_text(&text), text.length);
        }
    }
    if (status == ES_OK && o->copy)
        status = clip.failed ? es_str_check(&clip, err) : copy(es_str_text(&clip), err);
    for (size_t b = 0; pictures != NULL && b < blocks; b++)
        free((void *)(uintptr_t)pictures[b].jpeg);
    free(pictures);
    es_str_free(&text);
    es_str_free(&clip);
    return status;
}

/* A recording of a few minutes has shorter stretches. */
static double fair_length(double seconds, double usual)
{
    double fair = seconds / SEGMENTS_LEAST;
    return seconds <= 0 || fair > usual ? usual : fair < SHORTEST ? SHORTEST : fair;
}

void es_out_segments(const es_out *o, double seconds, double interval, es_segment_options *options)
{
    es_segment_options_init(options);
    options->interval = interval;
    options->length = seconds;
    options->min_length = o->min_segment > 0 ? o->min_segment : fair_length(seconds, options->min_length);
}

/* The interval of the samples, as a run noted it down. */
static double noted_interval(const char *how)
{
    double interval = 0;
    const char *at = how != NULL ? strstr(how, "interval=") : NULL;
    return at != NULL && sscanf(at, "interval=%lf", &interval) == 1 && interval > 0 ? interval : 0;
}

/* --- subjects by a language model --- */

/* The store's answer, when it is about these very blocks; *texts NULL otherwise. */
static es_status apply_kept(es_store *store, int64_t recording, int64_t method, es_outline *outline, char ***texts,
                            es_error *err)
{
    char signature[17], *kept;
    es_outline_signature(outline, signature);
    ES_TRY(es_store_summary(store, recording, method, ES_SUBJECTS_FORM, &kept, err));
    bool fits = kept != NULL && strncmp(kept, signature, 16) == 0 && kept[16] == '\n';
    es_status status = fits ? es_summary_apply(kept + 17, outline, texts, err) : ES_OK;
    free(kept);
    return status == ES_ERR_FORMAT ? ES_OK : status;
}

static es_status ask_writer(es_store *store, int64_t recording, int64_t method, const es_report *report,
                            es_outline *outline, const es_writer *writer, char ***texts, es_error *err)
{
    es_str question = {0}, kept = {0};
    char signature[17], *answer = NULL;
    es_status status = ES_OK;
    es_outline_signature(outline, signature);
    if (es_summary_prompt(&question, report)) {
        status = es_str_check(&question, err);
        if (status == ES_OK)
            status = writer->answer(writer->context, es_str_text(&question), &answer, err);
        if (status == ES_OK)
            status = es_summary_apply(answer, outline, texts, err);
        if (status == ES_OK) {
            es_str_append_format(&kept, "%s\n", signature);
            es_str_append(&kept, answer);
            status = es_str_check(&kept, err);
        }
        if (status == ES_OK)
            status =
                es_store_put_summary(store, recording, method, ES_SUBJECTS_FORM, writer->name, es_str_text(&kept), err);
    }
    free(answer);
    es_str_free(&question);
    es_str_free(&kept);
    return status;
}

/* Fills report->texts. A model that fails costs its summary only: *said then tells, on one line. */
static es_status summarise(es_store *store, const es_recording *recording, int64_t method, es_report *report,
                           es_outline *outline, const es_writer *writer, const es_out *o, es_str *said, es_error *err)
{
    char **texts = NULL;
    es_error why = {0};
    if (o->no_summary)
        return ES_OK;
    if (!o->fresh_summary)
        ES_TRY(apply_kept(store, recording->id, method, outline, &texts, err));
    if (texts == NULL && writer != NULL) {
        es_status status = ask_writer(store, recording->id, method, report, outline, writer, &texts, &why);
        if (status == ES_ERR_CANCELLED || status == ES_ERR_MEMORY)
            return es_fail(err, status, "%s", why.message);
        if (status != ES_OK && texts == NULL) {
            es_str_append_format(said, "%s%sThe subjects are escriba's own grouping: %s",
                                 report->notice != NULL ? report->notice : "", report->notice != NULL ? " " : "",
                                 why.message);
            es_complain("the subjects are escriba's own grouping: %s", why.message);
            report->notice = es_str_text(said);
        }
    }
    report->texts = (const char *const *)texts;
    return ES_OK;
}

es_status es_out_write(es_store *store, const es_recording *recording, int64_t method, const char *model,
                       const es_writer *writer, const char *notice, const es_out *o, es_error *err)
{
    es_session session;
    es_outline outline = {0};
    es_segment_options options;
    es_str said = {0};
    char *how = NULL, *stem = stem_of(model != NULL ? model : "");
    const char *slash = strrchr(recording->path, '/');
    es_report report = {.name = slash != NULL && slash[1] != '\0' ? slash + 1 : recording->path,
                        .model = stem,
                        .outline = &outline,
                        .notice = notice,
                        .include_personal = o->include_personal};
    es_status status = es_session_load(&session, store, recording->id, method, err);
    report.moments = session.moments;
    report.count = session.count;
    if (status == ES_OK)
        status = es_store_summary(store, recording->id, method, ES_RUN_FORM, &how, err);
    es_out_segments(o, recording->seconds, noted_interval(how), &options);
    if (status == ES_OK)
        status = es_outline_make(&outline, session.moments, session.count, &options, err);
    report.truncated = how != NULL && strstr(how, "truncated=1") != NULL;
    if (status == ES_OK)
        status = summarise(store, recording, method, &report, &outline, writer, o, &said, err);
    if (status == ES_OK)
        status = es_store_put_outline(store, recording->id, method, &outline, err);
    if (status == ES_OK)
        status = write_forms(store, &session, &report, recording, o, err);
    es_summary_texts_free((char **)(uintptr_t)report.texts, outline.subject_count);
    free(stem);
    free(how);
    es_str_free(&said);
    es_outline_free(&outline);
    es_session_free(&session);
    return status;
}
