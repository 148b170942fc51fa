/* A fallback: whatever the first does, each frame is observed once, and the second gets the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "intelligence/fallback.h"

#define FRAMES 9

/* An adapter that does as told. */
typedef struct actor {
    es_intelligence base;
    size_t answers;    /* frames it answers before `ends`; the rest it leaves */
    size_t sick_every; /* every so manyth frame it fails at, as a server does; 0: none */
    size_t bad_frame;  /* its number + 1: a frame that cannot be read */
    es_status ends;
    size_t calls, asked; /* of classify_frames; frames */
    bool says_half;      /* words: a piece, then the end */
} actor;

static es_status act(es_intelligence *base, const es_frame *frames, size_t count, const es_ask *ask,
                     const es_listener *listener, es_error *err)
{
    actor *a = (actor *)base;
    (void)ask;
    a->calls++;
    a->asked += count;
    for (size_t i = 0; i < count && i < a->answers; i++) {
        es_observation seen = {.index = i, .timestamp = frames[i].timestamp, .raw_text = a->base.name};
        if (a->sick_every > 0 && i % a->sick_every == 0)
            seen.status = es_fail(&seen.error, ES_ERR_NETWORK, "%s is sick", a->base.name);
        if (a->bad_frame == i + 1)
            seen.status = es_fail(&seen.error, ES_ERR_FORMAT, "not a picture");
        if (!listener->observed(listener->context, &seen))
            return es_fail(err, ES_ERR_CANCELLED, "stopped");
    }
    return a->ends == ES_OK ? ES_OK : es_fail(err, a->ends, "%s is gone", a->base.name);
}

static es_status speak(es_intelligence *base, const es_message *messages, size_t count, const es_ask *ask,
                       const es_listener *listener, es_str *text, es_error *err)
{
    actor *a = (actor *)base;
    (void)messages, (void)count, (void)ask;
    a->calls++;
    es_str_append(text, a->base.name);
    if (a->says_half && listener->piece != NULL)
        listener->piece(listener->context, a->base.name);
    return a->ends == ES_OK ? ES_OK : es_fail(err, a->ends, "%s is gone", a->base.name);
}

static void leave(es_intelligence *base)
{
    (void)base;
}

static const es_intelligence_ops ops = {leave, act, speak};

typedef struct stage {
    actor first, second;
    es_status opens; /* what opening the second gives */
    size_t opened, freed, notes;
    char note[700];
    size_t given[FRAMES], good, failed, stop_after, total, progress;
    char by[FRAMES][8], error[600];
} stage;

static es_status open_second(void *context, es_intelligence **second, es_error *err)
{
    stage *s = context;
    s->opened++;
    if (s->opens != ES_OK)
        return es_fail(err, s->opens, "no second");
    *second = &s->second.base;
    return ES_OK;
}

static void freed(void *context)
{
    ((stage *)context)->freed++;
}

static void on_note(void *context, const char *line)
{
    stage *s = context;
    s->notes++;
    snprintf(s->note, sizeof s->note, "%s", line);
}

static bool observed(void *context, const es_observation *o)
{
    stage *s = context;
    assert_true(o->index < FRAMES);
    assert_true((size_t)o->timestamp == o->index);
    s->given[o->index]++;
    s->total++;
    s->good += o->status == ES_OK;
    s->failed += o->status != ES_OK;
    snprintf(s->by[o->index], sizeof s->by[0], "%s", o->raw_text);
    if (o->status != ES_OK)
        snprintf(s->error, sizeof s->error, "%s", o->error.message);
    return s->stop_after == 0 || s->total < s->stop_after;
}

static void progressed(void *context, size_t done, size_t total)
{
    stage *s = context;
    assert_int_equal(done, s->progress + 1);
    assert_int_equal(total, FRAMES);
    s->progress = done;
}

static stage set(void)
{
    return (stage){.first = {.base = {&ops, "first"}, .answers = FRAMES},
                   .second = {.base = {&ops, "second"}, .answers = FRAMES}};
}

