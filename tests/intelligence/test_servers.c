/* The adapters ollama and openai against a server that misbehaves (llm_server.py): each frame exactly once, always. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/thread.h"
#include "intelligence/net/net.h"
#include "intelligence/net/server.h"

#define SIDE 256 /* 65,536 pixels and a multiple of 32: resizing leaves it alone */
#define MOST 80
#define KEY "sk-verysecret123"

static struct {
    pid_t pid;
    int in;
    int port;
    es_image images[MOST];
    es_frame frames[MOST];
} world;

/* What a run gave. */
typedef struct result {
    size_t seen[MOST], good, failed, raw, wrong;
    size_t progress;
    size_t stop_after; /* observations; 0: never */
    size_t given;
    char last_error[600], raw_text[200], reason[100], text[400];
    bool asked; /* to cancel */
    double cancel_at;
    es_status status;
    es_error error;
    double seconds;
} result;

static bool observed(void *context, const es_observation *o)
{
    result *r = context;
    char wanted[40];
    snprintf(wanted, sizeof wanted, "frame %zu", o->index);
    r->seen[o->index]++;
    r->given++;
    if (o->status != ES_OK) {
        r->failed++;
        snprintf(r->last_error, sizeof r->last_error, "%s", o->error.message);
    } else if (!o->record.parsed) {
        r->raw++;
        snprintf(r->raw_text, sizeof r->raw_text, "%s", o->raw_text);
        snprintf(r->reason, sizeof r->reason, "%s", o->reason);
    } else if (strcmp(o->record.description, wanted) == 0) {
        r->good++;
    } else {
        r->wrong++;
    }
    return r->stop_after == 0 || r->given < r->stop_after;
}

static void progressed(void *context, size_t done, size_t total)
{
    result *r = context;
    assert_true(done <= total);
    r->progress = done;
}

static bool piece(void *context, const char *text)
{
    result *r = context;
    strncat(r->text, text, sizeof r->text - strlen(r->text) - 1);
    return true;
}

static bool cancel_asked(void *context)
{
    result *r = context;
    return r->cancel_at > 0 && es_now() > r->cancel_at;
}

typedef struct plan {
    const char *backend, *how, *model;
    size_t frames;
    int32_t interleaved, most;
    double answer, total, pause;
    bool no_stream;
} plan;

static es_server_options options_of(const plan *p, char *endpoint, size_t size)
{
    bool ollama = strcmp(p->backend, "ollama") == 0;
    snprintf(endpoint, size, "http://127.0.0.1:%d/%s%s", world.port, p->how, ollama ? "" : "/v1");
    return (es_server_options){.backend = p->backend,
                               .endpoint = endpoint,
                               .key = KEY,
                               .model = p->model != NULL ? p->model : "m",
                               .most = p->most,
                               .no_stream = p->no_stream,
                               .answer_seconds = p->answer > 0 ? p->answer : 60,
                               .total_seconds = p->total,
                               .pause_seconds = p->pause > 0 ? p->pause : 0.02};
}

static void describe(const plan *p, result *r)
{
    char endpoint[200];
    es_server_options options = options_of(p, endpoint, sizeof endpoint);
    es_intelligence *who = NULL;
    es_ask ask;
    es_ask_init(&ask);
    ask.interleaved = p->interleaved > 0 ? p->interleaved : 1;
    double start = es_now();
    r->status = es_server_create(&who, &options, &r->error);
    if (r->status == ES_OK) {
        es_cancel cancel = {cancel_asked, r};
        es_listener listener = {.context = r, .observed = observed, .progress = progressed, .cancel = &cancel};
        r->status = es_classify_frames(who, world.frames, p->frames, &ask, &listener, &r->error);
    }
    r->seconds = es_now() - start;
    es_intelligence_free(who);
    assert_null(strstr(r->last_error, KEY));
    assert_null(strstr(r->error.message, KEY));
    for (size_t i = 0; i < p->frames; i++)
        assert_true(r->seen[i] <= 1);
}

static const char *const backends[] = {"ollama", "openai"};

