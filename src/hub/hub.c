#include "hub/hub.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/exe.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/cache.h"
#include "hub/listing.h"

#define MAX_BUILD_INFO 65536 /* bytes of meson-info.json */

/* --- the folders that hold models --- */

/* Adds DIR/NAME if it is a folder that is not there yet under another name. */
static es_status add_place(es_names *places, const char *dir, const char *name, es_error *err)
{
    char real[PATH_MAX];
    char *path = es_path_join(dir, name);
    if (path == NULL)
        return es_fail_memory(err, "a path", 0);
    bool known = realpath(path, real) == NULL || !es_dir_exists(real);
    free(path);
    for (size_t i = 0; i < places->count && !known; i++)
        known = strcmp(places->items[i], real) == 0;
    return known ? ES_OK : es_names_add(places, real, err);
}

/* Adds the source tree's models/ when `root` is the folder it was built in, as meson notes there. */
static es_status add_models_of_build(es_names *places, const char *root, es_error *err)
{
    char *info = es_path_join(root, "meson-info/meson-info.json");
    json_t *json = NULL;
    es_status status = info != NULL ? es_json_read(&json, info, MAX_BUILD_INFO, err) : es_fail_memory(err, "a path", 0);
    free(info);
    if (status != ES_OK)
        return status == ES_ERR_MEMORY || status == ES_ERR_FORMAT ? status : ES_OK; /* no such file: not built here */
    const char *source = json_string_value(json_object_get(json_object_get(json, "directories"), "source"));
    if (source != NULL)
        status = add_place(places, source, "models", err);
    json_decref(json);
    return status;
}

/* Cuts the last part off a path; false when there is none left. */
static bool to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return false;
    *slash = '\0';
    return true;
}

static es_status find_places(es_names *places, es_error *err)
{
    char *exe = NULL;
    *places = (es_names){0};
    const char *own = getenv("ESCRIBA_MODELS");
    es_status status = ES_OK;
    if (own != NULL && own[0] != '\0')
        status = add_place(places, own, "", err);
    if (status == ES_OK)
        status = es_exe_path(&exe, err);
    if (status == ES_ERR_UNSUPPORTED)
        return ES_OK;
    if (status == ES_OK && to_parent(exe) && to_parent(exe)) { /* PREFIX/bin/escriba, BUILD/src/cli/escriba */
        status = add_place(places, exe, "share/escriba/models", err);
        if (status == ES_OK && to_parent(exe))
            status = add_models_of_build(places, exe, err);
    }
    free(exe);
    if (status != ES_OK)
        es_names_free(places);
    return status;
}

/* --- the list --- */

static void free_model(es_hub_model *model)
{
    free(model->name);
    free(model->path);
    *model = (es_hub_model){0};
}

void es_hub_models_free(es_hub_models *models)
{
    for (size_t i = 0; i < models->count; i++)
        free_model(&models->items[i]);
    free(models->items);
    *models = (es_hub_models){0};
}

/* Adds DIR as `name` if it is a model for us. */
static es_status add_model(es_hub_models *models, const char *name, const char *dir, es_hub_source source,
                           es_error *err)
{
    es_hub_state state;
    ES_TRY(es_hub_inspect(dir, &state, err));
    if (!state.is_model)
        return ES_OK;
    es_hub_model model = {.source = source, .size = state.size, .complete = state.complete};
    memcpy(model.precision, state.precision, sizeof model.precision);
    memcpy(model.missing, state.missing, sizeof model.missing);
    model.name = es_strdup(name);
    model.path = es_strdup(dir);
    void *items = models->items;
    if (model.name == NULL || model.path == NULL ||
        es_grow(&items, &models->capacity, models->count + 1, sizeof model) != 0) {
        free_model(&model);
        return es_fail_memory(err, "a list of models", 0);
    }
    models->items = items;
    models->items[models->count++] = model;
    return ES_OK;
}

