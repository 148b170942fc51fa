/* test_safetensors.c - files of tensors: what is read is what was written, and no lie in a header is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fuzz/replay.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/safetensors.h"
#include "faults.h"

/* --- helpers --- */

static char directory[] = "/tmp/escriba-safetensors-XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    faults_begin();
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static void empty_directory(void)
{
    es_names names;
    if (es_dir_list(directory, &names, NULL) != ES_OK)
        return;
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(directory, names.items[i]);
        if (path != NULL)
            remove(path);
        free(path);
    }
    es_names_free(&names);
}

static int remove_directory(void **state)
{
    (void)state;
    empty_directory();
    return rmdir(directory);
}

/* A whole file in memory: the header with its length before it, then `data` bytes 0, 1, 2... Free it. */
static uint8_t *make_file(const char *header, size_t data, size_t *size)
{
    size_t n = strlen(header);
    uint8_t *bytes = malloc(8 + n + data);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < data; i++)
        bytes[8 + n + i] = (uint8_t)i;
    *size = 8 + n + data;
    return bytes;
}

static void put_file(const char *name, const void *bytes, size_t size)
{
    char *path = es_path_join(directory, name);
    assert_non_null(path);
    remove(path); /* a truncated file, like es_file_write's, would wait for the disk */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static void put_tensors(const char *name, const char *header, size_t data)
{
    size_t size;
    uint8_t *bytes = make_file(header, data, &size);
    put_file(name, bytes, size);
    free(bytes);
}

static void put_text(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

/* The error is one clear line that says `expected`. */
static void check_line(const es_error *err, const char *expected)
{
    if (strstr(err->message, expected) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", expected, err->message);
    for (const char *p = err->message; *p != '\0'; p++)
        assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
}

/* --- reading what is right --- */

static void test_reads_every_dtype_shape_and_offset(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"n\":\"1\"},"
                                 "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                 "\"a\":{\"dtype\":\"BF16\",\"shape\":[1,0,9],\"data_offsets\":[24,24]},"
                                 "\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},"
                                 "\"d\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[32,33]},"
                                 "\"e\":{\"dtype\":\"U32\",\"shape\":[1],\"data_offsets\":[33,37]}}   ";
    size_t size;
    uint8_t *bytes = make_file(header, 37, &size);
    es_tensors *t;
    es_error err = {0};
    assert_int_equal(es_tensors_open_memory(&t, bytes, size, "x", &err), ES_OK);
    assert_int_equal(es_tensors_count(t), 5);
    assert_int_equal(es_tensors_bytes(t), 37);
    assert_string_equal(es_tensors_at(t, 0)->name, "a");
    assert_string_equal(es_tensors_at(t, 4)->name, "e");
    const es_view *b = es_tensors_find(t, "b");
    assert_non_null(b);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->dims[1], 3);
    assert_int_equal(es_view_count(b), 6);
    assert_int_equal(*(const uint8_t *)b->data, 0);
    assert_true(es_tensors_find(t, "d")->data == bytes + 8 + strlen(header) + 32);
    assert_false(es_tensors_find(t, "c")->usable);
    assert_string_equal(es_tensors_find(t, "c")->type, "I64");
    assert_int_equal(es_view_count(es_tensors_find(t, "c")), 1);
    assert_int_equal(es_view_count(es_tensors_find(t, "a")), 0);
    assert_int_equal(es_tensors_find(t, "e")->dtype, ES_U32);
    assert_null(es_tensors_find(t, "__metadata__"));
    assert_null(es_tensors_find(t, "ab"));
    es_tensors_close(t);
    free(bytes);
}

static void test_an_empty_file_of_tensors_is_fine(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = make_file("{}", 0, &size);
    es_tensors *t;
    assert_int_equal(es_tensors_open_memory(&t, bytes, size, "x", NULL), ES_OK);
    assert_int_equal(es_tensors_count(t), 0);
    assert_null(es_tensors_find(t, "a"));
    es_tensors_close(t);
    es_tensors_close(NULL);
    free(bytes);
}

static void test_halves_become_the_floats_they_are(void **state)
{
    (void)state;
    static const uint16_t f16[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x0001, 0x83ff,
                                   0x0400, 0x7bff, 0x7c00, 0xfc00, 0x3555};
    static const float expect16[] = {0.0f,     -0.0f,    1.0f,        -2.0f,        0x1p-24f,   -0x1.ff8p-15f,
                                     0x1p-14f, 65504.0f, 1.0f / 0.0f, -1.0f / 0.0f, 0x1.554p-2f};
    static const uint16_t bf16[] = {0x3f80, 0xbf80, 0x4049, 0x0001, 0x7f80};
    static const float expectb[] = {1.0f, -1.0f, 3.140625f, 0x1p-133f, 1.0f / 0.0f};
    float out[11];
    uint8_t odd[23]; /* at an odd address */
    memcpy(odd + 1, f16, sizeof f16);
    es_view view = {
        .name = "x", .file = "f", .usable = true, .dtype = ES_F16, .type = "F16", .n_dims = 1, .dims = {11}};
    view.data = odd + 1;
    assert_int_equal(es_view_floats(&view, out, NULL), ES_OK);
    assert_memory_equal(out, expect16, sizeof expect16);
    view.dtype = ES_BF16;
    view.data = bf16;
    view.dims[0] = 5;
    assert_int_equal(es_view_floats(&view, out, NULL), ES_OK);
    assert_memory_equal(out, expectb, sizeof expectb);
    view.dtype = ES_F32;
    view.data = expectb;
    assert_int_equal(es_view_floats(&view, out, NULL), ES_OK);
    assert_memory_equal(out, expectb, sizeof expectb);
    es_error err = {0};
    view.dtype = ES_U32;
    assert_int_equal(es_view_floats(&view, out, &err), ES_ERR_FORMAT);
    view.usable = false;
    snprintf(view.type, sizeof view.type, "I64");
    assert_int_equal(es_view_floats(&view, out, &err), ES_ERR_FORMAT);
    check_line(&err, "I64");
}

/* --- lies --- */

#define T(name, dtype, shape, from, to)                                                                                \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static const struct {
    const char *header;
    size_t data;
    const char *expected;
} lies[] = {
    /* not the format */
    {"", 0, "does not begin with"},
    {" {}", 0, "does not begin with"},
    {"[]", 0, "does not begin with"},
    {"{", 0, "not valid JSON"},
    {"{}x", 0, "not valid JSON"},
    {"{\"a\":1}", 0, "must be described by an object"},
    {"{\"a\":{}}", 0, "\"dtype\" must be a string"},
    {"{\"a\":{\"dtype\":7}}", 0, "\"dtype\" must be a string"},
    {"{" T("a", "F33", "[1]", "0", "4") "}", 4, "unknown dtype \"F33\""},
    {"{" T("a", "f32", "[1]", "0", "4") "}", 4, "unknown dtype"},
    {"{" T("a", "BF16_____________________", "[1]", "0", "4") "}", 4, "unknown dtype"},
    /* duplicates */
    {"{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 8, "duplicate"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "duplicate"},
    /* shapes */
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "\"shape\" must be a list"},
    {"{" T("a", "F32", "4", "0", "4") "}", 4, "\"shape\" must be a list"},
    {"{" T("a", "F32", "[-1]", "0", "4") "}", 4, "not negative"},
    {"{" T("a", "F32", "[1.0]", "0", "4") "}", 4, "whole number"},
    {"{" T("a", "F32", "[\"1\"]", "0", "4") "}", 4, "whole number"},
    {"{" T("a", "F32", "[null]", "0", "4") "}", 4, "whole number"},
    {"{" T("a", "F32", "[[1]]", "0", "4") "}", 4, "whole number"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "9 dimensions"},
    {"{" T("a", "F32", "[9223372036854775807]", "0", "4") "}", 4, "too large"},
    {"{" T("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 4, "too large"},
    {"{" T("a", "F32", "[4611686018427387904,4]", "0", "0") "}", 4, "too large"},
    {"{" T("a", "F32", "[1073741824,1073741824,0]", "0", "0") "}", 0, "too large"},
    {"{" T("a", "F32", "[0,9223372036854775807]", "0", "0") "}", 0, "too large"},
    {"{" T("a", "F32", "[99999999999999999999]", "0", "4") "}", 4, "not valid JSON"},
    {"{" T("a", "F4", "[3]", "0", "1") "}", 1, "whole bytes"},
    {"{" T("a", "F32", "[2]", "0", "4") "}", 4, "takes 8 bytes, data_offsets give it 4"},
    {"{" T("a", "BF16", "[1]", "0", "4") "}", 4, "takes 2 bytes, data_offsets give it 4"},
    /* offsets */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "\"data_offsets\" must be two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{\"0\":0}}}", 4, "\"data_offsets\" must be two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "\"data_offsets\" must be two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "\"data_offsets\" must be two"},
    {"{" T("a", "F32", "[1]", "4", "0") "}", 4, "\"data_offsets\" must be two"},
    {"{" T("a", "F32", "[1]", "-4", "0") "}", 4, "\"data_offsets\" must be two"},
    {"{" T("a", "F32", "[1]", "0", "4.0") "}", 4, "\"data_offsets\" must be two"},
    {"{" T("a", "F32", "[1]", "0", "4") "}", 3, "ends at byte 4 of 3"},
    {"{" T("a", "F32", "[1]", "4", "8") "}", 4, "ends at byte 8 of 4"},
    {"{" T("a", "F32", "[1]", "9223372036854775803", "9223372036854775807") "}", 4, "ends at byte 9223372036854775807"},
    /* layout */
    {"{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "0", "4") "}", 4, "overlap"},
    {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "4", "12") "}", 12, "overlap"},
    {"{" T("a", "F32", "[3]", "0", "12") "," T("b", "F32", "[1]", "4", "8") "}", 12, "overlap"},
    {"{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "8", "12") "}", 12, "4 bytes before tensor \"b\""},
    {"{" T("a", "F32", "[1]", "0", "4") "}", 5, "1 bytes after the last tensor"},
    {"{}", 1, "1 bytes after the last tensor"},
    /* names that would spoil a line */
    {"{\"a\\nb\\u001b[31m\":{\"dtype\":\"\\n\"}}", 0, "unknown dtype"},
};

