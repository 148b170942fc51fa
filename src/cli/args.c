/* args.c - the flags of a verb: read, explained, and guessed when misspelt. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* Longest word that is compared with the known ones. */
#define WORD_MAX 40

/* Edits (insert, delete, replace, swap of neighbours) between two words; words too long are far from everything. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    size_t rows[3][WORD_MAX + 1] = {{0}};
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *one = rows[(i + 2) % 3], *two = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = one[j - 1] + (a[i - 1] != b[j - 1]);
            best = one[j] + 1 < best ? one[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two[j - 2] + 1 < best)
                best = two[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *es_nearest(const char *word, const void *items, size_t n, size_t stride)
{
    const char *best = NULL;
    size_t least = strlen(word) < 5 ? 2 : 3; /* at most one slip in a short word, two in a longer one */
    for (size_t i = 0; i < n; i++) {
        const char *name = *(const char *const *)(const void *)((const char *)items + i * stride);
        size_t d = distance(word, name);
        if (d < least) {
            least = d;
            best = name;
        }
    }
    return best;
}

static bool setting_wanted(const es_usage *usage, size_t id)
{
    const es_setting *row = es_setting_at(id);
    return row->flag != NULL && (row->group & usage->settings) != 0;
}

static es_arg unknown_flag(const es_usage *usage, const char *name)
{
    const char *names[ES_SETTING_COUNT + 34];
    size_t n = 0;
    for (size_t i = 0; i < usage->flag_count && n < 32; i++)
        names[n++] = usage->flags[i].name;
    for (size_t i = 0; i < ES_SETTING_COUNT; i++)
        if (setting_wanted(usage, i))
            names[n++] = es_setting_at(i)->flag;
    names[n++] = "--help";
    if (usage->settings != 0)
        names[n++] = "--config";
    const char *near = es_nearest(name, names, n, sizeof *names);
    if (near != NULL)
        es_complain("%s does not know the flag %s: did you mean %s?", usage->verb, name, near);
    else
        es_complain("%s does not know the flag %s: see 'escriba help %s'", usage->verb, name, usage->verb);
    return ES_ARG_BAD;
}

/* Takes the value of a flag: what follows "=", or the next argument. */
static bool take_value(es_args *args, const es_usage *usage, const char *name, const char *inside,
                       const char *value_name, const char **value)
{
    *value = inside;
    if (inside == NULL && args->at < args->argc)
        *value = args->argv[args->at++];
    if (*value == NULL)
        es_complain("%s: %s needs a value: %s %s", usage->verb, name, name, value_name);
    return *value != NULL;
}

/* Finds the flag by name; its value, where it has one, is taken. */
static es_arg read_flag(es_args *args, const es_usage *usage, const char *name, const char *inside, size_t *index,
                        const char **value)
{
    for (size_t i = 0; i < usage->flag_count; i++) {
        if (strcmp(name, usage->flags[i].name) != 0)
            continue;
        *index = i;
        if (usage->flags[i].value != NULL)
            return take_value(args, usage, name, inside, usage->flags[i].value, value) ? ES_ARG_FLAG : ES_ARG_BAD;
        if (inside == NULL)
            return ES_ARG_FLAG;
        es_complain("%s: %s takes no value", usage->verb, name);
        return ES_ARG_BAD;
    }
    for (size_t i = 0; i < ES_SETTING_COUNT; i++) {
        const es_setting *row = es_setting_at(i);
        if (!setting_wanted(usage, i))
            continue;
        if (strcmp(name, row->flag) != 0 && (row->alias == NULL || strcmp(name, row->alias) != 0))
            continue;
        *index = i;
        *value = inside != NULL ? inside : "true";
        if (row->value != NULL && !take_value(args, usage, name, inside, row->value, value))
            return ES_ARG_BAD;
        return ES_ARG_SETTING;
    }
    return unknown_flag(usage, name);
}

