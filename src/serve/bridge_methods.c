/* bridge_methods.c - what may be asked over the bridge, and the answers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/thread.h"
#include "intelligence/prompts.h"
#include "intelligence/record_grammar.h"
#include "serve/bridge_internal.h"

#define USUAL_PICTURE_TOKENS 2000 /* a batch of frames, when the request says nothing */
#define USUAL_TEXT_TOKENS 8000
#define USUAL_TEMPERATURE 0.7  /* of llm_infer */
#define LEAST_FRAME_TOKENS 160 /* a record with room for its description */
#define MOST_TOKENS 1000000
#define RESERVED_TOKENS 24000
#if defined(__APPLE__)
#define RSS_UNIT 1.0 /* ru_maxrss counts bytes there, kilobytes elsewhere */
#else
#define RSS_UNIT 1024.0
#endif
#define GLANCE 0.1 /* seconds between looks whether the client is still there */

typedef struct call {
    es_bridge_client *client;
    const json_t *params;
    json_t *answer; /* begun with the id */
    char *model;    /* directory */
    es_preprocess rules;
    es_ticket *tickets[ES_MAX_PICTURES];
    int labels[ES_MAX_PICTURES]; /* the frame's number; 0: no label */
    size_t count;
} call;

/* --- tickets from messages --- */

static es_status new_ticket(call *c, es_error *err)
{
    es_ticket *t;
    if (c->count == ES_MAX_PICTURES)
        return es_fail(err, ES_ERR_LIMIT, "more than %d frames in one request", ES_MAX_PICTURES);
    ES_TRY(es_ticket_create(&t, err));
    c->tickets[c->count++] = t;
    t->client = es_strdup(c->client->name);
    t->model = es_strdup(c->model);
    t->keep_ms = ES_KEEP_FOREVER;
    t->sampling = c->client->bridge->options.sampling;
    return t->client != NULL && t->model != NULL ? ES_OK : es_fail_memory(err, "a request", 0);
}

static es_status role_of(const json_t *message, es_role *role, es_error *err)
{
    const char *name = NULL;
    ES_TRY(es_json_string(message, "a message", "role", true, &name, err));
    *role = strcmp(name, "system") == 0      ? ES_ROLE_SYSTEM
            : strcmp(name, "assistant") == 0 ? ES_ROLE_ASSISTANT
                                             : ES_ROLE_USER;
    if (*role == ES_ROLE_USER && strcmp(name, "user") != 0)
        return es_fail(err, ES_ERR_FORMAT, "a message's role is not system, user or assistant");
    return ES_OK;
}

static const char *picture_of(const json_t *item)
{
    const char *path = json_string_value(json_object_get(item, "imagePath"));
    return path != NULL ? path : json_string_value(json_object_get(item, "image"));
}

static const char *text_of(const json_t *item)
{
    return json_is_string(item) ? json_string_value(item) : json_string_value(json_object_get(item, "text"));
}

static es_status add_item(call *c, es_ticket *t, const json_t *item, es_error *err)
{
    const char *path = picture_of(item), *text = text_of(item);
    if (path != NULL)
        return es_picture_add(c->client->bridge->options.door, &c->rules, path, path, t, err);
    if (text != NULL)
        return es_ticket_text(t, text, err);
    return es_fail(err, ES_ERR_FORMAT, "a part of a message is neither text nor image");
}

static es_status add_message(call *c, es_ticket *t, const json_t *message, es_error *err)
{
    const json_t *content = json_object_get(message, "content");
    es_role role;
    ES_TRY(role_of(message, &role, err));
    ES_TRY(es_ticket_turn(t, role, err));
    if (json_is_string(content))
        return es_ticket_text(t, json_string_value(content), err);
    if (!json_is_array(content))
        return es_fail(err, ES_ERR_FORMAT, "a message's content is neither a text nor a list");
    for (size_t i = 0; i < json_array_size(content); i++)
        ES_TRY(add_item(c, t, json_array_get(content, i), err));
    return ES_OK;
}

