/* bridge.c - the socket, its clients and their lines. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "serve/bridge_internal.h"

#define USUAL_LINE ((size_t)16 << 20)
#define USUAL_LIMIT 300.0
#define MAX_CLIENTS 64
#ifndef MSG_NOSIGNAL /* macOS; the program ignores SIGPIPE */
#define MSG_NOSIGNAL 0
#endif
#define WRITE_SECONDS 30 /* for a client to take what it asked for */

char *es_bridge_path(const char *path, const char *mode)
{
    es_str out = {0};
    size_t n = strlen(path);
    bool ends = n >= 5 && strcmp(path + n - 5, ".sock") == 0;
    es_str_append_n(&out, path, ends ? n - 5 : n);
    es_str_append_format(&out, "-%s.sock", mode);
    return es_str_take(&out, NULL);
}

es_status es_bridge_open(es_bridge **bridge, const es_bridge_options *options, es_error *err)
{
    es_bridge *b = es_calloc(1, sizeof *b);
    *bridge = NULL;
    if (b == NULL)
        return es_fail_memory(err, "the bridge", sizeof *b);
    b->options = *options;
    b->options.max_line = options->max_line > 0 ? options->max_line : USUAL_LINE;
    b->options.limit_seconds = options->limit_seconds > 0 ? options->limit_seconds : USUAL_LIMIT;
    b->fd = b->wake[0] = b->wake[1] = -1;
    pthread_mutex_init(&b->lock, NULL);
    b->model = es_strdup(options->catalog->dir);
    b->model_name = es_strdup(options->catalog->name);
    es_status status = b->model != NULL && b->model_name != NULL ? ES_OK : es_fail_memory(err, "the bridge", 0);
    if (status == ES_OK && pipe(b->wake) != 0)
        status = es_fail(err, ES_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    if (status == ES_OK)
        status = es_listen_unix(options->path, &b->fd, &b->file, err);
    if (status != ES_OK) {
        es_bridge_close(b);
        return status;
    }
    *bridge = b;
    return ES_OK;
}

/* --- a client --- */

bool es_bridge_gone(const es_bridge_client *c)
{
    struct pollfd p = {c->fd, 0, 0}; /* POLLHUP and POLLERR are always told */
    return atomic_load(&c->bridge->stopping) || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0);
}

static bool send_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool send_json(es_bridge_client *c, json_t *answer)
{
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    json_decref(answer);
    bool sent = text != NULL && send_all(c->fd, text, strlen(text)) && send_all(c->fd, "\n", 1);
    free(text);
    return sent;
}

static json_t *complaint(const char *line)
{
    return json_pack("{s:n, s:s, s:b}", "id", "error", line, "done", true);
}

/* Answers one line; false: the client is done with. */
static bool take_line(es_bridge_client *c, const char *line, size_t n)
{
    es_error err = {0};
    json_t *request = NULL;
    bool shutdown_asked = false;
    while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' '))
        n--;
    if (n == 0)
        return true;
    if (es_json_parse(&request, line, n, "request", &err) != ES_OK)
        return send_json(c, complaint(err.message));
    json_t *answer = json_is_object(request) ? es_bridge_answer(c, request, &shutdown_asked)
                                             : complaint("a request is an object with id, method and params");
    json_decref(request);
    bool sent = send_json(c, answer);
    if (shutdown_asked)
        es_bridge_stop(c->bridge);
    return sent && !shutdown_asked;
}

/* Takes the whole lines out of what was read. A line that is too long is answered once and skipped. */
static bool take_lines(es_bridge_client *c, es_str *in, bool *skipping)
{
    char *start = in->data, *end;
    size_t left = in->length;
    while (left > 0 && (end = memchr(start, '\n', left)) != NULL) {
        size_t n = (size_t)(end - start);
        if (!*skipping && !take_line(c, start, n))
            return false;
        *skipping = false;
        start += n + 1;
        left -= n + 1;
    }
    if (left > c->bridge->options.max_line) {
        if (!*skipping && !send_json(c, complaint("a request longer than the bridge takes")))
            return false;
        *skipping = true;
        left = 0;
    }
    if (left > 0)
        memmove(in->data, start, left);
    in->length = left;
    return true;
}

static void *serve_client(void *argument)
{
    es_bridge_client *c = argument;
    es_str in = {0};
    char block[65536];
    bool skipping = false, more = true;
    while (more && !atomic_load(&c->bridge->stopping)) {
        ssize_t n = recv(c->fd, block, sizeof block, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        es_str_append_n(&in, block, (size_t)n);
        more = !in.failed && take_lines(c, &in, &skipping);
    }
    es_str_free(&in);
    shutdown(c->fd, SHUT_RDWR);
    atomic_store(&c->over, true);
    return NULL;
}

/* Joins and forgets clients that are over; all of them at the end. */
static void reap(es_bridge *b, bool all)
{
    for (es_bridge_client **at = &b->clients; *at != NULL;) {
        es_bridge_client *c = *at;
        if (!all && !atomic_load(&c->over)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        pthread_join(c->thread, NULL);
        close(c->fd);
        free(c);
    }
}

static void welcome(es_bridge *b, int fd)
{
    struct timeval limit = {WRITE_SECONDS, 0};
    size_t count = 0;
    reap(b, false);
    for (const es_bridge_client *c = b->clients; c != NULL; c = c->next)
        count++;
    es_bridge_client *c = count < MAX_CLIENTS ? es_calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    c->bridge = b;
    c->fd = fd;
    snprintf(c->name, sizeof c->name, "bridge %llu", ++b->count);
    if (pthread_create(&c->thread, NULL, serve_client, c) != 0) {
        close(fd);
        free(c);
        return;
    }
    c->next = b->clients;
    b->clients = c;
}

es_status es_bridge_run(es_bridge *b, es_error *err)
{
    es_status status = ES_OK;
    while (!atomic_load(&b->stopping)) {
        struct pollfd p[2] = {{b->fd, POLLIN, 0}, {b->wake[0], POLLIN, 0}};
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            status = es_fail(err, ES_ERR_IO, "waiting for clients: %s", strerror(errno));
            break;
        }
        if (p[1].revents != 0)
            break;
        if ((p[0].revents & POLLIN) == 0)
            continue;
        int fd = accept(b->fd, NULL, NULL);
        if (fd >= 0)
            welcome(b, fd);
        else if (errno == EMFILE || errno == ENFILE)
            usleep(50000); /* until one of the clients leaves */
    }
    atomic_store(&b->stopping, true);
    for (const es_bridge_client *c = b->clients; c != NULL; c = c->next)
        shutdown(c->fd, SHUT_RD); /* what is being answered may still be written */
    reap(b, true);
    return status;
}

void es_bridge_stop(es_bridge *b)
{
    atomic_store(&b->stopping, true);
    ssize_t n = write(b->wake[1], "", 1);
    (void)n; /* a full pipe wakes as well */
}

void es_bridge_close(es_bridge *b)
{
    if (b == NULL)
        return;
    if (b->fd >= 0) {
        close(b->fd);
        es_unlink_unix(b->options.path, &b->file);
    }
    for (int i = 0; i < 2; i++)
        if (b->wake[i] >= 0)
            close(b->wake[i]);
    pthread_mutex_destroy(&b->lock);
    free(b->model);
    free(b->model_name);
    free(b);
}
