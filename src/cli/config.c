/* config.c - each setting, its value and where it came from. */
#include "cli/cli.h"

enum { FLAG_JSON };
static const es_flag flags[] = {{"--json", NULL, "print JSON"}};
static const es_usage usage = {
    .verb = "config",
    .synopsis = "[FLAGS]",
    .text = "Shows each setting, its value and where it came from. Flags win over environment variables, these over "
            "config\n"
            "files ($XDG_CONFIG_HOME/escriba/config or ~/.config/escriba/config, then ~/.escribano/.env; lines of\n"
            "VARIABLE=VALUE), these over defaults. Any flag of a setting may be given, to see what it would do.\n",
    .flags = flags,
    .flag_count = 1,
    .settings = ES_SET_MODEL | ES_SET_FRAMES | ES_SET_SAMPLING | ES_SET_COMMON | ES_SET_WORDS,
    .examples = "  escriba config\n"
                "  ESCRIBANO_VLM_MAX_TOKENS=200 escriba config --temperature 0.7\n"
                "  escriba config --json --config other.env\n",
};

static int read_flag(void *context, size_t index, const char *value)
{
    (void)index;
    (void)value;
    *(bool *)context = true;
    return ES_EXIT_OK;
}

static void append_value(es_str *out, const es_settings *settings, es_setting_id id)
{
    if (es_setting_at(id)->secret && *es_settings_text(settings, id) != '\0') {
        es_str_append(out, "\"***\"");
        return;
    }
    switch (es_setting_at(id)->type) {
    case ES_TYPE_INT:
        es_str_append_format(out, "%lld", (long long)es_settings_int(settings, id));
        break;
    case ES_TYPE_NUMBER:
        es_str_append_format(out, "%.10g", es_settings_number(settings, id));
        break;
    case ES_TYPE_BOOL:
        es_str_append(out, es_settings_bool(settings, id) ? "true" : "false");
        break;
    default:
        es_str_append_json(out, es_settings_text(settings, id));
    }
}

static void append_json(es_str *out, const es_settings *settings)
{
    es_str_append(out, "{\"settings\": [\n");
    for (size_t i = 0; i < ES_SETTING_COUNT; i++) {
        const es_setting *row = es_setting_at(i);
        es_str_append_format(out, "%s  {\"name\": \"%s\", \"value\": ", i > 0 ? ",\n" : "", row->name);
        append_value(out, settings, (es_setting_id)i);
        es_str_append_format(
            out, ", \"source\": \"%s\", \"where\": ", es_source_name(es_settings_source(settings, (es_setting_id)i)));
        es_str_append_json(out, es_settings_where(settings, (es_setting_id)i));
        es_str_append_format(out, ", \"flag\": \"%s\", \"variable\": \"%s\", \"default\": ", row->flag, row->variable);
        es_str_append_json(out, row->standard);
        es_str_append(out, "}");
    }
    es_str_append(out, "\n], \"files\": [");
    for (size_t i = 0; i < es_settings_file_count(settings); i++) {
        es_str_append(out, i > 0 ? ", " : "");
        es_str_append_json(out, es_settings_file_at(settings, i));
    }
    es_str_append(out, "]}\n");
}

static void append_table(es_str *out, const es_settings *settings)
{
    es_str_append_format(out, "%-20s %-24s %-32s %s\n", "setting", "value", "variable", "from");
    for (size_t i = 0; i < ES_SETTING_COUNT; i++) {
        const es_setting *row = es_setting_at(i);
        const char *where = es_settings_where(settings, (es_setting_id)i);
        es_str value = {0};
        append_value(&value, settings, (es_setting_id)i);
        es_str_append_format(out, "%-20s %-24s %-32s %s\n", row->name, es_str_text(&value), row->variable,
                             *where != '\0' ? where : "default");
        es_str_free(&value);
    }
    for (size_t i = 0; i < es_settings_file_count(settings); i++)
        es_str_append_format(out, "read: %s\n", es_settings_file_at(settings, i));
}

int es_cmd_config(int argc, char **argv)
{
    bool json = false, done;
    es_reader reader = {read_flag, NULL, &json};
    es_settings *settings = NULL;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done) {
        es_str out = {0};
        es_error err = {0};
        if (json)
            append_json(&out, settings);
        else
            append_table(&out, settings);
        if (es_str_check(&out, &err) != ES_OK)
            code = es_complain_error(&err);
        else if (!es_print(es_str_text(&out)))
            code = ES_EXIT_FAILED;
        es_str_free(&out);
    }
    es_settings_free(settings);
    return code;
}