/* The list is [label,] picture, [label,] picture, ..., text: how many pictures; 0: it is not. */
static size_t frames_in(const json_t *content)
{
    size_t n = json_array_size(content), frames = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(content, i), *after = json_array_get(content, i + 1);
        if (picture_of(item) != NULL)
            frames++;
        else if (text_of(item) == NULL || (i + 1 < n && picture_of(after) == NULL) || (i + 1 == n && frames == 0))
            return 0;
    }
    return n > 0 && text_of(json_array_get(content, n - 1)) != NULL ? frames : 0;
}

static bool asks_for_record(const char *prompt)
{
    return strstr(prompt, "description:") != NULL && strstr(prompt, "activity:") != NULL;
}

/* One frame as a request of its own: its picture, then the question. One that asks for records gets the question that
 * asks for one, and its answer is held to the record's form. */
static es_status add_frame(call *c, const json_t *label, const json_t *picture, const char *prompt, es_error *err)
{
    ES_TRY(new_ticket(c, err));
    es_ticket *t = c->tickets[c->count - 1];
    bool record = asks_for_record(prompt);
    const char *words = label != NULL ? text_of(label) : NULL;
    int number = 0;
    if (words != NULL && sscanf(words, "Frame %9d", &number) != 1)
        number = (int)c->count;
    c->labels[c->count - 1] = number;
    ES_TRY(es_ticket_turn(t, ES_ROLE_USER, err));
    if (words != NULL && !record)
        ES_TRY(es_ticket_text(t, words, err));
    ES_TRY(add_item(c, t, picture, err));
    ES_TRY(es_ticket_text(t, record ? es_prompt_frame : prompt, err));
    if (!record)
        return ES_OK;
    t->form = es_strdup("record");
    return t->form != NULL ? es_record_grammar(&t->grammar, 1, err) : es_fail_memory(err, "a request", 0);
}

static es_status split_frames(call *c, const json_t *content, es_error *err)
{
    size_t n = json_array_size(content);
    const char *prompt = text_of(json_array_get(content, n - 1));
    for (size_t i = 0; i + 1 < n; i++) {
        const json_t *item = json_array_get(content, i);
        if (picture_of(item) == NULL)
            continue;
        const json_t *before = i > 0 ? json_array_get(content, i - 1) : NULL;
        ES_TRY(add_frame(c, before != NULL && picture_of(before) == NULL ? before : NULL, item, prompt, err));
    }
    return ES_OK;
}

/* Text that was laid out for the model already, turn by turn. */
static es_status add_raw(es_ticket *t, const char *raw, es_error *err)
{
    static const char begin[] = "<|im_start|>", end[] = "<|im_end|>";
    if (strncmp(raw, begin, sizeof begin - 1) != 0) {
        ES_TRY(es_ticket_turn(t, ES_ROLE_USER, err));
        return es_ticket_text(t, raw, err);
    }
    for (const char *at = raw; (at = strstr(at, begin)) != NULL;) {
        at += sizeof begin - 1;
        const char *line = strchr(at, '\n'), *stop = strstr(at, end);
        if (line == NULL || stop == NULL || stop < line)
            break; /* "<|im_start|>assistant\n": the answer's turn */
        es_role role = strncmp(at, "system", 6) == 0      ? ES_ROLE_SYSTEM
                       : strncmp(at, "assistant", 9) == 0 ? ES_ROLE_ASSISTANT
                                                          : ES_ROLE_USER;
        char *text = es_strndup(line + 1, (size_t)(stop - line - 1));
        es_status status = text == NULL ? es_fail_memory(err, "a prompt", 0) : es_ticket_turn(t, role, err);
        if (status == ES_OK)
            status = es_ticket_text(t, text, err);
        free(text);
        ES_TRY(status);
        at = stop;
    }
    return t->message_count > 0 ? ES_OK : es_fail(err, ES_ERR_FORMAT, "rawPrompt holds no turn of a user");
}

