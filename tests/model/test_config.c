/* test_config.c - config.json: the published ones are understood, and a value that cannot be is refused by its name. */
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
#include "model/config.h"
#include "faults.h"

/* Qwen3-VL-2B-Instruct as published. */
static const char published[] =
    "{\"architectures\":[\"Qwen3VLForConditionalGeneration\"],\"image_token_id\":151655,\"model_type\":\"qwen3_vl\","
    "\"text_config\":{\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":151643,\"dtype\":"
    "\"bfloat16\","
    "\"eos_token_id\":151645,\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":2048,\"initializer_range\":0.02,"
    "\"intermediate_size\":6144,\"max_position_embeddings\":262144,\"model_type\":\"qwen3_vl_text\","
    "\"num_attention_heads\":16,\"num_hidden_layers\":28,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-06,"
    "\"rope_scaling\":{\"mrope_interleaved\":true,\"mrope_section\":[24,20,20],\"rope_type\":\"default\"},"
    "\"rope_theta\":5000000,\"tie_word_embeddings\":true,\"use_cache\":true,\"vocab_size\":151936},"
    "\"tie_word_embeddings\":true,\"transformers_version\":\"4.57.0.dev0\",\"video_token_id\":151656,"
    "\"vision_config\":{\"deepstack_visual_indexes\":[5,11,17],\"depth\":24,\"hidden_act\":\"gelu_pytorch_tanh\","
    "\"hidden_size\":1024,\"in_channels\":3,\"initializer_range\":0.02,\"intermediate_size\":4096,"
    "\"model_type\":\"qwen3_vl\",\"num_heads\":16,\"num_position_embeddings\":2304,\"out_hidden_size\":2048,"
    "\"patch_size\":16,\"spatial_merge_size\":2,\"temporal_patch_size\":2},\"vision_end_token_id\":151653,"
    "\"vision_start_token_id\":151652}";

/* --- helpers --- */

static char directory[] = "/tmp/escriba-config-XXXXXX";

static void put(const char *name, const char *text, size_t size)
{
    char *path = es_path_join(directory, name);
    assert_non_null(path);
    if (text == NULL) {
        remove(path);
    } else {
        remove(path); /* a truncated file, like es_file_write's, would wait for the disk */
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
    }
    free(path);
}

static int make_directory(void **state)
{
    (void)state;
    faults_begin();
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
    (void)state;
    put("config.json", NULL, 0);
    put("generation_config.json", NULL, 0);
    return rmdir(directory);
}

/* The published configuration with one member set to a JSON value, or removed when it is NULL. The path's steps are
 * parted by slashes; a missing object on the way is made. */
static json_t *changed(json_t *root, const char *path, const char *value)
{
    char step[64];
    json_t *object = root;
    const char *dot;
    while ((dot = strchr(path, '/')) != NULL) {
        snprintf(step, sizeof step, "%.*s", (int)(dot - path), path);
        if (!json_is_object(json_object_get(object, step)))
            json_object_set_new(object, step, json_object());
        object = json_object_get(object, step);
        path = dot + 1;
    }
    if (value == NULL) {
        json_object_del(object, path);
    } else {
        json_t *item = json_loads(value, JSON_DECODE_ANY, NULL);
        assert_non_null(item);
        assert_int_equal(json_object_set_new(object, path, item), 0);
    }
    return root;
}

static json_t *base(void)
{
    json_t *root = json_loads(published, 0, NULL);
    assert_non_null(root);
    return root;
}

/* Writes the configuration, lets go of it and opens it. */
static es_status open_json(es_model_config *config, json_t *root, es_error *err)
{
    char *text = json_dumps(root, JSON_COMPACT);
    assert_non_null(text);
    put("config.json", text, strlen(text));
    __wrap_free(text);
    json_decref(root);
    return es_model_config_open(config, directory, err);
}

static void open_good(es_model_config *config, json_t *root)
{
    es_error err = {0};
    if (open_json(config, root, &err) != ES_OK)
        fail_msg("%s", err.message);
}

