#include "hub/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "hub/trust.h"

#define MAX_REDIRECTS 8
#define MAX_PAUSE 60.0         /* seconds: the longest pause of our own choosing */
#define MAX_RETRY_AFTER 300.0  /* seconds: a server that asks for more is told no */
#define SLOW_BYTES 1024L       /* bytes a second that count as standing still */
#define MAX_ERROR_BODY 65536   /* bytes of an error page read for the sake of the connection */
#define RECEIVE_BUFFER 262144L /* bytes */

typedef struct origin {
    char scheme[8], host[256], port[8];
} origin;

struct es_http {
    CURL *curl;
    es_http_options options;
    char *endpoint, *token_header; /* token_header NULL: no token */
    origin home;
    uint64_t random; /* state of the jitter */
    char curl_says[CURL_ERROR_SIZE];
};

/* One attempt, as the callbacks see it. */
typedef struct transfer {
    es_http *http;
    es_http_reply *reply;
    es_http_sink sink;
    void *context;
    es_status sink_status;
    size_t discarded;
    es_error *err;
} transfer;

static es_status url_part(CURLU *url, CURLUPart part, char *out, size_t size)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return ES_ERR_FORMAT;
    size_t n = strlen(text);
    if (n < size)
        memcpy(out, text, n + 1);
    curl_free(text);
    return n < size ? ES_OK : ES_ERR_LIMIT;
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* Takes a URL apart. User names are refused: error messages show URLs, and credentials belong in HF_TOKEN. */
static es_status parse_origin(const char *text, bool plain_base, origin *o, es_error *err)
{
    CURLU *url = curl_url();
    if (url == NULL)
        return es_fail_memory(err, "a URL", 0);
    *o = (origin){0};
    const char *fault = NULL;
    if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        url_part(url, CURLUPART_SCHEME, o->scheme, 8) != ES_OK ||
        url_part(url, CURLUPART_HOST, o->host, sizeof o->host) != ES_OK ||
        url_part(url, CURLUPART_PORT, o->port, 8) != ES_OK)
        fault = "not a valid http or https URL";
    else if (strcmp(o->scheme, "http") != 0 && strcmp(o->scheme, "https") != 0)
        fault = "only http and https are spoken";
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
        fault = "user names and passwords do not belong in a URL (put a token in HF_TOKEN)";
    else if (plain_base && (has_part(url, CURLUPART_QUERY) || has_part(url, CURLUPART_FRAGMENT)))
        fault = "an endpoint has no query and no fragment";
    curl_url_cleanup(url);
    for (char *p = o->host; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    if (fault != NULL && strchr(text, '@') != NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "the hub's address: %s", fault);
    return fault == NULL ? ES_OK : es_fail(err, ES_ERR_ARGUMENT, "%.200s: %s", text, fault);
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

/* Whether a request may go to url at all; whether that is the endpoint's own origin; whether the token may go along. */
static es_status judge_url(const es_http *http, const char *url, bool *same, bool *with_token, es_error *err)
{
    origin o;
    *same = *with_token = false;
    ES_TRY(parse_origin(url, false, &o, err));
    bool plain = strcmp(o.scheme, "http") == 0;
    if (plain && strcmp(http->home.scheme, "https") == 0 && !is_loopback(o.host))
        return es_fail(err, ES_ERR_NETWORK, "%s sends us on to plain http at %s: refused", http->endpoint, o.host);
    *same = strcmp(o.scheme, http->home.scheme) == 0 && strcmp(o.host, http->home.host) == 0 &&
            strcmp(o.port, http->home.port) == 0;
    *with_token = *same && http->token_header != NULL && (!plain || is_loopback(o.host));
    return ES_OK;
}

es_status es_http_check_url(const es_http *http, const char *url, bool *with_token, es_error *err)
{
    bool same;
    return judge_url(http, url, &same, with_token, err);
}

/* A token goes into a header line: anything but visible ASCII could forge another header. */
static es_status make_token_header(es_http *http, const char *token, es_error *err)
{
    if (token == NULL || token[0] == '\0')
        return ES_OK;
    for (const char *p = token; *p != '\0'; p++) {
        if (*p < 0x21 || *p > 0x7e)
            return es_fail(err, ES_ERR_ARGUMENT, "the access token holds characters that no token has: check HF_TOKEN");
    }
    size_t size = strlen(token) + 32;
    http->token_header = malloc(size);
    if (http->token_header == NULL)
        return es_fail_memory(err, "the access token", size);
    snprintf(http->token_header, size, "Authorization: Bearer %s", token);
    return ES_OK;
}

es_status es_http_open(es_http **out, const es_http_options *options, es_error *err)
{
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return es_fail(err, ES_ERR_INTERNAL, "libcurl does not start");
    es_http *http = es_calloc(1, sizeof *http);
    if (http == NULL) {
        curl_global_cleanup();
        return es_fail_memory(err, "a connection", sizeof *http);
    }
    http->options = *options;
    http->random = ((uint64_t)time(NULL) << 20) ^ (uint64_t)getpid() ^ (uint64_t)(uintptr_t)http;
    http->endpoint = es_strdup(options->endpoint);
    http->curl = curl_easy_init();
    es_status status = http->endpoint == NULL || http->curl == NULL ? es_fail_memory(err, "a connection", 0) : ES_OK;
    if (status == ES_OK)
        status = parse_origin(options->endpoint, true, &http->home, err);
    if (status == ES_OK)
        status = make_token_header(http, options->token, err);
    if (status != ES_OK) {
        es_http_close(http);
        return status;
    }
    http->options.endpoint = http->endpoint;
    http->options.token = NULL; /* the header holds it */
    *out = http;
    return ES_OK;
}

void es_http_close(es_http *http)
{
    if (http == NULL)
        return;
    curl_easy_cleanup(http->curl);
    free(http->endpoint);
    free(http->token_header);
    free(http);
    curl_global_cleanup();
}

const es_http_options *es_http_get_options(const es_http *http)
{
    return &http->options;
}

static bool cancelled(const es_http *http)
{
    return http->options.cancelled != NULL && http->options.cancelled(http->options.user);
}

/* "bytes 100-199/200" or "bytes 100-199/" and a star. */
static void read_content_range(es_http_reply *reply, const char *value)
{
    uint64_t first = 0, last = 0, total = 0;
    if (sscanf(value, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &first, &last, &total) == 3)
        reply->total = total;
    else if (sscanf(value, "bytes %" SCNu64 "-%" SCNu64 "/", &first, &last) != 2)
        return;
    reply->first = first;
}

/* The target of rel="next" among the comma-separated links, as the listing of large folders has it. */
static void read_link(es_http_reply *reply, const char *value)
{
    for (const char *p = value; (p = strchr(p, '<')) != NULL;) {
        const char *end = strchr(p, '>');
        if (end == NULL)
            return;
        const char *stop = strchr(end, '<');
        const char *rel = strstr(end, "rel=\"next\"");
        size_t n = (size_t)(end - p - 1);
        if (rel != NULL && (stop == NULL || rel < stop) && n < sizeof reply->next) {
            memcpy(reply->next, p + 1, n);
            reply->next[n] = '\0';
            return;
        }
        p = end;
    }
}

static void keep_header(es_http_reply *reply, const char *name, size_t name_size, const char *value)
{
    static const char *const names[] = {"content-range", "x-error-code", "link", "ratelimit"};
    size_t which = 0;
    while (which < 4 && (strlen(names[which]) != name_size || strncasecmp(names[which], name, name_size) != 0))
        which++;
    if (which == 0)
        read_content_range(reply, value);
    else if (which == 1)
        snprintf(reply->error_code, sizeof reply->error_code, "%s", value);
    else if (which == 2)
        read_link(reply, value);
    else if (which == 3) { /* "api";r=0;t=55 : nothing left for the next 55 seconds */
        const char *t = strstr(value, ";t=");
        if (strstr(value, ";r=0;") != NULL && t != NULL)
            reply->retry_after = strtod(t + 3, NULL);
    }
}

static void forget_headers(es_http_reply *reply)
{
    reply->first = 0;
    reply->total = UINT64_MAX;
    reply->error_code[0] = '\0';
    reply->next[0] = '\0';
    reply->retry_after = 0;
}

static size_t on_header(char *data, size_t one, size_t size, void *user)
{
    transfer *t = user;
    char line[4096];
    (void)one;
    size_t n = size < sizeof line ? size : sizeof line - 1;
    memcpy(line, data, n);
    line[n] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    if (strncmp(line, "HTTP/", 5) == 0) {
        forget_headers(t->reply); /* an interim answer before this one does not count */
        return size;
    }
    char *colon = strchr(line, ':');
    if (colon != NULL) {
        const char *value = colon + 1;
        while (*value == ' ' || *value == '\t')
            value++;
        keep_header(t->reply, line, (size_t)(colon - line), value);
    }
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
    transfer *t = user;
    (void)one;
    curl_easy_getinfo(t->http->curl, CURLINFO_RESPONSE_CODE, &t->reply->status);
    if (t->reply->status != 200 && t->reply->status != 206) {
        t->discarded += size;
        return t->discarded > MAX_ERROR_BODY ? 0 : size;
    }
    curl_off_t length = -1;
    curl_easy_getinfo(t->http->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->reply->length = length < 0 ? UINT64_MAX : (uint64_t)length;
    t->sink_status = t->sink(t->context, t->reply, (const uint8_t *)data, size, t->err);
    return t->sink_status == ES_OK ? size : 0;
}

static int on_tick(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const transfer *t = user;
    (void)a, (void)b, (void)c, (void)d;
    return cancelled(t->http) ? 1 : 0;
}

static void set_up(transfer *t, const char *url, uint64_t offset, struct curl_slist *headers)
{
    es_http *http = t->http;
    CURL *curl = http->curl;
    char range[32];
    curl_easy_reset(curl); /* keeps open connections */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "escriba/" ESCRIBA_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* done here, to keep the token at home */
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    es_trust_set_up(curl);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(http->options.connect_seconds * 1000));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)ceil(http->options.stall_seconds));
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->curl_says);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_tick);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    if (offset > 0) {
        snprintf(range, sizeof range, "%" PRIu64 "-", offset);
        curl_easy_setopt(curl, CURLOPT_RANGE, range);
    }
    http->curl_says[0] = '\0';
}

