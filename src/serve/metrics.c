/* metrics.c - how the server is: health, readiness, Prometheus' text, and the same for the page. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "serve/exchange.h"

static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long long size = 0, resident = 0;
    if (file == NULL)
        return 0;
    if (fscanf(file, "%lld %lld", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

es_status es_health(es_exchange *x, es_error *err)
{
    return es_exchange_json(x, json_pack("{s:s}", "status", "ok"), err);
}

/* Ready: new requests are taken, and there is room in the queue for one. */
es_status es_tell_ready(es_exchange *x, es_error *err)
{
    es_worker_status s;
    es_worker_get_status(es_server_options_of(x->server)->worker, &s);
    if (s.draining)
        return es_exchange_fail(x, 503, err, ES_ERR_CANCELLED, "the server is ending");
    return es_exchange_json(
        x, json_pack("{s:s, s:b, s:b}", "status", "ready", "model_loaded", s.model[0] != '\0', "loading", s.loading),
        err);
}

static void metric(es_str *out, const char *name, const char *kind, const char *help, double value)
{
    es_str_append_format(out, "# HELP escriba_%s %s\n# TYPE escriba_%s %s\nescriba_%s %.10g\n", name, help, name, kind,
                         name, value);
}

static void first_text_histogram(es_str *out, const es_worker_status *s)
{
    es_str_append(out, "# HELP escriba_first_text_seconds From request to the first text.\n"
                       "# TYPE escriba_first_text_seconds histogram\n");
    for (size_t i = 0; i < sizeof es_first_bounds / sizeof *es_first_bounds; i++)
        es_str_append_format(out, "escriba_first_text_seconds_bucket{le=\"%g\"} %lld\n", es_first_bounds[i],
                             (long long)s->first_within[i]);
    es_str_append_format(out,
                         "escriba_first_text_seconds_bucket{le=\"+Inf\"} %lld\nescriba_first_text_seconds_sum %.6f\n"
                         "escriba_first_text_seconds_count %lld\n",
                         (long long)s->answered, s->first_seconds, (long long)s->answered);
}

static void http_metrics(es_str *out, const es_http_counts *c, int64_t files, int64_t pictures)
{
    static const char *const reasons[] = {"host", "origin", "key", "headers", "body", "slow", "file", "picture"};
    const int64_t counts[] = {c->refused_host, c->refused_origin, c->refused_key, c->refused_headers,
                              c->refused_body, c->too_slow,       files,          pictures};
    es_str_append(out, "# HELP escriba_http_responses_total Answers by class of code.\n"
                       "# TYPE escriba_http_responses_total counter\n");
    for (int i = 1; i < 6; i++)
        es_str_append_format(out, "escriba_http_responses_total{code=\"%dxx\"} %lld\n", i, (long long)c->codes[i]);
    es_str_append(out, "# HELP escriba_refused_total Requests and connections refused, by reason.\n"
                       "# TYPE escriba_refused_total counter\n");
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        es_str_append_format(out, "escriba_refused_total{reason=\"%s\"} %lld\n", reasons[i], (long long)counts[i]);
    metric(out, "connections_open", "gauge", "Connections now.", (double)c->open);
    metric(out, "http_body_bytes", "gauge", "Bytes of requests being read.", (double)c->body_bytes);
    metric(out, "http_in_flight", "gauge", "HTTP requests being answered.", (double)c->in_flight);
    metric(out, "clients_left_total", "counter", "Clients that left before their answer was whole.", (double)c->left);
}