static es_status play(stage *s, bool no_first, size_t times, es_error *err)
{
    es_frame frames[FRAMES];
    es_intelligence *who = NULL;
    es_ask ask;
    es_ask_init(&ask);
    for (size_t i = 0; i < FRAMES; i++)
        frames[i] = (es_frame){.path = "x", .timestamp = (double)i};
    es_fallback_options o = {.first = no_first ? NULL : &s->first.base,
                             .why = {ES_ERR_IO, "first did not start"},
                             .open = open_second,
                             .free = freed,
                             .context = s,
                             .note = on_note,
                             .note_context = s};
    es_listener listener = {.context = s, .observed = observed, .progress = progressed};
    es_status status = es_fallback_create(&who, &o, err);
    for (size_t i = 0; i < times && status == ES_OK; i++) {
        s->progress = 0;
        status = es_classify_frames(who, frames, FRAMES, &ask, &listener, err);
    }
    es_intelligence_free(who);
    assert_int_equal(s->freed, 1);
    return status;
}

static void each_times(const stage *s, size_t times)
{
    for (size_t i = 0; i < FRAMES; i++)
        assert_int_equal(s->given[i], times);
}

static void a_first_that_is_well_is_left_alone(void **state)
{
    (void)state;
    stage s = set();
    es_error err = {0};
    s.first.bad_frame = 4;
    assert_int_equal(play(&s, false, 1, &err), ES_OK);
    each_times(&s, 1);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.opened + s.notes, 0);
}

static void the_frames_left_go_to_the_second(void **state)
{
    (void)state;
    static const es_status ends[] = {ES_ERR_NETWORK, ES_ERR_MEMORY, ES_ERR_INTERNAL, ES_ERR_LIMIT};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        stage s = set();
        es_error err = {0};
        s.first.answers = 4;
        s.first.ends = ends[i];
        assert_int_equal(play(&s, false, 1, &err), ES_OK);
        each_times(&s, 1);
        assert_int_equal(s.good, FRAMES);
        assert_int_equal(s.second.asked, 5);
        assert_string_equal(s.by[3], "first");
        assert_string_equal(s.by[4], "second");
        assert_string_equal(s.note, "first is gone: the 5 frames left go to second");
    }
}

static void a_second_call_does_not_try_the_first_again(void **state)
{
    (void)state;
    stage s = set();
    es_error err = {0};
    s.first.answers = 4;
    s.first.ends = ES_ERR_NETWORK;
    assert_int_equal(play(&s, false, 3, &err), ES_OK);
    each_times(&s, 3);
    assert_int_equal(s.first.calls, 1);
    assert_int_equal(s.opened, 1);
    assert_int_equal(s.notes, 1);
}

static void what_a_server_fails_at_is_asked_of_the_other(void **state)
{
    (void)state;
    stage s = set();
    es_error err = {0};
    s.first.sick_every = 3;
    s.first.bad_frame = 2;
    assert_int_equal(play(&s, false, 2, &err), ES_OK);
    each_times(&s, 2);
    assert_int_equal(s.failed, 2); /* the frame that cannot be read is no better elsewhere */
    assert_int_equal(s.second.asked, 6);
    assert_int_equal(s.first.calls, 2); /* it is not given up for that */
    assert_int_equal(s.opened, 1);
}

static void without_a_second_failures_are_told_after_all(void **state)
{
    (void)state;
    stage s = set();
    es_error err = {0};
    s.first.sick_every = 3;
    s.opens = ES_ERR_NETWORK;
    assert_int_equal(play(&s, false, 1, &err), ES_OK);
    each_times(&s, 1);
    assert_int_equal(s.failed, 3);
    assert_string_equal(s.error, "first is sick");
    stage gone = set();
    gone.first.ends = ES_ERR_NETWORK;
    gone.first.answers = 2;
    gone.opens = ES_ERR_IO;
    assert_int_equal(play(&gone, false, 1, &err), ES_ERR_IO);
    assert_string_equal(err.message, "first is gone; and the fallback: no second");
    assert_int_equal(gone.total, 2);
}

