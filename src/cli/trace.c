/* trace.c - one prompt through the engine with everything written down, to compare with any other implementation. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/messages.h"
#include "compute/open.h"
#include "engine/engine.h"
#include "model/model.h"

enum { FLAG_MESSAGES, FLAG_DUMP, FLAG_MAX_TOKENS, FLAG_TOP, FLAG_IGNORE_EOS, FLAG_FLOATS, FLAG_OUTPUT };
static const es_flag flags[] = {
    {"--messages", "FILE", "JSON chat messages (needed)"},
    {"--dump", "FILE", "write every stage's tensors to this .safetensors file"},
    {"--max-tokens", "N", "length of the greedy continuation (32; 0: none)"},
    {"--top", "K", "how many of the next token's best to print (10)"},
    {"--ignore-eos", NULL, "go on after an end token"},
    {"--floats", NULL, "compute in float32 by the weights that --precision makes (cpu): what drift is theirs"},
    {"--output", "FILE", "write the JSON there instead of to stdout"},
};
static const es_usage usage = {
    .verb = "trace",
    .synopsis = "MODEL --messages FILE.json [FLAGS]",
    .text =
        "Runs one prompt and prints, as JSON: prompt_ids, image_grids (time, rows and columns of patches of each\n"
        "picture), top_ids and top_logits of the token after the prompt, greedy_ids, greedy_text, and stopped\n"
        "(eos or length). Pictures go through the model's own preprocessing, at its own size.\n"
        "FILE.json: [{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"image\": PATH}, {\"type\": \"text\",\n"
        "\"text\": TEXT}]}]. The dump holds pixel_values, vision.*, text.* and logits; of a second and\n"
        "third picture as picture.1.vision.*, picture.2.vision.*; text.* for the rows of the prompt.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .settings = ES_SET_MODEL,
    .examples =
        "  escriba trace models/escriba-tiny --messages question.json\n"
        "  escriba trace Qwen3-VL-2B-Instruct --messages question.json --dump stages.safetensors --max-tokens 100\n",
};

typedef struct trace_options {
    const char *model, *messages, *dump, *output;
    long long max_tokens, top;
    bool ignore_eos, floats;
} trace_options;

/* A stage of the text decoder as it comes, chunk by chunk. */
typedef struct stage {
    char name[64];
    float *data;
    int64_t rows, cols;
} stage;

typedef struct recorder {
    es_tensors_out *out; /* NULL: only the logits are wanted */
    int64_t prompt_rows;
    int32_t picture; /* how many pictures are through the tower */
    stage *stages;
    size_t stage_count, stage_capacity;
    float *logits; /* of the token after the prompt */
    int64_t vocab;
    es_status status;
    es_error error;
} recorder;

/* Rows that were seen before the prompt's last one are the prompt's; what decoding adds later is left out. */
static void keep_rows(recorder *r, const char *name, const float *host, int64_t rows, int64_t cols)
{
    stage *s = NULL;
    for (size_t i = 0; i < r->stage_count && s == NULL; i++)
        if (strcmp(r->stages[i].name, name) == 0)
            s = &r->stages[i];
    if (s == NULL) {
        void *items = r->stages;
        if (es_grow(&items, &r->stage_capacity, r->stage_count + 1, sizeof *s) != 0) {
            r->status = es_fail_memory(&r->error, "a trace", 0);
            return;
        }
        r->stages = items;
        s = &r->stages[r->stage_count++];
        *s = (stage){.cols = cols};
        snprintf(s->name, sizeof s->name, "%s", name);
    }
    int64_t most = strcmp(name, "text.norm") == 0 ? 1 : r->prompt_rows;
    if (s->rows >= most)
        return;
    if (rows > most - s->rows)
        rows = most - s->rows;
    float *grown = es_realloc(s->data, (size_t)(s->rows + rows), (size_t)cols * sizeof *grown);
    if (grown == NULL) {
        r->status = es_fail_memory(&r->error, "a trace", 0);
        return;
    }
    s->data = grown;
    memcpy(grown + s->rows * cols, host, (size_t)(rows * cols) * sizeof *host);
    s->rows += rows;
}

