/* Settings: who wins over whom, and what hostile values are answered with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "intelligence/settings.h"

/* A file in the test's own folder. */
static char *write_config(const char *text, size_t size)
{
    static char path[] = "escriba-test-settings.env"; /* in the build folder, where tests run */
    es_error err;
    assert_int_equal(es_file_write(path, text, size, 0600, &err), ES_OK);
    return path;
}

static es_status read_text(es_settings *settings, const char *text, es_error *err)
{
    char *path = write_config(text, strlen(text));
    es_status status = es_settings_read_file(settings, path, true, err);
    unlink(path);
    return status;
}

static const char *tokens_only(void *context, const char *name)
{
    return strcmp(name, "ESCRIBANO_VLM_MAX_TOKENS") == 0 ? context : NULL;
}

static void flags_win_over_variables_over_files_over_defaults(void **state)
{
    (void)state;
    es_settings *s;
    es_error err;
    char value[] = "222";
    assert_int_equal(es_settings_create(&s, &err), ES_OK);
    assert_int_equal(es_settings_int(s, ES_SETTING_MAX_TOKENS), 500);
    assert_int_equal(es_settings_source(s, ES_SETTING_MAX_TOKENS), ES_FROM_DEFAULT);
    assert_int_equal(read_text(s, "ESCRIBANO_VLM_MAX_TOKENS=111\nESCRIBANO_VLM_BATCH_SIZE=3\n", &err), ES_OK);
    assert_int_equal(es_settings_int(s, ES_SETTING_MAX_TOKENS), 111);
    assert_non_null(strstr(es_settings_where(s, ES_SETTING_MAX_TOKENS), ".env:1"));
    assert_int_equal(es_settings_read_variables(s, tokens_only, value, &err), ES_OK);
    assert_int_equal(es_settings_int(s, ES_SETTING_MAX_TOKENS), 222);
    assert_string_equal(es_settings_where(s, ES_SETTING_MAX_TOKENS), "ESCRIBANO_VLM_MAX_TOKENS");
    assert_int_equal(es_settings_int(s, ES_SETTING_BATCH), 3);
    assert_int_equal(es_settings_set(s, ES_SETTING_MAX_TOKENS, "333", ES_FROM_FLAG, "--max-tokens", &err), ES_OK);
    assert_int_equal(es_settings_int(s, ES_SETTING_MAX_TOKENS), 333);
    assert_string_equal(es_source_name(es_settings_source(s, ES_SETTING_MAX_TOKENS)), "flag");
    assert_int_equal(es_settings_file_count(s), 1);
    es_settings_free(s);
}

static void an_empty_variable_counts_as_not_set(void **state)
{
    (void)state;
    es_settings *s;
    es_error err;
    char nothing[] = "";
    assert_int_equal(es_settings_create(&s, &err), ES_OK);
    assert_int_equal(es_settings_read_variables(s, tokens_only, nothing, &err), ES_OK);
    assert_int_equal(es_settings_source(s, ES_SETTING_MAX_TOKENS), ES_FROM_DEFAULT);
    es_settings_free(s);
}

static void every_default_passes_its_own_check(void **state)
{
    (void)state;
    es_settings *s;
    es_error err;
    assert_int_equal(es_settings_create(&s, &err), ES_OK);
    for (size_t i = 0; i < ES_SETTING_COUNT; i++) {
        const es_setting *row = es_setting_at(i);
        assert_true(row->name != NULL && (row->flag == NULL || row->flag[0] == '-') && row->variable != NULL &&
                    row->help != NULL);
        assert_true(row->group != 0);
        assert_int_equal(es_settings_set(s, i, row->standard, ES_FROM_FLAG, row->name, &err), ES_OK);
    }
    es_settings_free(s);
}

static void values_out_of_range_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        es_setting_id id;
        const char *text;
    } wrong[] = {
        {ES_SETTING_MAX_TOKENS, "0"},      {ES_SETTING_MAX_TOKENS, "-5"},   {ES_SETTING_MAX_TOKENS, "12x"},
        {ES_SETTING_MAX_TOKENS, " 12"},    {ES_SETTING_MAX_TOKENS, "1e3"},  {ES_SETTING_MAX_TOKENS, "1.5"},
        {ES_SETTING_MAX_TOKENS, ""},       {ES_SETTING_MAX_TOKENS, "0x10"}, {ES_SETTING_SEED, "99999999999999999999"},
        {ES_SETTING_SEED, "-1"},           {ES_SETTING_TEMPERATURE, "nan"}, {ES_SETTING_TEMPERATURE, "inf"},
        {ES_SETTING_TEMPERATURE, "-0.1"},  {ES_SETTING_TEMPERATURE, "hot"}, {ES_SETTING_TEMPERATURE, "0x1p3"},
        {ES_SETTING_TEMPERATURE, "1e999"}, {ES_SETTING_TOP_P, "1.01"},      {ES_SETTING_REPETITION_PENALTY, "0"},
        {ES_SETTING_VERBOSE, "maybe"},     {ES_SETTING_VERBOSE, ""},        {ES_SETTING_ISA, "sse9"},
        {ES_SETTING_PRECISION, "loose"},   {ES_SETTING_ISA, "auto|scalar"}, {ES_SETTING_BACKEND, "cloud"},
        {ES_SETTING_BACKEND, ""},          {ES_SETTING_INTERLEAVED, "65"},  {ES_SETTING_FRAME_WIDTH, "99999"},
        {ES_SETTING_BATCH, "--help"},
    };
    es_settings *s;
    es_error err;
    assert_int_equal(es_settings_create(&s, &err), ES_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        es_status status = es_settings_set(s, wrong[i].id, wrong[i].text, ES_FROM_FLAG, "--place", &err);
        if (status != ES_ERR_ARGUMENT || strncmp(err.message, "--place: ", 9) != 0 || strchr(err.message, '\n') != NULL)
            fail_msg("\"%s\": status %d, \"%s\"", wrong[i].text, status, err.message);
        assert_int_equal(es_settings_source(s, wrong[i].id), ES_FROM_DEFAULT);
    }
    es_settings_free(s);
}

