/* model_path.c - from what the user called the model to a directory that holds it, and the device to run it on. */
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "compute/open.h"
#include "hub/hub.h"

#define DEFAULT_MODEL "escriba-tiny" /* the model in the box */

es_status es_find_model(const char *name, char **dir, es_error *err)
{
    bool given = name != NULL && *name != '\0';
    *dir = NULL;
    if (given && !es_dir_exists(name) && es_file_exists(name))
        return es_fail(err, ES_ERR_ARGUMENT,
                       "%s is a file: a model is a directory with config.json, tokenizer.json and *.safetensors", name);
    return es_hub_resolve(given ? name : DEFAULT_MODEL, dir, err);
}

es_status es_device_name(const es_settings *s, const char *backend, const char **name, es_error *err)
{
    bool mlx = strcmp(backend, "mlx") == 0;
    *name = es_settings_text(s, ES_SETTING_DEVICE);
    if (mlx && strcmp(*name, "cpu") == 0)
        return es_fail(err, ES_ERR_ARGUMENT,
                       "%s: the mlx backend does not compute on the cpu device: mlx-cpu is its own",
                       es_settings_where(s, ES_SETTING_DEVICE));
    if (strcmp(*name, "auto") == 0 && strcmp(backend, "auto") != 0)
        *name = mlx ? "mlx" : "cpu";
    return ES_OK;
}

es_status es_open_device(const es_settings *settings, bool again, es_device **device, es_error *err)
{
    const char *name = es_settings_text(settings, ES_SETTING_ISA);
    es_cpu_options options = {.threads = (size_t)es_settings_int(settings, ES_SETTING_THREADS),
                              .exact_below = ES_EXACT_BELOW};
    es_precision_parse(es_settings_text(settings, ES_SETTING_PRECISION), &options.precision);
    if (strcmp(name, "auto") != 0)
        options.isa_given = es_isa_parse(name, &options.isa);
    const char *device_name;
    char note[640];
    ES_TRY(es_device_name(settings, es_settings_text(settings, ES_SETTING_BACKEND), &device_name, err));
    if (again && strcmp(device_name, "auto") == 0) {
        es_complain("MLX failed at its work: the cpu computes from now on");
        device_name = "cpu";
    }
    es_status status = es_device_open(device, device_name, &options, note, err);
    if (note[0] != '\0')
        es_complain("%s", note);
    return status;
}