static void check_line(const es_error *err, const char *expected)
{
    if (strstr(err->message, expected) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", expected, err->message);
    for (const char *p = err->message; *p != '\0'; p++)
        assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
}

/* --- what is right --- */

static void test_the_published_2b_is_understood(void **state)
{
    (void)state;
    es_model_config c;
    open_good(&c, base());
    assert_int_equal(c.text.layers, 28);
    assert_int_equal(c.text.hidden, 2048);
    assert_int_equal(c.text.heads, 16);
    assert_int_equal(c.text.kv_heads, 8);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.text.intermediate, 6144);
    assert_int_equal(c.text.vocab, 151936);
    assert_int_equal(c.text.max_positions, 262144);
    assert_true(c.text.rms_eps == 1e-6f);
    assert_true(c.text.rope_theta == 5e6);
    assert_int_equal(c.text.mrope_section[0], 24);
    assert_int_equal(c.text.mrope_section[2], 20);
    assert_true(c.text.tied_head);
    assert_false(c.text.attention_bias);
    assert_int_equal(c.vision.depth, 24);
    assert_int_equal(c.vision.hidden, 1024);
    assert_int_equal(c.vision.head_dim, 64);
    assert_int_equal(c.vision.position_side, 48);
    assert_int_equal(c.vision.patch_dim, 1536);
    assert_int_equal(c.vision.merge_size, 2);
    assert_int_equal(c.vision.deepstack_count, 3);
    assert_int_equal(c.vision.deepstack[2], 17);
    assert_true(c.vision.rope_theta == 10000.0f);
    assert_int_equal(c.image_token, 151655);
    assert_int_equal(c.video_token, 151656);
    assert_int_equal(c.vision_start, 151652);
    assert_int_equal(c.vision_end, 151653);
    assert_int_equal(c.eos_count, 1);
    assert_int_equal(c.eos[0], 151645);
    assert_false(c.quantized);
    assert_int_equal(es_model_config_quant(&c, "language_model.lm_head").bits, 0);
    es_model_config_free(&c);
    es_model_config_free(&c);
}

static void test_newer_files_keep_rope_in_rope_parameters(void **state)
{
    (void)state;
    es_model_config c;
    json_t *root = changed(base(), "text_config/rope_scaling", NULL);
    changed(root, "text_config/rope_theta", NULL);
    changed(
        root, "text_config/rope_parameters",
        "{\"mrope_interleaved\":true,\"mrope_section\":[32,16,16],\"rope_theta\":1234.5,\"rope_type\":\"default\"}");
    changed(root, "vision_config/rope_parameters", "{\"rope_theta\":20000.0,\"rope_type\":\"axial\"}");
    changed(root, "vision_config/model_type", "\"qwen3_vl_vision\"");
    open_good(&c, root);
    assert_true(c.text.rope_theta == 1234.5);
    assert_int_equal(c.text.mrope_section[0], 32);
    assert_int_equal(c.text.mrope_section[1], 16);
    assert_true(c.vision.rope_theta == 20000.0f);
    es_model_config_free(&c);
}

static void test_silent_optional_values_take_the_references_defaults(void **state)
{
    (void)state;
    static const char *const optional[] = {
        "architectures",
        "tie_word_embeddings",
        "text_config/tie_word_embeddings",
        "text_config/rope_scaling",
        "text_config/rms_norm_eps",
        "text_config/attention_bias",
        "text_config/model_type",
        "text_config/hidden_act",
        "text_config/eos_token_id",
        "vision_config/in_channels",
        "vision_config/hidden_act",
        "text_config/num_key_value_heads",
    };
    json_t *root = base();
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++)
        changed(root, optional[i], NULL);
    es_model_config c;
    open_good(&c, root);
    assert_false(c.text.tied_head);
    assert_int_equal(c.text.kv_heads, 16);
    assert_int_equal(c.text.mrope_section[0], 24);
    assert_int_equal(c.eos_count, 0);
    es_model_config_free(&c);
}

static void test_the_whole_models_tie_governs(void **state)
{
    (void)state;
    es_model_config c;
    open_good(&c, changed(base(), "tie_word_embeddings", "false"));
    assert_false(c.text.tied_head);
    es_model_config_free(&c);
    open_good(&c, changed(base(), "tie_word_embeddings", NULL));
    assert_true(c.text.tied_head);
    es_model_config_free(&c);
    open_good(&c, changed(base(), "text_config/attention_bias", "true"));
    assert_true(c.text.attention_bias);
    es_model_config_free(&c);
}