static void keep_vision(recorder *r, const char *name, const float *host, int64_t rows, int64_t cols)
{
    char full[96];
    int64_t dims[2] = {rows, cols};
    if (r->picture > 0)
        snprintf(full, sizeof full, "picture.%d.%s", r->picture, name);
    else
        snprintf(full, sizeof full, "%s", name);
    r->status = es_tensors_out_add(r->out, full, ES_F32, dims, 2, host, &r->error);
    if (strcmp(name, "vision.merger") == 0)
        r->picture++; /* the tower's last stage */
}

static void see(void *context, const char *name, es_device *device, const es_tensor *tensor)
{
    recorder *r = context;
    bool is_logits = strcmp(name, "logits") == 0;
    if (r->status != ES_OK || (r->out == NULL && !is_logits) || (is_logits && r->logits != NULL))
        return;
    float *host = es_calloc((size_t)tensor->rows, (size_t)tensor->cols * sizeof *host);
    if (host == NULL) {
        r->status = es_fail_memory(&r->error, "a trace", (size_t)(tensor->rows * tensor->cols) * sizeof *host);
        return;
    }
    es_op_read(device, tensor, 0, tensor->rows, host);
    if (is_logits) {
        r->logits = host;
        r->vocab = tensor->cols;
        return;
    }
    if (strncmp(name, "vision.", 7) == 0)
        keep_vision(r, name, host, tensor->rows, tensor->cols);
    else
        keep_rows(r, name, host, tensor->rows, tensor->cols);
    free(host);
}

static void recorder_free(recorder *r)
{
    for (size_t i = 0; i < r->stage_count; i++)
        free(r->stages[i].data);
    free(r->stages);
    free(r->logits);
    es_tensors_out_free(r->out);
}

static es_status add_pixels(recorder *r, const es_conversation *talk, es_error *err)
{
    int64_t rows = 0, dim = 0, at = 0;
    for (size_t i = 0; i < talk->picture_count; i++) {
        rows += talk->pictures[i].count;
        dim = talk->pictures[i].dim;
    }
    if (rows == 0)
        return ES_OK;
    float *all = es_calloc((size_t)rows, (size_t)dim * sizeof *all);
    if (all == NULL)
        return es_fail_memory(err, "the pixels", (size_t)(rows * dim) * sizeof *all);
    for (size_t i = 0; i < talk->picture_count; i++) {
        const es_patches *p = &talk->pictures[i];
        es_patches_floats(p, 0, p->count, all + at * dim);
        at += p->count;
    }
    es_status status = es_tensors_out_add(r->out, "pixel_values", ES_F32, (int64_t[]){rows, dim}, 2, all, err);
    free(all);
    return status;
}

static es_status write_dump(recorder *r, const es_conversation *talk, const char *path, es_error *err)
{
    ES_TRY(add_pixels(r, talk, err));
    for (size_t i = 0; i < r->stage_count; i++) {
        const stage *s = &r->stages[i];
        int64_t dims[2] = {s->rows, s->cols};
        ES_TRY(es_tensors_out_add(r->out, s->name, ES_F32, dims, 2, s->data, err));
    }
    if (r->logits != NULL)
        ES_TRY(es_tensors_out_add(r->out, "logits", ES_F32, (int64_t[]){1, r->vocab}, 2, r->logits, err));
    return es_tensors_out_write(r->out, path, err);
}

/* The single sequence of the job, and what comes back. */
typedef struct single {
    es_prompt prompt;
    es_generation generation;
    bool given;
    es_str *json;
    es_status status;
    es_error error;
} single;

static es_status next_prompt(void *context, es_prompt *prompt, es_generation *generation, void **tag, bool *more,
                             es_error *err)
{
    single *s = context;
    (void)err;
    *more = !s->given;
    *prompt = s->prompt;
    *generation = s->generation;
    *tag = s;
    s->given = true;
    return ES_OK;
}

static void append_ids(es_str *json, const char *key, const int32_t *ids, size_t n)
{
    es_str_append_format(json, ", \"%s\": [", key);
    for (size_t i = 0; i < n; i++)
        es_str_append_format(json, i > 0 ? ", %d" : "%d", ids[i]);
    es_str_append(json, "]");
}

