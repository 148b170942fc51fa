/* bench_busy.c - how an interactive request fares on an engine that describes frames, and what it costs them. */
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "cli/bench.h"
#include "intelligence/prompts.h"

#define QUEUED 32 /* frames */
#define ASKS 7    /* interactive requests, one after the other */

typedef struct busy {
    const es_bench_result *b;
    es_engine *engine;
    es_content content[2], words;
    es_message about_frame, about_words;
    size_t done; /* frames */
    bool answered;
    es_error error; /* of the first request that failed */
} busy;

static void keep_error(busy *y, const es_answer *answer)
{
    if (answer->status != ES_OK && y->error.status == ES_OK)
        y->error = answer->error;
}

static void frame_done(void *context, const es_answer *answer)
{
    busy *y = context;
    keep_error(y, answer);
    y->done++;
}

static void words_done(void *context, const es_answer *answer)
{
    busy *y = context;
    keep_error(y, answer);
    y->answered = true;
}

static es_status create_engine(busy *y, es_error *err)
{
    es_engine_options options = {.batch = (int32_t)y->b->options->at_once[0],
                                 .kv_bytes = y->b->kv_bytes,
                                 .vision_cache_bytes = -1,
                                 .no_prefix_cache = true,
                                 .no_answer_cache = true,
                                 .no_drafts = true,
                                 .policy = ES_POLICY_LATENCY};
    es_engine_free(y->engine);
    y->engine = NULL;
    y->done = 0;
    return es_engine_create(&y->engine, y->b->model, &options, err);
}

static es_status queue_frames(busy *y, es_error *err)
{
    const es_bench_frames *f = y->b->frames;
    for (size_t i = 0; i < QUEUED; i++) {
        es_request request = {.context = y, .finished = frame_done};
        request.prompt = (es_prompt){&y->about_frame, 1, &f->items[i % f->count], 1};
        request.generation = (es_generation){.max_tokens = (int32_t)y->b->options->tokens, .ignore_eos = true};
        es_sampling_init(&request.generation.sampling);
        ES_TRY(es_engine_add(y->engine, &request, NULL, err));
    }
    return ES_OK;
}

/* Seconds from a short question to its first token. */
static es_status ask(busy *y, double *seconds, es_error *err)
{
    es_request request = {.context = y, .finished = words_done, .priority = 1};
    bool idle;
    request.prompt = (es_prompt){&y->about_words, 1, NULL, 0};
    request.generation = (es_generation){.max_tokens = 1, .ignore_eos = true};
    es_sampling_init(&request.generation.sampling);
    y->answered = false;
    double start = es_now();
    ES_TRY(es_engine_add(y->engine, &request, NULL, err));
    while (!y->answered)
        ES_TRY(es_engine_step(y->engine, NULL, &idle, err));
    *seconds = es_now() - start;
    return ES_OK;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Describes the queued frames, asking at even distances over *steps of the engine (0: not at all), which is then how
 * many there were. */
static es_status work_off(busy *y, size_t *steps, double asked[ASKS], double *seconds, es_error *err)
{
    bool idle = false;
    size_t expected = *steps, asks = expected > 0 ? 0 : ASKS;
    ES_TRY(create_engine(y, err));
    ES_TRY(queue_frames(y, err));
    double start = es_now();
    for (*steps = 0; !idle; ++*steps) {
        ES_TRY(es_engine_step(y->engine, NULL, &idle, err));
        if (asks < ASKS && !idle && *steps >= expected * (2 * asks + 1) / (2 * ASKS + 2)) {
            ES_TRY(ask(y, &asked[asks], err));
            asks++;
        }
    }
    *seconds = es_now() - start;
    if (asks < ASKS)
        return es_fail(err, ES_ERR_INTERNAL, "the frames were done before all questions were asked");
    return ES_OK;
}

static es_status measure(busy *y, es_bench_busy *out, es_error *err)
{
    double idle[ASKS], asked[ASKS], warm;
    es_engine_stats stats;
    size_t steps = 0, again = 0;
    ES_TRY(create_engine(y, err));
    ES_TRY(ask(y, &warm, err));
    for (size_t i = 0; i < ASKS; i++) {
        ES_TRY(ask(y, &idle[i], err));
        out->own += idle[i];
    }
    ES_TRY(work_off(y, &steps, asked, &out->alone[0], err));
    es_engine_get_stats(y->engine, &stats);
    ES_TRY(work_off(y, &steps, asked, &out->together, err));
    ES_TRY(work_off(y, &again, asked, &out->alone[1], err)); /* asks nothing */
    qsort(idle, ASKS, sizeof *idle, compare);
    qsort(asked, ASKS, sizeof *asked, compare);
    out->idle = idle[ASKS / 2];
    out->busy = asked[ASKS / 2];
    out->worst = asked[ASKS - 1];
    out->layer = stats.seconds_vision / ((double)stats.pictures_encoded * (y->b->model->config.vision.depth + 1));
    return y->error.status == ES_OK ? ES_OK : es_fail(err, y->error.status, "%s", y->error.message);
}

es_status es_bench_measure_busy(const es_bench_result *b, es_bench_busy *out, es_error *err)
{
    busy y = {.b = b};
    *out = (es_bench_busy){.frames = QUEUED, .asks = ASKS};
    y.content[1].text = b->options->prompt != NULL ? b->options->prompt : es_prompt_frame;
    y.words.text = "What is a mutex?";
    y.about_frame = (es_message){ES_ROLE_USER, y.content, 2};
    y.about_words = (es_message){ES_ROLE_USER, &y.words, 1};
    es_status status = measure(&y, out, err);
    es_engine_free(y.engine);
    return status;
}

void es_bench_busy_table(es_str *out, const es_bench_busy *y)
{
    double allowed = 1.5 * y->idle + y->layer, alone = (y->alone[0] + y->alone[1]) / 2, loss = y->together - alone;
    double noise = y->alone[0] < y->alone[1] ? y->alone[1] - y->alone[0] : y->alone[0] - y->alone[1];
    es_str_append_format(
        out,
        "\n%zu frames queued, %zu questions put to the engine meanwhile, with priority:\n"
        "  first token %.0f ms, at worst %.0f ms; on an idle engine %.0f ms, a layer of the tower %.0f ms\n"
        "  allowed (1.5 x idle + a layer): %.0f ms: %s\n",
        y->frames, y->asks, 1e3 * y->busy, 1e3 * y->worst, 1e3 * y->idle, 1e3 * y->layer, 1e3 * allowed,
        y->busy <= allowed ? "holds" : "does not hold");
    es_str_append_format(out,
                         "  the frames took %.2f s; alone %.2f s before and %.2f s after\n"
                         "  allowed (the time that the questions take alone): %.2f s more, it was %.2f s: ",
                         y->together, y->alone[0], y->alone[1], y->own, loss);
    if (noise > y->own && (loss > y->own || loss < -y->own))
        es_str_append(out, "not to be told on so busy a machine\n");
    else
        es_str_append(out, loss <= y->own ? "holds\n" : "does not hold\n");
}
