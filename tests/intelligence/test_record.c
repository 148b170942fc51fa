/* The tolerant reader of records, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/utf8.h"
#include "intelligence/prompts.h"
#include "intelligence/record.h"

typedef struct record_case {
    const char *name, *text;
    const char *description, *activity; /* description NULL: no record */
    const char *apps, *topics;          /* joined by "; " */
} record_case;

static const record_case cases[] = {
    {"the form itself",
     "description: The user edits main.c. | activity: coding | apps: [VS Code, Git] | topics: [C, tests]",
     "The user edits main.c.", "coding", "VS Code; Git", "C; tests"},
    {"a line end after it", "description: A. | activity: review | apps: [x] | topics: [y]\n", "A.", "review", "x", "y"},
    {"windows line ends", "description: A.\r\nactivity: review\r\napps: [x]\r\ntopics: [y]\r\n", "A.", "review", "x",
     "y"},
    {"empty lists", "description: A. | activity: other | apps: [] | topics: []", "A.", "other", "", ""},
    {"no lists", "description: A. | activity: other", "A.", "other", "", ""},
    {"no topics", "description: A. | activity: other | apps: [x]", "A.", "other", "x", ""},
    {"another order", "topics: [y] | apps: [x] | activity: meeting | description: They talk.", "They talk.", "meeting",
     "x", "y"},
    {"capitals", "DESCRIPTION: A. | Activity: CODING | APPS: [x] | Topics: [y]", "A.", "coding", "x", "y"},
    {"spaces before colons", "description : A. | activity : coding | apps : [x] | topics : [y]", "A.", "coding", "x",
     "y"},
    {"no spaces at all", "description:A.|activity:coding|apps:[x,z]|topics:[y]", "A.", "coding", "x; z", "y"},
    {"equals signs", "description = A. | activity = coding | apps = [x] | topics = [y]", "A.", "coding", "x", "y"},
    {"lines for fields", "description: A.\nactivity: terminal\napps: [x]\ntopics: [y]", "A.", "terminal", "x", "y"},
    {"bullets for fields", "- description: A.\n- activity: terminal\n- apps: [x]\n- topics: [y]", "A.", "terminal", "x",
     "y"},
    {"numbered fields", "1. description: A.\n2. activity: terminal\n3. apps: [x]\n4. topics: [y]", "A.", "terminal",
     "x", "y"},
    {"bold keys", "**description:** A. | **activity:** coding | **apps:** [x] | **topics:** [y]", "A.", "coding", "x",
     "y"},
    {"bold keys, colon outside", "**Description**: A.\n**Activity**: coding\n**Apps**: x, z\n**Topics**: y", "A.",
     "coding", "x; z", "y"},
    {"headings", "### Description:\nA.\n\n### Activity:\ncoding\n\n### Apps:\n- x\n- z\n\n### Topics:\n- y", "A.",
     "coding", "x; z", "y"},
    {"starred bullets below a key", "description: A.\nactivity: coding\napps:\n* x\n* z\ntopics:\n* y", "A.", "coding",
     "x; z", "y"},
    {"code fence", "```\ndescription: A. | activity: coding | apps: [x] | topics: [y]\n```", "A.", "coding", "x", "y"},
    {"code fence with a language", "```text\ndescription: A. | activity: coding | apps: [x] | topics: [y]\n```\n", "A.",
     "coding", "x", "y"},
    {"quoted whole", "\"description: A. | activity: coding | apps: [x] | topics: [y]\"", "A.", "coding", "x", "y"},
    {"backticks", "`description: A. | activity: coding | apps: [x] | topics: [y]`", "A.", "coding", "x", "y"},
    {"quoted values", "description: \"A.\" | activity: \"coding\" | apps: [\"x\", 'z'] | topics: [\"y\"]", "A.",
     "coding", "x; z", "y"},
    {"a frame's label", "Frame 3: description: A. | activity: coding | apps: [x] | topics: [y]", "A.", "coding", "x",
     "y"},
    {"a label with a time",
     "**Frame 12 (timestamp: 20s):** description: A. | activity: coding | apps: [x] | topics: [y]", "A.", "coding", "x",
     "y"},
    {"words before", "Sure! Here is the record:\n\ndescription: A. | activity: coding | apps: [x] | topics: [y]", "A.",
     "coding", "x", "y"},
    {"words before, same line", "Here it is: description: A. | activity: coding | apps: [x] | topics: [y]", "A.",
     "coding", "x", "y"},
    {"words after", "description: A. | activity: coding | apps: [x] | topics: [y]\n\nLet me know if you need more!",
     "A.", "coding", "x", "y"},
    {"words after an open list", "description: A.\nactivity: coding\napps: x\ntopics: y, z\nI hope this helps.", "A.",
     "coding", "x", "y; z"},
    {"thinking",
     "<think>The screen shows code. activity: meeting?</think>description: A. | activity: coding | apps: [x] | "
     "topics: [y]",
     "A.", "coding", "x", "y"},
    {"thinking with a draft",
     "<think>\ndescription: draft | activity: other\n</think>\n\ndescription: A. | activity: coding "
     "| apps: [x] | topics: [y]",
     "A.", "coding", "x", "y"},
    {"thinking in capitals", "<THINK>no</THINK> description: A. | activity: coding | apps: [x] | topics: [y]", "A.",
     "coding", "x", "y"},
    {"thinking closed, never opened",
     "The user types.\n</think>\ndescription: A. | activity: coding | apps: [x] | topics: "
     "[y]",
     "A.", "coding", "x", "y"},
    {"thinking never closed", "<think>Let me see. description: A. | activity: coding | apps: [x] | topics: [y]", "A.",
     "coding", "x", "y"},
    {"thinking never closed, two drafts",
     "<think>description: B. | activity: other. No:\ndescription: A. | activity: coding "
     "| apps: [x] | topics: [y]",
     "A.", "coding", "x", "y"},
    {"only thinking", "<think>description: A. | activity: coding | apps: [x] | topics: [y]</think>", NULL, "", "", ""},
    {"pipes in the description",
     "description: The user runs ls | grep foo | wc -l. | activity: terminal | apps: [bash] | "
     "topics: [pipes]",
     "The user runs ls | grep foo | wc -l.", "terminal", "bash", "pipes"},
    {"a key's word in the description",
     "description: The user looks at apps and topics of the activity. | activity: reading "
     "| apps: [x] | topics: [y]",
     "The user looks at apps and topics of the activity.", "reading", "x", "y"},
    {"a key with a colon in the description",
     "description: A form with the field activity: is filled in. | activity: other "
     "| apps: [x] | topics: [y]",
     "A form with the field activity: is filled in.", "other", "x", "y"},
    {"lists without brackets", "description: A. | activity: coding | apps: x, z | topics: y", "A.", "coding", "x; z",
     "y"},
    {"lists with semicolons", "description: A. | activity: coding | apps: x; z | topics: [y; w]", "A.", "coding",
     "x; z", "y; w"},
    {"a list not closed", "description: A. | activity: coding | apps: [x, z | topics: [y", "A.", "coding", "x; z", "y"},
    {"trailing commas", "description: A. | activity: coding | apps: [x, z,] | topics: [y,]", "A.", "coding", "x; z",
     "y"},
    {"empty items", "description: A. | activity: coding | apps: [x, , z] | topics: [,y]", "A.", "coding", "x; z", "y"},
    {"items twice", "description: A. | activity: coding | apps: [x, X, z, x] | topics: [y, y]", "A.", "coding", "x; z",
     "y"},
    {"items that mean nothing", "description: A. | activity: coding | apps: [none] | topics: n/a", "A.", "coding", "",
     ""},
    {"commas within quotes", "description: A. | activity: coding | apps: [\"x, y\", z] | topics: []", "A.", "coding",
     "x, y; z", ""},
    {"a full stop after a list", "description: A. | activity: coding | apps: x, z. | topics: y.", "A.", "coding",
     "x; z", "y"},
    {"a name with dots", "description: A. | activity: coding | apps: [Node.js] | topics: [.NET, README.md]", "A.",
     "coding", "Node.js", ".NET; README.md"},
    {"names for the keys", "description: A. | activity: coding | applications: [x] | subjects: [y]", "A.", "coding",
     "x", "y"},
    {"commas between fields", "description: A., activity: coding, apps: [x], topics: [y]", "A.", "coding", "x", "y"},
    {"a line broken in the description",
     "description: The user\nedits a file. | activity: coding | apps: [x] | topics: [y]", "The user edits a file.",
     "coding", "x", "y"},
    {"a JSON object",
     "{\"description\": \"A.\", \"activity\": \"coding\", \"apps\": [\"x\", \"z\"], \"topics\": [\"y\"]}", "A.",
     "coding", "x; z", "y"},
    {"JSON in a fence",
     "```json\n{\"description\": \"A.\", \"activity\": \"coding\", \"apps\": [\"x\"], \"topics\": []}\n```", "A.",
     "coding", "x", ""},
    {"JSON with trailing commas",
     "{\"description\": \"A.\", \"activity\": \"coding\", \"apps\": [\"x\",], \"topics\": [\"y\"],}", "A.", "coding",
     "x", "y"},
    {"JSON within words", "Here: {\"Description\": \"A.\", \"Activity\": \"Coding\", \"apps\": \"x, z\"} done", "A.",
     "coding", "x; z", ""},
    {"JSON in JSON",
     "{\"frame 1\": {\"description\": \"A.\", \"activity\": \"coding\", \"apps\": [\"x\"], \"topics\": [\"y\"]}}", "A.",
     "coding", "x", "y"},
    {"JSON cut off", "{\"description\": \"A.\", \"activity\": \"coding\", \"apps\": [\"x\", \"z", "A.", "coding",
     "x; z", ""},
    {"JSON with wrong types",
     "{\"description\": \"A.\", \"activity\": \"coding\", \"apps\": 5, \"topics\": [1, \"y\", null]}", "A.", "coding",
     "", "y"},
    {"braces in the description",
     "description: The user writes {x} and {y}. | activity: coding | apps: [x] | topics: [y]",
     "The user writes {x} and {y}.", "coding", "x", "y"},
    {"two activities", "description: A. | activity: coding, terminal | apps: [x] | topics: [y]", "A.", "coding", "x",
     "y"},
    {"two activities and a slash", "description: A. | activity: debugging/coding | apps: [x] | topics: [y]", "A.",
     "debugging", "x", "y"},
    {"an activity in brackets", "description: A. | activity: [coding] | apps: [x] | topics: [y]", "A.", "coding", "x",
     "y"},
    {"an activity in angles", "description: A. | activity: <coding> | apps: [x] | topics: [y]", "A.", "coding", "x",
     "y"},
    {"an activity with a full stop", "description: A. | activity: Coding. | apps: [x] | topics: [y]", "A.", "coding",
     "x", "y"},
    {"a synonym: programming", "description: A. | activity: programming | apps: [x] | topics: [y]", "A.", "coding", "x",
     "y"},
    {"a synonym: code review", "description: A. | activity: code review | apps: [x] | topics: [y]", "A.", "review", "x",
     "y"},
    {"a synonym: video call", "description: A. | activity: video call | apps: [x] | topics: [y]", "A.", "meeting", "x",
     "y"},
    {"a synonym: browsing", "description: A. | activity: browsing the web | apps: [x] | topics: [y]", "A.", "research",
     "x", "y"},
    {"an unknown activity", "description: A. | activity: gardening | apps: [x] | topics: [y]", "A.", "other", "x", "y"},
    {"the question echoed first",
     "description: <one sentence> | activity: <debugging|coding|review> | apps: [<programs in "
     "use>] | topics: [<subjects>]\ndescription: A. | activity: coding | apps: [x] | topics: [y]",
     "A.", "coding", "x", "y"},
    {"a second record is not mixed in",
     "description: A. | activity: coding | apps: [x] | topics: [y]\ndescription: B. | "
     "activity: other | apps: [q] | topics: [r]",
     "A.", "coding", "x", "y"},
    {"a second record does not fill the first",
     "description: A. | activity: coding\ndescription: B. | activity: other | "
     "apps: [q]",
     "A.", "coding", "", ""},
    {"broken UTF-8", "description: caf\xC3 \xFF. | activity: coding | apps: [\xE2\x82] | topics: [y]",
     "caf\xEF\xBF\xBD \xEF\xBF\xBD.", "coding", "\xEF\xBF\xBD\xEF\xBF\xBD", "y"},
    {"other scripts",
     "description: \xE4\xBB\x96\xE5\x9C\xA8\xE5\x86\x99. | activity: coding | apps: [\xD0\xAF] | topics: "
     "[\xF0\x9F\x90\x8D]",
     "\xE4\xBB\x96\xE5\x9C\xA8\xE5\x86\x99.", "coding", "\xD0\xAF", "\xF0\x9F\x90\x8D"},
    {"control characters", "description: A\x01\x1B[31m. | activity: coding | apps: [x\x07] | topics: [y]", "A [31m.",
     "coding", "x", "y"},
    {"nothing", "", NULL, "", "", ""},
    {"blanks", " \n\t ", NULL, "", "", ""},
    {"prose", "The user is editing a file in an editor.", NULL, "", "", ""},
    {"a description alone", "description: The user edits.", NULL, "", "", ""},
    {"an activity alone", "activity: coding", NULL, "", "", ""},
    {"the question's form alone",
     "description: <one sentence> | activity: <debugging|coding|review> | apps: [<programs in "
     "use>] | topics: [<subjects>]",
     NULL, "", "", ""},
    {"a description that is empty", "description: | activity: coding | apps: [x]", NULL, "", "", ""},
    {"keys without colons", "description A | activity coding", NULL, "", "", ""},
    {"another JSON", "{\"answer\": [1, 2, 3]}", NULL, "", "", ""},
    {"repeated tokens", " research research research research", NULL, "", "", ""},
};