es_arg es_args_next(es_args *args, const es_usage *usage, size_t *index, const char **value)
{
    for (;;) {
        *value = NULL;
        if (args->at >= args->argc)
            return ES_ARG_END;
        const char *word = args->argv[args->at++];
        if (args->only_operands || word[0] != '-' || word[1] == '\0') {
            *value = word;
            return ES_ARG_OPERAND;
        }
        if (strcmp(word, "--") == 0) {
            args->only_operands = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            es_usage_print(stdout, usage);
            return ES_ARG_HELP;
        }
        char name[WORD_MAX + 1];
        const char *equals = strchr(word, '=');
        size_t n = equals != NULL ? (size_t)(equals - word) : strlen(word);
        if (n > WORD_MAX)
            n = WORD_MAX;
        memcpy(name, word, n);
        name[n] = '\0';
        const char *inside = equals != NULL ? equals + 1 : NULL;
        if (usage->settings != 0 && strcmp(name, "--config") == 0) {
            if (!take_value(args, usage, name, inside, "FILE", value))
                return ES_ARG_BAD;
            continue; /* was read before: es_find_config_flag */
        }
        return read_flag(args, usage, name, inside, index, value);
    }
}

const char *es_find_config_flag(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
    }
    return NULL;
}

static void print_flag(FILE *out, const char *name, const char *value, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", name, value != NULL ? " " : "", value != NULL ? value : "");
    fprintf(out, "  %-26s %s\n", left, help);
}

void es_usage_print(FILE *out, const es_usage *usage)
{
    fprintf(out, "usage: escriba %s %s\n\n%s", usage->verb, usage->synopsis, usage->text);
    fprintf(out, "\nflags:\n");
    for (size_t i = 0; i < usage->flag_count; i++)
        print_flag(out, usage->flags[i].name, usage->flags[i].value, usage->flags[i].help);
    for (size_t i = 0; i < ES_SETTING_COUNT; i++)
        if (setting_wanted(usage, i))
            print_flag(out, es_setting_at(i)->flag, es_setting_at(i)->value, es_setting_at(i)->help);
    if (usage->settings != 0)
        print_flag(out, "--config", "FILE", "read settings from FILE instead of the usual places");
    print_flag(out, "--help", NULL, "this text");
    if (usage->examples != NULL)
        fprintf(out, "\nexamples:\n%s", usage->examples);
    fflush(out);
}

static int read_one(es_args *args, const es_usage *usage, const es_reader *reader, es_settings *settings, bool *end,
                    bool *done)
{
    size_t index = 0;
    const char *value = NULL;
    es_error err = {0};
    switch (es_args_next(args, usage, &index, &value)) {
    case ES_ARG_END:
        *end = true;
        return ES_EXIT_OK;
    case ES_ARG_HELP:
        *end = *done = true;
        return ES_EXIT_OK;
    case ES_ARG_BAD:
        return ES_EXIT_USAGE;
    case ES_ARG_FLAG:
        return reader->flag(reader->context, index, value);
    case ES_ARG_SETTING:
        if (es_settings_set(settings, index, value, ES_FROM_FLAG, es_setting_at(index)->flag, &err) == ES_OK)
            return ES_EXIT_OK;
        return es_complain_error(&err);
    case ES_ARG_OPERAND:
        break;
    }
    if (reader->operand != NULL)
        return reader->operand(reader->context, value);
    es_complain("%s takes no argument such as %s: see 'escriba help %s'", usage->verb, value, usage->verb);
    return ES_EXIT_USAGE;
}

int es_read_command_line(int argc, char **argv, const es_usage *usage, const es_reader *reader, es_settings **settings,
                         bool *done)
{
    es_args args = {.argc = argc, .argv = argv, .at = 1};
    es_error err = {0};
    bool end = false;
    int code = ES_EXIT_OK;
    *done = false;
    es_status status = usage->settings == 0 ? es_settings_create(settings, &err)
                                            : es_read_settings(settings, es_find_config_flag(argc, argv), &err);
    if (status != ES_OK) {
        es_complain_error(&err);
        return ES_EXIT_USAGE;
    }
    while (code == ES_EXIT_OK && !end)
        code = read_one(&args, usage, reader, *settings, &end, done);
    return code;
}