static void test_ends_come_from_generation_config_then_config(void **state)
{
    (void)state;
    static const struct {
        const char *generation;
        int count, first;
    } cases[] = {{"{\"eos_token_id\":[151645,151643]}", 2, 151645},
                 {"{\"eos_token_id\":151643}", 1, 151643},
                 {"{\"eos_token_id\":[]}", 0, 0},
                 {"{\"eos_token_id\":null}", 1, 151645},
                 {"{}", 1, 151645}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("generation_config.json", cases[i].generation, strlen(cases[i].generation));
        es_model_config c;
        open_good(&c, base());
        assert_int_equal(c.eos_count, cases[i].count);
        assert_int_equal(c.eos[0], cases[i].first);
        es_model_config_free(&c);
    }
    es_model_config c;
    open_good(&c, changed(base(), "eos_token_id", "[1,2,3]"));
    assert_int_equal(c.eos_count, 3);
    es_model_config_free(&c);
    static const char *const wrong[] = {"{\"eos_token_id\":151936}",
                                        "{\"eos_token_id\":\"x\"}",
                                        "{\"eos_token_id\":[-1]}",
                                        "{\"eos_token_id\":[1.5]}",
                                        "[]",
                                        "{"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        es_error err = {0};
        put("generation_config.json", wrong[i], strlen(wrong[i]));
        assert_int_equal(open_json(&c, base(), &err), ES_ERR_FORMAT);
        check_line(&err, "generation_config.json");
    }
    static const char many[] = "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}";
    es_error err = {0};
    put("generation_config.json", many, strlen(many));
    assert_int_equal(open_json(&c, base(), &err), ES_ERR_LIMIT);
    put("generation_config.json", NULL, 0);
}

/* --- MLX's quantisation --- */

#define Q(text) "{\"group_size\":64,\"bits\":4,\"mode\":\"affine\"" text "}"

static void test_mlx_overrides_count_for_their_layers(void **state)
{
    (void)state;
    es_model_config c;
    open_good(
        &c,
        changed(base(), "quantization",
                Q(",\"language_model.model.layers.0.mlp.down_proj\":{\"group_size\":32,\"bits\":8},"
                  "\"model.embed_tokens\":{\"group_size\":128,\"bits\":6,\"mode\":\"affine\"},"
                  "\"language_model.lm_head\":false,\"vision_tower.merger.linear_fc1\":true,\"quant_method\":null")));
    assert_true(c.quantized);
    assert_int_equal(c.override_count, 4);
    es_quant q = es_model_config_quant(&c, "language_model.model.layers.0.mlp.down_proj");
    assert_true(q.bits == 8 && q.group == 32);
    q = es_model_config_quant(&c, "language_model.model.layers.1.mlp.down_proj");
    assert_true(q.bits == 4 && q.group == 64);
    q = es_model_config_quant(&c, "language_model.model.embed_tokens"); /* stated without its wrapper */
    assert_true(q.bits == 6 && q.group == 128);
    assert_int_equal(es_model_config_quant(&c, "language_model.lm_head").bits, 0);
    assert_int_equal(es_model_config_quant(&c, "vision_tower.merger.linear_fc1").bits, 4);
    es_model_config_free(&c);
    open_good(&c, changed(base(), "quantization_config", "{\"group_size\":32,\"bits\":5}"));
    assert_true(c.quantized && c.quant.bits == 5 && c.quant.group == 32);
    es_model_config_free(&c);
}

/* --- nonsense --- */

