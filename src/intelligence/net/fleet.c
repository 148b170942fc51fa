/* fleet.c - the servers behind one adapter: named in a line or in a file, joining and leaving as the file changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "intelligence/net/adapter.h"
#include "intelligence/net/endpoint.h"

#define ROLL_MAX ((size_t)1 << 20) /* bytes of a file of endpoints */
#define SERVERS_MAX 1024
#define LOOK_EVERY 1.0 /* seconds between two looks at the file */

/* The file that says who is in the fleet. */
typedef struct es_roll {
    char *path;
    es_server_options options; /* what the lines do not say, with texts of its own */
    char *texts[5];
    struct timespec changed;
    off_t size;
    double looked;
} roll;

static void note(const es_fleet *self, const char *line)
{
    if (self->note != NULL)
        self->note(self->note_context, line);
}

/* --- who is in it --- */

static es_status add(es_fleet *self, const es_server_options *o, es_error *err)
{
    es_server *server = NULL;
    if (self->count >= SERVERS_MAX)
        return es_fail(err, ES_ERR_LIMIT, "there are more than %d endpoints", SERVERS_MAX);
    if (es_grow((void **)&self->servers, &self->capacity, self->count + 1, sizeof(es_server *)) != 0)
        return es_fail_memory(err, "an endpoint", 0);
    ES_TRY(es_server_open(&server, o, err));
    self->servers[self->count++] = server;
    return ES_OK;
}

/* The next word of a line, ended in place; NULL when there is none. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t\r");
    if (*word == '\0' || *word == '#')
        return NULL;
    char *end = word + strcspn(word, " \t\r");
    *at = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static es_status read_option(es_server_options *o, char *word, const char *where, es_error *err)
{
    char *value = strchr(word, '=');
    char *end = NULL;
    if (value != NULL)
        *value++ = '\0';
    if (value != NULL && strcmp(word, "model") == 0) {
        o->model = value;
    } else if (value != NULL && strcmp(word, "key") == 0) {
        o->key = value;
    } else if (value != NULL && strcmp(word, "backend") == 0 &&
               (strcmp(value, "ollama") == 0 || strcmp(value, "openai") == 0)) {
        o->backend = value;
    } else if (value != NULL && strcmp(word, "most") == 0) {
        long most = strtol(value, &end, 10);
        if (end == value || *end != '\0' || most < 1 || most > 1024)
            return es_fail(err, ES_ERR_ARGUMENT, "%s: most=%.40s is not a number from 1 to 1024", where, value);
        o->most = (int32_t)most;
    } else if (value != NULL && strcmp(word, "timeout") == 0) {
        double seconds = strtod(value, &end);
        if (end == value || *end != '\0' || !(seconds >= 0.1 && seconds <= 86400))
            return es_fail(err, ES_ERR_ARGUMENT, "%s: timeout=%.40s is not seconds from 0.1 to 86400", where, value);
        o->answer_seconds = seconds;
    } else { /* the value may be a key */
        return es_fail(err, ES_ERR_ARGUMENT,
                       "%s: \"%.40s\" is not model=, key=, most=, timeout= or backend=ollama|openai", where, word);
    }
    return ES_OK;
}