static es_status read_request(call *c, bool split, es_error *err)
{
    const json_t *messages = json_object_get(c->params, "messages");
    const char *raw = json_string_value(json_object_get(c->params, "rawPrompt"));
    if (raw != NULL) {
        ES_TRY(new_ticket(c, err));
        return add_raw(c->tickets[0], raw, err);
    }
    size_t n = json_array_size(messages);
    if (n == 0)
        return es_fail(err, ES_ERR_FORMAT, "params.messages is not a list of messages");
    const json_t *content = json_object_get(json_array_get(messages, 0), "content");
    if (split && n == 1 && frames_in(content) > 0)
        return split_frames(c, content, err);
    ES_TRY(new_ticket(c, err));
    for (size_t i = 0; i < n; i++)
        ES_TRY(add_message(c, c->tickets[0], json_array_get(messages, i), err));
    return ES_OK;
}

/* --- running them --- */

static es_status file_all(call *c, es_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        es_ticket_seal(c->tickets[i]);
        ES_TRY(es_worker_file(c->client->bridge->options.worker, c->tickets[i], err));
    }
    return ES_OK;
}

static es_status wait_all(call *c, es_error *err)
{
    double limit = c->client->bridge->options.limit_seconds, until = es_now() + limit;
    for (size_t i = 0; i < c->count; i++) {
        while (!es_ticket_wait_finished(c->tickets[i], fmin(until, es_now() + GLANCE))) {
            if (es_now() >= until)
                return es_fail(err, ES_ERR_CANCELLED, "no answer within %.0f s", limit);
            if (es_bridge_gone(c->client))
                return es_fail(err, ES_ERR_CANCELLED, "the client left");
        }
    }
    return ES_OK;
}

static es_status run_all(call *c, es_error *err)
{
    ES_TRY(file_all(c, err));
    return wait_all(c, err);
}

static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static es_status put_stats(call *c, double seconds)
{
    json_int_t prompt = 0, generated = 0;
    double reading = 0;
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    for (size_t i = 0; i < c->count; i++) {
        const es_reply *r = &c->tickets[i]->replies[0];
        prompt += r->prompt_tokens;
        generated += r->tokens;
        reading += r->seconds_vision + r->seconds_prefill;
    }
    double writing = seconds > reading ? seconds - reading : seconds;
    put(c->answer, "stats",
        json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "prompt_tokens", prompt, "generation_tokens", generated,
                  "total_tokens", prompt + generated, "prompt_tps", reading > 0 ? (double)prompt / reading : 0.0,
                  "generation_tps", writing > 0 ? (double)generated / writing : 0.0, "peak_memory_gb",
                  (double)usage.ru_maxrss * RSS_UNIT / 1e9, "generate_time_s", seconds));
    return ES_OK;
}

/* The answers, one a line behind its label when there are labels. */
static es_status put_text(call *c, es_error *err)
{
    es_str text = {0};
    size_t failed = 0;
    for (size_t i = 0; i < c->count; i++) {
        const es_reply *r = &c->tickets[i]->replies[0];
        const char *answer = es_str_text(&r->text);
        if (r->status != ES_OK) {
            failed++;
            if (err != NULL)
                *err = r->error;
        }
        if (i > 0)
            es_str_append(&text, "\n");
        if (c->labels[i] > 0 && strncmp(answer, "Frame ", 6) != 0)
            es_str_append_format(&text, "Frame %d: ", c->labels[i]);
        es_str_append(&text, answer);
    }
    if (failed > 0 && failed == c->count) {
        es_str_free(&text);
        return err->status;
    }
    es_status status = es_str_check(&text, err);
    if (status == ES_OK)
        put(c->answer, "text", json_string(es_str_text(&text)));
    es_str_free(&text);
    return status;
}

