/* frame_walk.c - frames to prompts, answers to observations. */
#include "intelligence/frame_walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "intelligence/prompts.h"

/* An answer whose text is its own. */
typedef struct es_kept_answer {
    es_answer answer;
    char *text;
} kept_answer;

static void kept_free(kept_answer *kept)
{
    if (kept == NULL)
        return;
    free(kept->text);
    free(kept);
}

static void *picture_at(const es_frame_walk *w, const es_frame_group *g, size_t i)
{
    return (char *)g->pictures + i * w->maker.size;
}

static void group_free(es_frame_walk *w, es_frame_group *g)
{
    g->previous->next = g->next;
    g->next->previous = g->previous;
    for (size_t i = 0; i < g->count; i++)
        w->maker.free(picture_at(w, g, i));
    for (size_t i = 0; i < g->text_count; i++)
        free(g->texts[i]);
    free(g->frames);
    free(g->seconds);
    free(g->tokens);
    free(g->pictures);
    free(g->content);
    free(g->texts);
    kept_free(g->kept);
    free(g);
}

static es_frame_group *group_new(es_frame_walk *w, size_t frames, es_error *err)
{
    es_frame_group *g = es_calloc(1, sizeof *g);
    if (g == NULL) {
        es_fail_memory(err, "a prompt", sizeof *g);
        return NULL;
    }
    g->previous = &w->groups;
    g->next = w->groups.next;
    g->next->previous = g;
    w->groups.next = g;
    g->frames = es_calloc(frames, sizeof *g->frames);
    g->seconds = es_calloc(frames, sizeof *g->seconds);
    g->tokens = es_calloc(frames, sizeof *g->tokens);
    g->pictures = es_calloc(frames, w->maker.size);
    g->content = es_calloc(2 * frames + 1, sizeof *g->content);
    g->texts = es_calloc(frames + 1, sizeof *g->texts);
    if (g->frames == NULL || g->seconds == NULL || g->tokens == NULL || g->pictures == NULL || g->content == NULL ||
        g->texts == NULL) {
        es_fail_memory(err, "a prompt", 0);
        group_free(w, g);
        return NULL;
    }
    return g;
}

/* --- observations --- */

/* Gives one observation to the listener. */
static void observe(es_frame_walk *w, es_observation *seen)
{
    w->done++;
    if (w->listener->observed != NULL && !w->listener->observed(w->listener->context, seen))
        w->stopped = true;
    if (w->listener->progress != NULL)
        w->listener->progress(w->listener->context, w->done, w->count);
}

static void observe_failure(es_frame_walk *w, size_t frame, es_status status, const es_error *error)
{
    es_observation seen = {.index = frame,
                           .timestamp = w->frames[frame].timestamp,
                           .image_path = w->frames[frame].path,
                           .status = status,
                           .error = *error,
                           .raw_text = "",
                           .reason = ""};
    observe(w, &seen);
}

/* Why an answer came to no record. */
static const char *reason_of(const es_frame_walk *w, const es_frame_group *g, const char *text, bool truncated)
{
    if (w->ask->prompt != NULL)
        return "the question was not escriba's own";
    if (text[strspn(text, " \t\r\n")] == '\0')
        return "the answer is empty";
    if (truncated)
        return "the answer was cut off before a record was whole";
    return g->kept != NULL ? "no record in the answer, nor when it was asked for in its form"
                           : "no record in the answer";
}

/* One frame's observation from its record, and its (part of the) answer. */
static void observe_record(es_frame_walk *w, const es_frame_group *g, size_t i, const es_answer *answer,
                           const char *text, const es_record *record)
{
    size_t n = g->count;
    es_observation seen = {.index = g->frames[i],
                           .timestamp = w->frames[g->frames[i]].timestamp,
                           .image_path = w->frames[g->frames[i]].path,
                           .record = *record,
                           .raw_text = text,
                           .reason = record->parsed ? "" : reason_of(w, g, text, answer->truncated),
                           .truncated = answer->truncated,
                           .prompt_tokens = answer->prompt_tokens,
                           .image_tokens = g->tokens[i],
                           .generated_tokens = (int32_t)(answer->id_count / n),
                           .seconds_decode_image = g->seconds[i],
                           .seconds_vision = answer->seconds_vision / (double)n,
                           .seconds_prefill = answer->seconds_prefill / (double)n,
                           .seconds_generate = answer->seconds_generate / (double)n};
    observe(w, &seen);
}

/* --- frames to ask again --- */