static void join(char *out, size_t size, char **items, size_t count)
{
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(out);
        snprintf(out + n, size - n, "%s%s", i > 0 ? "; " : "", items[i]);
    }
}

static void every_case_reads_as_expected(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const record_case *c = &cases[i];
        es_record record;
        es_error err;
        char apps[4000], topics[4000];
        assert_int_equal(es_record_parse(&record, c->text, &err), ES_OK);
        join(apps, sizeof apps, record.apps, record.app_count);
        join(topics, sizeof topics, record.topics, record.topic_count);
        bool good = record.parsed == (c->description != NULL) &&
                    strcmp(record.description, c->description != NULL ? c->description : "") == 0 &&
                    strcmp(record.activity, c->activity) == 0 && strcmp(apps, c->apps) == 0 &&
                    strcmp(topics, c->topics) == 0;
        if (!good)
            print_message("%s: parsed %d, \"%s\" | %s | [%s] | [%s]\n", c->name, record.parsed, record.description,
                          record.activity, apps, topics);
        wrong += !good;
        es_record_free(&record);
    }
    assert_int_equal(wrong, 0);
    assert_true(sizeof cases / sizeof *cases >= 60);
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    es_str text = {0};
    es_str_append(&text, "description: ");
    for (int i = 0; i < 5000; i++)
        es_str_append(&text, "\xC3\xA9");
    es_str_append(&text, " | activity: coding | apps: [");
    for (int i = 0; i < 500; i++)
        es_str_append_format(&text, "app%d, ", i);
    es_str_append(&text, "] | topics: [");
    for (int i = 0; i < 500; i++)
        es_str_append(&text, "\xE2\x82\xAC");
    es_str_append(&text, "]");
    es_record record;
    es_error err;
    assert_int_equal(es_record_parse(&record, es_str_text(&text), &err), ES_OK);
    assert_true(record.parsed);
    assert_true(strlen(record.description) <= 2000 && strlen(record.description) > 1990);
    assert_int_equal(strlen(record.description) % 2, 0); /* no character was cut */
    assert_int_equal(record.app_count, 32);
    assert_int_equal(record.topic_count, 1);
    assert_true(strlen(record.topics[0]) <= 120 && strlen(record.topics[0]) % 3 == 0);
    es_record_free(&record);
    es_str_free(&text);
}