static es_status infer(call *c, bool words, es_error *err)
{
    int64_t most = words ? USUAL_TEXT_TOKENS : USUAL_PICTURE_TOKENS;
    double temperature = words ? USUAL_TEMPERATURE : (double)c->client->bridge->options.sampling.temperature;
    ES_TRY(es_json_int(c->params, "params", "maxTokens", false, 1, MOST_TOKENS, &most, err));
    ES_TRY(es_json_number(c->params, "params", "temperature", false, 0, 100, &temperature, err));
    ES_TRY(read_request(c, true, err));
    int64_t each = most / (int64_t)c->count;
    each = each > LEAST_FRAME_TOKENS || c->count == 1 ? each : LEAST_FRAME_TOKENS;
    for (size_t i = 0; i < c->count; i++) {
        c->tickets[i]->max_tokens = (int32_t)each;
        c->tickets[i]->sampling.temperature = (float)temperature;
    }
    double began = es_now();
    ES_TRY(run_all(c, err));
    ES_TRY(put_text(c, err));
    return put_stats(c, es_now() - began);
}

static es_status prompt_fit(call *c, es_error *err)
{
    int64_t most = USUAL_TEXT_TOKENS;
    es_worker_status status;
    ES_TRY(es_json_int(c->params, "params", "maxTokens", false, 0, MOST_TOKENS, &most, err));
    ES_TRY(read_request(c, false, err));
    c->tickets[0]->kind = ES_TICKET_COUNT;
    ES_TRY(run_all(c, err));
    const es_reply *r = &c->tickets[0]->replies[0];
    if (r->status != ES_OK) {
        *err = r->error;
        return r->status;
    }
    es_worker_get_status(c->client->bridge->options.worker, &status);
    json_int_t context = status.context, prompt = r->prompt_tokens;
    json_int_t reserved = most > RESERVED_TOKENS ? most : RESERVED_TOKENS;
    /* A model with less context than is kept free for answers has what the answer asked for leaves over. */
    json_int_t safe = context > reserved ? context - reserved : context > most ? context - most : 0;
    put(c->answer, "fits", json_boolean(prompt <= safe));
    put(c->answer, "prompt_tokens", json_integer(prompt));
    put(c->answer, "context_limit", json_integer(context));
    put(c->answer, "requested_output_tokens", json_integer(most));
    put(c->answer, "reserved_tokens", json_integer(RESERVED_TOKENS));
    put(c->answer, "safe_input_budget", json_integer(safe));
    return ES_OK;
}

/* --- models --- */

static es_status run_load(call *c, int64_t keep_ms, es_error *err)
{
    ES_TRY(new_ticket(c, err));
    es_ticket *t = c->tickets[0];
    t->kind = ES_TICKET_LOAD;
    t->keep_ms = keep_ms;
    ES_TRY(run_all(c, err));
    if (t->replies[0].status != ES_OK)
        *err = t->replies[0].error;
    return t->replies[0].status;
}

static es_status load_model(call *c, es_error *err)
{
    es_bridge *b = c->client->bridge;
    const char *asked = NULL;
    char *name, *dir;
    ES_TRY(es_json_string(c->params, "params", "model", false, &asked, err));
    ES_TRY(es_catalog_find(b->options.catalog, asked, &name, &dir, err));
    free(c->model);
    c->model = dir;
    es_status status = run_load(c, ES_KEEP_FOREVER, err);
    char *copy = status == ES_OK ? es_strdup(dir) : NULL;
    if (status == ES_OK && copy == NULL)
        status = es_fail_memory(err, "a model's name", 0);
    if (status != ES_OK) {
        free(name);
        return status;
    }
    put(c->answer, "status", json_string("loaded"));
    put(c->answer, "model", json_string(name));
    pthread_mutex_lock(&b->lock);
    free(b->model);
    free(b->model_name);
    b->model = copy;
    b->model_name = name;
    pthread_mutex_unlock(&b->lock);
    return ES_OK;
}

