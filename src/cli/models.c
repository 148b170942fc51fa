/* models.c - `escriba models`: what is here that could be run. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "hub/hub.h"

static const es_flag flags[] = {
    {"--json", NULL, "a JSON array instead of a table"},
};

static const es_usage usage = {
    .verb = "models",
    .synopsis = "[--json]",
    .text = "Lists the Qwen3-VL models on this machine: those that came with the program or lie in $ESCRIBA_MODELS, "
            "and those\n"
            "in the cache that programs share for the hub's models. Each name can be given to --model. A model that is "
            "not\n"
            "whole is completed by `escriba pull`.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .examples = "  escriba models\n"
                "  escriba models --json | python3 -m json.tool\n"
                "  escriba describe --model mlx-community/Qwen3-VL-2B-Instruct-4bit frames/\n",
};

static const char *source_name(es_hub_source source)
{
    return source == ES_HUB_BOX ? "box" : "cache";
}

static void append_json(es_str *out, const es_hub_model *m, bool last)
{
    es_str_append(out, "  {\"name\": ");
    es_str_append_json(out, m->name);
    es_str_append(out, ", \"path\": ");
    es_str_append_json(out, m->path);
    es_str_append_format(out, ", \"source\": \"%s\", \"bytes\": %llu, \"precision\": ", source_name(m->source),
                         (unsigned long long)m->size);
    es_str_append_json(out, m->precision);
    es_str_append_format(out, ", \"complete\": %s, \"missing\": ", m->complete ? "true" : "false");
    if (m->complete)
        es_str_append(out, "null");
    else
        es_str_append_json(out, m->missing);
    es_str_append(out, last ? "}\n" : "},\n");
}

/* One line of the table. Folder names may hold anything: what could steer a terminal is replaced. */
static void append_line(es_str *out, const es_hub_model *m, int width)
{
    char size[32];
    size_t start = out->length;
    es_str_append_format(out, "%-*s  %8s  %-16s  %s%s%s  %s", width, m->name, es_human_bytes((double)m->size, size),
                         m->precision, m->complete ? "complete" : "partial (no ", m->complete ? "" : m->missing,
                         m->complete ? "" : ")", m->path);
    for (size_t i = start; !out->failed && i < out->length; i++) {
        if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7f)
            out->data[i] = '?';
    }
    es_str_append(out, "\n");
}

static int print_models(const es_hub_models *models, bool json)
{
    es_str out = {0};
    int width = 0;
    if (json)
        es_str_append(&out, "[\n");
    for (size_t i = 0; i < models->count; i++) {
        int n = (int)strlen(models->items[i].name); /* a folder name: at most 255 bytes */
        width = n > width ? n : width;
    }
    for (size_t i = 0; i < models->count; i++) {
        if (json)
            append_json(&out, &models->items[i], i + 1 == models->count);
        else
            append_line(&out, &models->items[i], width);
    }
    if (json)
        es_str_append(&out, "]\n");
    es_error err = {0};
    int code = ES_EXIT_OK;
    if (es_str_check(&out, &err) != ES_OK)
        code = es_complain_error(&err);
    else if (!es_print(es_str_text(&out)))
        code = ES_EXIT_FAILED;
    es_str_free(&out);
    return code;
}

int es_cmd_models(int argc, char **argv)
{
    es_args args = {.argc = argc, .argv = argv, .at = 1};
    bool json = false;
    for (;;) {
        size_t index = 0;
        const char *value = NULL;
        es_arg kind = es_args_next(&args, &usage, &index, &value);
        if (kind == ES_ARG_END)
            break;
        if (kind == ES_ARG_HELP)
            return ES_EXIT_OK;
        if (kind == ES_ARG_OPERAND)
            es_complain("models takes no argument such as %s: see 'escriba help models'", value);
        if (kind != ES_ARG_FLAG)
            return ES_EXIT_USAGE;
        json = true;
    }
    es_hub_models models;
    es_error err = {0};
    if (es_hub_list(&models, &err) != ES_OK)
        return es_complain_error(&err);
    if (models.count == 0 && !json)
        es_complain("no models here: 'escriba pull Qwen/Qwen3-VL-2B-Instruct' gets one");
    int code = print_models(&models, json);
    es_hub_models_free(&models);
    return code;
}
