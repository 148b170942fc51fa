/* Every case that a fuzzer found worth keeping, again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void saved_cases_keep_the_promises(void **state)
{
    (void)state;
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    es_names names = {0};
    es_error err;
    assert_non_null(root);
    char *dir = es_path_join(root, "tests/fuzz/corpus-record");
    assert_non_null(dir);
    assert_int_equal(es_dir_list(dir, &names, &err), ES_OK);
    assert_true(names.count > 0);
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(dir, names.items[i]), *data;
        size_t size;
        assert_non_null(path);
        assert_int_equal(es_file_read(path, 1 << 20, &data, &size, &err), ES_OK);
        LLVMFuzzerTestOneInput((const uint8_t *)data, size); /* aborts when a promise is broken */
        free(data);
        free(path);
    }
    es_names_free(&names);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(saved_cases_keep_the_promises)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