static void ask_again(es_frame_walk *w, size_t frame, kept_answer *kept)
{
    if (es_grow((void **)&w->again, &w->again_capacity, w->again_count + 1, sizeof *w->again) != 0) {
        es_error err = {0};
        es_fail_memory(&err, "a list of frames", 0);
        kept_free(kept);
        observe_failure(w, frame, ES_ERR_MEMORY, &err);
        return;
    }
    w->again[w->again_count++] = (es_frame_again){frame, kept};
}

/* An answer for a while; NULL when memory is short. */
static kept_answer *keep(const es_answer *answer)
{
    kept_answer *kept = es_calloc(1, sizeof *kept);
    if (kept == NULL)
        return NULL;
    kept->answer = *answer;
    kept->answer.ids = NULL;
    kept->text = es_strdup(answer->text);
    kept->answer.text = kept->text;
    if (kept->text != NULL)
        return kept;
    free(kept);
    return NULL;
}

/* --- prompts --- */

/* Reads and prepares a frame's picture into the group. */
static es_status add_picture(es_frame_walk *w, es_frame_group *g, size_t frame, es_error *err)
{
    const es_frame *f = &w->frames[frame];
    double start = es_now();
    es_image loaded = {0};
    const es_image *image = f->image;
    if (f->path != NULL) {
        ES_TRY(es_image_load(&loaded, f->path, err));
        image = &loaded;
    }
    es_status status = ES_ERR_ARGUMENT;
    if (image == NULL)
        es_fail(err, status, "frame %zu has neither a path nor pixels", frame);
    else
        status = w->maker.make(w->maker.context, image, picture_at(w, g, g->count), &g->tokens[g->count], err);
    es_image_free(&loaded);
    if (status != ES_OK)
        return f->path != NULL ? es_wrap(err, status, "%s", f->path) : status;
    g->frames[g->count] = frame;
    g->seconds[g->count++] = es_now() - start;
    return ES_OK;
}

static es_status add_text(es_frame_group *g, es_str *text, es_error *err)
{
    char *owned = es_str_take(text, err);
    if (owned == NULL)
        return ES_ERR_MEMORY;
    g->texts[g->text_count++] = owned;
    g->content[g->message.count++] = (es_content){.text = owned};
    return ES_OK;
}

/* The user's turn: the picture and the question, or label, picture, label, picture, ..., question. */
static es_status compose(const es_frame_walk *w, es_frame_group *g, bool labelled, es_error *err)
{
    es_str text = {0};
    g->message.role = ES_ROLE_USER;
    g->message.content = g->content;
    for (size_t i = 0; i < g->count; i++) {
        if (labelled) {
            es_prompt_label(&text, i + 1, w->frames[g->frames[i]].timestamp);
            ES_TRY(add_text(g, &text, err));
        }
        g->content[g->message.count++] = (es_content){.text = NULL, .image = (int32_t)i};
    }
    if (w->ask->prompt != NULL)
        es_str_append(&text, w->ask->prompt);
    else if (labelled)
        es_prompt_frames(&text, g->count);
    else
        es_str_append(&text, es_prompt_frame);
    int64_t budget = (int64_t)w->ask->max_tokens * (int64_t)g->count; /* each frame has its own */
    g->max_tokens = budget > INT32_MAX ? INT32_MAX : (int32_t)budget;
    return add_text(g, &text, err);
}

/* A frame that an answer with a record was wanted for, and none came: what came is its observation. */
static void observe_kept(es_frame_walk *w, es_frame_group *g)
{
    static const es_record none;
    observe_record(w, g, 0, &g->kept->answer, g->kept->text, &none);
}

/* Frames [first, first + count) as a group, or NULL when none of them can be asked about: then all are observed. */
static es_frame_group *make_group(es_frame_walk *w, size_t first, size_t count, bool labelled, kept_answer *kept)
{
    es_error err = {0};
    es_frame_group *g = group_new(w, count, &err);
    if (g == NULL) {
        kept_free(kept);
        for (size_t i = 0; i < count && !w->stopped; i++)
            observe_failure(w, first + i, ES_ERR_MEMORY, &err);
        return NULL;
    }
    g->kept = kept;
    g->constrained = kept != NULL;
    for (size_t i = 0; i < count && !w->stopped; i++) {
        es_status status = add_picture(w, g, first + i, &err);
        if (status != ES_OK)
            observe_failure(w, first + i, status, &err);
    }
    es_status status = g->count > 0 && !w->stopped ? compose(w, g, labelled, &err) : ES_OK;
    for (size_t i = 0; i < g->count && status != ES_OK && !w->stopped; i++)
        observe_failure(w, g->frames[i], status, &err);
    if (status == ES_OK && g->count > 0 && !w->stopped)
        return g;
    group_free(w, g);
    return NULL;
}

