#include "model/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { CONFIG_LIMIT = 1 << 20, MAX_ASPECT = 200 };

/* What a published Qwen3-VL says; used where a file is silent. */
static const es_preprocess defaults = {
    .patch_size = 16,
    .merge_size = 2,
    .temporal_patch_size = 2,
    .min_pixels = 65536,
    .max_pixels = 16777216,
    .mean = {0.5f, 0.5f, 0.5f},
    .std = {0.5f, 0.5f, 0.5f},
};

static es_status read_int32(const json_t *root, const char *where, const char *key, int32_t high, int32_t *value,
                            es_error *err)
{
    int64_t n = *value;
    ES_TRY(es_json_int(root, where, key, false, 1, high, &n, err));
    *value = (int32_t)n;
    return ES_OK;
}

/* A list of three numbers, or one number for all three channels. */
static es_status read_channels(const json_t *root, const char *where, const char *key, double low, float values[3],
                               es_error *err)
{
    const json_t *item = json_object_get(root, key);
    if (item == NULL || json_is_null(item))
        return ES_OK;
    if (!json_is_number(item) && json_array_size(item) != 3)
        return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must be a list of three numbers", where, key);
    for (size_t c = 0; c < 3; c++) {
        const json_t *number = json_is_array(item) ? json_array_get(item, c) : item;
        const double n = json_is_number(number) ? json_number_value(number) : (double)NAN;
        if (!(n >= low && n <= 1000))
            return es_fail(err, ES_ERR_FORMAT, "%s: \"%s\" must hold numbers from %g to 1000", where, key, low);
        values[c] = (float)n;
    }
    return ES_OK;
}

/* The steps that this code always takes: a file that turns one off, or asks for another kind, is refused. */
static es_status check_steps(const json_t *root, const char *where, es_error *err)
{
    static const char *const steps[] = {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        bool on = true;
        ES_TRY(es_json_bool(root, where, steps[i], false, &on, err));
        if (!on)
            return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"%s\": false is not supported", where, steps[i]);
    }
    int64_t resample = 3; /* PIL's number of bicubic */
    ES_TRY(es_json_int(root, where, "resample", false, 0, 100, &resample, err));
    if (resample != 3)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"resample\" %lld is not supported, only 3 (bicubic)", where,
                       (long long)resample);
    double factor = 1.0 / 255;
    ES_TRY(es_json_number(root, where, "rescale_factor", false, 0, 1e9, &factor, err));
    if ((float)(1 / factor) != 255.0f)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"rescale_factor\" %g is not supported, only 1/255", where,
                       factor);
    const char *type = "Qwen2VLImageProcessor";
    ES_TRY(es_json_string(root, where, "image_processor_type", false, &type, err));
    if (strncmp(type, "Qwen", 4) != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: \"image_processor_type\" %.60s is not supported", where, type);
    return ES_OK;
}

static es_status read_settings(es_preprocess *config, const json_t *root, const char *where, es_error *err)
{
    /* No picture decoded is larger, so a cap above it is the same as none; a floor above it can't be met. */
    const int64_t most = INT64_C(1) << 40, most_low = ES_IMAGE_MAX_PIXELS;
    *config = defaults;
    ES_TRY(check_steps(root, where, err));
    ES_TRY(read_int32(root, where, "patch_size", 256, &config->patch_size, err));
    ES_TRY(read_int32(root, where, "merge_size", 16, &config->merge_size, err));
    ES_TRY(read_int32(root, where, "temporal_patch_size", 16, &config->temporal_patch_size, err));
    const json_t *size = json_object_get(root, "size");
    if (size != NULL && !json_is_null(size)) {
        if (!json_is_object(size))
            return es_fail(err, ES_ERR_FORMAT, "%s: \"size\" must be an object", where);
        ES_TRY(es_json_int(size, where, "shortest_edge", false, 1, most_low, &config->min_pixels, err));
        ES_TRY(es_json_int(size, where, "longest_edge", false, 1, most, &config->max_pixels, err));
    }
    ES_TRY(es_json_int(root, where, "min_pixels", false, 1, most_low, &config->min_pixels, err));
    ES_TRY(es_json_int(root, where, "max_pixels", false, 1, most, &config->max_pixels, err));
    if (config->min_pixels > config->max_pixels)
        return es_fail(err, ES_ERR_FORMAT, "%s: at least %lld pixels and at most %lld cannot both be", where,
                       (long long)config->min_pixels, (long long)config->max_pixels);
    ES_TRY(read_channels(root, where, "image_mean", -1000, config->mean, err));
    return read_channels(root, where, "image_std", 1e-6, config->std, err);
}

es_status es_preprocess_open(es_preprocess *config, const char *dir, es_error *err)
{
    json_t *root = NULL;
    *config = defaults;
    char *own = es_path_join(dir, "preprocessor_config.json"), *both = es_path_join(dir, "processor_config.json");
    es_status status = own == NULL || both == NULL ? es_fail_memory(err, "a path", 0) : ES_OK;
    /* The newer file, where it has the section, wins: it is what the reference looks at first. */
    if (status == ES_OK && es_file_exists(both)) {
        status = es_json_read(&root, both, CONFIG_LIMIT, err);
        const json_t *section = status == ES_OK ? json_object_get(root, "image_processor") : NULL;
        if (json_is_object(section)) {
            status = read_settings(config, section, both, err);
            goto done;
        }
        json_decref(root);
        root = NULL;
    }
    if (status == ES_OK)
        status = es_json_read(&root, own, CONFIG_LIMIT, err);
    if (status == ES_OK)
        status = read_settings(config, root, own, err);
done:
    json_decref(root);
    free(own);
    free(both);
    return status;
}