/* Whether an answer of this status may be another one in a while. A storage host's 403 is a link that ran out: the
 * next attempt gets a fresh one from the hub. */
static bool status_may_change(const es_http_reply *reply)
{
    switch (reply->status) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return true;
    case 403:
        return reply->foreign;
    default:
        return false;
    }
}

/* Whether libcurl's failure is one of the network's bad moments. */
static bool failure_may_pass(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_WEIRD_SERVER_REPLY:
        return true;
    default:
        return false;
    }
}

static es_status explain_failure(transfer *t, CURLcode code)
{
    const es_http *http = t->http;
    if (t->sink_status != ES_OK)
        return t->sink_status; /* the sink filled the error */
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return es_fail(t->err, ES_ERR_CANCELLED, "interrupted");
    if (code == CURLE_OUT_OF_MEMORY)
        return es_fail_memory(t->err, "a transfer", 0);
    t->reply->retry = failure_may_pass(code);
    char what[360];
    es_trust_explain(http->curl, code, http->curl_says, what, sizeof what);
    return es_fail(t->err, ES_ERR_NETWORK, "%s: %s", http->endpoint, what);
}

/* One request, no redirects followed. *next gets the absolute address the server points to, or NULL. */
static es_status get_once(transfer *t, const char *url, uint64_t offset, char **next)
{
    bool same, with_token;
    es_http *http = t->http;
    *next = NULL;
    ES_TRY(judge_url(http, url, &same, &with_token, t->err));
    t->reply->foreign = !same;
    /* The size and the checksum are those of the plain bytes. */
    struct curl_slist *headers = curl_slist_append(NULL, "Accept-Encoding: identity");
    struct curl_slist *more = with_token && headers != NULL ? curl_slist_append(headers, http->token_header) : headers;
    if (headers == NULL || more == NULL) {
        curl_slist_free_all(headers);
        return es_fail_memory(t->err, "a request", 0);
    }
    forget_headers(t->reply);
    t->reply->status = 0;
    t->discarded = 0;
    set_up(t, url, offset, more);
    CURLcode code = curl_easy_perform(http->curl);
    curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(more);
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &t->reply->status);
    bool refused = code == CURLE_WRITE_ERROR && t->sink_status == ES_OK; /* an error page too long to read */
    if (code != CURLE_OK && !refused)
        return explain_failure(t, code);
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(http->curl, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
        t->reply->retry_after = (double)seconds;
    char *location = NULL;
    if (t->reply->status >= 300 && t->reply->status < 400)
        curl_easy_getinfo(http->curl, CURLINFO_REDIRECT_URL, &location);
    if (location != NULL && (*next = es_strdup(location)) == NULL)
        return es_fail_memory(t->err, "a redirect", 0);
    return ES_OK;
}

