/* Every case that a fuzzer found worth keeping, again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../fuzz/replay.h"

static void saved_cases_keep_the_promises(void **state)
{
    (void)state;
    replay_saved_cases("corpus-record", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(saved_cases_keep_the_promises)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
