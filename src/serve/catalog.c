#include "serve/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/sha.h"
#include "hub/hub.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

es_status es_catalog_open(es_catalog *c, const char *given, const char *dir, es_error *err)
{
    c->dir = es_strdup(dir);
    c->name = es_strdup(given != NULL && *given != '\0' && !es_dir_exists(given) ? given : base_name(dir));
    if (c->dir != NULL && c->name != NULL) {
        for (size_t n = strlen(c->name); n > 1 && c->name[n - 1] == '/';)
            c->name[--n] = '\0';
        return ES_OK;
    }
    es_catalog_close(c);
    return es_fail_memory(err, "the model's name", 0);
}

void es_catalog_close(es_catalog *c)
{
    free(c->name);
    free(c->dir);
    *c = (es_catalog){0};
}

/* Whether a client's name means this one. Names of models are told apart without regard to case. */
static bool means(const char *asked, const char *name)
{
    size_t n = strlen(asked);
    if (n > 7 && strcmp(asked + n - 7, ":latest") == 0)
        n -= 7;
    const char *revision = strchr(name, '@');
    size_t whole = revision != NULL ? (size_t)(revision - name) : strlen(name);
    const char *slash = memchr(name, '/', whole);
    size_t skip = slash != NULL ? (size_t)(slash + 1 - name) : 0;
    return strcasecmp(asked, name) == 0 || (n == whole && strncasecmp(asked, name, n) == 0) ||
           (n == whole - skip && strncasecmp(asked, name + skip, n) == 0);
}

static es_status give(const char *name, const char *dir, char **name_out, char **dir_out, es_error *err)
{
    *name_out = es_strdup(name);
    *dir_out = es_strdup(dir);
    if (*name_out != NULL && *dir_out != NULL)
        return ES_OK;
    free(*name_out);
    free(*dir_out);
    *name_out = *dir_out = NULL;
    return es_fail_memory(err, "a model's name", 0);
}

es_status es_catalog_find(const es_catalog *c, const char *asked, char **name, char **dir, es_error *err)
{
    es_hub_models models = {0};
    *name = *dir = NULL;
    if (asked == NULL || *asked == '\0' || means(asked, c->name))
        return give(c->name, c->dir, name, dir, err);
    ES_TRY(es_hub_list(&models, err));
    es_status status = ES_OK;
    for (size_t i = 0; i < models.count && *dir == NULL && status == ES_OK; i++)
        if (models.items[i].complete && means(asked, models.items[i].name))
            status = give(models.items[i].name, models.items[i].path, name, dir, err);
    es_hub_models_free(&models);
    if (status == ES_OK && *dir == NULL)
        status = es_fail(err, ES_ERR_IO, "model '%.100s' not found: 'escriba models' lists those that are here", asked);
    return status;
}

char *es_catalog_name(const es_catalog *c, const char *dir)
{
    es_hub_models models = {0};
    char *name = NULL;
    if (strcmp(dir, c->dir) == 0)
        return es_strdup(c->name);
    if (es_hub_list(&models, NULL) == ES_OK)
        for (size_t i = 0; i < models.count && name == NULL; i++)
            if (strcmp(models.items[i].path, dir) == 0)
                name = es_strdup(models.items[i].name);
    es_hub_models_free(&models);
    return name != NULL ? name : es_strdup(base_name(dir));
}

static es_status add_entry(es_catalog_entries *list, const char *name, const char *dir, const char *precision,
                           uint64_t size, es_error *err)
{
    void *items = list->items;
    if (es_grow(&items, &list->capacity, list->count + 1, sizeof *list->items) != 0)
        return es_fail_memory(err, "the list of models", 0);
    list->items = items;
    es_catalog_entry *e = &list->items[list->count];
    *e = (es_catalog_entry){.size = size};
    ES_TRY(give(name, dir, &e->name, &e->dir, err));
    list->count++;
    snprintf(e->precision, sizeof e->precision, "%s", precision);
    struct stat about;
    char *config = es_path_join(dir, "config.json");
    if (config != NULL && stat(config, &about) == 0)
        e->modified = about.st_mtime;
    free(config);
    es_sha sha;
    es_sha256_begin(&sha);
    es_sha_update(&sha, e->name, strlen(e->name) + 1);
    es_sha_update(&sha, e->dir, strlen(e->dir) + 1);
    es_sha_update(&sha, &e->size, sizeof e->size);
    es_sha_update(&sha, &e->modified, sizeof e->modified);
    es_sha_finish(&sha, e->digest);
    return ES_OK;
}

/* Bytes of a directory's weights. */
static uint64_t weights_size(const char *dir)
{
    es_names names = {0};
    uint64_t sum = 0;
    if (es_dir_list(dir, &names, NULL) != ES_OK)
        return 0;
    for (size_t i = 0; i < names.count; i++) {
        struct stat about;
        char *path = es_path_join(dir, names.items[i]);
        size_t n = strlen(names.items[i]);
        if (path != NULL && n > 12 && strcmp(names.items[i] + n - 12, ".safetensors") == 0 && stat(path, &about) == 0)
            sum += (uint64_t)about.st_size;
        free(path);
    }
    es_names_free(&names);
    return sum;
}

es_status es_catalog_list(const es_catalog *c, es_catalog_entries *entries, es_error *err)
{
    es_hub_models models = {0};
    *entries = (es_catalog_entries){0};
    ES_TRY(es_hub_list(&models, err));
    const char *precision = "unknown";
    for (size_t i = 0; i < models.count; i++)
        if (strcmp(models.items[i].path, c->dir) == 0)
            precision = models.items[i].precision;
    es_status status = add_entry(entries, c->name, c->dir, precision, weights_size(c->dir), err);
    for (size_t i = 0; i < models.count && status == ES_OK; i++) {
        const es_hub_model *m = &models.items[i];
        if (m->complete && strcmp(m->path, c->dir) != 0)
            status = add_entry(entries, m->name, m->path, m->precision, m->size, err);
    }
    es_hub_models_free(&models);
    if (status != ES_OK)
        es_catalog_entries_free(entries);
    return status;
}

void es_catalog_entries_free(es_catalog_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->items[i].name);
        free(entries->items[i].dir);
    }
    free(entries->items);
    *entries = (es_catalog_entries){0};
}