es_status es_http_get(es_http *http, const char *url, uint64_t offset, es_http_sink sink, void *context,
                      es_http_reply *reply, es_error *err)
{
    es_error ignored;
    *reply = (es_http_reply){.total = UINT64_MAX};
    transfer t = {.http = http, .reply = reply, .sink = sink, .context = context, .err = err != NULL ? err : &ignored};
    char *at = es_strdup(url);
    if (at == NULL)
        return es_fail_memory(err, "a URL", 0);
    es_status status = ES_OK;
    for (int hops = 0; status == ES_OK; hops++) {
        char *next;
        status = get_once(&t, at, offset, &next);
        if (status != ES_OK || next == NULL)
            break;
        free(at);
        at = next;
        if (hops == MAX_REDIRECTS)
            status = es_fail(t.err, ES_ERR_NETWORK, "%s: more than %d redirects for one file", http->endpoint,
                             MAX_REDIRECTS);
    }
    if (status == ES_OK && reply->status != 200 && reply->status != 206) {
        reply->retry = status_may_change(reply);
        status =
            es_fail(t.err, ES_ERR_NETWORK, "%s: HTTP status %ld%s%s", reply->foreign ? "storage host" : http->endpoint,
                    reply->status, reply->error_code[0] != '\0' ? ", " : "", reply->error_code);
    }
    free(at);
    return status;
}

