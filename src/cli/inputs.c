#include "cli/inputs.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"

#define LIST_LIMIT ((size_t)64 << 20)
#define LATEST 3.6e8 /* seconds: 100,000 hours */

void es_inputs_free(es_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++) {
        free(inputs->items[i].path);
        free(inputs->items[i].key);
    }
    free(inputs->items);
    *inputs = (es_inputs){0};
}

/* Takes over path. */
static es_status add_path(es_inputs *inputs, char *path, es_error *err)
{
    void *items = inputs->items;
    char *key = path != NULL ? es_clean_utf8(path) : NULL;
    if (key == NULL || es_grow(&items, &inputs->capacity, inputs->count + 1, sizeof *inputs->items) != 0) {
        free(path);
        free(key);
        return es_fail_memory(err, "the list of frames", (inputs->count + 1) * sizeof *inputs->items);
    }
    inputs->items = items;
    inputs->items[inputs->count] = (es_input){path, key, -1, inputs->count};
    inputs->count++;
    return ES_OK;
}

int es_natural_compare(const char *a, const char *b)
{
    const char *x = a, *y = b;
    while (*x != '\0' && *y != '\0') {
        if (!isdigit((unsigned char)*x) || !isdigit((unsigned char)*y)) {
            if (*x != *y)
                return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
            x++;
            y++;
            continue;
        }
        x += strspn(x, "0");
        y += strspn(y, "0");
        size_t n = strspn(x, "0123456789"), m = strspn(y, "0123456789");
        int order = n != m ? (n < m ? -1 : 1) : strncmp(x, y, n);
        if (order != 0)
            return order;
        x += n;
        y += m;
    }
    if (*x != *y)
        return *x == '\0' ? -1 : 1;
    return strcmp(a, b); /* the same but for leading zeros */
}

static int compare_names(const void *a, const void *b)
{
    return es_natural_compare(*(char *const *)a, *(char *const *)b);
}