static es_status list_place(es_hub_models *models, const char *place, es_error *err)
{
    es_names names;
    es_status status = es_hub_list_dir(place, &names, err);
    for (size_t i = 0; status == ES_OK && i < names.count; i++) {
        char *dir = es_path_join(place, names.items[i]);
        if (dir == NULL)
            status = es_fail_memory(err, "a path", 0);
        else if (es_dir_exists(dir))
            status = add_model(models, names.items[i], dir, ES_HUB_BOX, err);
        free(dir);
    }
    es_names_free(&names);
    return status;
}

/* Adds one snapshot: by the model's plain name when that is what the plain name means, else with its commit. */
static es_status list_snapshot(es_hub_models *models, const char *repo, const char *dir, const char *commit, bool plain,
                               es_error *err)
{
    es_str name = {0};
    es_str_append(&name, repo);
    if (!plain)
        es_str_append_format(&name, "@%.12s", commit);
    es_status status = es_str_check(&name, err);
    if (status == ES_OK)
        status = add_model(models, name.data, dir, ES_HUB_CACHE, err);
    es_str_free(&name);
    return status;
}

static es_status list_repo(es_hub_models *models, const char *repo, const char *repo_dir, es_error *err)
{
    char main_commit[ES_SHA1_HEX + 1] = "";
    es_names names = {0};
    char *snapshots = es_path_join(repo_dir, "snapshots");
    if (snapshots == NULL)
        return es_fail_memory(err, "a path", 0);
    bool has_main = es_hub_read_ref(repo_dir, "main", main_commit);
    es_status status = es_hub_list_dir(snapshots, &names, err);
    for (size_t i = 0; status == ES_OK && i < names.count; i++) {
        char *dir = es_path_join(snapshots, names.items[i]);
        bool plain = has_main ? strcmp(names.items[i], main_commit) == 0 : names.count == 1;
        status = dir == NULL ? es_fail_memory(err, "a path", 0)
                             : list_snapshot(models, repo, dir, names.items[i], plain, err);
        free(dir);
    }
    es_names_free(&names);
    free(snapshots);
    return status;
}

/* "models--ORG--NAME" -> "ORG/NAME" in place. */
static char *name_of_folder(char *folder)
{
    char *name = folder + strlen("models--");
    char *bar = strstr(name, "--");
    if (bar != NULL) {
        *bar = '/';
        memmove(bar + 1, bar + 2, strlen(bar + 2) + 1);
    }
    return name;
}

static es_status list_cache(es_hub_models *models, const char *cache, es_error *err)
{
    es_names names;
    es_status status = es_hub_list_dir(cache, &names, err);
    for (size_t i = 0; status == ES_OK && i < names.count; i++) {
        if (strncmp(names.items[i], "models--", 8) != 0)
            continue;
        char *dir = es_path_join(cache, names.items[i]);
        status = dir == NULL ? es_fail_memory(err, "a path", 0)
                             : list_repo(models, name_of_folder(names.items[i]), dir, err);
        free(dir);
    }
    es_names_free(&names);
    return status;
}

es_status es_hub_list(es_hub_models *models, es_error *err)
{
    es_names places;
    char *cache = NULL;
    *models = (es_hub_models){0};
    ES_TRY(find_places(&places, err));
    es_status status = ES_OK;
    for (size_t i = 0; status == ES_OK && i < places.count; i++)
        status = list_place(models, places.items[i], err);
    if (status == ES_OK)
        status = es_hub_cache_dir(&cache, err);
    if (status == ES_OK)
        status = list_cache(models, cache, err);
    else if (status == ES_ERR_ARGUMENT)
        status = ES_OK; /* no home: no cache */
    free(cache);
    es_names_free(&places);
    if (status != ES_OK)
        es_hub_models_free(models);
    return status;
}

/* --- what a name means --- */

