/* net.c - libcurl's multi interface with clocks of our own: libcurl has none for the first byte and for silence. */
#include "intelligence/net/net.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "hub/trust.h"

#define MAX_ERROR_BODY ((size_t)65536)
#define MAX_STEP 0.25 /* seconds between two looks at the clocks */

typedef struct transfer {
    struct transfer *previous, *next;
    es_net *net;
    es_net_request request;
    CURL *easy;
    struct curl_slist *headers;
    es_str body;
    size_t received;
    double started, connected, first, last; /* 0: not yet */
    es_net_reply reply;
    char curl_says[CURL_ERROR_SIZE];
} transfer;

struct es_net {
    CURLM *multi;
    transfer list; /* head */
    size_t count;
};

es_status es_net_open(es_net **out, es_error *err)
{
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return es_fail(err, ES_ERR_INTERNAL, "libcurl does not start");
    es_net *net = es_calloc(1, sizeof *net);
    if (net != NULL)
        net->multi = curl_multi_init();
    if (net == NULL || net->multi == NULL) {
        free(net);
        curl_global_cleanup();
        return es_fail_memory(err, "the network", 0);
    }
    net->list.next = net->list.previous = &net->list;
    *out = net;
    return ES_OK;
}

static void transfer_leave(transfer *t)
{
    if (t->next == NULL)
        return;
    t->previous->next = t->next;
    t->next->previous = t->previous;
    t->next = t->previous = NULL;
    t->net->count--;
    curl_multi_remove_handle(t->net->multi, t->easy);
}

static void transfer_free(transfer *t)
{
    transfer_leave(t);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    es_str_free(&t->body);
    free(t);
}

void es_net_drop(es_net *net)
{
    while (net->list.next != &net->list)
        transfer_free(net->list.next);
}

void es_net_drop_of(es_net *net, const void *context)
{
    for (transfer *t = net->list.next, *next; t != &net->list; t = next) {
        next = t->next;
        if (t->request.context == context)
            transfer_free(t);
    }
}

void es_net_close(es_net *net)
{
    if (net == NULL)
        return;
    es_net_drop(net);
    curl_multi_cleanup(net->multi);
    free(net);
    curl_global_cleanup();
}

size_t es_net_count(const es_net *net)
{
    return net->count;
}

static void fault(transfer *t, es_net_fault kind, const char *what)
{
    if (t->reply.fault != ES_NET_NONE)
        return;
    t->reply.fault = kind;
    es_fail(&t->reply.error, kind == ES_NET_TOO_LONG ? ES_ERR_LIMIT : ES_ERR_NETWORK, "%s", what);
}

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
    transfer *t = user;
    (void)one;
    t->last = es_now();
    if (t->reply.http == 0)
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->reply.http);
    t->received += size;
    bool good = t->reply.http == 200;
    if (good && t->received > t->request.limits.body) {
        char what[96];
        snprintf(what, sizeof what, "the answer has more than %zu bytes", t->request.limits.body);
        fault(t, ES_NET_TOO_LONG, what);
        return 0;
    }
    if (good && t->request.sink != NULL) {
        if (t->request.sink(t->request.context, data, size, &t->reply.error) == ES_OK)
            return size;
        t->reply.fault = ES_NET_SINK;
        return 0;
    }
    if (!good && size > MAX_ERROR_BODY - t->body.length)
        return 0; /* an error page too long to read: its beginning will do */
    es_str_append_n(&t->body, data, size);
    return t->body.failed ? 0 : size;
}

static size_t on_header(char *data, size_t one, size_t size, void *user)
{
    transfer *t = user;
    (void)data, (void)one;
    t->last = es_now();
    if (t->first <= 0)
        t->first = t->last;
    return size;
}

/* Called by libcurl often while it works; notes when the connection stood. */
static void look_at(transfer *t, double now)
{
    const es_net_limits *l = &t->request.limits;
    curl_off_t connected = 0;
    if (t->connected <= 0 && curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &connected) == CURLE_OK &&
        connected > 0)
        t->connected = now;
    char what[96] = "";
    if (now - t->started > l->total)
        snprintf(what, sizeof what, "no whole answer in %.3g s", l->total);
    else if (t->first <= 0 && t->connected > 0 && now - t->connected > l->first_byte)
        snprintf(what, sizeof what, "no answer in %.3g s", l->first_byte);
    else if (t->first > 0 && now - t->last > l->idle)
        snprintf(what, sizeof what, "the answer stopped for %.3g s", l->idle);
    if (what[0] != '\0')
        fault(t, ES_NET_TIMEOUT, what);
}

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
           (strncmp(host, "localhost", 9) == 0 && strchr(":/", host[9]) != NULL);
}

/* libcurl reads the variables itself, NO_PROXY too, but for HTTP_PROXY: it fears the header Proxy of CGI scripts.
 * Others who talk to such servers read it. A loopback address is never asked through a proxy. */
static void choose_proxy(CURL *easy, const char *url)
{
    const char *theirs = getenv("http_proxy"), *proxy = getenv("HTTP_PROXY");
    if (is_loopback(url))
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    else if (strncmp(url, "http://", 7) == 0 && theirs == NULL && proxy != NULL && getenv("REQUEST_METHOD") == NULL)
        curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
}

