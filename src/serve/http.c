/* http.c - connections, bodies and answers over libmicrohttpd, and the watch over slow clients. */
#include "serve/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "serve/exchange.h"

#define USUAL_BODY ((size_t)64 << 20)
#define USUAL_BODIES ((size_t)256 << 20)
#define USUAL_CONNECTIONS 256
#define HEADER_BYTES ((size_t)32 << 10) /* request line and headers; the library answers 431 beyond */
#define SEND_SECONDS 60.0               /* for a client to take what was written */
#define LOOK_NANOSECONDS 100000000      /* between looks of the watch: 0.1 s */
#define BLOCK 32768

#ifndef POLLRDHUP /* macOS tells POLLHUP where Linux tells this */
#define POLLRDHUP 0
#endif

/* What a connection is waited for. */
typedef enum phase { PHASE_IDLE, PHASE_FIRST, PHASE_HEADERS, PHASE_BODY, PHASE_WORK, PHASE_SEND } phase;

typedef struct connection {
    struct es_server *server;
    struct connection *previous, *next;
    int fd;
    phase phase;
    double since; /* the phase began */
    bool closed_by_watch;
} connection;

struct es_server {
    es_server_options options;
    struct MHD_Daemon *daemon;
    pthread_t watch;
    bool watching;
    pthread_mutex_t lock;   /* guards what follows */
    connection connections; /* list head */
    es_http_counts counts;
    bool ending;
};

/* One request on its way. */
typedef struct request {
    es_exchange x;
    connection *connection;
    struct MHD_Connection *mhd;
    es_str body;
    es_headers headers;
    char path[512], origin[256];
    size_t sent;              /* of x.out, for a stream */
    size_t received, counted; /* bytes of the body; those that count among all bodies' */
    bool refused, queued, finished, left;
    int code;
} request;

const es_server_options *es_server_options_of(const es_server *s)
{
    return &s->options;
}

void es_server_get_counts(es_server *s, es_http_counts *counts)
{
    pthread_mutex_lock(&s->lock);
    *counts = s->counts;
    pthread_mutex_unlock(&s->lock);
}

static void enter_phase(connection *c, phase p)
{
    pthread_mutex_lock(&c->server->lock);
    c->phase = p;
    c->since = es_now();
    pthread_mutex_unlock(&c->server->lock);
}

/* --- connections --- */

static void on_connection(void *context, struct MHD_Connection *mhd, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    es_server *s = context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        connection *c = *slot;
        if (c == NULL)
            return;
        pthread_mutex_lock(&s->lock);
        c->previous->next = c->next;
        c->next->previous = c->previous;
        s->counts.open--;
        pthread_mutex_unlock(&s->lock);
        free(c);
        *slot = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    connection *c = es_calloc(1, sizeof *c);
    *slot = c;
    if (c == NULL || info == NULL)
        return; /* unwatched, but answered */
    c->server = s;
    c->fd = info->connect_fd;
    c->phase = PHASE_FIRST;
    c->since = es_now();
    pthread_mutex_lock(&s->lock);
    c->next = &s->connections;
    c->previous = s->connections.previous;
    c->previous->next = c;
    s->connections.previous = c;
    s->counts.connections++;
    s->counts.open++;
    pthread_mutex_unlock(&s->lock);
}

static bool too_slow(const es_server *s, const connection *c, double now)
{
    const es_server_options *o = &s->options;
    double limit = c->phase == PHASE_IDLE                                 ? o->idle_seconds
                   : c->phase == PHASE_FIRST || c->phase == PHASE_HEADERS ? o->header_seconds
                   : c->phase == PHASE_BODY                               ? o->body_seconds
                   : c->phase == PHASE_SEND                               ? SEND_SECONDS
                                                                          : -1;
    return limit >= 0 && now - c->since > limit && !c->closed_by_watch;
}