static bool is_picture(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp"};
    const char *dot = strrchr(name, '.');
    if (dot == NULL || name[0] == '.')
        return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static es_status add_directory(es_inputs *inputs, const char *dir, es_error *err)
{
    es_names names = {0};
    size_t before = inputs->count;
    ES_TRY(es_dir_list(dir, &names, err));
    if (names.count > 0)
        qsort(names.items, names.count, sizeof *names.items, compare_names);
    es_status status = ES_OK;
    for (size_t i = 0; i < names.count && status == ES_OK; i++)
        if (is_picture(names.items[i]))
            status = add_path(inputs, es_path_join(dir, names.items[i]), err);
    es_names_free(&names);
    if (status == ES_OK && inputs->count == before)
        status = es_fail(err, ES_ERR_IO, "%s: no pictures in this directory (.png, .jpg, .jpeg, .webp)", dir);
    return status;
}

static es_status add_stdin(es_inputs *inputs, es_error *err)
{
    char *line = NULL;
    size_t capacity = 0;
    es_status status = ES_OK;
    ssize_t n;
    while (status == ES_OK && (n = getline(&line, &capacity, stdin)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        if (n == 0)
            continue;
        if (strlen(line) != (size_t)n)
            status =
                es_fail(err, ES_ERR_ARGUMENT, "stdin: line %zu is no path: it holds a zero byte", inputs->count + 1);
        else
            status = add_path(inputs, es_strdup(line), err);
    }
    if (status == ES_OK && ferror(stdin))
        status = es_fail(err, ES_ERR_IO, "stdin: cannot read the list of frames: %s", strerror(errno));
    free(line);
    return status;
}

es_status es_inputs_add(es_inputs *inputs, const char *operand, es_error *err)
{
    if (strcmp(operand, "-") == 0)
        return add_stdin(inputs, err);
    if (es_dir_exists(operand))
        return add_directory(inputs, operand, err);
    if (*operand == '\0')
        return es_fail(err, ES_ERR_ARGUMENT, "a frame's path is empty");
    return add_path(inputs, es_strdup(operand), err);
}

/* --- when --- */

static es_status read_list(es_inputs *inputs, char *list, const char *name, es_error *err)
{
    size_t given = 0;
    for (char *at = list; *at != '\0';) {
        size_t n = strcspn(at, ",\n\r \t");
        char end = at[n];
        at[n] = '\0';
        if (n > 0) {
            double seconds;
            if (!es_parse_number(at, 0, LATEST, &seconds))
                return es_fail(err, ES_ERR_ARGUMENT, "--timestamps %s: number %zu, \"%.40s\", is not seconds", name,
                               given + 1, at);
            if (given < inputs->count)
                inputs->items[given].timestamp = seconds;
            given++;
        }
        at += n + (end != '\0');
    }
    if (given != inputs->count)
        return es_fail(err, ES_ERR_ARGUMENT, "--timestamps %s: %zu timestamps for %zu frames", name, given,
                       inputs->count);
    return ES_OK;
}

es_status es_inputs_date(es_inputs *inputs, const char *list, double interval, es_error *err)
{
    if (list != NULL) {
        char *text = NULL;
        size_t size = 0;
        if (es_file_exists(list))
            ES_TRY(es_file_read(list, LIST_LIMIT, &text, &size, err));
        else if ((text = es_strdup(list)) == NULL)
            return es_fail_memory(err, "timestamps", strlen(list));
        es_status status = read_list(inputs, text, strlen(list) < 60 ? list : "...", err);
        free(text);
        return status;
    }
    for (size_t i = 0; i < inputs->count; i++)
        inputs->items[i].timestamp = interval > 0 ? (double)i * interval : es_name_seconds(inputs->items[i].path);
    return ES_OK;
}

static bool digit_at(const char *s, size_t i)
{
    return isdigit((unsigned char)s[i]) != 0;
}

/* "00-01-30" (also with : . or _ between) not within a longer run of numbers, as a date and time would be. */
static double clock_seconds(const char *stem, size_t n)
{
    for (size_t i = 0; i + 8 <= n; i++) {
        const char *s = stem + i;
        char between = s[2];
        bool shape = strchr("-:._", between) != NULL && s[5] == between;
        for (size_t k = 0; k < 8 && shape; k++)
            shape = k % 3 == 2 || digit_at(s, k);
        if (!shape || s[3] > '5' || s[6] > '5')
            continue;
        bool longer = (i > 0 && (digit_at(s, 0) && isdigit((unsigned char)s[-1]))) || (i + 8 < n && digit_at(s, 8));
        bool dated = i > 1 && strchr("-:._", s[-1]) != NULL && isdigit((unsigned char)s[-2]);
        bool goes_on = i + 9 < n && s[8] == between && between != '.' && digit_at(s, 9);
        if (longer || dated || goes_on)
            continue;
        double seconds = (s[0] - '0') * 36000.0 + (s[1] - '0') * 3600.0 + (s[3] - '0') * 600.0 + (s[4] - '0') * 60.0 +
                         (s[6] - '0') * 10.0 + (s[7] - '0');
        char *end = NULL;
        if (i + 9 < n && s[8] == '.' && digit_at(s, 9))
            seconds += strtod(s + 8, &end);
        return seconds;
    }
    return -1;
}

/* "0030s", "12.5s", "1m30s", "1h02m03s", "1500ms" as a word of its own. */
static double unit_seconds(const char *stem, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!digit_at(stem, i) || (i > 0 && (isalnum((unsigned char)stem[i - 1]) || stem[i - 1] == '.')))
            continue;
        double total = 0;
        size_t at = i;
        while (at < n && digit_at(stem, at)) {
            size_t digits = strspn(stem + at, "0123456789.");
            if (digits > 15)
                break;
            double value = strtod(stem + at, NULL);
            at += digits;
            char unit = (char)tolower((unsigned char)stem[at]);
            bool milli = unit == 'm' && tolower((unsigned char)stem[at + 1]) == 's';
            if (unit != 's' && unit != 'm' && unit != 'h')
                break;
            total += milli ? value / 1000 : value * (unit == 'h' ? 3600 : unit == 'm' ? 60 : 1);
            at += milli ? 2 : 1;
            bool last = unit == 's' || milli;
            if (last && (at == n || !isalnum((unsigned char)stem[at])))
                return total <= LATEST ? total : -1;
            if (last)
                break;
        }
    }
    return -1;
}

double es_name_seconds(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    char *stem = es_strndup(name, dot != NULL ? (size_t)(dot - name) : strlen(name));
    if (stem == NULL)
        return -1;
    double seconds = unit_seconds(stem, strlen(stem));
    if (seconds < 0)
        seconds = clock_seconds(stem, strlen(stem));
    free(stem);
    return seconds;
}