/* Runs a plan: every frame must have exactly one observation, `failed` of them failures. */
static void five_frames(plan p, size_t failed, const char *words)
{
    result r = {0};
    p.frames = 5;
    describe(&p, &r);
    if (r.status != ES_OK || r.good != 5 - failed || r.failed != failed)
        fail_msg("%s %s: status %d (%s), %zu good, %zu failed (%s), %zu raw, %zu wrong", p.backend, p.how, r.status,
                 r.error.message, r.good, r.failed, r.last_error, r.raw, r.wrong);
    assert_int_equal(r.progress, 5);
    if (words != NULL && strstr(r.last_error, words) == NULL)
        fail_msg("%s %s: \"%s\" does not say \"%s\"", p.backend, p.how, r.last_error, words);
}

static void all_but(const char *how, size_t failed, const char *words)
{
    for (size_t b = 0; b < 2; b++)
        five_frames((plan){.backend = backends[b], .how = how}, failed, words);
}

/* What the server saw; the caller's to free. */
static void got_stats(void *context, const es_net_reply *reply)
{
    assert_int_equal(reply->http, 200);
    assert_int_equal(es_json_parse(context, reply->body, reply->body_size, "stats", NULL), ES_OK);
}

static json_t *stats_of(const char *backend, const char *how)
{
    char url[200];
    es_net *net;
    json_t *root = NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%s/_stats/%s", world.port, how, backend);
    assert_int_equal(es_net_open(&net, NULL), ES_OK);
    es_net_request request = {.url = url, .limits = {5, 5, 5, 5, 1 << 20}, .context = &root, .done = got_stats};
    assert_int_equal(es_net_start(net, &request, NULL), ES_OK);
    while (es_net_count(net) > 0)
        assert_int_equal(es_net_step(net, 0.1, NULL), ES_OK);
    es_net_close(net);
    assert_non_null(root);
    return root;
}

/* --- what passes --- */

static void frames_are_described_by_both_dialects(void **state)
{
    (void)state;
    all_but("ok", 0, NULL);
    all_but("trickle", 0, NULL);
    all_but("whole", 0, NULL); /* one JSON body, though a stream was asked for */
    all_but("close", 0, NULL);
    all_but("think", 0, NULL);
    for (size_t b = 0; b < 2; b++) {
        result r = {0};
        plan p = {.backend = backends[b], .how = "plain", .frames = 4, .no_stream = true};
        describe(&p, &r);
        assert_int_equal(r.good, 4);
    }
}