static es_status resolve_box(const char *name, char **dir, es_error *err)
{
    es_names places;
    ES_TRY(find_places(&places, err));
    es_status status = ES_OK;
    for (size_t i = 0; i < places.count && *dir == NULL && status == ES_OK; i++) {
        char *path = es_path_join(places.items[i], name);
        if (path == NULL)
            status = es_fail_memory(err, "a path", 0);
        else if (es_dir_exists(path))
            *dir = path;
        else
            free(path);
    }
    es_names_free(&places);
    if (*dir != NULL || status != ES_OK)
        return status;
    return es_fail(err, ES_ERR_IO,
                   "no model \"%.200s\" here: `escriba models` lists those there are, `escriba pull ORG/NAME` gets one",
                   name);
}

/* The only snapshot of a model whose refs/main is missing. */
static es_status only_snapshot(const char *repo_dir, char **dir, es_error *err)
{
    es_names names;
    char *snapshots = es_path_join(repo_dir, "snapshots");
    if (snapshots == NULL)
        return es_fail_memory(err, "a path", 0);
    es_status status = es_hub_list_dir(snapshots, &names, err);
    if (status == ES_OK && names.count == 1 && (*dir = es_path_join(snapshots, names.items[0])) == NULL)
        status = es_fail_memory(err, "a path", 0);
    es_names_free(&names);
    free(snapshots);
    return status;
}

static es_status resolve_cached(const char *text, const es_hub_name *name, char **dir, es_error *err)
{
    char *cache, main_commit[ES_SHA1_HEX + 1];
    ES_TRY(es_hub_cache_dir(&cache, err));
    char *repo_dir = es_path_join(cache, name->folder);
    es_status status =
        repo_dir == NULL ? es_fail_memory(err, "a path", 0) : es_hub_find_snapshot(dir, repo_dir, name->revision, err);
    if (status == ES_OK && *dir == NULL && !name->has_revision && !es_hub_read_ref(repo_dir, "main", main_commit))
        status = only_snapshot(repo_dir, dir, err);
    es_hub_state state = {0};
    if (status == ES_OK && *dir != NULL)
        status = es_hub_inspect(*dir, &state, err);
    if (status == ES_OK && *dir == NULL)
        status = es_fail(err, ES_ERR_IO, "%s is not on this machine (looked in %s): `escriba pull %s` gets it", text,
                         cache, text);
    else if (status == ES_OK && state.missing[0] != '\0')
        status = es_fail(err, ES_ERR_IO, "%s is not whole, %s is missing: `escriba pull %s` goes on with it", text,
                         state.missing, text);
    else if (status == ES_OK && !state.is_model)
        status = es_fail(err, ES_ERR_UNSUPPORTED, "%s is a model of type \"%s\": escriba runs qwen3_vl", text,
                         state.model_type[0] != '\0' ? state.model_type : "unknown");
    if (status != ES_OK) {
        free(*dir);
        *dir = NULL;
    }
    free(repo_dir);
    free(cache);
    return status;
}

es_status es_hub_resolve(const char *name_or_path, char **dir, es_error *err)
{
    es_hub_name name;
    *dir = NULL;
    if (name_or_path[0] == '\0')
        return es_fail(err, ES_ERR_ARGUMENT, "no model is named");
    if (es_dir_exists(name_or_path)) {
        *dir = es_strdup(name_or_path);
        return *dir != NULL ? ES_OK : es_fail_memory(err, "a path", 0);
    }
    if (strchr(name_or_path, '/') == NULL)
        return resolve_box(name_or_path, dir, err);
    if (name_or_path[0] == '/' || name_or_path[0] == '.' || name_or_path[0] == '~' ||
        es_hub_name_parse(&name, name_or_path, NULL) != ES_OK)
        return es_fail(err, ES_ERR_IO, "%.300s: no such directory, and not the name of a model (ORG/NAME)",
                       name_or_path);
    return resolve_cached(name_or_path, &name, dir, err);
}