bool es_frame_walk_more(const es_frame_walk *w)
{
    return !w->stopped && (w->at < w->count || w->again_at < w->again_count);
}

es_frame_group *es_frame_walk_next(es_frame_walk *w)
{
    while (es_frame_walk_more(w)) {
        es_frame_group *g;
        if (w->at < w->count) {
            size_t most = w->ask->interleaved > 1 ? (size_t)w->ask->interleaved : 1;
            size_t first = w->at, count = w->count - first < most ? w->count - first : most;
            w->at += count;
            g = make_group(w, first, count, most > 1, NULL);
        } else {
            es_frame_again one = w->again[w->again_at++];
            g = make_group(w, one.frame, 1, false, one.kept);
            if (g != NULL && g->kept != NULL && !w->repair) { /* given up since: what was said stands */
                observe_kept(w, g);
                group_free(w, g);
                g = NULL;
            }
        }
        if (g != NULL)
            return g;
    }
    return NULL;
}

/* --- answers --- */

/* A frame asked about alone. */
static es_status answer_single(es_frame_walk *w, es_frame_group *g, const es_answer *answer, es_error *err)
{
    es_record record = {0};
    ES_TRY(es_record_parse(&record, answer->text, err));
    kept_answer *kept = NULL;
    if (!record.parsed && w->repair && w->ask->prompt == NULL && g->kept == NULL)
        kept = keep(answer);
    if (kept != NULL)
        ask_again(w, g->frames[0], kept);
    else if (!record.parsed && g->kept != NULL)
        observe_kept(w, g);
    else
        observe_record(w, g, 0, answer, answer->text, &record);
    es_record_free(&record);
    return ES_OK;
}

/* An interleaved answer: each frame its labelled part; what is missing, cut off or unreadable is asked again singly. */
static es_status answer_group(es_frame_walk *w, const es_frame_group *g, const es_answer *answer, es_error *err)
{
    size_t n = g->count, last = 0, given = 0;
    char **pieces = es_calloc(n, sizeof *pieces);
    if (pieces == NULL)
        return es_fail_memory(err, "an answer", 0);
    es_status status = es_record_split(answer->text, n, pieces, err);
    for (size_t i = 0; i < n; i++)
        if (pieces[i] != NULL)
            last = i;
    for (; status == ES_OK && given < n && !w->stopped; given++) {
        es_record record = {0};
        es_error own = {0};
        const char *piece = pieces[given];
        bool good = piece != NULL && !(answer->truncated && given == last);
        es_status read = good ? es_record_parse(&record, piece, &own) : ES_OK;
        if (read != ES_OK)
            observe_failure(w, g->frames[given], read, &own);
        else if (record.parsed)
            observe_record(w, g, given, answer, piece, &record);
        else
            ask_again(w, g->frames[given], NULL);
        es_record_free(&record);
    }
    for (size_t i = 0; i < n; i++)
        free(pieces[i]);
    free(pieces);
    return status;
}

void es_frame_walk_answer(es_frame_walk *w, es_frame_group *g, const es_answer *answer)
{
    es_status status = answer->status;
    es_error error = answer->error;
    if (status == ES_OK && g->count > 1)
        status = answer_group(w, g, answer, &error);
    else if (status == ES_OK)
        status = answer_single(w, g, answer, &error);
    if (status != ES_OK && g->kept != NULL) {
        observe_kept(w, g); /* the form could not be enforced: what was said before stands */
    } else if (status != ES_OK) {
        for (size_t i = 0; i < g->count && !w->stopped; i++) {
            if (g->count > 1 && status != ES_ERR_MEMORY)
                ask_again(w, g->frames[i], NULL); /* too long together, perhaps; not singly */
            else
                observe_failure(w, g->frames[i], status, &error);
        }
    }
    group_free(w, g);
}

void es_frame_walk_begin(es_frame_walk *w, const es_frame *frames, size_t count, const es_ask *ask,
                         const es_listener *listener, const es_picture_maker *maker)
{
    *w = (es_frame_walk){.frames = frames, .count = count, .ask = ask, .listener = listener, .maker = *maker};
    w->groups.next = w->groups.previous = &w->groups;
}

void es_frame_walk_end(es_frame_walk *w)
{
    while (w->groups.next != &w->groups)
        group_free(w, w->groups.next);
    for (; w->again_at < w->again_count; w->again_at++)
        kept_free(w->again[w->again_at].kept);
    free(w->again);
}
