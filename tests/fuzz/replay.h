/* replay.h - every input that a fuzzer found worth keeping, again. Included after cmocka.h by the tests that do so. */
#ifndef TESTS_FUZZ_REPLAY_H
#define TESTS_FUZZ_REPLAY_H

#include <stdint.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* aborts when a promise is broken */

/* All of tests/fuzz/CORPUS, of which there are more than so many: an empty folder would show nothing. */
static void replay_saved_cases(const char *corpus, size_t more_than)
{
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    es_names names;
    es_error err = {0};
    es_str folder = {0};
    es_str_append_format(&folder, "%s/tests/fuzz/%s", root != NULL ? root : ".", corpus);
    if (es_dir_list(es_str_text(&folder), &names, &err) != ES_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(es_str_text(&folder), names.items[i]), *data;
        size_t size;
        if (es_file_read(path, 1 << 20, &data, &size, &err) != ES_OK)
            fail_msg("%s", err.message);
        assert_int_equal(LLVMFuzzerTestOneInput((const uint8_t *)data, size), 0);
        free(data);
        free(path);
    }
    assert_true(names.count > more_than);
    es_names_free(&names);
    es_str_free(&folder);
}

#endif