static void *watch(void *argument)
{
    es_server *s = argument;
    const struct timespec pause = {0, LOOK_NANOSECONDS};
    for (bool ending = false; !ending;) {
        nanosleep(&pause, NULL);
        double now = es_now();
        pthread_mutex_lock(&s->lock);
        ending = s->ending;
        for (connection *c = s->connections.next; c != &s->connections; c = c->next) {
            if (!too_slow(s, c, now) && !(ending && c->phase == PHASE_IDLE))
                continue;
            c->closed_by_watch = true;
            s->counts.too_slow += c->phase != PHASE_IDLE;
            shutdown(c->fd, SHUT_RDWR); /* its thread sees the end of the stream */
        }
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

/* --- a request --- */

static const char *header(struct MHD_Connection *mhd, const char *name)
{
    return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

bool es_exchange_gone(const es_exchange *x)
{
    const request *r = x->connection;
    if (r->connection == NULL)
        return false;
    struct pollfd p = {r->connection->fd, POLLRDHUP, 0};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void name_client(request *r)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char address[INET6_ADDRSTRLEN] = "local";
    const struct sockaddr *peer = info != NULL ? info->client_addr : NULL;
    if (peer != NULL && peer->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, address, sizeof address);
    else if (peer != NULL && peer->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, address, sizeof address);
    if (r->headers.authorization != NULL) { /* the hash: a token is kept nowhere */
        char hash[ES_SHA256_HEX + 8];
        es_guard_hash(r->headers.authorization, hash);
        snprintf(r->x.client, sizeof r->x.client, "%s", hash);
    } else {
        snprintf(r->x.client, sizeof r->x.client, "%s %.80s", address,
                 r->headers.agent != NULL ? r->headers.agent : "");
    }
}

/* The request line is read. */
static void *on_request_line(void *context, const char *uri, struct MHD_Connection *mhd)
{
    (void)context;
    (void)uri;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    connection *c = info != NULL ? info->socket_context : NULL;
    if (c != NULL)
        enter_phase(c, PHASE_HEADERS);
    return NULL;
}

static request *new_request(es_server *s, struct MHD_Connection *mhd, const char *method, const char *url)
{
    request *r = es_calloc(1, sizeof *r);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (r == NULL)
        return NULL;
    r->mhd = mhd;
    r->connection = info != NULL ? info->socket_context : NULL;
    r->headers = (es_headers){header(mhd, "Host"), header(mhd, "Origin"), header(mhd, "Sec-Fetch-Site"),
                              header(mhd, "Authorization"), header(mhd, "User-Agent")};
    snprintf(r->path, sizeof r->path, "%s", url);
    r->x = (es_exchange){.server = s, .connection = r, .method = method, .path = r->path, .began = es_now()};
    if (r->headers.origin != NULL && es_guard_shares(s->options.guard, r->headers.origin))
        snprintf(r->origin, sizeof r->origin, "%s", r->headers.origin);
    name_client(r);
    pthread_mutex_lock(&s->lock);
    s->counts.requests++;
    s->counts.in_flight++;
    pthread_mutex_unlock(&s->lock);
    return r;
}

static ssize_t read_stream(void *context, uint64_t at, char *buffer, size_t size)
{
    request *r = context;
    es_exchange *x = &r->x;
    (void)at;
    if (r->connection != NULL)
        enter_phase(r->connection, PHASE_WORK);
    while (r->sent == x->out.length) {
        r->sent = 0;
        es_str_clear(&x->out);
        if (r->finished)
            return MHD_CONTENT_READER_END_OF_STREAM;
        r->finished = !x->more(x);
        if (x->out.failed || es_exchange_gone(x))
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = x->out.length - r->sent < size ? x->out.length - r->sent : size;
    memcpy(buffer, x->out.data + r->sent, n);
    r->sent += n;
    if (r->connection != NULL)
        enter_phase(r->connection, PHASE_SEND);
    return (ssize_t)n;
}

static void add_headers(const request *r, struct MHD_Response *response)
{
    const es_exchange *x = &r->x;
    char number[24];
    MHD_add_response_header(response, "Content-Type", x->type != NULL ? x->type : "application/json; charset=utf-8");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (x->policy != NULL)
        MHD_add_response_header(response, "Content-Security-Policy", x->policy);
    if (x->retry > 0) {
        snprintf(number, sizeof number, "%d", x->retry);
        MHD_add_response_header(response, "Retry-After", number);
    }
    if (r->code == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (r->origin[0] != '\0') {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", r->origin);
        MHD_add_response_header(response, "Vary", "Origin");
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
        MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    }
}

/* Hands the answer to the library. */
static enum MHD_Result queue_answer(request *r)
{
    es_exchange *x = &r->x;
    struct MHD_Response *response;
    r->code = x->code != 0 ? x->code : 200;
    if (x->out.failed)
        r->code = 500;
    if (x->more != NULL) {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, r, NULL);
    } else {
        const char *text = x->out.failed ? "" : es_str_text(&x->out);
        response = MHD_create_response_from_buffer(x->out.failed ? 0 : x->out.length, (void *)(uintptr_t)text,
                                                   MHD_RESPMEM_PERSISTENT); /* r lives until it is sent */
        if (r->connection != NULL)
            enter_phase(r->connection, PHASE_SEND);
    }
    if (response == NULL)
        return MHD_NO;
    add_headers(r, response);
    r->queued = true;
    enum MHD_Result result = MHD_queue_response(r->mhd, (unsigned)r->code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse_body(request *r, int code)
{
    es_server *s = r->x.server;
    es_error err;
    pthread_mutex_lock(&s->lock);
    s->counts.refused_body++;
    pthread_mutex_unlock(&s->lock);
    if (code == 413)
        es_fail(&err, ES_ERR_LIMIT, "the body is larger than %zu bytes", s->options.max_body);
    else
        es_fail(&err, ES_ERR_LIMIT, "too many large requests are being read: try again in a while");
    r->refused = true;
    r->x.code = code;
    r->x.retry = code == 503 ? 1 : 0;
    es_exchange_error(&r->x, &err);
    return queue_answer(r);
}

/* Takes n more bytes into account; false when all bodies together would be too large. With n 0: of this one none. */
static bool count_body(request *r, size_t n)
{
    es_server *s = r->x.server;
    pthread_mutex_lock(&s->lock);
    bool fits = (size_t)s->counts.body_bytes + n <= s->options.max_bodies;
    if (n == 0)
        s->counts.body_bytes -= (int64_t)r->counted;
    else if (fits)
        s->counts.body_bytes += (int64_t)n;
    pthread_mutex_unlock(&s->lock);
    r->counted = n == 0 ? 0 : fits ? r->counted + n : r->counted;
    return fits;
}

void es_exchange_forget_body(es_exchange *x)
{
    request *r = x->connection;
    es_str_free(&r->body);
    x->body = "";
    x->size = 0;
    count_body(r, 0);
}

/* The body is said to have so many bytes; NULL: not said. 0, or the code that refuses it. */
static int judge_length(es_server *s, const char *length)
{
    unsigned long long n = length != NULL ? strtoull(length, NULL, 10) : 0;
    es_http_counts counts;
    es_server_get_counts(s, &counts);
    return n > s->options.max_body ? 413 : (unsigned long long)counts.body_bytes + n > s->options.max_bodies ? 503 : 0;
}

static void count_refusal(request *r)
{
    es_server *s = r->x.server;
    pthread_mutex_lock(&s->lock);
    s->counts.refused_key += r->x.code == 401;
    if (r->x.code == 403 || r->x.code == 421) {
        if (r->x.code == 421)
            s->counts.refused_host++;
        else
            s->counts.refused_origin++;
    }
    pthread_mutex_unlock(&s->lock);
}

/* The headers are read: says at once what need not wait for the body. */
static enum MHD_Result begin(es_server *s, struct MHD_Connection *mhd, const char *method, const char *url, void **slot)
{
    request *r = new_request(s, mhd, method, url);
    if (r == NULL)
        return MHD_NO;
    *slot = r;
    if (r->connection != NULL)
        enter_phase(r->connection, PHASE_BODY);
    if (!es_route_admits(&r->x, &r->headers)) {
        count_refusal(r);
        r->refused = true;
        return queue_answer(r);
    }
    int code = judge_length(s, header(mhd, "Content-Length"));
    r->refused = code != 0;
    return code == 413 ? refuse_body(r, code) : MHD_YES;
}

/* A piece of the body. One that finds no room beside others is read to its end and dropped: a client that is still
 * sending would not see why the connection was closed. */
static enum MHD_Result take_body(request *r, const char *data, size_t size)
{
    es_server *s = r->x.server;
    r->received += size;
    if (!r->queued && r->received > s->options.max_body) { /* more than was said */
        r->refused = true;
        es_exchange_forget_body(&r->x);
        pthread_mutex_lock(&s->lock);
        s->counts.refused_body++;
        pthread_mutex_unlock(&s->lock);
        return MHD_NO;
    }
    if (!r->refused && !count_body(r, size)) {
        r->refused = true;
        es_exchange_forget_body(&r->x);
    }
    if (!r->refused)
        es_str_append_n(&r->body, data, size);
    return r->body.failed ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **slot)
{
    es_server *s = context;
    request *r = *slot;
    (void)version;
    if (r == NULL)
        return begin(s, mhd, method, url, slot);
    if (*size > 0) {
        enum MHD_Result result = take_body(r, data, *size);
        *size = 0;
        return result;
    }
    if (r->queued)
        return MHD_YES;
    if (r->refused)
        return refuse_body(r, 503);
    r->x.body = es_str_text(&r->body);
    r->x.size = r->body.length;
    if (r->connection != NULL)
        enter_phase(r->connection, PHASE_WORK);
    es_route(&r->x, &r->headers);
    es_exchange_forget_body(&r->x);
    r->left = es_exchange_gone(&r->x);
    return queue_answer(r);
}

static void log_request(es_server *s, const request *r, enum MHD_RequestTerminationCode how)
{
    char line[700];
    if (s->options.log == NULL)
        return;
    snprintf(line, sizeof line, "%s %s %d %.3fs%s", r->x.method, r->path, r->code, es_now() - r->x.began,
             how == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "" : " broken off");
    for (char *c = line; *c != '\0'; c++)
        if (*c < 0x20 || *c > 0x7e) /* nothing that a terminal might obey */
            *c = '?';
    s->options.log(s->options.log_context, line);
}

static void on_completed(void *context, struct MHD_Connection *mhd, void **slot, enum MHD_RequestTerminationCode how)
{
    es_server *s = context;
    request *r = *slot;
    (void)mhd;
    if (r == NULL)
        return;
    if (r->x.end != NULL)
        r->x.end(&r->x);
    if (r->connection != NULL)
        enter_phase(r->connection, PHASE_IDLE);
    pthread_mutex_lock(&s->lock);
    s->counts.in_flight--;
    if (r->code >= 100 && r->code < 600)
        s->counts.codes[r->code / 100]++;
    s->counts.left += r->left || (how != MHD_REQUEST_TERMINATED_COMPLETED_OK && r->queued && r->x.more != NULL);
    pthread_mutex_unlock(&s->lock);
    log_request(s, r, how);
    es_exchange_forget_body(&r->x);
    es_str_free(&r->x.out);
    free(r);
    *slot = NULL;
}

/* The library's own complaints are about clients, and go nowhere; but what it answers by itself, to headers that it
 * does not take, is counted: nobody else hears of it. */
static void on_complaint(void *context, const char *format, va_list arguments)
{
    es_server *s = context;
    static const char known[] = "Error processing request (HTTP response code is %u";
    if (strncmp(format, known, sizeof known - 1) != 0)
        return;
    unsigned code = va_arg(arguments, unsigned);
    pthread_mutex_lock(&s->lock);
    s->counts.refused_headers++;
    if (code >= 100 && code < 600)
        s->counts.codes[code / 100]++;
    pthread_mutex_unlock(&s->lock);
}

/* --- life --- */

es_status es_server_start(es_server **server, const es_server_options *options, es_error *err)
{
    es_server *s = es_calloc(1, sizeof *s);
    *server = NULL;
    if (s == NULL) {
        close(options->fd);
        return es_fail_memory(err, "the server", sizeof *s);
    }
    s->options = *options;
    es_server_options *o = &s->options;
    o->max_body = o->max_body > 0 ? o->max_body : USUAL_BODY;
    o->max_bodies = o->max_bodies > 0 ? o->max_bodies : USUAL_BODIES;
    o->max_bodies = o->max_bodies > o->max_body ? o->max_bodies : o->max_body;
    o->connections = o->connections > 0 ? o->connections : USUAL_CONNECTIONS;
    o->header_seconds = o->header_seconds > 0 ? o->header_seconds : 10;
    o->body_seconds = o->body_seconds > 0 ? o->body_seconds : 60;
    o->idle_seconds = o->idle_seconds > 0 ? o->idle_seconds : 75;
    s->connections.next = s->connections.previous = &s->connections;
    pthread_mutex_init(&s->lock, NULL);
    s->watching = pthread_create(&s->watch, NULL, watch, s) == 0;
    if (s->watching)
        s->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                                         MHD_USE_ERROR_LOG | MHD_USE_ITC,
                                     0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_complaint, s,
                                     MHD_OPTION_LISTEN_SOCKET, o->fd, MHD_OPTION_CONNECTION_LIMIT, o->connections,
                                     MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_BYTES, MHD_OPTION_NOTIFY_CONNECTION,
                                     on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                                     MHD_OPTION_URI_LOG_CALLBACK, on_request_line, s, MHD_OPTION_END);
    if (s->daemon != NULL) {
        *server = s;
        return ES_OK;
    }
    close(o->fd);
    es_server_stop(s, 0);
    return es_fail(err, ES_ERR_IO, "cannot start the HTTP server: the system's limit on threads or files is reached");
}

void es_server_stop(es_server *s, double seconds)
{
    if (s == NULL)
        return;
    int fd = s->daemon != NULL ? MHD_quiesce_daemon(s->daemon) : -1;
    if (fd >= 0)
        close(fd);
    if (s->daemon != NULL)
        es_worker_drain(s->options.worker, seconds);
    /* What was answered is written out yet. */
    const struct timespec pause = {0, 10000000};
    for (double until = es_now() + 2; s->daemon != NULL && es_now() < until;) {
        es_http_counts counts;
        es_server_get_counts(s, &counts);
        if (counts.in_flight == 0)
            break;
        nanosleep(&pause, NULL);
    }
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_mutex_unlock(&s->lock);
    if (s->watching)
        pthread_join(s->watch, NULL);
    if (s->daemon != NULL)
        MHD_stop_daemon(s->daemon);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