/* A line "URL [model=NAME] ..." into options; *o.endpoint is NULL when it is blank. */
static es_status read_line(es_server_options *o, char *line, const char *where, es_error *err)
{
    o->endpoint = next_word(&line);
    for (char *word; o->endpoint != NULL && (word = next_word(&line)) != NULL;)
        ES_TRY(read_option(o, word, where, err));
    return ES_OK;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* The server of the fleet that a line means, or NULL. */
static es_server *find(const es_fleet *self, const es_server_options *o)
{
    char *base = NULL;
    es_server *found = NULL;
    bool ollama = strcmp(o->backend, "ollama") == 0;
    es_status status =
        ollama ? es_endpoint_ollama(o->endpoint, &base, NULL) : es_endpoint_openai(o->endpoint, &base, NULL);
    for (size_t i = 0; i < self->count && status == ES_OK && found == NULL; i++) {
        es_server *s = self->servers[i];
        bool model = o->model == NULL || *o->model == '\0' || same(o->model, s->model);
        if (same(s->endpoint, base) && same(s->dialect->name, o->backend) && model && same(s->key, o->key))
            found = s;
    }
    free(base);
    return found;
}

/* The options of a line of a text: what it does not say is in common. */
static es_status read_numbered(es_server_options *o, const es_server_options *common, char *line, const char *name,
                               size_t number, es_error *err)
{
    char where[300];
    *o = *common;
    snprintf(where, sizeof where, "%.250s:%zu", name, number);
    es_status status = read_line(o, line, where, err);
    if (o->key == common->key && strcmp(o->backend, common->backend) != 0)
        o->key = NULL; /* the key is for servers of the other kind */
    return status;
}

/* Ends a line in place; where the next one begins, or NULL. */
static char *cut_line(char *line)
{
    char *next = strchr(line, '\n');
    if (next != NULL)
        *next++ = '\0';
    return next;
}

/* Brings the fleet to what a text says, a line each. What cannot join is told and left out. */
static void muster(es_fleet *self, const es_server_options *common, char *text, const char *name, es_error *last)
{
    size_t number = 1;
    for (size_t i = 0; i < self->count; i++)
        self->servers[i]->draining = true;
    for (char *line = text, *next; line != NULL; line = next, number++) {
        es_server_options o;
        es_error own = {0};
        next = cut_line(line);
        es_status status = read_numbered(&o, common, line, name, number, &own);
        es_server *there = status == ES_OK && o.endpoint != NULL ? find(self, &o) : NULL;
        if (there != NULL)
            there->draining = false;
        else if (status == ES_OK && o.endpoint != NULL)
            status = add(self, &o, &own);
        if (status != ES_OK) {
            char said[640];
            snprintf(said, sizeof said, "%s: left out", own.message);
            note(self, said);
            *last = own;
        }
    }
}

/* Whether the file is another one than at the last look. */
static bool changed(roll *r)
{
    struct stat st;
    if (stat(r->path, &st) != 0)
        return false; /* an editor between two steps, or gone: what was said last holds */
    bool other =
        st.st_size != r->size || st.st_mtim.tv_sec != r->changed.tv_sec || st.st_mtim.tv_nsec != r->changed.tv_nsec;
    r->size = st.st_size;
    r->changed = st.st_mtim;
    return other;
}

static es_status read_roll(es_fleet *self, es_error *last, es_error *err)
{
    char *text = NULL;
    size_t size = 0;
    ES_TRY(es_file_read(self->roll->path, ROLL_MAX, &text, &size, err));
    muster(self, &self->roll->options, text, self->roll->path, last);
    memset(text, 0, size); /* it may hold keys */
    free(text);
    return ES_OK;
}

void es_fleet_look(es_fleet *self)
{
    es_error err = {0};
    double now = es_now();
    if (self->roll == NULL || now - self->roll->looked < LOOK_EVERY)
        return;
    self->roll->looked = now;
    if (changed(self->roll) && read_roll(self, &err, &err) != ES_OK)
        note(self, err.message);
}

void es_fleet_drain(es_fleet *self, const es_drain *drain)
{
    char line[200];
    if (drain == NULL)
        return;
    bool all = drain->asked(drain->context, 0);
    for (size_t i = 0; i < self->count; i++) {
        es_server *s = self->servers[i];
        if (!all && !drain->asked(drain->context, i + 1))
            continue;
        if (!s->dismissed) {
            snprintf(line, sizeof line, "%.100s drains: it gets nothing new", s->endpoint);
            note(self, line);
        }
        s->draining = s->dismissed = true; /* whatever the file says of it later */
    }
}

/* --- the table --- */

void es_fleet_tell(const es_fleet *self)
{
    char line[400];
    for (size_t i = 0; i < self->count && self->count > 1; i++) {
        const es_server *s = self->servers[i];
        const es_fare *f = &s->fare;
        double seconds = f->ended - f->began;
        const char *why = strstr(f->why.message, ": "); /* it begins with who: that stands in the line already */
        snprintf(line, sizeof line, "%-40.100s %7zu frames  %7.2f a second  %5zu errors%s%.200s", s->endpoint,
                 f->frames, f->frames > 0 && seconds > 0 ? (double)f->frames / seconds : 0.0, f->errors,
                 f->errors > 0 || f->out ? ", last: "
                 : s->draining           ? ", drained"
                                         : "",
                 f->errors > 0 || f->out ? (why != NULL ? why + 2 : f->why.message) : "");
        note(self, line);
    }
}

/* --- life --- */

static void roll_free(roll *r)
{
    if (r == NULL)
        return;
    free(r->path);
    if (r->texts[1] != NULL)
        memset(r->texts[1], 0, strlen(r->texts[1]));
    for (size_t i = 0; i < sizeof r->texts / sizeof *r->texts; i++)
        free(r->texts[i]);
    free(r);
}

static void destroy(es_intelligence *base)
{
    es_fleet *self = (es_fleet *)base;
    es_net_close(self->net);
    for (size_t i = 0; i < self->count; i++)
        es_server_close(self->servers[i]);
    free(self->servers);
    roll_free(self->roll);
    free(self);
}

static const es_intelligence_ops ops = {destroy, es_fleet_classify, es_fleet_generate};

static es_status open_file(es_fleet *self, const es_server_options *o, es_error *last, es_error *err)
{
    roll *r = es_calloc(1, sizeof *r);
    self->roll = r;
    if (r == NULL)
        return es_fail_memory(err, "a list of endpoints", sizeof *r);
    r->options = *o;
    r->options.endpoint = NULL;
    r->path = es_strdup(o->endpoint + 1);
    const char **texts[] = {&r->options.backend, &r->options.key, &r->options.model, &r->options.keep_alive,
                            &r->options.think};
    bool good = r->path != NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (*texts[i] == NULL)
            continue;
        r->texts[i] = es_strdup(*texts[i]);
        *texts[i] = r->texts[i];
        good = good && r->texts[i] != NULL;
    }
    if (!good)
        return es_fail_memory(err, "a list of endpoints", 0);
    r->looked = es_now();
    changed(r);
    return read_roll(self, last, err);
}

