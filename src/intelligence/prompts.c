#include "intelligence/prompts.h"

#include <math.h>

#include "base/str.h"

/* Kept word for word in training: the model in the box knows these questions. */
#define FORM                                                                                                           \
    "description: <one sentence> | activity: <debugging|coding|review|meeting|research|reading|terminal|other> | "     \
    "apps: [<programs in use>] | topics: [<subjects>]"

const char *const es_prompt_frame =
    "This is a frame of a screen recording. Say what the user is doing. Answer with one "
    "line in exactly this form:\n" FORM;

void es_prompt_frames(es_str *out, size_t frames)
{
    es_str_append_format(out,
                         "These are %zu frames of a screen recording, in order. Say for each frame what the user is "
                         "doing. Answer with one line for each frame, in exactly this form:\nFrame <number>: " FORM,
                         frames);
}

void es_prompt_label(es_str *out, size_t number, double timestamp)
{
    if (!(timestamp >= 0) || !isfinite(timestamp))
        es_str_append_format(out, "Frame %zu:", number);
    else if (timestamp == floor(timestamp) && timestamp < 1e15)
        es_str_append_format(out, "Frame %zu (timestamp: %.0fs):", number, timestamp);
    else
        es_str_append_format(out, "Frame %zu (timestamp: %.1fs):", number, timestamp);
}

static void append_list(es_str *out, const char *name, const char *const *items, size_t count)
{
    if (count == 0)
        return;
    es_str_append_format(out, "%s: ", name);
    for (size_t i = 0; i < count; i++)
        es_str_append_format(out, "%s%s", i > 0 ? ", " : "", items[i]);
    es_str_append(out, "\n");
}

/* "1:02:03" */
static void append_time(es_str *out, double seconds)
{
    if (!(seconds >= 0 && seconds < 3.6e8)) {
        es_str_append(out, "?");
        return;
    }
    long s = lround(seconds);
    es_str_append_format(out, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

void es_prompt_summary(es_str *out, const es_topic_block *blocks, size_t count)
{
    es_str_append(out, "Below are notes about a screen recording, in the order of time. Each block tells what the user "
                       "did for a while.\n\n");
    for (size_t i = 0; i < count; i++) {
        const es_topic_block *b = &blocks[i];
        es_str_append_format(out, "Block %zu, ", i + 1);
        append_time(out, b->start);
        es_str_append(out, " to ");
        append_time(out, b->end);
        es_str_append_format(out, ", %s\n", b->activity != NULL && *b->activity != '\0' ? b->activity : "other");
        append_list(out, "Programs", b->apps, b->app_count);
        append_list(out, "Topics", b->topics, b->topic_count);
        for (size_t k = 0; k < b->description_count; k++)
            es_str_append_format(out, "- %s\n", b->descriptions[k]);
        es_str_append(out, "\n");
    }
    es_str_append(out,
                  "Write a summary of three to six sentences: what the user worked on, in which order, with which "
                  "programs, and what came of it. Use only what the notes say, in the past tense, without headings "
                  "or lists.");
}
