/* cli_util.c - lines, numbers and settings as all verbs need them. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/cli.h"

void es_complain(const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *at = line; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = '?'; /* a file name may hold newlines or terminal codes; an error stays one harmless line */
    fprintf(stderr, "escriba: %s\n", line);
}

int es_complain_error(const es_error *err)
{
    es_complain("%s", err->message[0] != '\0' ? err->message : es_status_name(err->status));
    return err->status == ES_ERR_ARGUMENT ? ES_EXIT_USAGE : ES_EXIT_FAILED;
}

bool es_print(const char *text)
{
    errno = 0;
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return true;
    if (errno != EPIPE)
        es_complain("cannot write to stdout: %s", strerror(errno));
    return false;
}

bool es_parse_int(const char *text, long long low, long long high, long long *value)
{
    char *end = NULL;
    if (!isdigit((unsigned char)*text) && *text != '-')
        return false;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= low && *value <= high;
}

bool es_parse_number(const char *text, double low, double high, double *value)
{
    char *end = NULL;
    if (*text == '\0' || strspn(text, "0123456789.eE+-") != strlen(text))
        return false;
    errno = 0;
    *value = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && isfinite(*value) && *value >= low && *value <= high;
}

const char *es_human_bytes(double bytes, char out[32])
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit < 4) {
        bytes /= 1000;
        unit++;
    }
    int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    snprintf(out, 32, "%.*f %s", decimals, bytes, units[unit]);
    return out;
}

const char *es_human_seconds(double seconds, char out[32])
{
    if (!(seconds >= 0 && seconds < 3.6e8)) {
        snprintf(out, 32, "?");
        return out;
    }
    long s = lround(seconds);
    if (s >= 3600)
        snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
    return out;
}

void es_append_seconds(es_str *out, double seconds)
{
    es_str_append_format(out, "%.3f", isfinite(seconds) ? seconds : 0.0);
}

char *es_clean_utf8(const char *text)
{
    es_str clean = {0};
    for (size_t n = strlen(text), i = 0; i < n;) {
        size_t len = es_utf8_length(text + i, n - i);
        if (len == 0)
            es_str_append(&clean, "\xEF\xBF\xBD");
        else
            es_str_append_n(&clean, text + i, len);
        i += len == 0 ? 1 : len;
    }
    return es_str_take(&clean, NULL);
}

static const char *get_variable(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

/* A file under a directory that a variable names; fine when either is missing. */
static es_status read_under(es_settings *settings, const char *variable, const char *name, es_error *err)
{
    const char *dir = getenv(variable);
    if (dir == NULL || *dir == '\0')
        return ES_OK;
    char *path = es_path_join(dir, name);
    if (path == NULL)
        return es_fail_memory(err, "a path", 0);
    es_status status = es_settings_read_file(settings, path, false, err);
    free(path);
    return status;
}

static es_status read_files(es_settings *settings, const char *config, es_error *err)
{
    if (config != NULL)
        return es_settings_read_file(settings, config, true, err);
    ES_TRY(read_under(settings, "HOME", ".escribano/.env", err));
    const char *xdg = getenv("XDG_CONFIG_HOME");
    if (xdg != NULL && *xdg != '\0')
        return read_under(settings, "XDG_CONFIG_HOME", "escriba/config", err);
    return read_under(settings, "HOME", ".config/escriba/config", err);
}

es_status es_read_settings(es_settings **settings, const char *config, es_error *err)
{
    ES_TRY(es_settings_create(settings, err));
    es_status status = read_files(*settings, config, err);
    if (status == ES_OK)
        status = es_settings_read_variables(*settings, get_variable, NULL, err);
    if (status != ES_OK) {
        es_settings_free(*settings);
        *settings = NULL;
    }
    return status;
}