static void passing_faults_cost_no_frame(void **state)
{
    (void)state;
    static const char *const faults[] = {"cut", "reset", "noend", "429", "500", "503", "inband"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        all_but(faults[i], 0, NULL);
    five_frames((plan){.backend = "openai", .how = "stall", .answer = 4}, 0, NULL);
}

static void one_bad_frame_never_costs_the_others(void **state)
{
    (void)state;
    all_but("sick2", 1, "HTTP status 500");
    all_but("refuse2", 1, "HTTP status 400: image  [31mtoo large");
    all_but("html", 1, "not JSON");
    all_but("badjson", 1, "not JSON");
    all_but("types", 1, "the answer is not");
    all_but("utf8", 1, "not JSON");
    all_but("line", 1, "more than 1048576 bytes");
    all_but("endless", 1, "more than");
    all_but("forever", 1, "429");
    /* The clocks are the same for both. They are slow: the other frames must pass them on a busy machine too. */
    five_frames((plan){.backend = "ollama", .how = "silent", .answer = 4}, 1, "no answer in 4 s");
    five_frames((plan){.backend = "openai", .how = "drip", .total = 6}, 1, "no whole answer in 6 s");
}

/* --- what ends a run --- */

static void ends_with(const char *how, const char *words)
{
    for (size_t b = 0; b < 2; b++) {
        result r = {0};
        plan p = {.backend = backends[b], .how = how, .frames = 12};
        describe(&p, &r);
        assert_int_equal(r.status, ES_ERR_NETWORK);
        if (strstr(r.error.message, words) == NULL)
            fail_msg("%s %s: \"%s\" does not say \"%s\"", p.backend, how, r.error.message, words);
        assert_true(r.given < 5);
        assert_int_equal(r.good, 0);
    }
}

static void what_no_frame_would_survive_ends_the_run(void **state)
{
    (void)state;
    ends_with("redirect", "not followed");
    ends_with("key", "HTTP status 401: bad key: Bearer ****************: check OPENAI_API_KEY");
    ends_with("gone", "HTTP status 404: model not found");
    ends_with("dead", "HTTP status 502");
}

static void a_server_that_is_not_there_is_given_up(void **state)
{
    (void)state;
    result r = {0};
    es_intelligence *who = NULL;
    es_ask ask;
    es_listener listener = {.context = &r, .observed = observed};
    es_server_options options = {.backend = "openai", .endpoint = "127.0.0.1:9", .model = "m", .pause_seconds = 0.01};
    es_ask_init(&ask);
    assert_int_equal(es_server_create(&who, &options, &r.error), ES_OK);
    assert_int_equal(es_classify_frames(who, world.frames, 9, &ask, &listener, &r.error), ES_ERR_NETWORK);
    assert_non_null(strstr(r.error.message, "openai at http://127.0.0.1:9/v1: "));
    assert_int_equal(r.given, 0);
    es_intelligence_free(who);
    options.backend = "ollama";
    assert_int_equal(es_server_create(&who, &options, &r.error), ES_ERR_NETWORK);
    assert_null(who);
}

static void stopping_is_quick_and_loses_nothing(void **state)
{
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        result r = {.stop_after = 3};
        plan p = {.backend = backends[b], .how = "ok", .frames = 20};
        describe(&p, &r);
        assert_int_equal(r.status, ES_ERR_CANCELLED);
        assert_int_equal(r.given, 3);
        result slow = {.cancel_at = es_now() + 0.3};
        plan q = {.backend = backends[b], .how = "mum", .frames = 20};
        describe(&q, &slow);
        assert_int_equal(slow.status, ES_ERR_CANCELLED);
        assert_true(slow.seconds < 30); /* the server would be silent for a minute */
    }
}

/* --- several frames in one prompt, and answers without a record --- */

static void interleaved_answers_are_put_back(void **state)
{
    (void)state;
    static const char *const faults[] = {"ok", "swap", "drop", "short", "mute", "cut"};
    for (size_t b = 0; b < 2; b++) {
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
            result r = {0};
            char how[30];
            plan p = {.backend = backends[b], .how = faults[i], .frames = 10, .interleaved = 4};
            snprintf(how, sizeof how, "%s", faults[i]);
            describe(&p, &r);
            if (r.status != ES_OK || r.good != 10)
                fail_msg("%s %s: %s; %zu good, %zu wrong, %zu raw, %zu failed (%s)", p.backend, how, r.error.message,
                         r.good, r.wrong, r.raw, r.failed, r.last_error);
        }
    }
}

static void a_prompt_of_several_frames_keeps_labels_with_pictures(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        "[\"Frame 1 (timestamp: 0s):\", \"IMAGE\", \"Frame 2 (timestamp: 10s):\", \"IMAGE\", \"These are 2 frames",
        "[[\"Frame 1 (timestamp: 0s):\", \"IMAGE\", \"Frame 2 (timestamp: 10s):\", \"IMAGE\", \"These are 2 frames"};
    for (size_t b = 0; b < 2; b++) {
        result r = {0};
        plan p = {.backend = backends[b], .how = b == 0 ? "labels0" : "labels1", .frames = 2, .interleaved = 2};
        describe(&p, &r);
        assert_int_equal(r.good, 2);
        json_t *stats = stats_of(p.backend, p.how), *last = json_object_get(stats, "last");
        char *texts = json_dumps(json_object_get(last, "texts"), 0);
        if (strncmp(texts, wanted[b], strlen(wanted[b])) != 0)
            fail_msg("%s", texts);
        free(texts);
        json_t *body = json_object_get(last, "body");
        const json_t *options = b == 0 ? json_object_get(body, "options") : body;
        assert_int_equal(json_integer_value(json_object_get(options, b == 0 ? "num_predict" : "max_tokens")), 1000);
        assert_int_equal(json_integer_value(json_array_get(json_array_get(json_object_get(last, "sizes"), 0), 0)),
                         SIDE);
        json_decref(stats);
    }
}

