/* Reports: the same session as card, standup, narrative, JSON and HTML; hostile words stay words, personal stays out.
 */
#include "session/report.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/report_text.h"

static const char *const vim[] = {"Vim", "Terminal"}, *const browser[] = {"Browser"}, *const slack[] = {"WhatsApp"};
static const char *const parser[] = {"parser_fix"}, *const docs[] = {"C standard"}, *const chat[] = {"family chat"};
static const char evil[] =
    "<script>alert(1)</script> \"quoted\" `code` *bold* [x](javascript:1)\n# new\xE2\x80\xAE \x1B[31m";

typedef struct session {
    es_moment moments[90];
    es_outline outline;
    es_report report;
} session;

static es_moment moment(size_t i)
{
    static char texts[90][64];
    es_moment m = {.at = (double)i * 10};
    bool coding = i < 40, personal = i >= 60 && i < 75;
    snprintf(texts[i], sizeof texts[i], "Edits parser_fix.c & runs step %zu", i / 5);
    m.activity = coding ? "coding" : personal ? "other" : "reading";
    m.apps = coding ? vim : personal ? slack : browser;
    m.app_count = coding ? 2 : 1;
    m.topics = coding ? parser : personal ? chat : docs;
    m.topic_count = 1;
    m.description = coding ? texts[i] : personal ? "Chats with Mum about a secret" : evil;
    return m;
}

static void make(session *s)
{
    es_segment_options options;
    es_segment_options_init(&options);
    options.length = 895;
    for (size_t i = 0; i < 90; i++)
        s->moments[i] = moment(i);
    assert_int_equal(es_outline_make(&s->outline, s->moments, 90, &options, NULL), ES_OK);
    s->report = (es_report){
        .name = "day_1 <b>.mp4", .model = "tiny", .moments = s->moments, .count = 90, .outline = &s->outline};
}

static char *write_form(const es_report *report, es_form form)
{
    es_str out = {0};
    es_error err = {0};
    if (es_report_write(&out, report, form, &err) != ES_OK)
        fail_msg("%s", err.message);
    return es_str_take(&out, NULL);
}

static void has(const char *text, const char *part, bool wanted)
{
    if ((strstr(text, part) != NULL) != wanted)
        fail_msg("%s \"%s\" in:\n%s", wanted ? "no" : "there is", part, text);
}

static void test_personal_blocks_are_told_by_time_only_unless_asked_for(void **state)
{
    session s = {0};
    (void)state;
    make(&s);
    assert_int_equal(s.outline.subject_count, 3);
    assert_true(s.outline.subjects[2].personal);
    for (es_form form = ES_FORM_CARD; form < ES_FORM_COUNT; form++) {
        s.report.include_personal = false;
        char *without = write_form(&s.report, form);
        has(without, "Mum", false);
        has(without, "family", false);
        has(without, "WhatsApp", false);
        has(without, "parser", true);
        free(without);
        s.report.include_personal = true;
        char *with = write_form(&s.report, form);
        has(with, "Mum", true);
        free(with);
    }
    es_outline_free(&s.outline);
}

static void test_words_from_a_screen_stay_words(void **state)
{
    session s = {0};
    (void)state;
    make(&s);
    s.report.notice = "Notice.";
    for (es_form form = ES_FORM_CARD; form < ES_FORM_COUNT; form++) {
        char *text = write_form(&s.report, form);
        has(text, "\x1B", false);
        has(text, "\xE2\x80\xAE", false);
        has(text, "\n# new", false);
        has(text, form == ES_FORM_JSON ? "\\\"quoted\\\"" : "quoted", true);
        if (form != ES_FORM_JSON && form != ES_FORM_HTML) {
            has(text, "\\<script", true);
            has(text, "\\`code\\`", true);
            has(text, "\\[x](", true);
            has(text, "parser_fix.c & runs", true); /* readable where nothing is meant */
        }
        if (form == ES_FORM_HTML)
            has(text, "<script>alert", false);
        free(text);
    }
    es_outline_free(&s.outline);
}