static bool finished(void *context, void *tag, const es_answer *answer)
{
    single *s = context;
    (void)tag;
    s->status = answer->status;
    s->error = answer->error;
    if (answer->status == ES_OK) {
        append_ids(s->json, "greedy_ids", answer->ids, answer->id_count);
        es_str_append(s->json, ", \"greedy_text\": ");
        es_str_append_json(s->json, answer->text);
        es_str_append_format(s->json, ", \"stopped\": \"%s\"", answer->truncated ? "length" : "eos");
    }
    return true;
}

static es_status append_prompt(es_str *json, const es_model *model, const es_prompt *prompt, recorder *r, es_error *err)
{
    es_encoded encoded;
    ES_TRY(es_engine_encode(model, prompt, &encoded, err));
    r->prompt_rows = (int64_t)encoded.ids.count;
    append_ids(json, "prompt_ids", encoded.ids.items, encoded.ids.count);
    es_str_append(json, ", \"image_grids\": [");
    for (size_t i = 0; i < prompt->picture_count; i++)
        es_str_append_format(json, "%s[1, %d, %d]", i > 0 ? ", " : "", prompt->pictures[i].grid_h,
                             prompt->pictures[i].grid_w);
    es_str_append(json, "]");
    es_encoded_free(&encoded);
    return ES_OK;
}

static es_status append_top(es_str *json, const recorder *r, long long wanted, es_error *err)
{
    int32_t k = (int32_t)(wanted < r->vocab ? wanted : r->vocab);
    int32_t *ids = es_calloc((size_t)k, sizeof *ids);
    float *values = es_calloc((size_t)k, sizeof *values);
    es_status status = ES_OK;
    if (ids == NULL || values == NULL) {
        status = es_fail_memory(err, "the best tokens", 0);
    } else {
        es_top_k(r->logits, (int32_t)r->vocab, k, ids, values);
        append_ids(json, "top_ids", ids, (size_t)k);
        es_str_append(json, ", \"top_logits\": [");
        for (int32_t i = 0; i < k; i++)
            es_str_append_format(json, i > 0 ? ", %.9g" : "%.9g", (double)values[i]);
        es_str_append(json, "]");
    }
    free(ids);
    free(values);
    return status;
}

/* Runs the engine over the one prompt; the JSON's parts are appended in the order of the contract. */
static es_status run_engine(const es_model *model, const es_prompt *prompt, const trace_options *o, recorder *r,
                            es_str *json, es_error *err)
{
    es_str tail = {0};
    int64_t length = r->prompt_rows + (o->max_tokens > 0 ? o->max_tokens : 1) + 1;
    es_engine_options options = {.batch = 1, .context = length < INT32_MAX ? (int32_t)length : INT32_MAX};
    single one = {.prompt = *prompt, .json = &tail};
    es_sampling_init(&one.generation.sampling);
    one.generation.max_tokens = o->max_tokens > 0 ? (int32_t)o->max_tokens : 1;
    one.generation.ignore_eos = o->ignore_eos;
    es_watch watch = {see, r};
    es_job job = {.context = &one, .next = next_prompt, .finished = finished, .watch = &watch};
    es_engine *engine = NULL;
    ES_TRY(es_engine_create(&engine, model, &options, err));
    es_status status = es_engine_run(engine, &job, err);
    es_engine_free(engine);
    if (status == ES_OK && one.status != ES_OK) {
        *err = one.error;
        status = one.status;
    }
    if (status == ES_OK && r->status != ES_OK) {
        *err = r->error;
        status = r->status;
    }
    if (status == ES_OK && r->logits == NULL)
        status = es_fail(err, ES_ERR_INTERNAL, "the engine showed no logits");
    if (status == ES_OK)
        status = append_top(json, r, o->top, err);
    if (status == ES_OK && o->max_tokens > 0)
        es_str_append(json, es_str_text(&tail));
    else if (status == ES_OK)
        es_str_append(json, ", \"greedy_ids\": [], \"greedy_text\": \"\", \"stopped\": \"length\"");
    if (status == ES_OK)
        status = es_str_check(&tail, err);
    es_str_free(&tail);
    return status;
}