static void a_hostile_value_is_shown_as_one_short_line(void **state)
{
    (void)state;
    es_settings *s;
    es_error err;
    char value[2000];
    assert_int_equal(es_settings_create(&s, &err), ES_OK);
    memset(value, 'x', sizeof value - 1);
    value[0] = '\n';
    value[1] = '\x1B';
    value[2] = (char)0xFF;
    value[sizeof value - 1] = '\0';
    assert_int_equal(es_settings_set(s, ES_SETTING_BATCH, value, ES_FROM_FLAG, "--batch", &err), ES_ERR_ARGUMENT);
    assert_true(strlen(err.message) < 200);
    for (const char *at = err.message; *at != '\0'; at++)
        assert_true((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7F);
    es_settings_free(s);
}

static void a_file_may_hold_what_such_files_hold(void **state)
{
    (void)state;
    es_settings *s;
    es_error err;
    assert_int_equal(es_settings_create(&s, &err), ES_OK);
    assert_int_equal(read_text(s,
                               "\xEF\xBB\xBF# Escribano\r\n"
                               "\r\n"
                               "export ESCRIBANO_VLM_MODEL=\"my model # 1\"  # a comment\r\n"
                               "  ESCRIBANO_VLM_BATCH_SIZE = 4 # two\n"
                               "ESCRIBANO_VLM_PROMPT='What is \"this\"?'\n"
                               "ESCRIBANO_VERBOSE=YES\n"
                               "ESCRIBANO_VLM_SEED=\n"
                               "ESCRIBANO_PYTHON_PATH=/usr/bin/python3\n"
                               "SOMETHING_ELSE=\"not closed\n"
                               "ESCRIBANO_VLM_TOP_K=7",
                               &err),
                     ES_OK);
    assert_string_equal(es_settings_text(s, ES_SETTING_MODEL), "my model # 1");
    assert_int_equal(es_settings_int(s, ES_SETTING_BATCH), 4);
    assert_string_equal(es_settings_text(s, ES_SETTING_PROMPT), "What is \"this\"?");
    assert_true(es_settings_bool(s, ES_SETTING_VERBOSE));
    assert_int_equal(es_settings_source(s, ES_SETTING_SEED), ES_FROM_DEFAULT);
    assert_int_equal(es_settings_int(s, ES_SETTING_TOP_K), 7);
    es_settings_free(s);
}

static void a_bad_line_is_named_by_file_and_number(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
    } bad[] = {
        {"\n\nESCRIBANO_VLM_MAX_TOKENS=many\n", ".env:3: ESCRIBANO_VLM_MAX_TOKENS: "},
        {"this is no setting\n", ".env:1: "},
        {"=5\n", ".env:1: "},
        {"A=1\nESCRIBANO_VLM_MODEL=\"open\n", ".env:2: "},
        {"ESCRIBANO_VLM_MODEL=\"a\" b\n", ".env:1: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        es_settings *s;
        es_error err;
        assert_int_equal(es_settings_create(&s, &err), ES_OK);
        assert_int_equal(read_text(s, bad[i].text, &err), ES_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, bad[i].place));
        es_settings_free(s);
    }
}

static void files_that_are_none_are_refused(void **state)
{
    (void)state;
    es_settings *s;
    es_error err;
    assert_int_equal(es_settings_create(&s, &err), ES_OK);
    char *path = write_config("A=1\0B=2\n", 8);
    assert_int_equal(es_settings_read_file(s, path, true, &err), ES_ERR_ARGUMENT);
    unlink(path);
    char *large = calloc(1, 2 << 20);
    assert_non_null(large);
    memset(large, '#', 2 << 20);
    path = write_config(large, 2 << 20);
    assert_int_not_equal(es_settings_read_file(s, path, true, &err), ES_OK);
    unlink(path);
    free(large);
    assert_int_not_equal(es_settings_read_file(s, "no/such/file", true, &err), ES_OK);
    assert_int_equal(es_settings_read_file(s, "no/such/file", false, &err), ES_OK);
    assert_int_not_equal(es_settings_read_file(s, ".", true, &err), ES_OK);
    es_settings_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_win_over_variables_over_files_over_defaults),
        cmocka_unit_test(an_empty_variable_counts_as_not_set),
        cmocka_unit_test(every_default_passes_its_own_check),
        cmocka_unit_test(values_out_of_range_are_refused_with_their_place),
        cmocka_unit_test(a_hostile_value_is_shown_as_one_short_line),
        cmocka_unit_test(a_file_may_hold_what_such_files_hold),
        cmocka_unit_test(a_bad_line_is_named_by_file_and_number),
        cmocka_unit_test(files_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