static void set_up(transfer *t)
{
    CURL *easy = t->easy;
    const es_net_request *q = &t->request;
    curl_easy_setopt(easy, CURLOPT_URL, q->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "escriba/" ESCRIBA_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    es_trust_set_up(easy);
    choose_proxy(easy, q->url);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(q->limits.connect * 1000));
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->curl_says);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    if (q->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, q->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_size);
    }
}

static bool add_header(transfer *t, const char *line)
{
    struct curl_slist *more = curl_slist_append(t->headers, line);
    if (more == NULL)
        return false;
    t->headers = more;
    return true;
}

/* "Expect:" turned off: servers of this kind answer it late or never. */
static bool add_headers(transfer *t)
{
    bool good =
        add_header(t, "Expect:") && (t->request.body == NULL || add_header(t, "Content-Type: application/json"));
    if (good && t->request.key != NULL && *t->request.key != '\0') {
        es_str line = {0};
        es_str_append_format(&line, "Authorization: Bearer %s", t->request.key);
        good = !line.failed && add_header(t, es_str_text(&line));
        es_str_free(&line);
    }
    return good;
}

es_status es_net_start(es_net *net, const es_net_request *request, es_error *err)
{
    transfer *t = es_calloc(1, sizeof *t);
    if (t == NULL)
        return es_fail_memory(err, "a request", sizeof *t);
    t->net = net;
    t->request = *request;
    t->easy = curl_easy_init();
    t->started = es_now();
    if (t->easy == NULL || !add_headers(t)) {
        transfer_free(t);
        return es_fail_memory(err, "a request", 0);
    }
    set_up(t);
    if (curl_multi_add_handle(net->multi, t->easy) != CURLM_OK) {
        transfer_free(t);
        return es_fail(err, ES_ERR_NETWORK, "libcurl does not take another request");
    }
    t->previous = net->list.previous;
    t->next = &net->list;
    t->previous->next = t;
    net->list.previous = t;
    net->count++;
    return ES_OK;
}

static void explain(transfer *t, CURLcode code)
{
    char what[360];
    es_trust_explain(t->easy, code, t->curl_says, what, sizeof what);
    if (es_trust_failed(code)) {
        fault(t, ES_NET_UNTRUSTED, what);
        return;
    }
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        t->reply.fault = ES_NET_OTHER;
        es_fail_memory(&t->reply.error, "a transfer", 0);
        break;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
        fault(t, ES_NET_UNREACHABLE, what);
        break;
    case CURLE_OPERATION_TIMEDOUT: /* only connecting has libcurl's own clock */
        fault(t, ES_NET_UNREACHABLE, what);
        break;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_READ_ERROR:
        fault(t, ES_NET_CUT, what);
        break;
    default:
        fault(t, ES_NET_OTHER, what);
    }
}

static void finish(transfer *t, CURLcode code)
{
    es_net_reply *r = &t->reply;
    double now = es_now();
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &r->http);
    bool long_error = code == CURLE_WRITE_ERROR && r->fault == ES_NET_NONE && !t->body.failed && r->http != 200;
    if (t->body.failed) {
        r->fault = ES_NET_OTHER;
        es_fail_memory(&r->error, "an answer", 0);
    } else if (code != CURLE_OK && r->fault == ES_NET_NONE && !long_error) {
        explain(t, code);
    }
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
        r->retry_after = (double)seconds;
    r->body = es_str_text(&t->body);
    r->body_size = t->body.length;
    r->seconds_first = t->first > 0 ? t->first - t->started : 0;
    r->seconds_total = now - t->started;
    transfer_leave(t); /* `done` may drop requests, but not this one any more */
    if (t->request.done != NULL)
        t->request.done(t->request.context, r);
    transfer_free(t);
}

static void finish_late(es_net *net)
{
    double now = es_now();
    for (transfer *t = net->list.next, *next; t != &net->list; t = next) {
        next = t->next;
        look_at(t, now);
        if (t->reply.fault == ES_NET_TIMEOUT) {
            finish(t, CURLE_OPERATION_TIMEDOUT);
            next = net->list.next; /* `done` may have changed the list */
        }
    }
}

es_status es_net_step(es_net *net, double seconds, es_error *err)
{
    int running = 0, left = 0, ready = 0;
    int wait = (int)((seconds < MAX_STEP ? seconds : MAX_STEP) * 1000);
    if (curl_multi_perform(net->multi, &running) != CURLM_OK ||
        curl_multi_poll(net->multi, NULL, 0, wait > 0 ? wait : 0, &ready) != CURLM_OK ||
        curl_multi_perform(net->multi, &running) != CURLM_OK)
        return es_fail(err, ES_ERR_NETWORK, "libcurl cannot go on with the requests in flight");
    for (CURLMsg *message; (message = curl_multi_info_read(net->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE)
            continue;
        char *owner = NULL;
        CURLcode code = message->data.result; /* the message dies with its handle */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
        finish((transfer *)(void *)owner, code);
    }
    finish_late(net);
    return ES_OK;
}