static es_status trace_conversation(const es_model *model, const es_conversation *talk, const trace_options *o,
                                    es_str *json, es_error *err)
{
    recorder r = {0};
    es_prompt prompt = {talk->messages, talk->message_count, talk->pictures, talk->picture_count};
    es_status status = ES_OK;
    es_str_append(json, "{\"model\": ");
    es_str_append_json(json, model->dir);
    es_str_append(json, ", \"device\": ");
    es_str_append_json(json, model->device->detail);
    if (o->dump != NULL)
        status = es_tensors_out_create(&r.out, err);
    if (status == ES_OK)
        status = append_prompt(json, model, &prompt, &r, err);
    if (status == ES_OK)
        status = run_engine(model, &prompt, o, &r, json, err);
    if (status == ES_OK && o->dump != NULL)
        status = write_dump(&r, talk, o->dump, err);
    recorder_free(&r);
    es_str_append(json, "}\n");
    return status == ES_OK ? es_str_check(json, err) : status;
}

static es_status trace(const trace_options *o, const es_settings *settings, es_str *json, es_error *err)
{
    es_device *device = NULL;
    es_model *model = NULL;
    es_conversation talk = {0};
    char *dir = NULL;
    ES_TRY(es_find_model(o->model, &dir, err));
    es_status status = es_open_device(settings, false, &device, err);
    if (status == ES_OK && o->floats && !es_device_is_mlx(device))
        es_cpu_in_floats(device);
    else if (status == ES_OK && o->floats)
        status = es_fail(err, ES_ERR_ARGUMENT, "--floats is of the cpu device: say --device cpu");
    if (status == ES_OK)
        status = es_model_open(&model, device, dir, err);
    if (status == ES_OK)
        status = es_conversation_open(&talk, o->messages, &model->preprocess, err);
    if (status == ES_OK)
        status = trace_conversation(model, &talk, o, json, err);
    es_conversation_free(&talk);
    es_model_free(model);
    es_device_free(device);
    free(dir);
    return status;
}

static int read_flag(void *context, size_t index, const char *value)
{
    trace_options *o = context;
    switch (index) {
    case FLAG_MESSAGES:
        o->messages = value;
        return ES_EXIT_OK;
    case FLAG_DUMP:
        o->dump = value;
        return ES_EXIT_OK;
    case FLAG_OUTPUT:
        o->output = value;
        return ES_EXIT_OK;
    case FLAG_IGNORE_EOS:
        o->ignore_eos = true;
        return ES_EXIT_OK;
    case FLAG_FLOATS:
        o->floats = true;
        return ES_EXIT_OK;
    case FLAG_MAX_TOKENS:
        if (es_parse_int(value, 0, 1000000, &o->max_tokens))
            return ES_EXIT_OK;
        es_complain("--max-tokens: \"%s\" is not a whole number from 0 to 1000000", value);
        return ES_EXIT_USAGE;
    default:
        if (es_parse_int(value, 1, 1000000, &o->top))
            return ES_EXIT_OK;
        es_complain("--top: \"%s\" is not a whole number from 1 to 1000000", value);
        return ES_EXIT_USAGE;
    }
}

static int read_operand(void *context, const char *value)
{
    trace_options *o = context;
    if (o->model != NULL) {
        es_complain("trace takes one model, not also %s", value);
        return ES_EXIT_USAGE;
    }
    o->model = value;
    return ES_EXIT_OK;
}

static int run(const trace_options *o, const es_settings *settings)
{
    es_error err = {0};
    es_str json = {0};
    int code = ES_EXIT_OK;
    es_status status = trace(o, settings, &json, &err);
    if (status == ES_OK && o->output != NULL)
        status = es_file_write(o->output, es_str_text(&json), json.length, 0666, &err);
    if (status != ES_OK)
        code = es_complain_error(&err);
    else if (o->output == NULL && !es_print(es_str_text(&json)))
        code = ES_EXIT_FAILED;
    es_str_free(&json);
    return code;
}

int es_cmd_trace(int argc, char **argv)
{
    trace_options o = {.max_tokens = 32, .top = 10};
    es_reader reader = {read_flag, read_operand, &o};
    es_settings *settings = NULL;
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done) {
        if (o.model == NULL && es_settings_source(settings, ES_SETTING_MODEL) == ES_FROM_FLAG)
            o.model = es_settings_text(settings, ES_SETTING_MODEL);
        if (o.model == NULL || o.messages == NULL) {
            es_complain("trace needs %s: see 'escriba help trace'",
                        o.model == NULL ? "a model" : "--messages FILE.json");
            code = ES_EXIT_USAGE;
        } else {
            code = run(&o, settings);
        }
    }
    es_settings_free(settings);
    return code;
}