static void when_both_die_what_is_left_stays_undone(void **state)
{
    (void)state;
    stage s = set();
    es_error err = {0};
    s.first.answers = 3;
    s.second.answers = 2;
    s.first.ends = s.second.ends = ES_ERR_NETWORK;
    assert_int_equal(play(&s, false, 1, &err), ES_ERR_NETWORK);
    assert_string_equal(err.message, "second is gone");
    assert_int_equal(s.total, 5);
    for (size_t i = 0; i < FRAMES; i++)
        assert_true(s.given[i] <= 1);
}

static void a_first_that_did_not_start_is_told_once(void **state)
{
    (void)state;
    stage s = set();
    es_error err = {0};
    assert_int_equal(play(&s, true, 2, &err), ES_OK);
    each_times(&s, 2);
    assert_int_equal(s.notes, 1);
    assert_string_equal(s.note, "first did not start: second answers instead");
    stage none = set();
    none.opens = ES_ERR_NETWORK;
    assert_int_equal(play(&none, true, 1, &err), ES_ERR_NETWORK);
    assert_string_equal(err.message, "first did not start; and the fallback: no second");
}

static void a_wish_to_stop_is_no_reason_to_ask_another(void **state)
{
    (void)state;
    stage s = set();
    es_error err = {0};
    s.stop_after = 3;
    assert_int_equal(play(&s, false, 1, &err), ES_ERR_CANCELLED);
    assert_int_equal(s.total, 3);
    assert_int_equal(s.opened, 0);
    stage wrong = set();
    wrong.first.ends = ES_ERR_ARGUMENT;
    wrong.first.answers = 0;
    assert_int_equal(play(&wrong, false, 1, &err), ES_ERR_ARGUMENT);
    assert_int_equal(wrong.opened, 0);
}

static bool piece(void *context, const char *text)
{
    es_str_append(context, text);
    return true;
}

static void words_come_from_one_of_them_only(void **state)
{
    (void)state;
    for (size_t half = 0; half < 2; half++) {
        stage s = set();
        es_error err = {0};
        es_str shown = {0}, text = {0};
        es_intelligence *who = NULL;
        es_ask ask;
        es_ask_init(&ask);
        s.first.ends = ES_ERR_NETWORK;
        s.first.says_half = half == 1;
        s.second.says_half = true;
        es_fallback_options o = {.first = &s.first.base, .open = open_second, .free = freed, .context = &s};
        assert_int_equal(es_fallback_create(&who, &o, &err), ES_OK);
        es_content content = {.text = "?"};
        es_message message = {ES_ROLE_USER, &content, 1};
        es_listener listener = {.context = &shown, .piece = piece};
        es_status status = es_generate_text(who, &message, 1, &ask, &listener, &text, &err);
        assert_int_equal(status, half == 1 ? ES_ERR_NETWORK : ES_OK);
        assert_string_equal(es_str_text(&shown), half == 1 ? "first" : "second");
        assert_string_equal(es_str_text(&text), half == 1 ? "" : "second");
        es_intelligence_free(who);
        es_str_free(&shown);
        es_str_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_that_is_well_is_left_alone),
        cmocka_unit_test(the_frames_left_go_to_the_second),
        cmocka_unit_test(a_second_call_does_not_try_the_first_again),
        cmocka_unit_test(what_a_server_fails_at_is_asked_of_the_other),
        cmocka_unit_test(without_a_second_failures_are_told_after_all),
        cmocka_unit_test(when_both_die_what_is_left_stays_undone),
        cmocka_unit_test(a_first_that_did_not_start_is_told_once),
        cmocka_unit_test(a_wish_to_stop_is_no_reason_to_ask_another),
        cmocka_unit_test(words_come_from_one_of_them_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
