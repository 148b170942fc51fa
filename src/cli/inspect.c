/* inspect.c - what a model's files hold, without computing anything. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "model/config.h"
#include "model/safetensors.h"

enum { FLAG_JSON, FLAG_SUMMARY };
static const es_flag flags[] = {{"--json", NULL, "print JSON"}, {"--summary", NULL, "leave the list of tensors out"}};
static const es_usage usage = {
    .verb = "inspect",
    .synopsis = "MODEL [FLAGS]",
    .text =
        "Tells what a model's files hold: its shape in short, the bytes and parameters of each part, its precision,\n"
        "and every tensor with type, shape and size.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .settings = 0,
    .examples = "  escriba inspect models/escriba-tiny\n"
                "  escriba inspect ./Qwen3-VL-2B-Instruct-4bit --json\n",
};

typedef struct options {
    const char *model;
    bool json, summary;
} options;

typedef enum part { VISION, MERGER, EMBEDDING, LAYERS, HEAD, OTHER, PARTS } part;
static const char *const part_names[PARTS] = {"vision tower", "mergers", "embedding", "text layers", "head", "other"};

typedef struct totals {
    size_t tensors, bytes;
    double parameters;
} totals;

typedef struct report {
    char *dir;
    es_model_config config;
    es_tensors *tensors;
    totals parts[PARTS];
    size_t dtype_bytes[4]; /* by es_dtype */
    char precision[96];
} report;