static const struct {
    const char *path, *value; /* NULL: removed */
    es_status status;
    const char *expected;
} nonsense[] = {
    /* another model */
    {"model_type", "\"qwen2_5_vl\"", ES_ERR_UNSUPPORTED, "qwen2_5_vl"},
    {"model_type", "\"qwen3_vl_moe\"", ES_ERR_UNSUPPORTED, "only dense Qwen3-VL"},
    {"model_type", NULL, ES_ERR_FORMAT, "\"model_type\" is missing"},
    {"model_type", "3", ES_ERR_FORMAT, "must be a string"},
    {"architectures", "[\"Qwen3VLMoeForConditionalGeneration\"]", ES_ERR_UNSUPPORTED, "Qwen3VLMoe"},
    {"architectures", "[]", ES_ERR_UNSUPPORTED, "architecture"},
    {"architectures", "\"Qwen3VLForConditionalGeneration\"", ES_ERR_FORMAT, "must be a list"},
    {"text_config/model_type", "\"llama\"", ES_ERR_UNSUPPORTED, "llama"},
    {"text_config/hidden_act", "\"gelu\"", ES_ERR_UNSUPPORTED, "only \"silu\""},
    {"vision_config/hidden_act", "\"relu\"", ES_ERR_UNSUPPORTED, "only \"gelu_pytorch_tanh\""},
    {"vision_config/in_channels", "4", ES_ERR_UNSUPPORTED, "in_channels"},
    /* shape of the file */
    {"text_config", NULL, ES_ERR_FORMAT, "\"text_config\" is missing"},
    {"vision_config", NULL, ES_ERR_FORMAT, "\"vision_config\" is missing"},
    {"text_config", "[]", ES_ERR_FORMAT, "must be an object"},
    {"vision_config", "7", ES_ERR_FORMAT, "must be an object"},
    /* numbers alone */
    {"text_config/num_hidden_layers", "0", ES_ERR_FORMAT, "num_hidden_layers"},
    {"text_config/num_hidden_layers", "-28", ES_ERR_FORMAT, "num_hidden_layers"},
    {"text_config/num_hidden_layers", "1000000000", ES_ERR_FORMAT, "num_hidden_layers"},
    {"text_config/num_hidden_layers", "28.0", ES_ERR_FORMAT, "num_hidden_layers"},
    {"text_config/num_hidden_layers", "\"28\"", ES_ERR_FORMAT, "num_hidden_layers"},
    {"text_config/num_hidden_layers", "true", ES_ERR_FORMAT, "num_hidden_layers"},
    {"text_config/num_hidden_layers", NULL, ES_ERR_FORMAT, "num_hidden_layers"},
    {"text_config/hidden_size", "0", ES_ERR_FORMAT, "hidden_size"},
    {"text_config/hidden_size", "4294969344", ES_ERR_FORMAT, "hidden_size"},
    {"text_config/num_attention_heads", "0", ES_ERR_FORMAT, "num_attention_heads"},
    {"text_config/num_key_value_heads", "0", ES_ERR_FORMAT, "num_key_value_heads"},
    {"text_config/head_dim", "0", ES_ERR_FORMAT, "head_dim"},
    {"text_config/head_dim", "9223372036854775807", ES_ERR_FORMAT, "head_dim"},
    {"text_config/intermediate_size", "-1", ES_ERR_FORMAT, "intermediate_size"},
    {"text_config/vocab_size", "0", ES_ERR_FORMAT, "vocab_size"},
    {"text_config/vocab_size", "2147483648", ES_ERR_FORMAT, "vocab_size"},
    {"text_config/max_position_embeddings", "0", ES_ERR_FORMAT, "max_position_embeddings"},
    {"text_config/rms_norm_eps", "0", ES_ERR_FORMAT, "rms_norm_eps"},
    {"text_config/rms_norm_eps", "-1e-6", ES_ERR_FORMAT, "rms_norm_eps"},
    {"text_config/rms_norm_eps", "\"1e-6\"", ES_ERR_FORMAT, "rms_norm_eps"},
    {"text_config/attention_bias", "1", ES_ERR_FORMAT, "attention_bias"},
    {"tie_word_embeddings", "\"yes\"", ES_ERR_FORMAT, "tie_word_embeddings"},
    {"vision_config/depth", "0", ES_ERR_FORMAT, "depth"},
    {"vision_config/num_heads", "0", ES_ERR_FORMAT, "num_heads"},
    {"vision_config/patch_size", "0", ES_ERR_FORMAT, "patch_size"},
    {"vision_config/patch_size", "100000", ES_ERR_FORMAT, "patch_size"},
    {"vision_config/patch_size", "[16,16]", ES_ERR_FORMAT, "patch_size"},
    {"vision_config/temporal_patch_size", "0", ES_ERR_FORMAT, "temporal_patch_size"},
    {"vision_config/spatial_merge_size", "0", ES_ERR_FORMAT, "spatial_merge_size"},
    {"vision_config/num_position_embeddings", "0", ES_ERR_FORMAT, "num_position_embeddings"},
    /* numbers together */
    {"text_config/num_key_value_heads", "7", ES_ERR_FORMAT, "not a multiple"},
    {"text_config/num_key_value_heads", "32", ES_ERR_FORMAT, "not a multiple"},
    {"text_config/head_dim", "127", ES_ERR_FORMAT, "odd"},
    {"text_config/head_dim", "64", ES_ERR_FORMAT, "mrope_section"},
    {"vision_config/num_heads", "15", ES_ERR_FORMAT, "not a multiple"},
    {"vision_config/num_heads", "512", ES_ERR_FORMAT, "not a multiple of 4"},
    {"vision_config/num_position_embeddings", "2305", ES_ERR_FORMAT, "not a square"},
    {"vision_config/out_hidden_size", "1024", ES_ERR_FORMAT, "out_hidden_size"},
    {"vision_config/deepstack_visual_indexes", NULL, ES_ERR_FORMAT, "deepstack_visual_indexes"},
    {"vision_config/deepstack_visual_indexes", "[24]", ES_ERR_FORMAT, "block 24 of 24"},
    {"vision_config/deepstack_visual_indexes", "[-1]", ES_ERR_FORMAT, "deepstack_visual_indexes"},
    {"vision_config/deepstack_visual_indexes", "[5,5]", ES_ERR_FORMAT, "must rise"},
    {"vision_config/deepstack_visual_indexes", "[11,5]", ES_ERR_FORMAT, "must rise"},
    {"vision_config/deepstack_visual_indexes", "[5,\"x\"]", ES_ERR_FORMAT, "whole numbers"},
    {"vision_config/deepstack_visual_indexes", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", ES_ERR_LIMIT,
     "17 members"},
    {"text_config/num_hidden_layers", "2", ES_ERR_FORMAT, "DeepStack"},
    /* rotation */
    {"text_config/rope_theta", NULL, ES_ERR_FORMAT, "rope_theta"},
    {"text_config/rope_theta", "0", ES_ERR_FORMAT, "rope_theta"},
    {"text_config/rope_scaling", "[]", ES_ERR_FORMAT, "rope_scaling"},
    {"text_config/rope_scaling/rope_type", "\"yarn\"", ES_ERR_UNSUPPORTED, "yarn"},
    {"text_config/rope_scaling/mrope_interleaved", "false", ES_ERR_UNSUPPORTED, "mrope_interleaved"},
    {"text_config/rope_scaling/mrope_section", "[24,20,21]", ES_ERR_FORMAT, "add up to 64"},
    {"text_config/rope_scaling/mrope_section", "[44,20]", ES_ERR_FORMAT, "three numbers"},
    {"text_config/rope_scaling/mrope_section", "[64,20,-20]", ES_ERR_FORMAT, "mrope_section"},
    {"text_config/rope_scaling/mrope_section", "[16,16,16,16]", ES_ERR_LIMIT, "mrope_section"},
    {"vision_config/rope_parameters/rope_type", "\"default\"", ES_ERR_UNSUPPORTED, "only \"axial\""},
    {"vision_config/rope_parameters/rope_theta", "-5", ES_ERR_FORMAT, "rope_theta"},
    /* tokens */
    {"image_token_id", NULL, ES_ERR_FORMAT, "image_token_id"},
    {"image_token_id", "151936", ES_ERR_FORMAT, "image_token_id"},
    {"video_token_id", "-1", ES_ERR_FORMAT, "video_token_id"},
    {"video_token_id", "151655", ES_ERR_FORMAT, "are both 151655"},
    {"text_config/vocab_size", "151655", ES_ERR_FORMAT, "image_token_id"},
    /* quantisation */
    {"quantization", "7", ES_ERR_FORMAT, "quantization"},
    {"quantization", "{\"group_size\":64}", ES_ERR_FORMAT, "\"bits\" is missing"},
    {"quantization", "{\"bits\":4}", ES_ERR_FORMAT, "\"group_size\" is missing"},
    {"quantization", "{\"group_size\":64,\"bits\":3}", ES_ERR_UNSUPPORTED, "\"bits\" is 3"},
    {"quantization", "{\"group_size\":16,\"bits\":4}", ES_ERR_UNSUPPORTED, "\"group_size\" is 16"},
    {"quantization", "{\"group_size\":32,\"bits\":4,\"mode\":\"mxfp4\"}", ES_ERR_UNSUPPORTED, "mxfp4"},
    {"quantization", Q(",\"a.b\":{\"bits\":2,\"group_size\":64}"), ES_ERR_UNSUPPORTED, "a.b"},
    {"quantization", Q(",\"a.b\":{\"bits\":8}"), ES_ERR_FORMAT, "a.b: \"group_size\" is missing"},
    {"quantization", Q(",\"a.b\":{\"bits\":8,\"group_size\":64,\"mode\":\"nvfp4\"}"), ES_ERR_UNSUPPORTED, "nvfp4"},
    {"quantization_config", "{\"quant_method\":\"fp8\"}", ES_ERR_UNSUPPORTED, "fp8"},
    {"quantization_config", "{\"bits\":4,\"quant_method\":\"gptq\",\"group_size\":128}", ES_ERR_UNSUPPORTED, "gptq"},
};