static void an_answer_is_split_by_its_labels(void **state)
{
    (void)state;
    static const struct {
        const char *text, *pieces[3]; /* NULL: missing; else what the piece must hold */
    } splits[] = {
        {"Frame 1: description: A\nFrame 2: description: B\nFrame 3: description: C", {"A", "B", "C"}},
        {"Frame 2: description: B\nFrame 1: description: A", {"A", "B", NULL}},
        {"**Frame 1:** description: A\n\n**Frame 3 (timestamp: 20s):** description: C", {"A", NULL, "C"}},
        {"Frame 1: description: A Frame 2: description: B Frame 3: description: C", {"A", "B", "C"}},
        {"Frame 1: description: A\nFrame 1: description: X\nFrame 7: description: Y", {"A", NULL, NULL}},
        {"Frame 0: description: Z\nFrame 99999999999999999999: description: W", {NULL, NULL, NULL}},
        {"<think>Frame 1: description: X</think>Frame 1: description: A", {"A", NULL, NULL}},
        {"- frame 1 - description: A\n- FRAME 2 - description: B", {"A", "B", NULL}},
        {"Frame 1:\ndescription: A\nactivity: coding\n\nFrame 2:\ndescription: B", {"A", "B", NULL}},
        {"Frame 1: description: The user compares Frame 2: and 3.\nFrame 3: description: C",
         {"compares Frame 2", NULL, "C"}},
        {"[{\"description\": \"A\"}, {\"description\": \"B\"}]", {"A", "B", NULL}},
        {"```json\n[{\"frame\": 2, \"description\": \"B\"}, {\"frame\": 1, \"description\": \"A\"}]\n```",
         {"A", "B", NULL}},
        {"description: A\ndescription: B\ndescription: C", {"A", "B", "C"}},
        {"description: A\ndescription: B", {NULL, NULL, NULL}},
        {"", {NULL, NULL, NULL}},
        {"nothing of the kind", {NULL, NULL, NULL}},
    };
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        char *pieces[3];
        es_error err;
        assert_int_equal(es_record_split(splits[i].text, 3, pieces, &err), ES_OK);
        for (size_t k = 0; k < 3; k++) {
            const char *want = splits[i].pieces[k];
            if ((want == NULL) != (pieces[k] == NULL) || (want != NULL && strstr(pieces[k], want) == NULL))
                fail_msg("split %zu, piece %zu: \"%s\"", i, k, pieces[k] != NULL ? pieces[k] : "(none)");
            for (size_t other = 0; want != NULL && other < 3; other++)
                if (other != k && splits[i].pieces[other] != NULL && strlen(splits[i].pieces[other]) == 1)
                    assert_null(strstr(pieces[k], splits[i].pieces[other]));
            free(pieces[k]);
        }
    }
}