static void test_lying_headers_are_refused_in_one_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        size_t size;
        uint8_t *bytes = make_file(lies[i].header, lies[i].data, &size);
        es_tensors *t = (es_tensors *)1;
        es_error err = {0};
        es_status status = es_tensors_open_memory(&t, bytes, size, "x.safetensors", &err);
        if (status != ES_ERR_FORMAT)
            fail_msg("\"%s\" gave %s", lies[i].header, es_status_name(status));
        assert_null(t);
        assert_int_equal(err.status, status);
        check_line(&err, lies[i].expected);
        check_line(&err, "x.safetensors");
        free(bytes);
    }
}

static void test_header_lengths_beyond_the_file_or_the_bound_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        const char *expected;
    } cases[] = {{3, "truncated"}, {100000000, "truncated"}, {100000001, "at most 100000000"}, {UINT64_MAX, "at most"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        for (int k = 0; k < 8; k++)
            bytes[k] = (uint8_t)(cases[i].length >> (8 * k));
        es_tensors *t;
        es_error err = {0};
        assert_int_equal(es_tensors_open_memory(&t, bytes, sizeof bytes, "x", &err), ES_ERR_FORMAT);
        check_line(&err, cases[i].expected);
    }
}

static void test_a_file_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = make_file("{" T("a", "F32", "[2]", "0", "8") "," T("b", "F16", "[1]", "8", "10") "} ", 10, &size);
    for (size_t n = 0; n < size; n++) {
        uint8_t *cut = malloc(n == 0 ? 1 : n); /* of its own size, so that a sanitizer sees a step beyond */
        assert_non_null(cut);
        memcpy(cut, bytes, n);
        es_tensors *t;
        es_error err = {0};
        assert_int_equal(es_tensors_open_memory(&t, cut, n, "cut", &err), ES_ERR_FORMAT);
        check_line(&err, "cut");
        /* And with a header length that claims to be right. */
        if (n >= 8) {
            for (int k = 0; k < 8; k++)
                cut[k] = (uint8_t)((uint64_t)(n - 8) >> (8 * k));
            assert_int_equal(es_tensors_open_memory(&t, cut, n, "cut", &err), ES_ERR_FORMAT);
        }
        free(cut);
    }
    free(bytes);
}