/* Ollama puts a message's pictures before its words: what keeps a label with its picture depends on the model. */
static void ollama_is_told_where_pictures_belong(void **state)
{
    (void)state;
    static const char whole[] =
        "[\"<|im_start|>user\\nFrame 1 (timestamp: 0s):[img-0]Frame 2 (timestamp: 10s):[img-1]These";
    static const char *const wanted[][2] = {
        {"whole", whole},
        {"named", whole},
        {"marks", "[\"IMAGEIMAGEFrame 1 (timestamp: 0s):[img]Frame 2 (timestamp: 10s):[img]These"},
        {"other", "[\"Frame 1 (timestamp: 0s):\", \"IMAGE\", \"Frame 2 (timestamp: 10s):\", \"IMAGE\", \"These"}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        for (int no_stream = 0; no_stream < 2; no_stream++) {
            result r = {0};
            plan p = {
                .backend = "ollama", .how = wanted[i][0], .frames = 2, .interleaved = 2, .no_stream = no_stream != 0};
            describe(&p, &r);
            if (r.good != 2)
                fail_msg("%s: %zu good, %s", p.how, r.good, r.last_error);
            json_t *stats = stats_of(p.backend, p.how), *last = json_object_get(stats, "last");
            char *texts = json_dumps(json_object_get(last, "texts"), 0);
            if (strncmp(texts, wanted[i][1], strlen(wanted[i][1])) != 0)
                fail_msg("%s: %s", p.how, texts);
            if (i < 2 && strstr(texts, "topics: [<subjects>]<|im_end|>\\n<|im_start|>assistant\\n\"]") == NULL)
                fail_msg("%s", texts);
            free(texts);
            assert_int_equal(json_is_true(json_object_get(json_object_get(last, "body"), "raw")), i < 2);
            json_decref(stats);
        }
        result r = {0};
        plan p = {.backend = "ollama", .how = wanted[i][0], .frames = 2}; /* one to a prompt needs none of it */
        describe(&p, &r);
        assert_int_equal(r.good, 2);
        json_t *stats = stats_of(p.backend, p.how);
        char *texts = json_dumps(json_object_get(json_object_get(stats, "last"), "texts"), 0);
        if (strncmp(texts, "[\"IMAGEThis is a frame", 21) != 0)
            fail_msg("%s: %s", p.how, texts);
        free(texts);
        json_decref(stats);
    }
}

static void an_empty_answer_is_told_as_one(void **state)
{
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        result r = {0};
        plan p = {.backend = backends[b], .how = "void", .frames = 2};
        describe(&p, &r);
        assert_int_equal(r.raw, 2);
        assert_string_equal(r.reason, "the answer is empty");
        assert_string_equal(r.raw_text, "");
    }
}

