#include "serve/guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

#define MAX_KEYS 1000

void es_guard_hash(const char *key, char out[ES_SHA256_HEX + 8])
{
    char hex[ES_SHA256_HEX + 1];
    es_sha sha;
    es_sha256_begin(&sha);
    es_sha_update(&sha, key, strlen(key));
    es_sha_finish(&sha, hex);
    snprintf(out, ES_SHA256_HEX + 8, "sha256:%s", hex);
}

/* --- keys --- */

static es_status read_line(es_guard *guard, char *line, const char *path, size_t number, es_error *err)
{
    line += strspn(line, " \t");
    size_t n = strcspn(line, " \t\r");
    if (n == 0 || *line == '#')
        return ES_OK;
    if (n != 7 + ES_SHA256_HEX || strncmp(line, "sha256:", 7) != 0 ||
        strspn(line + 7, "0123456789abcdef") != ES_SHA256_HEX)
        return es_fail(err, ES_ERR_FORMAT, "%s:%zu: not \"sha256:HEX NAME\"; 'escriba serve --hash-key' makes it", path,
                       number);
    if (guard->key_count >= MAX_KEYS)
        return es_fail(err, ES_ERR_LIMIT, "%s: more than %d keys", path, MAX_KEYS);
    es_key *key = &guard->keys[guard->key_count++];
    memcpy(key->hash, line + 7, ES_SHA256_HEX);
    char *name = line + n + strspn(line + n, " \t");
    name[strcspn(name, "\r")] = '\0';
    snprintf(key->name, sizeof key->name, "%.60s", *name != '\0' ? name : "key");
    return ES_OK;
}

es_status es_guard_read_keys(es_guard *guard, const char *path, es_error *err)
{
    char *text;
    size_t size, number = 0;
    struct stat about;
    if (stat(path, &about) == 0 && (about.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: others may write this file of keys: chmod 600 it", path);
    ES_TRY(es_file_read(path, 1 << 20, &text, &size, err));
    guard->keys = es_calloc(MAX_KEYS, sizeof *guard->keys);
    es_status status = guard->keys != NULL ? ES_OK : es_fail_memory(err, "the keys", 0);
    for (char *line = text, *end; status == ES_OK && line != NULL; line = end) {
        end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        status = read_line(guard, line, path, ++number, err);
    }
    free(text);
    if (status == ES_OK && guard->key_count == 0)
        status = es_fail(err, ES_ERR_ARGUMENT, "%s holds no key: nobody could ask", path);
    return status;
}

void es_guard_free(es_guard *guard)
{
    free(guard->keys);
    guard->keys = NULL;
    guard->key_count = 0;
}

bool es_guard_key(const es_guard *guard, const char *authorization, const char **name)
{
    char hash[ES_SHA256_HEX + 8];
    bool found = false;
    *name = NULL;
    if (guard->keys == NULL)
        return true;
    if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    authorization += 7;
    es_guard_hash(authorization + strspn(authorization, " "), hash);
    for (size_t i = 0; i < guard->key_count; i++) {
        unsigned char differs = 0;
        for (size_t k = 0; k < ES_SHA256_HEX; k++)
            differs |= (unsigned char)(hash[7 + k] ^ guard->keys[i].hash[k]);
        if (differs == 0) {
            found = true;
            *name = guard->keys[i].name;
        }
    }
    return found;
}

/* --- names --- */

/* The host without its port, into name; false when it is none. */
static bool split_host(const char *host, char *name, size_t size)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    const char *from = end != NULL ? host + 1 : host;
    if (host[0] == '[' && end == NULL)
        return false;
    const char *port = end != NULL ? end + 1 : strchr(host, ':');
    end = end != NULL ? end : port != NULL ? port : host + strlen(host);
    if (port != NULL && *port != '\0' && (*port != ':' || strspn(port + 1, "0123456789") != strlen(port + 1)))
        return false;
    size_t n = (size_t)(end - from);
    if (n == 0 || n >= size)
        return false;
    memcpy(name, from, n);
    name[n] = '\0';
    return true;
}

bool es_guard_host(const es_guard *guard, const char *host)
{
    char name[256];
    unsigned char address[16];
    if (guard->any_host)
        return true;
    if (host == NULL || !split_host(host, name, sizeof name))
        return false;
    size_t n = strlen(name);
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return true;
    if (strcasecmp(name, "localhost") == 0 || (n > 10 && strcasecmp(name + n - 10, ".localhost") == 0))
        return true;
    for (size_t i = 0; i < guard->host_count; i++)
        if (strcasecmp(name, guard->hosts[i]) == 0)
            return true;
    return false;
}

bool es_guard_shares(const es_guard *guard, const char *origin)
{
    for (size_t i = 0; origin != NULL && i < guard->origin_count; i++)
        if (strcmp(guard->origins[i], "*") == 0 || strcasecmp(guard->origins[i], origin) == 0)
            return true;
    return false;
}

bool es_guard_origin(const es_guard *guard, const es_headers *h)
{
    if (h->origin == NULL)
        return h->site == NULL || strcasecmp(h->site, "cross-site") != 0;
    if (es_guard_shares(guard, h->origin))
        return true;
    const char *rest = strncasecmp(h->origin, "http://", 7) == 0    ? h->origin + 7
                       : strncasecmp(h->origin, "https://", 8) == 0 ? h->origin + 8
                                                                    : NULL;
    return rest != NULL && h->host != NULL && strcasecmp(rest, h->host) == 0;
}