static part part_of(const char *name)
{
    bool vision = strstr(name, "visual.") != NULL || strstr(name, "vision_tower.") != NULL;
    if (vision)
        return strstr(name, "merger") != NULL ? MERGER : VISION;
    if (strstr(name, "embed_tokens") != NULL)
        return EMBEDDING;
    if (strstr(name, "lm_head") != NULL)
        return HEAD;
    return strstr(name, "layers.") != NULL ? LAYERS : OTHER;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Numbers that a tensor stands for: packed ones hold several in each word; scales and biases of groups hold none. */
static double parameters_of(const report *r, const es_view *view)
{
    double count = 1;
    char layer[256];
    for (int i = 0; i < view->n_dims; i++)
        count *= (double)view->dims[i];
    if (ends_with(view->name, ".scales") || (ends_with(view->name, ".biases") && r->config.quantized))
        return 0;
    if (view->dtype != ES_U32 || !ends_with(view->name, ".weight") || strlen(view->name) >= sizeof layer)
        return count;
    snprintf(layer, sizeof layer, "%.*s", (int)(strlen(view->name) - 7), view->name);
    int bits = es_model_config_quant(&r->config, layer).bits;
    return bits > 0 ? count * 32 / bits : count;
}

static void count_tensors(report *r)
{
    for (size_t i = 0; i < es_tensors_count(r->tensors); i++) {
        const es_view *view = es_tensors_at(r->tensors, i);
        totals *t = &r->parts[part_of(view->name)];
        t->tensors++;
        t->bytes += view->size;
        t->parameters += parameters_of(r, view);
        r->dtype_bytes[view->dtype] += view->size;
    }
    size_t best = 0;
    for (size_t i = 1; i < 4; i++)
        if (r->dtype_bytes[i] > r->dtype_bytes[best])
            best = i;
    if (r->config.quantized)
        snprintf(r->precision, sizeof r->precision, "%d bits in groups of %d%s", r->config.quant.bits,
                 r->config.quant.group, r->config.override_count > 0 ? ", some layers otherwise" : "");
    else
        snprintf(r->precision, sizeof r->precision, "%s", es_dtype_name((es_dtype)best));
}

static totals sum(const report *r)
{
    totals all = {0};
    for (size_t i = 0; i < PARTS; i++) {
        all.tensors += r->parts[i].tensors;
        all.bytes += r->parts[i].bytes;
        all.parameters += r->parts[i].parameters;
    }
    return all;
}

static void append_shape(es_str *out, const es_view *view)
{
    es_str_append(out, "[");
    for (int i = 0; i < view->n_dims; i++)
        es_str_append_format(out, "%s%lld", i > 0 ? ", " : "", (long long)view->dims[i]);
    es_str_append(out, "]");
}

static void append_config(es_str *out, const es_model_config *c)
{
    const es_vision_config *v = &c->vision;
    const es_text_config *t = &c->text;
    es_str_append_format(
        out,
        "text    %d layers of %d, %d heads (%d for keys and values) of %d, feed-forward %d, vocabulary "
        "%d, context %d, head %s\n",
        t->layers, t->hidden, t->heads, t->kv_heads, t->head_dim, t->intermediate, t->vocab, t->max_positions,
        t->tied_head ? "tied" : "of its own");
    es_str_append_format(out,
                         "vision  %d blocks of %d, %d heads, feed-forward %d, patches of %d, %d x %d to a token, "
                         "DeepStack after",
                         v->depth, v->hidden, v->heads, v->intermediate, v->patch_size, v->merge_size, v->merge_size);
    for (int32_t i = 0; i < v->deepstack_count; i++)
        es_str_append_format(out, "%s %d", i > 0 ? "," : "", v->deepstack[i]);
    es_str_append(out, v->deepstack_count > 0 ? "\n" : " none\n");
}

static void append_text(es_str *out, const report *r, bool summary)
{
    char bytes[32];
    totals all = sum(r);
    es_str_append_format(out, "%s\n%.4g million parameters in %zu tensors, %s, %s\n\n", r->dir, all.parameters / 1e6,
                         all.tensors, es_human_bytes((double)all.bytes, bytes), r->precision);
    append_config(out, &r->config);
    es_str_append_format(out, "\n%-14s %8s %16s %10s\n", "part", "tensors", "parameters", "size");
    for (size_t i = 0; i < PARTS; i++)
        if (r->parts[i].tensors > 0)
            es_str_append_format(out, "%-14s %8zu %16.0f %10s\n", part_names[i], r->parts[i].tensors,
                                 r->parts[i].parameters, es_human_bytes((double)r->parts[i].bytes, bytes));
    if (summary)
        return;
    es_str_append(out, "\n");
    for (size_t i = 0; i < es_tensors_count(r->tensors); i++) {
        const es_view *view = es_tensors_at(r->tensors, i);
        es_str shape = {0};
        append_shape(&shape, view);
        es_str_append_format(out, "%-4s %-20s %10s  %s\n", es_dtype_name(view->dtype), es_str_text(&shape),
                             es_human_bytes((double)view->size, bytes), view->name);
        es_str_free(&shape);
    }
}

static void append_json_config(es_str *out, const es_model_config *c)
{
    const es_vision_config *v = &c->vision;
    const es_text_config *t = &c->text;
    es_str_append_format(out,
                         "\"text\": {\"layers\": %d, \"hidden\": %d, \"heads\": %d, \"kv_heads\": %d, \"head_dim\": "
                         "%d, \"intermediate\": %d, \"vocab\": %d, \"context\": %d, \"tied_head\": %s}, ",
                         t->layers, t->hidden, t->heads, t->kv_heads, t->head_dim, t->intermediate, t->vocab,
                         t->max_positions, t->tied_head ? "true" : "false");
    es_str_append_format(out,
                         "\"vision\": {\"depth\": %d, \"hidden\": %d, \"heads\": %d, \"intermediate\": %d, "
                         "\"patch_size\": %d, \"merge_size\": %d, \"deepstack\": [",
                         v->depth, v->hidden, v->heads, v->intermediate, v->patch_size, v->merge_size);
    for (int32_t i = 0; i < v->deepstack_count; i++)
        es_str_append_format(out, "%s%d", i > 0 ? ", " : "", v->deepstack[i]);
    es_str_append(out, "]}, ");
}

static void append_json(es_str *out, const report *r, bool summary)
{
    totals all = sum(r);
    es_str_append(out, "{\"model\": ");
    es_str_append_json(out, r->dir);
    es_str_append(out, ", \"precision\": ");
    es_str_append_json(out, r->precision);
    es_str_append_format(out, ", \"parameters\": %.0f, \"tensors_total\": %zu, \"bytes\": %zu, ", all.parameters,
                         all.tensors, all.bytes);
    append_json_config(out, &r->config);
    es_str_append(out, "\"parts\": [");
    for (size_t i = 0; i < PARTS; i++)
        es_str_append_format(out, "%s{\"part\": \"%s\", \"tensors\": %zu, \"parameters\": %.0f, \"bytes\": %zu}",
                             i > 0 ? ", " : "", part_names[i], r->parts[i].tensors, r->parts[i].parameters,
                             r->parts[i].bytes);
    es_str_append(out, "]");
    if (!summary) {
        es_str_append(out, ", \"tensors\": [");
        for (size_t i = 0; i < es_tensors_count(r->tensors); i++) {
            const es_view *view = es_tensors_at(r->tensors, i);
            es_str_append(out, i > 0 ? ",\n  {\"name\": " : "\n  {\"name\": ");
            es_str_append_json(out, view->name);
            es_str_append_format(out, ", \"dtype\": \"%s\", \"shape\": ", es_dtype_name(view->dtype));
            append_shape(out, view);
            es_str_append_format(out, ", \"bytes\": %zu}", view->size);
        }
        es_str_append(out, "\n]");
    }
    es_str_append(out, "}\n");
}

static int read_flag(void *context, size_t index, const char *value)
{
    options *o = context;
    (void)value;
    *(index == FLAG_JSON ? &o->json : &o->summary) = true;
    return ES_EXIT_OK;
}

static int read_operand(void *context, const char *value)
{
    options *o = context;
    if (o->model != NULL) {
        es_complain("inspect takes one model, not also %s", value);
        return ES_EXIT_USAGE;
    }
    o->model = value;
    return ES_EXIT_OK;
}

static int inspect(const options *o)
{
    report r = {0};
    es_error err = {0};
    es_str out = {0};
    es_status status = es_find_model(o->model, &r.dir, &err);
    bool config_read = false;
    if (status == ES_OK)
        status = es_model_config_open(&r.config, r.dir, &err);
    config_read = status == ES_OK;
    if (status == ES_OK)
        status = es_tensors_open(&r.tensors, r.dir, &err);
    if (status == ES_OK) {
        count_tensors(&r);
        if (o->json)
            append_json(&out, &r, o->summary);
        else
            append_text(&out, &r, o->summary);
        status = es_str_check(&out, &err);
    }
    int code = ES_EXIT_OK;
    if (status != ES_OK)
        code = es_complain_error(&err);
    else if (!es_print(es_str_text(&out)))
        code = ES_EXIT_FAILED;
    es_str_free(&out);
    es_tensors_close(r.tensors);
    if (config_read)
        es_model_config_free(&r.config);
    free(r.dir);
    return code;
}

int es_cmd_inspect(int argc, char **argv)
{
    options o = {0};
    es_reader reader = {read_flag, read_operand, &o};
    es_settings *settings = NULL;
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done && o.model == NULL) {
        es_complain("inspect: which model? See 'escriba models'");
        code = ES_EXIT_USAGE;
    }
    if (code == ES_EXIT_OK && !done)
        code = inspect(&o);
    es_settings_free(settings);
    return code;
}
