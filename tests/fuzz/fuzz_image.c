/* fuzz_image.c - any bytes as a picture file: decoded and preprocessed, or refused with a line of text.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
 *         -DES_IMAGE_MAX_PIXELS=1048576LL -Isrc tests/fuzz/fuzz_image.c
 *         src/model/{image*,resize,preprocess}.c src/base/{file,json,mem,status,str,utf8}.c
 *         -ljpeg -lpng -lwebp -ljansson -lm
 *
 * Saved cases are in corpus-image; tests/model/test_image.c replays them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/image.h"
#include "model/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    es_error err = {0};
    es_image image;
    es_status status = es_image_decode(&image, data, size, "case", &err);
    if (status != ES_OK) {
        must(image.rgb == NULL && err.status == status && err.message[0] != '\0' && strchr(err.message, '\n') == NULL);
        return 0;
    }
    must(image.width >= 1 && image.height >= 1 && (int64_t)image.width * image.height <= ES_IMAGE_MAX_PIXELS);
    es_preprocess config = {16, 2, 2, 1024, 65536, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};
    es_patches patches;
    status = es_preprocess_image(&config, &image, &patches, &err);
    if (status == ES_OK) {
        must(patches.grid_h >= 2 && patches.grid_w >= 2 && patches.count == (int64_t)patches.grid_h * patches.grid_w);
        float patch[3 * 2 * 16 * 16];
        for (int64_t i = 0; i < patches.count; i++) {
            es_patches_floats(&patches, i, 1, patch);
            for (size_t j = 0; j < sizeof patch / sizeof *patch; j++)
                must(patch[j] >= -1 && patch[j] <= 1);
        }
    } else {
        must(status == ES_ERR_LIMIT && patches.data == NULL);
    }
    es_patches_free(&patches);
    es_image_free(&image);
    return 0;
}