static void test_nonsense_is_refused_by_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        es_model_config c;
        es_error err = {0};
        es_status status = open_json(&c, changed(base(), nonsense[i].path, nonsense[i].value), &err);
        if (status != nonsense[i].status)
            fail_msg("%s: %s gave %s: %s", nonsense[i].path, nonsense[i].value, es_status_name(status), err.message);
        assert_int_equal(err.status, status);
        check_line(&err, nonsense[i].expected);
        check_line(&err, "config.json");
        check_line(&err, directory);
        assert_null(c.overrides);
    }
}

static void test_missing_and_broken_files_are_refused(void **state)
{
    (void)state;
    es_model_config c;
    es_error err = {0};
    assert_int_equal(es_model_config_open(&c, "/nonexistent", &err), ES_ERR_IO);
    check_line(&err, "/nonexistent/config.json");
    for (size_t n = 0; n + 1 < sizeof published; n++) {
        put("config.json", published, n);
        assert_int_equal(es_model_config_open(&c, directory, &err), ES_ERR_FORMAT);
        check_line(&err, "config.json");
    }
    put("config.json", "{\"model_type\":\"qwen3_vl\",\"model_type\":\"qwen3_vl\"}", 49);
    assert_int_equal(es_model_config_open(&c, directory, &err), ES_ERR_FORMAT);
}