es_status es_metrics(es_exchange *x, es_error *err)
{
    es_worker_status s;
    es_http_counts c;
    int64_t files, pictures;
    es_str *out = &x->out;
    es_worker_get_status(es_server_options_of(x->server)->worker, &s);
    es_server_get_counts(x->server, &c);
    const es_engine_stats *e = &s.engine;
    metric(out, "queue_length", "gauge", "Requests that wait.", (double)s.queued);
    metric(out, "running", "gauge", "Sequences under way.", (double)s.running);
    metric(out, "batch_size", "gauge", "Sequences that may be under way at once.", (double)s.batch);
    metric(out, "tokens_promised", "gauge", "Tokens that requests taken may still come to, by and large.",
           (double)s.promised);
    metric(out, "tokens_budget", "gauge", "Most of these.", (double)s.tokens);
    metric(out, "requests_total", "counter", "Requests taken into the queue.", (double)s.filed);
    metric(out, "queue_full_total", "counter", "Requests refused because the queue was full.", (double)s.refused);
    metric(out, "answers_total", "counter", "Answers given.", (double)s.answered);
    metric(out, "cancelled_total", "counter", "Answers broken off.", (double)s.cancelled);
    metric(out, "failed_total", "counter", "Answers that failed.", (double)s.failed);
    metric(out, "prompt_tokens_total", "counter", "Tokens read.", (double)s.prompt_tokens);
    metric(out, "generated_tokens_total", "counter", "Tokens written.", (double)s.generated_tokens);
    metric(out, "pictures_total", "counter", "Pictures answered about.", (double)s.pictures);
    metric(out, "tokens_per_second", "gauge", "Tokens written a second, of late.", s.tokens_per_second);
    metric(out, "queue_seconds_total", "counter", "Time that answered requests waited.", s.queue_seconds);
    metric(out, "answer_seconds_total", "counter", "Time from request to whole answer.", s.answer_seconds);
    first_text_histogram(out, &s);
    metric(out, "kv_pages_used", "gauge", "Pages of keys and values in use.", (double)e->pages_used);
    metric(out, "kv_pages_total", "gauge", "Pages of keys and values.", (double)e->pages_total);
    metric(out, "preemptions", "gauge", "Sequences set aside since the model was loaded.", (double)e->preemptions);
    metric(out, "prefix_tokens_reused", "gauge", "Prompt tokens found cached since the model was loaded.",
           (double)e->prefix_tokens_reused);
    metric(out, "pictures_reused", "gauge", "Pictures found cached since the model was loaded.",
           (double)e->pictures_reused);
    metric(out, "pictures_read", "gauge", "Pictures read from the disk since the model was loaded.",
           (double)e->pictures_read);
    metric(out, "answers_reused", "gauge", "Answers found cached since the model was loaded.",
           (double)e->answers_reused);
    metric(out, "model_loaded", "gauge", "1 when a model is in memory.", s.model[0] != '\0');
    metric(out, "model_loads_total", "counter", "Models loaded.", (double)s.loads);
    metric(out, "resident_bytes", "gauge", "Memory of the process.", (double)resident_bytes());
    es_picture_door_counts(es_server_options_of(x->server)->door, &files, &pictures);
    http_metrics(out, &c, files, pictures);
    x->type = "text/plain; version=0.0.4; charset=utf-8";
    return es_str_check(out, err);
}

es_status es_status_json(es_exchange *x, es_error *err)
{
    const es_server_options *o = es_server_options_of(x->server);
    es_worker_status s;
    es_worker_get_status(o->worker, &s);
    const char *slash = strrchr(s.model, '/');
    bool usual = strcmp(s.model, o->catalog->dir) == 0;
    return es_exchange_json(
        x,
        json_pack("{s:I, s:I, s:I, s:f, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:s}", "queued", (json_int_t)s.queued,
                  "running", (json_int_t)s.running, "batch", (json_int_t)s.batch, "tokens_per_second",
                  s.running > 0 ? s.tokens_per_second : 0.0, "model",
                  usual           ? o->catalog->name
                  : slash != NULL ? slash + 1
                                  : s.model,
                  "loading", s.loading, "answered", (json_int_t)s.answered, "generated_tokens",
                  (json_int_t)s.generated_tokens, "kv_pages_used", (json_int_t)s.engine.pages_used, "kv_pages_total",
                  (json_int_t)s.engine.pages_total, "resident_bytes", (json_int_t)resident_bytes(),
                  "first_text_seconds", s.answered > 0 ? s.first_seconds / (double)s.answered : 0.0, "usual_model",
                  o->catalog->name),
        err);
}