static void a_single_frame_needs_no_label(void **state)
{
    (void)state;
    char *piece;
    es_error err;
    assert_int_equal(es_record_split("description: A | activity: coding", 1, &piece, &err), ES_OK);
    assert_string_equal(piece, "description: A | activity: coding");
    free(piece);
}

static void the_questions_are_word_for_word_those_of_training(void **state)
{
    (void)state;
    es_str text = {0};
    assert_string_equal(
        es_prompt_frame,
        "This is a frame of a screen recording. Say what the user is doing. Answer with one line in exactly this "
        "form:\n"
        "description: <one sentence> | activity: <debugging|coding|review|meeting|research|reading|terminal|other> | "
        "apps: [<programs in use>] | topics: [<subjects>]");
    es_prompt_frames(&text, 4);
    assert_string_equal(
        es_str_text(&text),
        "These are 4 frames of a screen recording, in order. Say for each frame what the user is doing. Answer with "
        "one "
        "line for each frame, in exactly this form:\nFrame <number>: description: <one sentence> | activity: "
        "<debugging|coding|review|meeting|research|reading|terminal|other> | apps: [<programs in use>] | topics: "
        "[<subjects>]");
    es_str_clear(&text);
    es_prompt_label(&text, 3, 20);
    es_prompt_label(&text, 4, -1);
    es_prompt_label(&text, 5, 2.5);
    assert_string_equal(es_str_text(&text), "Frame 3 (timestamp: 20s):Frame 4:Frame 5 (timestamp: 2.5s):");
    es_str_free(&text);
}

static void a_summary_question_holds_every_block(void **state)
{
    (void)state;
    const char *apps[] = {"Code"}, *topics[] = {"parser"}, *lines[] = {"Edits a file.", "Runs it."};
    es_topic_block blocks[2] = {{0, 90, "coding", apps, 1, topics, 1, lines, 2},
                                {90, 4000, NULL, NULL, 0, NULL, 0, NULL, 0}};
    es_str text = {0};
    es_prompt_summary(&text, blocks, 2);
    const char *wanted[] = {"0:00:00 to 0:01:30, coding", "Programs: Code", "Topics: parser", "- Runs it.",
                            "0:01:30 to 1:06:40, other"};
    for (size_t i = 0; i < 5; i++)
        assert_non_null(strstr(es_str_text(&text), wanted[i]));
    es_str_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_reads_as_expected),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(an_answer_is_split_by_its_labels),
        cmocka_unit_test(a_single_frame_needs_no_label),
        cmocka_unit_test(the_questions_are_word_for_word_those_of_training),
        cmocka_unit_test(a_summary_question_holds_every_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