static int open_once(void *context)
{
    es_model_config c;
    es_error err = {0};
    (void)context;
    es_status status = es_model_config_open(&c, directory, &err);
    if (status == ES_OK) {
        es_model_config_free(&c);
        return 0;
    }
    /* Not always ES_ERR_MEMORY: jansson drops a character of a long string that it cannot grow, or calls it wrong. */
    return err.status == status && err.message[0] != '\0' ? 1 : -1;
}

static void test_every_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    static const char generation[] = "{\"eos_token_id\":[151645,151643]}";
    es_model_config c;
    put("generation_config.json", generation, strlen(generation));
    open_good(&c, changed(base(), "quantization", Q(",\"a\":false,\"b\":{\"bits\":8,\"group_size\":32}")));
    es_model_config_free(&c);
    assert_true(faults_sweep(open_once, NULL, false) > 100);
    assert_true(faults_sweep(open_once, NULL, true) > 100);
    put("generation_config.json", NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_published_2b_is_understood),
        cmocka_unit_test(test_newer_files_keep_rope_in_rope_parameters),
        cmocka_unit_test(test_silent_optional_values_take_the_references_defaults),
        cmocka_unit_test(test_the_whole_models_tie_governs),
        cmocka_unit_test(test_ends_come_from_generation_config_then_config),
        cmocka_unit_test(test_mlx_overrides_count_for_their_layers),
        cmocka_unit_test(test_nonsense_is_refused_by_its_name),
        cmocka_unit_test(test_missing_and_broken_files_are_refused),
        cmocka_unit_test(test_every_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
