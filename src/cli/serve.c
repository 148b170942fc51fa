/* serve.c - `escriba serve`: Ollama's and OpenAI's dialects over HTTP. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/serving.h"
#include "serve/http.h"
#include "serve/listen.h"

#define USUAL_PORT 11435 /* beside Ollama's own */
#define MAX_NAMES 32     /* of hosts, origins, paths */

enum {
    FLAG_LISTEN,
    FLAG_PORT,
    FLAG_SOCKET,
    FLAG_KEYS,
    FLAG_NO_KEYS,
    FLAG_HASH_KEY,
    FLAG_ALLOW_HOST,
    FLAG_ALLOW_ORIGIN,
    FLAG_ALLOW_PATH,
    FLAG_ALLOW_PULL,
    FLAG_QUEUE,
    FLAG_TOKENS,
    FLAG_KEEP_ALIVE,
    FLAG_DRAIN,
    FLAG_MAX_BODY,
    FLAG_MAX_BODIES,
    FLAG_PRELOAD,
    FLAG_LOG
};
static const es_flag flags[] = {
    {"--listen", "ADDRESS", "listen there (default 127.0.0.1); another than loopback needs --keys or --no-keys"},
    {"--port", "N", "the port (default 11435; 0: any free one)"},
    {"--socket", "PATH", "listen on a Unix socket of mode 0600 instead"},
    {"--keys", "FILE", "ask for a key; FILE has lines of \"sha256:HEX NAME\""},
    {"--no-keys", NULL, "let anybody who can reach the address ask"},
    {"--hash-key", NULL, "read a key from stdin, print its line for the file, and end"},
    {"--allow-host", "NAME", "the server may be called by this name too; may be repeated"},
    {"--allow-origin", "URL", "pages of this site may ask, * for all; may be repeated"},
    {"--allow-path", "DIRECTORY", "pictures below it may be named by file: URLs; may be repeated"},
    {"--allow-pull", NULL, "requests may fetch models"},
    {"--queue", "N", "requests that may wait (default 64); further ones get 503"},
    {"--token-budget", "N", "tokens all requests taken may come to (default 1048576); further ones get 503"},
    {"--keep-alive", "SECONDS", "unload a model unused for so long (default 300; -1: never)"},
    {"--drain", "SECONDS", "time for what is under way when asked to end (default 30)"},
    {"--max-body", "MIB", "largest request (default 64)"},
    {"--max-bodies", "MIB", "all requests being read together (default 256); further ones get 503"},
    {"--preload", NULL, "load the model now, not with the first request"},
    {"--log", NULL, "a line on stderr for each request, without its content"},
};
static const es_usage usage = {
    .verb = "serve",
    .synopsis = "[FLAGS]",
    .text =
        "Answers programs that talk to Ollama or to OpenAI, many at once in one batch: /api/chat, /api/generate,\n"
        "/api/tags, /v1/chat/completions, /v1/responses, /v1/models and what belongs to them; a page for people at /;\n"
        "/health, /ready and /metrics. Pictures as base64 or data URIs; format and response_format hold answers to a\n"
        "JSON schema. The model is loaded by the first request. Ctrl-C or SIGTERM finishes what is under way.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .settings = ES_SET_MODEL | ES_SET_FRAMES | ES_SET_SAMPLING | ES_SET_COMMON,
    .examples = "  escriba serve\n"
                "  OLLAMA_HOST=127.0.0.1:11435 ollama run escriba-tiny\n"
                "  escriba serve --model Qwen/Qwen3-VL-2B-Instruct --allow-path ~/recordings --keep-alive -1\n"
                "  openssl rand -hex 24 | tee key | escriba serve --hash-key >> keys; escriba serve --listen 0.0.0.0 "
                "--keys keys\n",
};

typedef struct options {
    const char *listen, *socket, *keys;
    long long port, queue, tokens, keep_alive, drain, max_body, max_bodies;
    bool no_keys, hash_key, allow_pull, preload, log;
    const char *hosts[MAX_NAMES], *origins[MAX_NAMES];
    char *paths[MAX_NAMES]; /* resolved; owned */
    size_t host_count, origin_count, path_count;
} options;

static int read_number(const char *flag, const char *value, long long low, long long high, long long *out)
{
    if (es_parse_int(value, low, high, out))
        return ES_EXIT_OK;
    es_complain("serve: %s is a whole number from %lld to %lld, not %s", flag, low, high, value);
    return ES_EXIT_USAGE;
}

