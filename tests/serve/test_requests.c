/* The bodies that a fuzzer found worth keeping: read, or refused with a line of text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../fuzz/fuzz_requests.c"
#include "base/file.h"

static void saved_fuzz_cases_hold(void **state)
{
    (void)state;
    char folder[4096];
    es_names names = {0};
    es_error err;
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus-requests", getenv("ESCRIBA_SOURCE_ROOT"));
    assert_int_equal(es_dir_list(folder, &names, &err), ES_OK);
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(folder, names.items[i]), *data;
        size_t size;
        assert_int_equal(es_file_read(path, 1 << 20, &data, &size, &err), ES_OK);
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
        free(data);
        free(path);
    }
    assert_true(names.count > 20);
    es_names_free(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(saved_fuzz_cases_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