/* Whether a word belongs to the address before it. */
static bool is_option(const char *word)
{
    static const char *const known[] = {"model=", "most=", "timeout=", "backend="};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(word, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}

/* Several addresses in a line, with what follows each: each of them on one of its own. The caller frees *lines. */
static es_status words_to_lines(const char *words, char **lines, es_error *err)
{
    es_status status = ES_OK;
    char *text = es_strdup(words);
    if (text == NULL)
        return es_fail_memory(err, "endpoints", strlen(words));
    for (char *at = text; *at != '\0'; at++) {
        if (*at != ' ' && *at != '\t' && *at != ',')
            continue;
        *at = is_option(at + 1) ? ' ' : '\n';
        if (strncmp(at + 1, "key=", 4) == 0) /* others see command lines */
            status = es_fail(err, ES_ERR_ARGUMENT, "endpoint: a key belongs in OPENAI_API_KEY or in @FILE, not here");
    }
    if (status == ES_OK) {
        *lines = text;
        return ES_OK;
    }
    memset(text, 0, strlen(text));
    free(text);
    return status;
}

es_status es_fleet_each(const es_server_options *o, es_fleet_visit visit, void *context, es_error *err)
{
    char *text = NULL;
    size_t size = 0, number = 1;
    es_server_options one = *o;
    if (es_endpoint_is_one(o->endpoint)) {
        visit(context, &one, NULL);
        return ES_OK;
    }
    bool file = o->endpoint[0] == '@';
    ES_TRY(file ? es_file_read(o->endpoint + 1, ROLL_MAX, &text, &size, err) : words_to_lines(o->endpoint, &text, err));
    size = strlen(text);
    for (char *line = text, *next; line != NULL; line = next, number++) {
        es_error own = {0};
        next = cut_line(line);
        es_status status = read_numbered(&one, o, line, file ? o->endpoint + 1 : "endpoint", number, &own);
        if (one.endpoint != NULL)
            visit(context, &one, status == ES_OK ? NULL : &own);
    }
    memset(text, 0, size); /* it may hold keys */
    free(text);
    return ES_OK;
}

static es_status gather(es_fleet *self, const es_server_options *o, es_error *err)
{
    es_error last = {0};
    const char *text = o->endpoint;
    char *lines = NULL;
    if (es_endpoint_is_one(text))
        return add(self, o, err);
    if (text[0] == '@') {
        ES_TRY(open_file(self, o, &last, err));
    } else {
        ES_TRY(words_to_lines(text, &lines, err));
        muster(self, o, lines, "endpoint", &last);
        free(lines);
    }
    if (self->count > 0)
        return ES_OK;
    if (last.status == ES_OK)
        return es_fail(err, ES_ERR_ARGUMENT, "%.200s names no endpoint", text[0] == '@' ? text + 1 : "the list");
    if (err != NULL)
        *err = last;
    return last.status;
}

es_status es_server_create(es_intelligence **out, const es_server_options *options, es_error *err)
{
    *out = NULL;
    es_fleet *self = es_calloc(1, sizeof *self);
    if (self == NULL)
        return es_fail_memory(err, "a server", sizeof *self);
    self->note = options->note;
    self->note_context = options->note_context;
    self->base = (es_intelligence){&ops, strcmp(options->backend, "ollama") == 0 ? "ollama" : "openai"};
    es_status status = es_net_open(&self->net, err);
    if (status == ES_OK)
        status = gather(self, options, err);
    if (status != ES_OK) {
        destroy(&self->base);
        return status;
    }
    *out = &self->base;
    return ES_OK;
}