static int add_name(const char *flag, const char *value, const char **list, size_t *n)
{
    if (*n == MAX_NAMES) {
        es_complain("serve: more than %d times %s", MAX_NAMES, flag);
        return ES_EXIT_USAGE;
    }
    list[(*n)++] = value;
    return ES_EXIT_OK;
}

static int add_path(options *o, const char *value)
{
    char real[PATH_MAX];
    if (o->path_count < MAX_NAMES && realpath(value, real) != NULL &&
        (o->paths[o->path_count] = es_strdup(real)) != NULL) {
        o->path_count++;
        return ES_EXIT_OK;
    }
    es_complain("serve: --allow-path %s: no such directory", value);
    return ES_EXIT_USAGE;
}

static int read_flag(void *context, size_t index, const char *value)
{
    options *o = context;
    switch (index) {
    case FLAG_LISTEN:
        o->listen = value;
        break;
    case FLAG_PORT:
        return read_number("--port", value, 0, 65535, &o->port);
    case FLAG_SOCKET:
        o->socket = value;
        break;
    case FLAG_KEYS:
        o->keys = value;
        break;
    case FLAG_NO_KEYS:
        o->no_keys = true;
        break;
    case FLAG_HASH_KEY:
        o->hash_key = true;
        break;
    case FLAG_ALLOW_HOST:
        return add_name("--allow-host", value, o->hosts, &o->host_count);
    case FLAG_ALLOW_ORIGIN:
        return add_name("--allow-origin", value, o->origins, &o->origin_count);
    case FLAG_ALLOW_PATH:
        return add_path(o, value);
    case FLAG_ALLOW_PULL:
        o->allow_pull = true;
        break;
    case FLAG_QUEUE:
        return read_number("--queue", value, 1, 100000, &o->queue);
    case FLAG_TOKENS:
        return read_number("--token-budget", value, 1, 1000000000000, &o->tokens);
    case FLAG_KEEP_ALIVE:
        return read_number("--keep-alive", value, -1, 1000000000, &o->keep_alive);
    case FLAG_DRAIN:
        return read_number("--drain", value, 0, 86400, &o->drain);
    case FLAG_MAX_BODY:
        return read_number("--max-body", value, 1, 4096, &o->max_body);
    case FLAG_MAX_BODIES:
        return read_number("--max-bodies", value, 1, 1048576, &o->max_bodies);
    case FLAG_PRELOAD:
        o->preload = true;
        break;
    default:
        o->log = true;
    }
    return ES_EXIT_OK;
}

/* "sha256:HEX" of the key on stdin. */
static int hash_key(void)
{
    char key[1024], line[ES_SHA256_HEX + 32];
    if (fgets(key, sizeof key, stdin) == NULL)
        key[0] = '\0';
    key[strcspn(key, "\r\n")] = '\0';
    if (strlen(key) < 16) {
        es_complain("serve: a key has at least 16 characters; 'openssl rand -hex 24' makes one");
        return ES_EXIT_USAGE;
    }
    es_guard_hash(key, line);
    strcat(line, "\n");
    return es_print(line) ? ES_EXIT_OK : ES_EXIT_FAILED;
}

/* A socket that systemd opened for us (sd_listen_fds(3)): the first one, number 3. */
static bool take_given_socket(int *fd)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != (long)getpid() || strtol(count, NULL, 10) < 1)
        return false;
    *fd = 3;
    fcntl(*fd, F_SETFD, FD_CLOEXEC);
    return true;
}

static es_status open_socket(const options *o, es_guard *guard, int *fd, es_socket_file *file, char where[80],
                             es_error *err)
{
    bool loopback = true;
    if (take_given_socket(fd)) {
        snprintf(where, 80, "the socket it was given");
        return ES_OK;
    }
    if (o->socket != NULL) {
        guard->any_host = true;
        snprintf(where, 80, "%s", o->socket);
        return es_listen_unix(o->socket, fd, file, err);
    }
    ES_TRY(es_listen_tcp(o->listen, (int)o->port, fd, &loopback, where, err));
    if (loopback || guard->keys != NULL || o->no_keys)
        return ES_OK;
    close(*fd);
    *fd = -1;
    return es_fail(err, ES_ERR_ARGUMENT, "others can reach %s: give --keys FILE, or say --no-keys", o->listen);
}

