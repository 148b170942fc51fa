/* preprocess.h - RGB pixels to patches, identical to the reference processor (Qwen2VLImageProcessor, torchvision). */
#ifndef ES_MODEL_PREPROCESS_H
#define ES_MODEL_PREPROCESS_H

#include "base/status.h"
#include "model/image.h"

/* preprocessor_config.json, with the reference's defaults where it is silent. */
typedef struct es_preprocess {
    int32_t patch_size;             /* pixels: 16 */
    int32_t merge_size;             /* patches a side of a merged token: 2 */
    int32_t temporal_patch_size;    /* equal slices a still picture is counted as: 2 */
    int64_t min_pixels, max_pixels; /* area after resizing: size.shortest_edge, size.longest_edge or min_/max_pixels */
    float mean[3], std[3];
} es_preprocess;

/* One picture ready for the vision tower. Patches go merge block by merge block: for each block row, block column, the
 * merge_size x merge_size patches of the block in row-major order. */
typedef struct es_patches {
    int32_t grid_h, grid_w; /* patches; both multiples of merge_size */
    int64_t count;          /* grid_h * grid_w */
    int64_t dim;            /* 3 * slices * area */
    int32_t slices, area;   /* temporal_patch_size, patch_size^2 */
    uint8_t *data;          /* [count, 3, area], channel, y, x: the same in all slices; owned; es_patches_free */
    float levels[3][256];   /* what each byte of a channel stands for */
} es_patches;

/* Reads the image_processor of DIR/processor_config.json, else DIR/preprocessor_config.json, as the reference does.
 * Checks every value; steps turned off, another filter or another processor are ES_ERR_UNSUPPORTED. */
es_status es_preprocess_open(es_preprocess *config, const char *dir, es_error *err);

/* The size a width x height picture is resized to. ES_ERR_LIMIT for one with a side more than 200 times the other, or
 * empty. */
es_status es_smart_resize(const es_preprocess *config, int32_t width, int32_t height, int32_t *new_width,
                          int32_t *new_height, es_error *err);

/* Bicubic (a = -0.5), antialiased, bytes in and out, bit for bit as torchvision on uint8 tensors. dst is created. */
es_status es_resize_bicubic(es_image *dst, const es_image *src, int32_t width, int32_t height, es_error *err);

es_status es_preprocess_image(const es_preprocess *config, const es_image *image, es_patches *patches, es_error *err);
/* The numbers that the tower takes: patches [first, first + n) to out [n, dim], inner order channel, slice, y, x. */
void es_patches_floats(const es_patches *patches, int64_t first, int64_t n, float *out);
void es_patches_free(es_patches *patches);

#endif