es_status es_smart_resize(const es_preprocess *config, int32_t width, int32_t height, int32_t *new_width,
                          int32_t *new_height, es_error *err)
{
    const int64_t factor = (int64_t)config->patch_size * config->merge_size;
    const double f = (double)factor, w = width, h = height;
    if (width < 1 || height < 1)
        return es_fail(err, ES_ERR_LIMIT, "an empty picture (%d x %d)", (int)width, (int)height);
    if ((w > h ? w / h : h / w) > MAX_ASPECT)
        return es_fail(err, ES_ERR_LIMIT, "a picture of %d x %d is too narrow: one side more than %d times the other",
                       (int)width, (int)height, (int)MAX_ASPECT);
    /* nearbyint rounds halves to even in the default mode, as Python's round does. */
    double to_w = nearbyint(w / f) * f, to_h = nearbyint(h / f) * f;
    if (to_h * to_w > (double)config->max_pixels) {
        const double beta = sqrt(h * w / (double)config->max_pixels);
        to_h = fmax(f, floor(h / beta / f) * f);
        to_w = fmax(f, floor(w / beta / f) * f);
    } else if (to_h * to_w < (double)config->min_pixels) {
        const double beta = sqrt((double)config->min_pixels / (h * w));
        to_h = ceil(h * beta / f) * f;
        to_w = ceil(w * beta / f) * f;
    }
    if (to_w < f || to_h < f || to_w * to_h > 2.0 * (double)ES_IMAGE_MAX_PIXELS)
        return es_fail(err, ES_ERR_LIMIT, "a picture of %d x %d would be resized to %.0f x %.0f", (int)width,
                       (int)height, to_w, to_h);
    *new_width = (int32_t)to_w;
    *new_height = (int32_t)to_h;
    return ES_OK;
}

/* One block's merge x merge patches from the picture's pixel (x0, y0); out: [merge^2, channel, y, x]. */
static uint8_t *write_block(uint8_t *out, const es_preprocess *config, const es_image *image, size_t x0, size_t y0)
{
    const size_t patch = (size_t)config->patch_size, merge = (size_t)config->merge_size;
    const size_t stride = (size_t)image->width * 3;
    for (size_t p = 0; p < merge * merge; p++) {
        const uint8_t *corner = image->rgb + (y0 + p / merge * patch) * stride + (x0 + p % merge * patch) * 3;
        for (size_t c = 0; c < 3; c++) {
            for (size_t y = 0; y < patch; y++) {
                const uint8_t *row = corner + y * stride + c;
                for (size_t x = 0; x < patch; x++)
                    *out++ = row[3 * x];
            }
        }
    }
    return out;
}

/* image: already of its new size. */
static es_status make_patches(const es_preprocess *config, const es_image *image, es_patches *patches, es_error *err)
{
    const size_t patch = (size_t)config->patch_size, block = patch * (size_t)config->merge_size;
    patches->grid_w = image->width / config->patch_size;
    patches->grid_h = image->height / config->patch_size;
    patches->count = (int64_t)patches->grid_w * patches->grid_h;
    patches->slices = config->temporal_patch_size;
    patches->area = config->patch_size * config->patch_size;
    patches->dim = (int64_t)3 * patches->slices * patches->area;
    patches->data = es_calloc((size_t)patches->count, 3 * (size_t)patches->area);
    if (patches->data == NULL)
        return es_fail_memory(err, "a picture's patches", (size_t)patches->count * 3 * (size_t)patches->area);
    /* Rescaling is folded into mean and std, in float32, as the reference does: one value for each of 256 levels. */
    for (size_t c = 0; c < 3; c++) {
        const float mean = config->mean[c] * 255.0f, std = config->std[c] * 255.0f;
        for (size_t v = 0; v < 256; v++)
            patches->levels[c][v] = ((float)v - mean) / std;
    }
    uint8_t *out = patches->data;
    for (size_t y = 0; y < (size_t)image->height; y += block)
        for (size_t x = 0; x < (size_t)image->width; x += block)
            out = write_block(out, config, image, x, y);
    return ES_OK;
}

void es_patches_floats(const es_patches *patches, int64_t first, int64_t n, float *out)
{
    const size_t area = (size_t)patches->area;
    const uint8_t *from = patches->data + (size_t)first * 3 * area;
    for (size_t plane = 0; plane < 3 * (size_t)n; plane++, from += area) {
        const float *levels = patches->levels[plane % 3], *slice = out;
        for (size_t i = 0; i < area; i++)
            *out++ = levels[from[i]];
        for (int32_t t = 1; t < patches->slices; t++, out += area)
            memcpy(out, slice, area * sizeof *out);
    }
}

es_status es_preprocess_image(const es_preprocess *config, const es_image *image, es_patches *patches, es_error *err)
{
    es_image resized = {0};
    int32_t width, height;
    *patches = (es_patches){0};
    ES_TRY(es_smart_resize(config, image->width, image->height, &width, &height, err));
    ES_TRY(es_resize_bicubic(&resized, image, width, height, err));
    es_status status = make_patches(config, &resized, patches, err);
    es_image_free(&resized);
    if (status != ES_OK)
        es_patches_free(patches);
    return status;
}

void es_patches_free(es_patches *patches)
{
    free(patches->data);
    *patches = (es_patches){0};
}
