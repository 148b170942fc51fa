/* test_parity_mlx.c - every stage of the model against its authors' implementation, on MLX.
 *
 *     test_parity_mlx mlx-cpu | mlx-gpu f32 | f16 | bf16
 *
 * Exit 77 when there is no such device here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "compute/mlx/mlx.h"
#include "parity.h"

#define SKIPPED 77

static es_mlx_options options = {.numbers_given = true};

/* Relative L2 of a stage. Random weights make what 16 bits lose grow from layer to layer; f16 keeps eight times as much
 * of a number as bf16. On the processor MLX adds up in 16 bits, too. */
static double bound(void)
{
    return options.numbers == ES_F32 ? 1e-4 : options.numbers == ES_F16 ? 0.015 : 0.08;
}

/* The best token is another one only where two are nearly as good. */
static double others(void)
{
    return options.numbers == ES_F32 ? 0.0 : options.numbers == ES_F16 ? 0.03 : 0.2;
}

static void compare(void **state)
{
    const char *name = *state;
    es_device *device = NULL;
    es_error err = {0};
    if (!fixture_exists(name))
        skip();
    if (es_mlx_device_create(&device, &options, &err) != ES_OK)
        fail_msg("%s", err.message);
    parity p = parity_of(name, device, bound());
    print_message("    in other company %.2g; another best token at %.2g %% of places\n", p.company, 100 * p.others);
    assert_true(p.others <= others());
    assert_true(p.company <= 2 * bound());
}

#define FIXTURE(name)                                                                                                  \
    {                                                                                                                  \
        name, compare, NULL, NULL, (void *)(uintptr_t)name                                                             \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FIXTURE("sharded-bf16"), FIXTURE("single-f32"),     FIXTURE("mlx-4bit-g64"), FIXTURE("mlx-5bit-g128"),
        FIXTURE("mlx-6bit-g32"), FIXTURE("mlx-8bit-mixed"), FIXTURE("box"),
    };
    es_device *device = NULL;
    es_error err = {0};
    const char *numbers = argc > 2 ? argv[2] : "f32";
    options.where = argc > 1 && strcmp(argv[1], "mlx-gpu") == 0 ? ES_MLX_GPU : ES_MLX_CPU;
    options.numbers = strcmp(numbers, "f16") == 0 ? ES_F16 : strcmp(numbers, "bf16") == 0 ? ES_BF16 : ES_F32;
    if (es_mlx_device_create(&device, &options, &err) != ES_OK) {
        printf("not here: %s\n", err.message);
        return SKIPPED;
    }
    es_device_free(device);
    return cmocka_run_group_tests_name("parity on MLX", tests, NULL, NULL);
}
