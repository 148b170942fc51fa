/* model_path.c - from what the user called the model to a directory that holds it, and the device to run it on. */
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "compute/cpu/cpu.h"
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

es_status es_open_device(const es_settings *settings, es_device **device, es_error *err)
{
    const char *name = es_settings_text(settings, ES_SETTING_ISA);
    es_cpu_options options = {.threads = (size_t)es_settings_int(settings, ES_SETTING_THREADS),
                              .exact_below = ES_EXACT_BELOW};
    es_precision_parse(es_settings_text(settings, ES_SETTING_PRECISION), &options.precision);
    if (strcmp(name, "auto") != 0)
        options.isa_given = es_isa_parse(name, &options.isa);
    return es_cpu_device_create(device, &options, err);
}