static void log_line(void *context, const char *line)
{
    (void)context;
    es_complain("%s", line);
}

/* --- waiting for the signal --- */

typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t asked;
    bool end;
} waiter;

static void ask_to_end(void *context)
{
    waiter *w = context;
    pthread_mutex_lock(&w->lock);
    w->end = true;
    pthread_cond_signal(&w->asked);
    pthread_mutex_unlock(&w->lock);
}

static void wait_for_end(es_signals *signals)
{
    waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER};
    es_signals_ask(signals, ask_to_end, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.end)
        pthread_cond_wait(&w.asked, &w.lock);
    pthread_mutex_unlock(&w.lock);
    es_signals_ask(signals, NULL, NULL);
}

static es_status answer(const options *o, const es_settings *settings, es_serving *serving, const es_guard *guard,
                        int fd, const char *where, es_signals *signals, es_error *err)
{
    es_server_options wanted = {.fd = fd,
                                .worker = serving->worker,
                                .catalog = &serving->catalog,
                                .door = &serving->door,
                                .guard = guard,
                                .sampling = es_serving_sampling(settings),
                                .max_tokens = (int32_t)es_settings_int(settings, ES_SETTING_MAX_TOKENS),
                                .max_body = (size_t)o->max_body << 20,
                                .max_bodies = (size_t)o->max_bodies << 20,
                                .allow_pull = o->allow_pull,
                                .log = o->log ? log_line : NULL};
    es_server *server;
    es_str line = {0};
    ES_TRY(es_server_start(&server, &wanted, err));
    es_str_append_format(&line, "listening at %s\n", where);
    bool said = es_print(es_str_text(&line));
    es_str_free(&line);
    if (said)
        wait_for_end(signals);
    es_server_stop(server, (double)o->drain);
    return said ? ES_OK : es_fail(err, ES_ERR_IO, "cannot write to stdout");
}

static es_status serve(const options *o, const es_settings *settings, es_signals *signals, es_error *err)
{
    es_guard guard = {
        .hosts = o->hosts, .host_count = o->host_count, .origins = o->origins, .origin_count = o->origin_count};
    es_serving serving = {0};
    es_socket_file file = {0};
    char where[80];
    int fd = -1;
    es_status status = o->keys != NULL ? es_guard_read_keys(&guard, o->keys, err) : ES_OK;
    if (status == ES_OK)
        status = es_serving_begin(&serving, settings, es_settings_text(settings, ES_SETTING_MODEL), (int32_t)o->queue,
                                  o->tokens, o->keep_alive < 0 ? ES_KEEP_FOREVER : o->keep_alive * 1000, err);
    serving.door.allowed = o->paths;
    serving.door.allowed_count = o->path_count;
    if (status == ES_OK && o->preload)
        status = es_serving_load(&serving, ES_KEEP_USUAL, err);
    if (status == ES_OK)
        status = open_socket(o, &guard, &fd, &file, where, err);
    if (status == ES_OK)
        status = answer(o, settings, &serving, &guard, fd, where, signals, err);
    if (o->socket != NULL)
        es_unlink_unix(o->socket, &file);
    es_serving_end(&serving);
    es_guard_free(&guard);
    return status;
}

static int run(const options *o, const es_settings *settings)
{
    es_signals *signals = NULL;
    es_error err = {0};
    es_status status = es_signals_begin(&signals, &err);
    if (status == ES_OK)
        status = serve(o, settings, signals, &err);
    es_signals_end(signals);
    return status == ES_OK ? ES_EXIT_OK : es_complain_error(&err);
}

int es_cmd_serve(int argc, char **argv)
{
    options o = {.listen = "127.0.0.1",
                 .port = USUAL_PORT,
                 .queue = 64,
                 .tokens = 1 << 20,
                 .keep_alive = 300,
                 .drain = 30,
                 .max_body = 64,
                 .max_bodies = 256};
    es_reader reader = {read_flag, NULL, &o};
    es_settings *settings = NULL;
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done)
        code = o.hash_key ? hash_key() : run(&o, settings);
    for (size_t i = 0; i < o.path_count; i++)
        free(o.paths[i]);
    es_settings_free(settings);
    return code;
}
