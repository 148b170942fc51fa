#include "hub/cache.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "hub/listing.h"

#define MAX_TOKEN_FILE 4096 /* bytes */

/* The hub's own rule for the two parts of a name. */
static bool is_name_part(const char *text, size_t n)
{
    if (n == 0 || n > 96 || strchr("-.", text[0]) != NULL || strchr("-.", text[n - 1]) != NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool doubled = i > 0 && text[i] == text[i - 1] && (text[i] == '-' || text[i] == '.');
        if (doubled || (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL))
            return false;
    }
    return true;
}

/* A revision becomes a path below refs/ and a part of a URL. */
static bool is_revision(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n >= 200 || text[0] == '/' || text[n - 1] == '/' || strstr(text, "..") != NULL ||
        strstr(text, "//") != NULL || strstr(text, "/.") != NULL || text[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr("-_./+", text[i]) == NULL)
            return false;
    }
    return true;
}

es_status es_hub_name_parse(es_hub_name *name, const char *text, es_error *err)
{
    *name = (es_hub_name){0};
    size_t n = strcspn(text, "@");
    const char *slash = memchr(text, '/', n);
    size_t org = slash != NULL ? (size_t)(slash - text) : 0;
    if (slash == NULL || !is_name_part(text, org) || !is_name_part(slash + 1, n - org - 1))
        return es_fail(err, ES_ERR_ARGUMENT,
                       "\"%.200s\" is not the name of a model: write ORG/NAME or ORG/NAME@REVISION", text);
    const char *revision = text[n] == '@' ? text + n + 1 : "main";
    if (!is_revision(revision))
        return es_fail(err, ES_ERR_ARGUMENT, "\"%.200s\": not a revision after the @: a branch, a tag or a commit",
                       text);
    snprintf(name->repo, sizeof name->repo, "%.*s", (int)n, text);
    snprintf(name->folder, sizeof name->folder, "models--%.*s--%.*s", (int)org, text, (int)(n - org - 1), slash + 1);
    snprintf(name->revision, sizeof name->revision, "%s", revision);
    name->has_revision = text[n] == '@';
    return ES_OK;
}

/* The variable's value, NULL when unset or empty. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* A path from the environment with a leading ~ and $NAME, ${NAME} replaced, as other clients of the cache do. */
static es_status expand(const char *path, char **out, es_error *err)
{
    es_str s = {0};
    const char *p = path;
    if (p[0] == '~' && (p[1] == '/' || p[1] == '\0') && variable("HOME") != NULL) {
        es_str_append(&s, variable("HOME"));
        p++;
    }
    while (*p != '\0') {
        const char *start = p[0] == '$' ? p + 1 + (p[1] == '{') : NULL;
        size_t n = 0;
        while (start != NULL && (isalnum((unsigned char)start[n]) || start[n] == '_'))
            n++;
        char key[128];
        bool whole = n > 0 && n < sizeof key && (p[1] != '{' || start[n] == '}');
        if (whole) {
            memcpy(key, start, n);
            key[n] = '\0';
        }
        if (whole && getenv(key) != NULL) {
            es_str_append(&s, getenv(key));
            p = start + n + (p[1] == '{');
        } else {
            es_str_append_n(&s, p++, 1);
        }
    }
    *out = es_str_take(&s, err);
    return *out != NULL ? ES_OK : ES_ERR_MEMORY;
}

static es_status join(const char *dir, const char *name, char **out, es_error *err)
{
    *out = es_path_join(dir, name);
    return *out != NULL ? ES_OK : es_fail_memory(err, "a path", 0);
}

es_status es_hub_home_dir(char **dir, es_error *err)
{
    if (variable("HF_HOME") != NULL)
        return expand(variable("HF_HOME"), dir, err);
    char *base = NULL;
    if (variable("XDG_CACHE_HOME") != NULL)
        return join(variable("XDG_CACHE_HOME"), "huggingface", dir, err);
    if (variable("HOME") == NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "no folder for models: set HOME, or HF_HUB_CACHE to the folder to use");
    ES_TRY(join(variable("HOME"), ".cache/huggingface", &base, err));
    *dir = base;
    return ES_OK;
}

es_status es_hub_cache_dir(char **dir, es_error *err)
{
    char *home;
    if (variable("HF_HUB_CACHE") != NULL)
        return expand(variable("HF_HUB_CACHE"), dir, err);
    if (variable("HUGGINGFACE_HUB_CACHE") != NULL)
        return expand(variable("HUGGINGFACE_HUB_CACHE"), dir, err);
    ES_TRY(es_hub_home_dir(&home, err));
    es_status status = join(home, "hub", dir, err);
    free(home);
    return status;
}