/* xorshift64*: any stream will do, it only keeps clients apart. */
static double jitter(es_http *http)
{
    uint64_t x = http->random != 0 ? http->random : 88172645463325252u;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    http->random = x;
    return (double)((x * 2685821657736338717u) >> 11) / 9007199254740992.0; /* 2^53 */
}

es_status es_http_pause(es_http *http, int failures, const es_http_reply *reply, es_error *err)
{
    if (!reply->retry || failures > http->options.retries)
        return err->status;
    if (reply->retry_after > MAX_RETRY_AFTER)
        return es_wrap(err, err->status, "the server asks to come back in %.0f s", reply->retry_after);
    double seconds = http->options.backoff_seconds * ldexp(1.0, failures < 16 ? failures - 1 : 15);
    seconds = (seconds < MAX_PAUSE ? seconds : MAX_PAUSE) * (0.5 + 0.5 * jitter(http));
    if (seconds < reply->retry_after)
        seconds = reply->retry_after;
    if (http->options.retrying != NULL)
        http->options.retrying(http->options.user, err->message, seconds);
    while (seconds > 0) {
        if (cancelled(http))
            return es_fail(err, ES_ERR_CANCELLED, "interrupted");
        double step = seconds < 0.1 ? seconds : 0.1;
        struct timespec wait = {.tv_nsec = (long)(step * 1e9)};
        nanosleep(&wait, NULL);
        seconds -= step;
    }
    return ES_OK;
}

typedef struct document {
    es_str text;
    size_t limit;
    const char *url;
} document;

static es_status keep_document(void *context, const es_http_reply *reply, const uint8_t *data, size_t size,
                               es_error *err)
{
    document *d = context;
    (void)reply;
    if (size > d->limit - d->text.length)
        return es_fail(err, ES_ERR_LIMIT, "%.200s: the answer has more than %zu bytes", d->url, d->limit);
    es_str_append_n(&d->text, (const char *)data, size);
    return es_str_check(&d->text, err);
}

es_status es_http_document(es_http *http, const char *url, size_t limit, char **body, size_t *size,
                           es_http_reply *reply, es_error *err)
{
    document d = {.limit = limit, .url = url};
    *body = NULL;
    *size = 0;
    for (int failures = 0;;) {
        es_str_clear(&d.text);
        es_status status = es_http_get(http, url, 0, keep_document, &d, reply, err);
        if (status == ES_OK)
            break;
        status = es_http_pause(http, ++failures, reply, err);
        if (status != ES_OK) {
            es_str_free(&d.text);
            return status;
        }
    }
    *size = d.text.length;
    *body = es_str_take(&d.text, err);
    return *body != NULL ? ES_OK : ES_ERR_MEMORY;
}

char *es_http_escape(const char *base, const char *text, const char *keep)
{
    es_str url = {0};
    es_str_append(&url, base);
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (isalnum(*p) || strchr("-._~", *p) != NULL || strchr(keep, *p) != NULL)
            es_str_append_n(&url, (const char *)p, 1);
        else
            es_str_append_format(&url, "%%%02X", *p);
    }
    return es_str_take(&url, NULL);
}