static es_status unload_model(call *c, es_error *err)
{
    ES_TRY(run_load(c, 0, err));
    put(c->answer, "status", json_string("unloaded"));
    return ES_OK;
}

/* --- methods --- */

static es_status vlm_infer(call *c, es_error *err)
{
    return infer(c, false, err);
}

static es_status llm_infer(call *c, es_error *err)
{
    return infer(c, true, err);
}

static es_status ping(call *c, es_error *err)
{
    (void)err;
    put(c->answer, "pong", json_true());
    put(c->answer, "text", json_string(""));
    return ES_OK;
}

enum { IN_VLM = 1, IN_LLM = 2, IN_BOTH = 3 };
static const struct {
    const char *name;
    int modes;
    bool needs_model;
    es_status (*run)(call *c, es_error *err);
} methods[] = {
    {"ping", IN_BOTH, false, ping},
    {"vlm_infer", IN_VLM, true, vlm_infer},
    {"text_infer", IN_BOTH, true, vlm_infer},
    {"llm_infer", IN_LLM, true, llm_infer},
    {"llm_prompt_fit", IN_LLM, true, prompt_fit},
    {"text_prompt_fit", IN_BOTH, true, prompt_fit},
    {"load_llm", IN_LLM, false, load_model},
    {"unload_llm", IN_LLM, false, unload_model},
    {"unload_vlm", IN_VLM, false, unload_model},
};

static es_status prepare(call *c, bool rules, es_error *err)
{
    es_bridge *b = c->client->bridge;
    pthread_mutex_lock(&b->lock);
    c->model = es_strdup(b->model);
    pthread_mutex_unlock(&b->lock);
    if (c->model == NULL)
        return es_fail_memory(err, "a request", 0);
    return rules ? es_picture_rules(b->options.door, c->model, &c->rules, err) : ES_OK;
}

static es_status run_method(call *c, const char *name, es_error *err)
{
    int mode = c->client->bridge->options.words ? IN_LLM : IN_VLM;
    if (c->params != NULL && !json_is_object(c->params) && !json_is_null(c->params))
        return es_fail(err, ES_ERR_FORMAT, "params is not an object");
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].name, name) != 0)
            continue;
        if ((methods[i].modes & mode) == 0)
            return es_fail(err, ES_ERR_ARGUMENT, "%s is not answered in mode %s", name, mode == IN_LLM ? "llm" : "vlm");
        ES_TRY(prepare(c, methods[i].needs_model, err));
        return methods[i].run(c, err);
    }
    return es_fail(err, ES_ERR_ARGUMENT, "unknown method: %.60s", name);
}

json_t *es_bridge_answer(es_bridge_client *client, json_t *request, bool *shutdown)
{
    json_t *id = json_object_get(request, "id");
    const char *name = json_string_value(json_object_get(request, "method"));
    call c = {.client = client, .params = json_object_get(request, "params"), .answer = json_object()};
    es_error err = {0};
    es_status status = ES_OK;
    put(c.answer, "id", id != NULL ? json_incref(id) : json_null());
    if (name == NULL) {
        status = es_fail(&err, ES_ERR_FORMAT, "a request without a method");
    } else if (strcmp(name, "shutdown") == 0) {
        put(c.answer, "status", json_string("shutting_down"));
        *shutdown = true;
    } else {
        status = run_method(&c, name, &err);
    }
    if (status != ES_OK) {
        put(c.answer, "error", json_string(err.message[0] != '\0' ? err.message : "it could not be done"));
        json_object_del(c.answer, "text");
    }
    put(c.answer, "done", json_true());
    for (size_t i = 0; i < c.count; i++)
        es_worker_drop(client->bridge->options.worker, c.tickets[i]);
    free(c.model);
    return c.answer;
}
