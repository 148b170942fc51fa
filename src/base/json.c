#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define DEPTH_MAX 2048 /* jansson's own bound */

/* A look at the grammar alone, to tell bad text from want of memory; see es_json_parse. */
typedef struct check {
    const char *at, *end;
} check;

static char next_of(check *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
    return c->at < c->end ? *c->at : '\0';
}

static bool check_string(check *c)
{
    if (next_of(c) != '"')
        return false;
    for (c->at++; c->at < c->end && *c->at != '"'; c->at++) {
        if ((unsigned char)*c->at < 0x20)
            return false;
        if (*c->at == '\\' && (++c->at == c->end || *c->at == '\0' || strchr("\"\\/bfnrtu", *c->at) == NULL))
            return false;
    }
    return c->at < c->end && *c->at++ == '"';
}

static bool check_digits(check *c)
{
    const char *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    return c->at > start;
}

static bool check_scalar(check *c)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(c->end - c->at) >= n && memcmp(c->at, words[i], n) == 0) {
            c->at += n;
            return true;
        }
    }
    c->at += c->at < c->end && *c->at == '-';
    const char *start = c->at;
    if (!check_digits(c) || (*start == '0' && c->at - start > 1))
        return false;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (!check_digits(c))
            return false;
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        c->at += c->at < c->end && (*c->at == '-' || *c->at == '+');
        return check_digits(c);
    }
    return true;
}

static bool check_value(check *c, int depth)
{
    char open = next_of(c), close = open == '{' ? '}' : ']';
    if (open == '"')
        return check_string(c);
    if (open != '{' && open != '[')
        return check_scalar(c);
    if (depth == DEPTH_MAX)
        return false;
    c->at++;
    if (next_of(c) == close) {
        c->at++;
        return true;
    }
    for (char next = ','; next == ','; c->at++) {
        if (open == '{' && (!check_string(c) || next_of(c) != ':' || c->at++ == c->end))
            return false;
        if (!check_value(c, depth + 1))
            return false;
        next = next_of(c);
        if (next != ',' && next != close)
            return false;
    }
    return true;
}

/* Where jansson had no memory it says so, or says nothing, or takes a string or key for a wrong token. */
static bool lacked_memory(const json_error_t *where, const char *text, size_t size)
{
    if (json_error_code(where) == json_error_out_of_memory || where->text[0] == '\0')
        return true;
    if (strncmp(where->text, "invalid token", 13) != 0 && strncmp(where->text, "string or '}' expected", 22) != 0)
        return false;
    check c = {text, text + size};
    return check_value(&c, 0) && next_of(&c) == '\0' && c.at == c.end;
}

es_status es_json_parse(json_t **root, const char *text, size_t size, const char *name, es_error *err)
{
    json_error_t where = {.text = ""};
    /* jansson bounds the depth itself (JSON_PARSER_MAX_DEPTH, 2048). */
    *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (*root != NULL)
        return ES_OK;
    if (lacked_memory(&where, text, size))
        return es_fail_memory(err, name, size);
    return es_fail(err, ES_ERR_FORMAT, "%s: not valid JSON: line %d, column %d: %s", name, where.line, where.column,
                   where.text);
}

es_status es_json_read(json_t **root, const char *path, size_t limit, es_error *err)
{
    char *text;
    size_t size;
    *root = NULL;
    ES_TRY(es_file_read(path, limit, &text, &size, err));
    es_status status = es_json_parse(root, text, size, path, err);
    free(text);
    if (status == ES_OK && !json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        status = es_fail(err, ES_ERR_FORMAT, "%s: must hold a JSON object", path);
    }
    return status;
}

/* The member, or NULL when it is absent or null; *status tells whether that is an error. */
static const json_t *member(const json_t *object, const char *where, const char *key, bool required, es_status *status,
                            es_error *err)
{
    const json_t *item = json_object_get(object, key);
    *status = ES_OK;
    if (item != NULL && !json_is_null(item))
        return item;
    if (required)
        *status = es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" is missing", where, key);
    return NULL;
}

es_status es_json_int(const json_t *object, const char *where, const char *key, bool required, int64_t low,
                      int64_t high, int64_t *value, es_error *err)
{
    es_status status;
    const json_t *item = member(object, where, key, required, &status, err);
    if (item == NULL)
        return status;
    if (!json_is_integer(item))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must be a whole number", where, key);
    json_int_t n = json_integer_value(item);
    if (n < low || n > high)
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" is %lld, must be from %lld to %lld", where, key, (long long)n,
                       (long long)low, (long long)high);
    *value = n;
    return ES_OK;
}

es_status es_json_number(const json_t *object, const char *where, const char *key, bool required, double low,
                         double high, double *value, es_error *err)
{
    es_status status;
    const json_t *item = member(object, where, key, required, &status, err);
    if (item == NULL)
        return status;
    if (!json_is_number(item))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must be a number", where, key);
    double n = json_number_value(item);
    if (!(n >= low && n <= high))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" is %g, must be from %g to %g", where, key, n, low, high);
    *value = n;
    return ES_OK;
}

es_status es_json_bool(const json_t *object, const char *where, const char *key, bool required, bool *value,
                       es_error *err)
{
    es_status status;
    const json_t *item = member(object, where, key, required, &status, err);
    if (item == NULL)
        return status;
    if (!json_is_boolean(item))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must be true or false", where, key);
    *value = json_is_true(item);
    return ES_OK;
}

es_status es_json_string(const json_t *object, const char *where, const char *key, bool required, const char **value,
                         es_error *err)
{
    es_status status;
    const json_t *item = member(object, where, key, required, &status, err);
    if (item == NULL)
        return status;
    if (!json_is_string(item))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must be a string", where, key);
    if (strlen(json_string_value(item)) != json_string_length(item))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" holds a NUL character", where, key);
    *value = json_string_value(item);
    return ES_OK;
}