static void test_markdown_escapes_no_more_than_it_must(void **state)
{
    es_str out = {0};
    (void)state;
    es_append_escaped(&out, "_a_ b_c * 1 & 2 &amp; #x ~ $HOME a|b \xFF", ES_ESCAPE_MARKDOWN);
    assert_string_equal(es_str_text(&out), "\\_a\\_ b_c \\* 1 & 2 \\&amp; #x \\~ $HOME a|b \xEF\xBF\xBD");
    es_str_clear(&out);
    es_append_escaped(&out, "<a href='x'>&\"", ES_ESCAPE_HTML);
    assert_string_equal(es_str_text(&out), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    es_str_clear(&out);
    es_append_escaped(&out, NULL, ES_ESCAPE_JSON);
    assert_string_equal(es_str_text(&out), "\"\"");
    char babble[2000];
    for (size_t i = 0; i + 3 < sizeof babble; i += 3)
        memcpy(babble + i, i % 30 == 27 ? "abc" : "\xE2\x82\xAC", 3);
    babble[sizeof babble - 4] = '\0';
    es_str_clear(&out);
    es_append_brief(&out, babble, ES_ESCAPE_PLAIN);
    assert_in_range(out.length, 200, 250);
    assert_null(strstr(es_str_text(&out), "\xEF\xBF\xBD"));
    es_str_free(&out);
}

static void test_json_holds_everything_and_its_times_add_up(void **state)
{
    session s = {0};
    double blocks = 0, subjects = 0, activities = 0, value;
    json_t *item;
    const char *key;
    size_t i;
    (void)state;
    make(&s);
    s.report.include_personal = true;
    char *text = write_form(&s.report, ES_FORM_JSON);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_int_equal(json_array_size(json_object_get(root, "observations")), 90);
    json_array_foreach(json_object_get(root, "blocks"), i, item) blocks +=
        json_number_value(json_object_get(item, "end")) - json_number_value(json_object_get(item, "start"));
    json_array_foreach(json_object_get(root, "subjects"), i, item) subjects +=
        json_number_value(json_object_get(item, "seconds"));
    json_object_foreach(json_object_get(root, "activities"), key, item) activities += json_number_value(item);
    value = json_number_value(json_object_get(root, "seconds"));
    assert_true(fabs(value - 895) < 0.01 && fabs(blocks - value) < 0.01 && fabs(subjects - value) < 0.01);
    assert_true(fabs(activities - value) < 0.01);
    json_decref(root);
    free(text);
    es_outline_free(&s.outline);
}

static void test_the_page_carries_its_pictures_and_a_policy_that_lets_only_its_own_script_run(void **state)
{
    session s = {0};
    es_picture pictures[16] = {{0}};
    (void)state;
    make(&s);
    assert_true(s.outline.block_count <= 16);
    pictures[0] = (es_picture){(const uint8_t *)"jpeg", 4};
    s.report.pictures = pictures;
    char *text = write_form(&s.report, ES_FORM_HTML);
    has(text, "data:image/jpeg;base64,anBlZw==", true);
    has(text, "default-src 'none'", true);
    has(text, "http://", false);
    has(text, "https://", false);
    char *script = strstr(text, "<script>"), *end = strstr(text, "</script>");
    assert_true(script != NULL && end > script);
    assert_null(strstr(script + 1, "<script"));
    char *hash = strstr(text, "'sha256-");
    assert_non_null(hash);
    assert_int_equal(strcspn(hash + 8, "'"), 44);
    free(text);
    es_outline_free(&s.outline);
}

static void test_highlights_fit_their_block_and_never_repeat(void **state)
{
    session s = {0};
    size_t at[3];
    (void)state;
    make(&s);
    const es_block *first = &s.outline.blocks[0];
    assert_int_equal(es_block_highlights(&s.report, first, 3, at), 3);
    assert_true(at[0] < at[1] && at[1] < at[2] && at[2] < first->count);
    for (size_t b = 1; b < s.outline.block_count; b++) /* one description all through */
        if (!s.outline.blocks[b].personal)
            assert_int_equal(es_block_highlights(&s.report, &s.outline.blocks[b], 3, at), 1);
    for (size_t i = 0; i < 90; i++)
        s.moments[i].description = NULL;
    assert_int_equal(es_block_highlights(&s.report, first, 3, at), 0);
    for (es_form form = ES_FORM_CARD; form < ES_FORM_COUNT; form++)
        free(write_form(&s.report, form));
    es_outline_free(&s.outline);
}

static void test_a_session_without_observations_gives_every_form(void **state)
{
    session s = {0};
    (void)state;
    assert_int_equal(es_outline_make(&s.outline, s.moments, 0, NULL, NULL), ES_OK);
    s.report = (es_report){.name = "empty.mp4", .outline = &s.outline, .moments = s.moments};
    for (es_form form = ES_FORM_CARD; form < ES_FORM_COUNT; form++) {
        char *text = write_form(&s.report, form);
        assert_true(strlen(text) > 0);
        if (form == ES_FORM_JSON) {
            json_t *root = json_loads(text, 0, NULL);
            assert_non_null(root);
            json_decref(root);
        }
        free(text);
    }
}

static void test_clocks_of_long_sessions_show_their_hours(void **state)
{
    es_str out = {0};
    (void)state;
    es_append_clock(&out, 870, 3000);
    es_str_append(&out, " ");
    es_append_clock(&out, 870, 7200);
    es_str_append(&out, " ");
    es_append_clock(&out, 3723, 0);
    assert_string_equal(es_str_text(&out), "14:30 0:14:30 1:02:03");
    es_str_free(&out);
}

/* A terminal with an editor in it: both were on screen all the time. */
static void test_an_app_counts_as_long_as_it_is_seen(void **state)
{
    session s = {0};
    es_share *shares;
    size_t n;
    (void)state;
    make(&s);
    assert_int_equal(es_shares_make(&s.report, true, &shares, &n, NULL), ES_OK);
    assert_int_equal(n, 3);
    assert_string_equal(shares[0].name, "Terminal");
    assert_true(fabs(shares[0].seconds - 400) < 0.01 && fabs(shares[1].seconds - 400) < 0.01);
    assert_string_equal(shares[2].name, "Browser");
    free(shares);
    es_outline_free(&s.outline);
}

static void test_form_names_are_read_back(void **state)
{
    es_form form;
    (void)state;
    for (es_form k = ES_FORM_CARD; k < ES_FORM_COUNT; k++)
        assert_true(es_form_parse(es_form_name(k), &form) && form == k);
    assert_false(es_form_parse("pdf", &form));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_personal_blocks_are_told_by_time_only_unless_asked_for),
        cmocka_unit_test(test_words_from_a_screen_stay_words),
        cmocka_unit_test(test_markdown_escapes_no_more_than_it_must),
        cmocka_unit_test(test_json_holds_everything_and_its_times_add_up),
        cmocka_unit_test(test_the_page_carries_its_pictures_and_a_policy_that_lets_only_its_own_script_run),
        cmocka_unit_test(test_highlights_fit_their_block_and_never_repeat),
        cmocka_unit_test(test_a_session_without_observations_gives_every_form),
        cmocka_unit_test(test_clocks_of_long_sessions_show_their_hours),
        cmocka_unit_test(test_an_app_counts_as_long_as_it_is_seen),
        cmocka_unit_test(test_form_names_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