static void test_any_flipped_byte_of_a_header_is_survived(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = make_file("{" T("a", "F32", "[2]", "0", "8") "," T("b", "F16", "[1]", "8", "10") "}", 10, &size);
    for (size_t i = 0; i < size - 10; i++) {
        uint8_t kept = bytes[i];
        for (int v = 0; v < 256; v++) {
            bytes[i] = (uint8_t)v;
            es_tensors *t;
            es_error err = {0};
            if (es_tensors_open_memory(&t, bytes, size, "x", &err) == ES_OK)
                es_tensors_close(t);
            else
                check_line(&err, "x");
        }
        bytes[i] = kept;
    }
    free(bytes);
}

/* --- directories --- */

static es_status open_dir(es_error *err)
{
    es_tensors *t;
    es_status status = es_tensors_open(&t, directory, err);
    if (status == ES_OK)
        es_tensors_close(t);
    else
        assert_null(t);
    return status;
}

#define ONE(name) "{" T(name, "F32", "[1]", "0", "4") "}"

static void test_opens_single_sharded_and_lone_files(void **state)
{
    (void)state;
    es_tensors *t;
    es_error err = {0};
    empty_directory();
    put_tensors("weights.safetensors", ONE("w"), 4);
    put_text("other.txt", "x");
    assert_int_equal(es_tensors_open(&t, directory, &err), ES_OK);
    assert_non_null(es_tensors_find(t, "w"));
    es_tensors_close(t);

    put_tensors("model-1.safetensors", ONE("b"), 4);
    put_tensors("model-2.safetensors", "{" T("a", "F32", "[1]", "0", "4") "," T("c", "F32", "[1]", "4", "8") "}", 8);
    put_text("model.safetensors.index.json",
             "{\"metadata\":{},\"weight_map\":{\"a\":\"model-2.safetensors\",\"b\":\"model-1.safetensors\","
             "\"c\":\"model-2.safetensors\"}}");
    assert_int_equal(es_tensors_open(&t, directory, &err), ES_OK);
    assert_int_equal(es_tensors_count(t), 3);
    assert_int_equal(es_tensors_bytes(t), 12);
    assert_non_null(strstr(es_tensors_find(t, "b")->file, "model-1.safetensors"));
    assert_int_equal(*(const uint8_t *)es_tensors_find(t, "c")->data, 4);
    es_tensors_close(t);

    put_tensors("model.safetensors", ONE("single"), 4);
    assert_int_equal(es_tensors_open(&t, directory, &err), ES_OK);
    assert_non_null(es_tensors_find(t, "single"));
    es_tensors_close(t);
}