static void an_answer_without_a_record_is_asked_for_once_more(void **state)
{
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        result prose = {0}, stubborn = {0}, without = {0};
        plan p = {.backend = backends[b], .how = "prose", .frames = 3};
        describe(&p, &prose);
        assert_int_equal(prose.good, 3);
        result loop = {0}, looped = {0}, topics = {0};
        p.how = "loop";
        describe(&p, &loop);
        assert_int_equal(loop.good, 3);
        p.how = "looped";
        describe(&p, &looped);
        assert_int_equal(looped.good, 3);
        json_t *asked = stats_of(p.backend, p.how);
        assert_int_equal(json_integer_value(json_object_get(asked, "chats")), 6); /* once more each, in the form */
        json_decref(asked);
        p.how = "looptopics"; /* the record is there, what loops is its end */
        describe(&p, &topics);
        assert_int_equal(topics.good, 3);
        p.how = "stubborn";
        describe(&p, &stubborn);
        assert_int_equal(stubborn.raw, 3);
        assert_non_null(strstr(stubborn.raw_text, "I see an editor, picture"));
        assert_string_equal(stubborn.reason, "no record in the answer, nor when it was asked for in its form");
        p.how = "noschema";
        describe(&p, &without);
        assert_int_equal(without.raw, 3);
        /* A server that cannot do it is not given up for that, and soon not asked for it any more. */
        result sick = {0};
        p.how = "sickschema";
        p.frames = 12;
        describe(&p, &sick);
        assert_int_equal(sick.raw, 12);
        json_t *stats = stats_of(p.backend, p.how);
        assert_in_range(json_integer_value(json_object_get(stats, "chats")), 12 + 3, 12 + 6);
        json_decref(stats);
    }
}

/* --- how many at once --- */

static void a_serial_server_answers_each_frame_once(void **state)
{
    (void)state;
    result r = {0};
    plan p = {.backend = "ollama", .how = "serial", .frames = 40};
    describe(&p, &r);
    assert_int_equal(r.good, 40);
    json_t *stats = stats_of("ollama", "serial");
    assert_int_equal(json_integer_value(json_object_get(stats, "chats")), 40);
    json_decref(stats);
}

static void a_batching_server_gets_more(void **state)
{
    (void)state;
    result r = {0};
    plan p = {.backend = "openai", .how = "batch", .frames = MOST, .most = 8};
    describe(&p, &r);
    assert_int_equal(r.good, MOST);
    json_t *stats = stats_of("openai", "batch");
    json_int_t peak = json_integer_value(json_object_get(stats, "peak"));
    if (peak < 2 || peak > 8)
        fail_msg("%d at once", (int)peak);
    json_decref(stats);
}

/* --- words, models, keys --- */

static es_status say(const plan *p, result *r, bool pieces, es_str *text)
{
    char endpoint[200];
    es_server_options options = options_of(p, endpoint, sizeof endpoint);
    es_intelligence *who = NULL;
    es_ask ask;
    es_ask_init(&ask);
    es_listener listener = {.context = r, .piece = pieces ? piece : NULL};
    es_content content = {.text = "What is the capital of France? \"\\\n\xC3\xA9"};
    es_message message = {ES_ROLE_USER, &content, 1};
    es_status status = es_server_create(&who, &options, &r->error);
    if (status == ES_OK)
        status = es_generate_text(who, &message, 1, &ask, &listener, text, &r->error);
    es_intelligence_free(who);
    return status;
}

static void words_come_whole_and_in_pieces(void **state)
{
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        result r = {0};
        es_str text = {0};
        char how[20];
        snprintf(how, sizeof how, "words%zu", b);
        plan p = {.backend = backends[b], .how = how};
        assert_int_equal(say(&p, &r, true, &text), ES_OK);
        assert_string_equal(es_str_text(&text), "Paris is the capital, of course.");
        assert_string_equal(r.text, es_str_text(&text));
        es_str_free(&text);
        json_t *stats = stats_of(backends[b], how), *keys = json_object_get(stats, "keys");
        assert_string_equal(json_string_value(json_array_get(keys, 0)), "Bearer " KEY);
        json_decref(stats);
    }
}

static void words_already_shown_are_not_said_again(void **state)
{
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        result shown = {0}, whole = {0};
        es_str text = {0};
        plan p = {.backend = backends[b], .how = "cutwords"}; /* the first request of each name is cut */
        assert_int_equal(say(&p, &shown, true, &text), ES_ERR_NETWORK);
        assert_in_range(strlen(shown.text), 1, 31);
        assert_memory_equal(shown.text, "Paris is the capital, of course.", strlen(shown.text));
        assert_int_equal(text.length, 0);
        p.how = "cutwords2";
        assert_int_equal(say(&p, &whole, false, &text), ES_OK);
        assert_string_equal(es_str_text(&text), "Paris is the capital, of course.");
        es_str_free(&text);
    }
}

