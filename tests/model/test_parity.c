/* test_parity.c - every stage of the model against its authors' implementation, on random checkpoints that differ in
 * every dimension, on MLX-quantised ones and on the model in the box, for every instruction set that runs here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "parity.h"

#define TOLERANCE 1e-4 /* relative L2 of a stage; what the issue promises */

static void compare_everywhere(const char *name)
{
    for (es_isa isa = ES_ISA_SCALAR; isa <= ES_ISA_NEON; isa++) {
        es_cpu_options options = {.threads = 2, .isa_given = true, .isa = isa};
        es_device *device;
        es_error err = {0};
        if (!es_cpu_has_isa(isa))
            continue;
        if (es_cpu_device_create(&device, &options, &err) != ES_OK)
            fail_msg("%s", err.message);
        parity p = parity_of(name, device, TOLERANCE);
        assert_true(p.others <= 0.0 && p.company <= 0.0); /* the same bits in any company */
    }
}

/* --- the tests --- */

static void test_a_sharded_bf16_checkpoint_with_a_tied_head(void **state)
{
    (void)state;
    compare_everywhere("sharded-bf16");
}

static void test_a_float32_checkpoint_with_its_own_head_and_biases(void **state)
{
    (void)state;
    compare_everywhere("single-f32");
}

static void test_mlx_4_bit_in_groups_of_64(void **state)
{
    (void)state;
    compare_everywhere("mlx-4bit-g64");
}

static void test_mlx_5_bit_in_groups_of_128_with_float32_scales(void **state)
{
    (void)state;
    compare_everywhere("mlx-5bit-g128");
}

static void test_mlx_6_bit_in_groups_of_32_with_float16_scales(void **state)
{
    (void)state;
    compare_everywhere("mlx-6bit-g32");
}

static void test_mlx_8_bit_with_settings_of_single_layers_and_a_quantised_tower(void **state)
{
    (void)state;
    compare_everywhere("mlx-8bit-mixed");
}

static void test_the_model_in_the_box(void **state)
{
    (void)state;
    if (!fixture_exists("box")) {
        print_message("no vectors of the model in the box: make them with make_model_vectors.py --box\n");
        skip();
    }
    compare_everywhere("box");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sharded_bf16_checkpoint_with_a_tied_head),
        cmocka_unit_test(test_a_float32_checkpoint_with_its_own_head_and_biases),
        cmocka_unit_test(test_mlx_4_bit_in_groups_of_64),
        cmocka_unit_test(test_mlx_5_bit_in_groups_of_128_with_float32_scales),
        cmocka_unit_test(test_mlx_6_bit_in_groups_of_32_with_float16_scales),
        cmocka_unit_test(test_mlx_8_bit_with_settings_of_single_layers_and_a_quantised_tower),
        cmocka_unit_test(test_the_model_in_the_box),
    };
    return cmocka_run_group_tests_name("parity", tests, NULL, NULL);
}