static void test_directories_without_one_clear_choice_are_refused(void **state)
{
    (void)state;
    es_error err = {0};
    empty_directory();
    assert_int_equal(open_dir(&err), ES_ERR_IO);
    check_line(&err, "0 .safetensors files");
    put_tensors("a.safetensors", ONE("a"), 4);
    put_tensors("b.safetensors", ONE("b"), 4);
    assert_int_equal(open_dir(&err), ES_ERR_FORMAT);
    check_line(&err, "2 .safetensors files");
    es_tensors *t;
    assert_int_equal(es_tensors_open(&t, "/nonexistent/model", &err), ES_ERR_IO);
    check_line(&err, "/nonexistent/model");
    assert_int_equal(es_tensors_open_file(&t, "/nonexistent/x.safetensors", &err), ES_ERR_IO);
    assert_int_equal(es_tensors_open_file(&t, directory, &err), ES_ERR_IO);
    put_text("model.safetensors", "");
    assert_int_equal(open_dir(&err), ES_ERR_FORMAT);
    check_line(&err, "0 bytes");
}

static void test_lying_indexes_are_refused_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        es_status status;
        const char *expected;
    } cases[] = {
        {"", ES_ERR_FORMAT, "JSON"},
        {"[]", ES_ERR_FORMAT, "object"},
        {"{}", ES_ERR_FORMAT, "\"weight_map\" must be an object"},
        {"{\"weight_map\":[]}", ES_ERR_FORMAT, "\"weight_map\" must be an object"},
        {"{\"weight_map\":{}}", ES_ERR_FORMAT, "names no tensor"},
        {"{\"weight_map\":{\"a\":1}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"\"}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"../a.safetensors\"}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"x/a.safetensors\"}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"x\\\\a.safetensors\"}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"a.safetensors\\u0000x\"}}", ES_ERR_FORMAT, "not a plain file name"},
        {"{\"weight_map\":{\"a\":\"missing.safetensors\"}}", ES_ERR_IO, "missing.safetensors"},
        {"{\"weight_map\":{\"a\":\"a.safetensors\",\"z\":\"a.safetensors\"}}", ES_ERR_FORMAT, "\"z\" is not in"},
        {"{\"weight_map\":{\"a\":\"b.safetensors\",\"b\":\"a.safetensors\"}}", ES_ERR_FORMAT, "is not in"},
        {"{\"weight_map\":{\"a\":\"a.safetensors\",\"b\":\"copy.safetensors\"}}", ES_ERR_FORMAT, "is both in"},
        {"{\"weight_map\":{\"a\":\"broken.safetensors\"}}", ES_ERR_FORMAT, "broken.safetensors"},
    };
    empty_directory();
    put_tensors("a.safetensors", ONE("a"), 4);
    put_tensors("b.safetensors", ONE("b"), 4);
    put_tensors("copy.safetensors", ONE("a"), 4);
    put_tensors("broken.safetensors", ONE("a"), 3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text("model.safetensors.index.json", cases[i].index);
        es_error err = {0};
        es_status status = open_dir(&err);
        if (status != cases[i].status)
            fail_msg("%s gave %s: %s", cases[i].index, es_status_name(status), err.message);
        check_line(&err, cases[i].expected);
    }
}