static void models_are_found_or_the_error_lists_them(void **state)
{
    (void)state;
    char endpoint[200];
    es_error err = {0};
    es_intelligence *who = NULL;
    plan p = {.backend = "ollama", .how = "models", .model = "missing", .frames = 1};
    es_server_options options = options_of(&p, endpoint, sizeof endpoint);
    assert_int_equal(es_server_create(&who, &options, &err), ES_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "'ollama pull missing' gets it; there: blind:1b, llava:7b, qwen3-vl:2b"));
    options.model = NULL;
    assert_int_equal(es_server_create(&who, &options, &err), ES_OK);
    es_intelligence_free(who);
    result r = {0};
    p.model = "blind:1b";
    describe(&p, &r);
    assert_int_equal(r.status, ES_ERR_UNSUPPORTED);
    assert_non_null(strstr(r.error.message, "does not see pictures"));
    plan two = {.backend = "openai", .how = "two", .model = ""};
    options = options_of(&two, endpoint, sizeof endpoint);
    assert_int_equal(es_server_create(&who, &options, &err), ES_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "Give --model; there: a, b"));
    two.how = "one";
    options = options_of(&two, endpoint, sizeof endpoint);
    assert_int_equal(es_server_create(&who, &options, &err), ES_OK);
    es_intelligence_free(who);
    options.key = "bad\r\nX-Forged: 1";
    assert_int_equal(es_server_create(&who, &options, &err), ES_ERR_ARGUMENT);
}

/* --- the world --- */

static int set_up(void **state)
{
    int in[2], out[2];
    char script[600], line[32] = "";
    (void)state;
    snprintf(script, sizeof script, "%s/tests/intelligence/llm_server.py", getenv("ESCRIBA_SOURCE_ROOT"));
    signal(SIGPIPE, SIG_IGN);
    if (pipe(in) != 0 || pipe(out) != 0 || (world.pid = fork()) < 0)
        return -1;
    if (world.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execlp("python3", "python3", script, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    world.in = in[1];
    for (size_t n = 0; n < sizeof line - 1 && strchr(line, '\n') == NULL; n++) /* it may come in pieces */
        if (read(out[0], line + n, 1) != 1)
            return -1;
    close(out[0]);
    world.port = atoi(line);
    for (size_t i = 0; i < MOST; i++) {
        world.images[i] = (es_image){SIDE, SIDE, malloc((size_t)SIDE * SIDE * 3)};
        if (world.images[i].rgb == NULL)
            return -1;
        memset(world.images[i].rgb, (int)i, (size_t)SIDE * SIDE * 3);
        world.frames[i] = (es_frame){.image = &world.images[i], .timestamp = 10.0 * (double)i};
    }
    return world.port > 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    close(world.in);
    waitpid(world.pid, NULL, 0);
    for (size_t i = 0; i < MOST; i++)
        free(world.images[i].rgb);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_described_by_both_dialects),
        cmocka_unit_test(passing_faults_cost_no_frame),
        cmocka_unit_test(one_bad_frame_never_costs_the_others),
        cmocka_unit_test(what_no_frame_would_survive_ends_the_run),
        cmocka_unit_test(a_server_that_is_not_there_is_given_up),
        cmocka_unit_test(stopping_is_quick_and_loses_nothing),
        cmocka_unit_test(interleaved_answers_are_put_back),
        cmocka_unit_test(a_prompt_of_several_frames_keeps_labels_with_pictures),
        cmocka_unit_test(ollama_is_told_where_pictures_belong),
        cmocka_unit_test(an_answer_without_a_record_is_asked_for_once_more),
        cmocka_unit_test(an_empty_answer_is_told_as_one),
        cmocka_unit_test(a_serial_server_answers_each_frame_once),
        cmocka_unit_test(a_batching_server_gets_more),
        cmocka_unit_test(words_come_whole_and_in_pieces),
        cmocka_unit_test(words_already_shown_are_not_said_again),
        cmocka_unit_test(models_are_found_or_the_error_lists_them),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
