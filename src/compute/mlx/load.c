/* load.c - finds the plug-in and opens it. It stays open: MLX's threads would not survive its going. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "compute/mlx/plugin.h"

#define FILE_NAME "libescriba_mlx.so"
#define PATH_ROOM 4096

/* The folder of the library or program that this code is part of, without a slash at its end. */
static bool own_folder(char *path, size_t size)
{
    Dl_info info;
    if (dladdr((const void *)(uintptr_t)&es_mlx_installed, &info) == 0 || info.dli_fname == NULL)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    int n = slash == NULL ? snprintf(path, size, ".")
                          : snprintf(path, size, "%.*s", (int)(slash - info.dli_fname), info.dli_fname);
    return n >= 0 && (size_t)n < size;
}

/* Where the plug-in is; false when it is nowhere. */
static bool find(char path[PATH_ROOM])
{
    /* Beside the library; an installed program's; in the build folder. */
    static const char *const places[] = {"%s/" FILE_NAME, "%s/escriba/" FILE_NAME, "%s/../lib/escriba/" FILE_NAME,
                                         "%s/../compute/mlx/" FILE_NAME};
    const char *given = getenv("ESCRIBA_MLX_PLUGIN");
    char folder[PATH_ROOM - 64];
    if (given != NULL && *given != '\0')
        return snprintf(path, PATH_ROOM, "%s", given) < PATH_ROOM && es_file_exists(path);
    if (own_folder(folder, sizeof folder)) {
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(path, PATH_ROOM, places[i], folder);
#pragma GCC diagnostic pop
            if (es_file_exists(path))
                return true;
        }
    }
    return snprintf(path, PATH_ROOM, "%s", ES_PLUGIN_FOLDER "/" FILE_NAME) < PATH_ROOM && es_file_exists(path);
}

bool es_mlx_installed(void)
{
    char path[PATH_ROOM];
    return find(path);
}

static es_status load(const es_mlx_plugin **plugin, es_error *err)
{
    char path[PATH_ROOM];
    if (!find(path))
        return es_fail(err, ES_ERR_UNSUPPORTED,
                       "MLX is not in this build of escriba: install MLX and build again, see docs/mlx.md");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *why = library == NULL ? dlerror() : NULL;
    if (library == NULL)
        return es_fail(err, ES_ERR_UNSUPPORTED, "the MLX plug-in does not load: %.400s", why != NULL ? why : path);
    es_mlx_plugin_fn get = NULL;
    void *symbol = dlsym(library, ES_MLX_PLUGIN_SYMBOL);
    memcpy(&get, &symbol, sizeof get); /* POSIX has pointers to functions look like others; C does not */
    *plugin = get != NULL ? get() : NULL;
    if (*plugin == NULL || (*plugin)->abi != ES_MLX_PLUGIN_ABI || (*plugin)->sizes != ES_MLX_PLUGIN_SIZES) {
        dlclose(library);
        return es_fail(err, ES_ERR_UNSUPPORTED, "the MLX plug-in %.300s is of another version of escriba", path);
    }
    return ES_OK;
}

es_status es_mlx_describe(es_mlx_info *info, es_error *err)
{
    const es_mlx_plugin *plugin;
    *info = (es_mlx_info){.gpu = false};
    ES_TRY(load(&plugin, err));
    return plugin->describe(info, err);
}

es_status es_mlx_device_create(es_device **device, const es_mlx_options *options, es_error *err)
{
    const es_mlx_plugin *plugin;
    es_mlx_options o = options != NULL ? *options : (es_mlx_options){.where = ES_MLX_ANY};
    const char *products = getenv("ESCRIBA_MLX_PRODUCTS");
    *device = NULL;
    ES_TRY(load(&plugin, err));
    o.mlx_products = o.mlx_products || (products != NULL && strcmp(products, "mlx") == 0);
    return plugin->create(device, &o, err);
}