static void test_an_index_of_too_many_files_is_refused(void **state)
{
    (void)state;
    size_t room = 64 + 4200 * 40, used = 0;
    char *text = malloc(room);
    assert_non_null(text);
    used += (size_t)snprintf(text, room, "{\"weight_map\":{");
    for (int i = 0; i < 4200; i++)
        used += (size_t)snprintf(text + used, room - used, "%s\"t%d\":\"f%d\"", i == 0 ? "" : ",", i, i);
    snprintf(text + used, room - used, "}}");
    empty_directory();
    put_text("model.safetensors.index.json", text);
    es_error err = {0};
    assert_int_equal(open_dir(&err), ES_ERR_LIMIT);
    check_line(&err, "more than 4096 files");
    free(text);
}

/* --- writing --- */

static void test_what_is_written_is_read_back(void **state)
{
    (void)state;
    static const float numbers[] = {1.0f, -2.5f, 3e38f, 0.0f, 1e-40f, 7.0f};
    static const uint32_t ids[] = {0, 151643, UINT32_MAX};
    static const int64_t dims[] = {2, 3}, n[] = {3}, none[] = {0, 5};
    empty_directory();
    char *path = es_path_join(directory, "out.safetensors");
    es_tensors_out *out;
    es_error err = {0};
    assert_int_equal(es_tensors_out_create(&out, &err), ES_OK);
    assert_int_equal(es_tensors_out_add(out, "stage \"1\" \xc3\xa9", ES_F32, dims, 2, numbers, &err), ES_OK);
    assert_int_equal(es_tensors_out_add(out, "ids", ES_U32, n, 1, ids, &err), ES_OK);
    assert_int_equal(es_tensors_out_add(out, "empty", ES_F32, none, 2, NULL, &err), ES_OK);
    assert_int_equal(es_tensors_out_add(out, "scalar", ES_F32, NULL, 0, numbers, &err), ES_OK);
    assert_int_equal(es_tensors_out_add(out, "ids", ES_U32, n, 1, ids, &err), ES_ERR_ARGUMENT);
    check_line(&err, "twice");
    const int64_t wrong[] = {-1}, huge[] = {INT64_MAX, 2};
    assert_int_equal(es_tensors_out_add(out, "x", ES_U32, wrong, 1, ids, &err), ES_ERR_ARGUMENT);
    assert_int_equal(es_tensors_out_add(out, "x", ES_U32, huge, 2, ids, &err), ES_ERR_ARGUMENT);
    assert_int_equal(es_tensors_out_add(out, "x", ES_U32, dims, ES_MAX_DIMS + 1, ids, &err), ES_ERR_ARGUMENT);
    assert_int_equal(es_tensors_out_write(out, path, &err), ES_OK);
    assert_int_equal(es_tensors_out_write(out, "/nonexistent/dir/x", &err), ES_ERR_IO);
    es_tensors_out_free(out);
    es_tensors_out_free(NULL);

    es_tensors *t;
    assert_int_equal(es_tensors_open_file(&t, path, &err), ES_OK);
    assert_int_equal(es_tensors_count(t), 4);
    const es_view *view = es_tensors_find(t, "stage \"1\" \xc3\xa9");
    assert_non_null(view);
    assert_int_equal((uintptr_t)view->data % 8, 0);
    assert_int_equal(view->dims[0], 2);
    assert_memory_equal(view->data, numbers, sizeof numbers);
    assert_memory_equal(es_tensors_find(t, "ids")->data, ids, sizeof ids);
    assert_int_equal(es_tensors_find(t, "empty")->size, 0);
    assert_int_equal(es_tensors_find(t, "scalar")->n_dims, 0);
    es_tensors_close(t);
    free(path);
}

