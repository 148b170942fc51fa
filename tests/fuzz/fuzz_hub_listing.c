/* Any bytes as the hub's listing and as its revision: files that pass must have plain names and true checksums. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hub/listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    es_hub_files files = {0};
    char commit[ES_SHA1_HEX + 1] = "";
    if (es_hub_read_tree(&files, (const char *)data, size, NULL) == ES_OK) {
        es_hub_files_sort(&files);
        for (size_t i = 0; i < files.count; i++) {
            const es_hub_file *file = &files.items[i];
            if (strchr(file->path, '/') != NULL || file->path[0] == '.' || !es_hub_wanted(file->path) ||
                !es_hub_is_hex(file->digest, file->is_sha256 ? ES_SHA256_HEX : ES_SHA1_HEX))
                abort();
        }
    }
    es_hub_files_free(&files);
    if (es_hub_read_revision((const char *)data, size, commit, NULL) == ES_OK && !es_hub_is_hex(commit, ES_SHA1_HEX))
        abort();
    return 0;
}