static bool is_true(const char *value)
{
    static const char *const yes[] = {"1", "on", "yes", "true"};
    for (size_t i = 0; value != NULL && i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(value, yes[i]) == 0)
            return true;
    }
    return false;
}

bool es_hub_offline(void)
{
    const char *value = variable("HF_HUB_OFFLINE");
    return is_true(value != NULL ? value : variable("TRANSFORMERS_OFFLINE"));
}

es_status es_hub_endpoint(char **endpoint, es_error *err)
{
    const char *value = variable("HF_ENDPOINT");
    *endpoint = es_strdup(value != NULL ? value : "https://huggingface.co");
    if (*endpoint == NULL)
        return es_fail_memory(err, "an address", 0);
    for (size_t n = strlen(*endpoint); n > 0 && (*endpoint)[n - 1] == '/'; n--)
        (*endpoint)[n - 1] = '\0';
    return ES_OK;
}

/* The token without the white space that editors and shells leave around it; NULL when nothing is left. */
static es_status clean_token(const char *text, char **token, es_error *err)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    *token = NULL;
    if (n == 0)
        return ES_OK;
    *token = es_strndup(text, n);
    return *token != NULL ? ES_OK : es_fail_memory(err, "the access token", n);
}

es_status es_hub_token(char **token, es_error *err)
{
    char *path = NULL, *home = NULL, *text = NULL;
    size_t size;
    *token = NULL;
    const char *value = variable("HF_TOKEN");
    if (value != NULL)
        return clean_token(value, token, err);
    if (variable("HF_TOKEN_PATH") != NULL) {
        ES_TRY(expand(variable("HF_TOKEN_PATH"), &path, err));
    } else {
        es_status status = es_hub_home_dir(&home, err);
        if (status == ES_ERR_ARGUMENT)
            return ES_OK; /* no home, no token */
        ES_TRY(status);
        status = join(home, "token", &path, err);
        free(home);
        ES_TRY(status);
    }
    es_status status = ES_OK;
    if (es_file_exists(path))
        status = es_file_read(path, MAX_TOKEN_FILE, &text, &size, err);
    if (text != NULL)
        status = clean_token(text, token, err);
    free(text);
    free(path);
    return status;
}

bool es_hub_read_ref(const char *repo_dir, const char *revision, char commit[ES_SHA1_HEX + 1])
{
    char path[PATH_MAX], text[ES_SHA1_HEX + 2]; /* other programs write the commit alone; an editor adds a newline */
    int n = snprintf(path, sizeof path, "%s/refs/%s", repo_dir, revision);
    int fd = n > 0 && (size_t)n < sizeof path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    text[strcspn(text, " \r\n")] = '\0';
    if (!es_hub_is_hex(text, ES_SHA1_HEX))
        return false;
    memcpy(commit, text, ES_SHA1_HEX + 1);
    return true;
}

es_status es_hub_list_dir(const char *path, es_names *names, es_error *err)
{
    es_status status = es_dir_list(path, names, err);
    if (status != ES_ERR_IO)
        return status;
    *names = (es_names){0};
    return ES_OK;
}

/* The one folder of snapshots whose name begins like `prefix` (7 digits or more); NULL when there are none or several.
 */
static const char *by_prefix(const es_names *names, const char *prefix)
{
    const char *found = NULL;
    size_t n = strlen(prefix);
    if (n < 7)
        return NULL;
    for (size_t i = 0; i < names->count; i++) {
        if (strncmp(names->items[i], prefix, n) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = names->items[i];
    }
    return found;
}

es_status es_hub_find_snapshot(char **dir, const char *repo_dir, const char *revision, es_error *err)
{
    char commit[ES_SHA1_HEX + 1];
    es_names names = {0};
    *dir = NULL;
    char *snapshots = es_path_join(repo_dir, "snapshots");
    if (snapshots == NULL)
        return es_fail_memory(err, "a path", 0);
    const char *which = NULL;
    es_status status = ES_OK;
    if (es_hub_read_ref(repo_dir, revision, commit)) {
        which = commit;
    } else if (es_hub_is_hex(revision, strlen(revision))) {
        status = es_hub_list_dir(snapshots, &names, err);
        which = by_prefix(&names, revision);
    }
    if (status == ES_OK && which != NULL)
        status = join(snapshots, which, dir, err);
    if (*dir != NULL && !es_dir_exists(*dir)) {
        free(*dir);
        *dir = NULL;
    }
    es_names_free(&names);
    free(snapshots);
    return status;
}