/* --- what fuzzing found worth keeping --- */

static void test_saved_fuzz_cases_are_survived(void **state)
{
    (void)state;
    replay_saved_cases("corpus-safetensors", 50);
}

/* --- short of memory --- */

/* What faults_sweep wants to know. Jansson calls a string that it had no memory for a wrong token. */
static int outcome(es_status status, const es_error *err)
{
    if (status == ES_OK)
        return 0;
    bool memory = status == ES_ERR_MEMORY || strstr(err->message, "not valid JSON") != NULL;
    return memory && err->status == status ? 1 : -1;
}

static int open_once(void *context)
{
    es_tensors *t;
    es_error err = {0};
    (void)context;
    es_status status = es_tensors_open(&t, directory, &err);
    if (status == ES_OK)
        es_tensors_close(t);
    return outcome(status, &err);
}

static int write_once(void *context)
{
    static const float number = 1.0f;
    es_error err = {0};
    es_tensors_out *out;
    es_status status = es_tensors_out_create(&out, &err);
    for (int i = 0; status == ES_OK && i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        status = es_tensors_out_add(out, name, ES_F32, NULL, 0, &number, &err);
    }
    if (status == ES_OK)
        status = es_tensors_out_write(out, context, &err);
    es_tensors_out_free(out);
    return outcome(status, &err);
}

static void test_every_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    empty_directory();
    put_tensors("a.safetensors", "{" T("a", "F32", "[1]", "0", "4") "," T("c", "BF16", "[1,2]", "4", "8") "}", 8);
    for (int lasting = 0; lasting < 2; lasting++)
        assert_true(faults_sweep(open_once, NULL, lasting) > 20);
    put_tensors("b.safetensors", ONE("b"), 4);
    put_text("model.safetensors.index.json",
             "{\"weight_map\":{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\",\"c\":\"a.safetensors\"}}");
    char *path = es_path_join(directory, "out.safetensors");
    for (int lasting = 0; lasting < 2; lasting++) {
        assert_true(faults_sweep(open_once, NULL, lasting) > 40);
        assert_true(faults_sweep(write_once, path, lasting) > 40);
    }
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_every_dtype_shape_and_offset),
        cmocka_unit_test(test_an_empty_file_of_tensors_is_fine),
        cmocka_unit_test(test_halves_become_the_floats_they_are),
        cmocka_unit_test(test_lying_headers_are_refused_in_one_line),
        cmocka_unit_test(test_header_lengths_beyond_the_file_or_the_bound_are_refused),
        cmocka_unit_test(test_a_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(test_any_flipped_byte_of_a_header_is_survived),
        cmocka_unit_test(test_opens_single_sharded_and_lone_files),
        cmocka_unit_test(test_directories_without_one_clear_choice_are_refused),
        cmocka_unit_test(test_lying_indexes_are_refused_in_one_line),
        cmocka_unit_test(test_an_index_of_too_many_files_is_refused),
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_saved_fuzz_cases_are_survived),
        cmocka_unit_test(test_every_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
