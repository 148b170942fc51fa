/* test_random_checkpoint.c - what tools/make_random_checkpoint.py writes is a whole model directory, and the same one
 * twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "compute/cpu/cpu.h"
#include "model/weights.h"

static const char *const files[] = {"config.json", "generation_config.json", "preprocessor_config.json",
                                    "tokenizer.json", "model.safetensors"};

static void write_checkpoint(const char *dir, const char *args)
{
    char command[1024];
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    snprintf(command, sizeof command, "python3 '%s/tools/make_random_checkpoint.py' %s --size tiny %s > /dev/null",
             root == NULL ? "." : root, dir, args);
    assert_int_equal(system(command), 0);
}

static void remove_checkpoint(const char *dir)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *path = es_path_join(dir, files[i]);
        assert_int_equal(remove(path), 0);
        free(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void test_every_variant_binds(void **state)
{
    (void)state;
    static const struct {
        const char *args;
        size_t tensors;
        bool tied;
        int bits;
    } cases[] = {{"", 115, true, 0},
                 {"--untied --seed 7", 116, false, 0},
                 {"--quant-bits 4", 115 + 2 * 29, true, 4},
                 {"--untied --quant-bits 5 --quant-group 32", 116 + 2 * 30, false, 5},
                 {"--quant-bits 8 --quant-group 128", 115 + 2 * 29, true, 8}};
    es_device *device;
    es_error err = {0};
    assert_int_equal(es_cpu_device_create(&device, NULL, &err), ES_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char dir[] = "/tmp/escriba-random-XXXXXX";
        es_model_config config;
        es_tensors *tensors;
        es_weights weights;
        assert_non_null(mkdtemp(dir));
        write_checkpoint(dir, cases[i].args);
        if (es_model_config_open(&config, dir, &err) != ES_OK || es_tensors_open(&tensors, dir, &err) != ES_OK ||
            es_weights_bind(&weights, device, &config, tensors, NULL, &err) != ES_OK)
            fail_msg("%s: %s", cases[i].args, err.message);
        assert_int_equal(es_tensors_count(tensors), cases[i].tensors);
        assert_int_equal(config.text.tied_head, cases[i].tied);
        assert_int_equal(config.quant.bits, cases[i].bits);
        assert_int_equal(config.eos_count, 2);
        es_weights_free(&weights, device, &config);
        es_tensors_close(tensors);
        es_model_config_free(&config);
        remove_checkpoint(dir);
    }
    es_device_free(device);
}

static void test_the_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    char *bytes[3];
    size_t sizes[3];
    static const char *const args[] = {"", "--seed 1", "--seed 2"};
    for (int i = 0; i < 3; i++) {
        char dir[] = "/tmp/escriba-random-XXXXXX";
        assert_non_null(mkdtemp(dir));
        write_checkpoint(dir, args[i]);
        char *path = es_path_join(dir, "model.safetensors");
        assert_int_equal(es_file_read(path, (size_t)64 << 20, &bytes[i], &sizes[i], NULL), ES_OK);
        free(path);
        remove_checkpoint(dir);
    }
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(bytes[0], bytes[1], sizes[0]);
    assert_int_equal(sizes[0], sizes[2]);
    assert_true(memcmp(bytes[0], bytes[2], sizes[0]) != 0);
    for (int i = 0; i < 3; i++)
        free(bytes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_binds),
        cmocka_unit_test(test_the_same_seed_gives_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
