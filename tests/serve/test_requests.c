/* The bodies that a fuzzer found worth keeping: read, or refused with a line of text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../fuzz/fuzz_requests.c"
#include "../fuzz/replay.h"

static void saved_fuzz_cases_hold(void **state)
{
    (void)state;
    replay_saved_cases("corpus-requests", 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(saved_fuzz_cases_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
