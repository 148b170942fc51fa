#include "session/summary.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "session/report_text.h"

#define NAME_BYTES 120
#define TEXT_BYTES 1200
#define ANSWER_BYTES ((size_t)1 << 20)
#define SUBJECT_BLOCKS 4 /* highlights a block is shown with, at most */

static void append_list(es_str *out, const char *name, const char *const *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, i == 0 ? name : ", ");
        es_append_brief(out, items[i], ES_ESCAPE_PLAIN);
    }
}

bool es_summary_prompt(es_str *out, const es_report *r)
{
    size_t shown = 0;
    es_str_append(out, "Below are the blocks of a screen recording: what one person did, in order of time.\n\n");
    for (size_t i = 0; i < r->outline->block_count; i++) {
        const es_block *b = &r->outline->blocks[i];
        size_t best[SUBJECT_BLOCKS];
        if (b->personal)
            continue;
        shown++;
        es_str_append_format(out, "Block %zu, ", i + 1);
        es_append_clock(out, b->start, es_report_end(r));
        es_str_append(out, " to ");
        es_append_clock(out, b->end, es_report_end(r));
        es_str_append_format(out, ": %s", b->activity);
        append_list(out, "; apps ", b->apps, b->app_count);
        append_list(out, "; topics ", b->topics, b->topic_count);
        size_t n = es_block_highlights(r, b, es_highlights_for(b), best);
        for (size_t k = 0; k < n; k++) {
            es_str_append(out, "\n- ");
            es_append_brief(out, r->moments[best[k]].description, ES_ESCAPE_PLAIN);
        }
        es_str_append(out, "\n");
    }
    es_str_append(out, "\nGroup the blocks into one to six subjects: things the person worked on. Put every block into "
                       "exactly one subject. Answer with JSON only, in exactly this form:\n"
                       "{\"subjects\": [{\"name\": \"a few words\", \"blocks\": [1, 2], \"summary\": \"one or two "
                       "sentences in the past tense, from the notes only\"}]}\n");
    return shown > 0;
}

void es_outline_signature(const es_outline *o, char hex[17])
{
    es_hash hash = {o->block_count, o->subject_count};
    for (size_t i = 0; i < o->block_count; i++) {
        int64_t times[2] = {llround(o->blocks[i].start * 1000), llround(o->blocks[i].end * 1000)};
        hash = es_hash_bytes(hash, times, sizeof times);
        hash = es_hash_bytes(hash, o->blocks[i].activity, strlen(o->blocks[i].activity));
    }
    snprintf(hex, 17, "%016llx", (unsigned long long)hash.a);
}

/* --- the answer --- */

typedef struct told {
    char *names[ES_SUBJECTS_MAX + 1], *texts[ES_SUBJECTS_MAX + 1];
    size_t count;
    size_t *subject; /* [blocks]; SIZE_MAX: not told */
} told;

static void free_told(told *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->names[i]);
        free(t->texts[i]);
    }
    free(t->subject);
}

static es_status wrong(es_error *err, const char *what, size_t number)
{
    return es_fail(err, ES_ERR_FORMAT, "the model's summary does not check: %s %zu", what, number);
}

/* A member as a text that fits on a line; NULL when it is none, or memory is short. */
static char *read_text(const json_t *object, const char *key, size_t most)
{
    const char *text = json_string_value(json_object_get(object, key));
    es_str out = {0};
    if (text == NULL || strlen(text) > most)
        return NULL;
    es_append_escaped(&out, text, ES_ESCAPE_PLAIN);
    return es_str_take(&out, NULL);
}

static es_status read_subject(told *t, const json_t *subject, const es_outline *o, es_error *err)
{
    const json_t *item, *blocks = json_object_get(subject, "blocks");
    size_t i, number = t->count;
    t->names[number] = read_text(subject, "name", NAME_BYTES);
    t->texts[number] = read_text(subject, "summary", TEXT_BYTES);
    t->count++;
    if (t->names[number] == NULL || t->names[number][0] == '\0')
        return wrong(err, "no usable name for subject", number + 1);
    if (json_array_size(blocks) == 0)
        return wrong(err, "no blocks in subject", number + 1);
    json_array_foreach(blocks, i, item)
    {
        json_int_t b = json_integer_value(item);
        if (!json_is_integer(item) || b < 1 || (size_t)b > o->block_count || o->blocks[b - 1].personal)
            return wrong(err, "a block that there is not, in subject", number + 1);
        if (t->subject[b - 1] != SIZE_MAX)
            return wrong(err, "told twice: block", (size_t)b);
        t->subject[b - 1] = number;
    }
    return ES_OK;
}

static es_status read_answer(told *t, const char *answer, const es_outline *o, es_error *err)
{
    const char *begin = strchr(answer, '{'), *end = strrchr(answer, '}');
    if (begin == NULL || end == NULL || end < begin || (size_t)(end - begin) > ANSWER_BYTES)
        return es_fail(err, ES_ERR_FORMAT, "the model's summary does not check: it is no JSON");
    json_t *root = json_loadb(begin, (size_t)(end - begin) + 1, 0, NULL);
    const json_t *subjects = json_object_get(root, "subjects"), *subject;
    size_t i, n = json_array_size(subjects);
    es_status status = ES_OK;
    if (n == 0 || n > ES_SUBJECTS_MAX)
        status = es_fail(err, ES_ERR_FORMAT, "the model's summary does not check: it has %zu subjects", n);
    json_array_foreach(subjects, i, subject)
    {
        if (status == ES_OK)
            status = read_subject(t, subject, o, err);
    }
    json_decref(root);
    for (size_t b = 0; b < o->block_count && status == ES_OK; b++)
        if (!o->blocks[b].personal && t->subject[b] == SIZE_MAX)
            status = wrong(err, "left out: block", b + 1);
    return status;
}

static void settle(told *t, es_outline *o, char **texts)
{
    es_subject personal = {0};
    if (o->subject_count > 0 && o->subjects[o->subject_count - 1].personal)
        personal = o->subjects[--o->subject_count];
    for (size_t s = 0; s < o->subject_count; s++)
        free(o->subjects[s].name);
    o->subject_count = t->count;
    for (size_t s = 0; s < t->count; s++) {
        o->subjects[s] = (es_subject){.name = t->names[s]};
        texts[s] = t->texts[s];
        t->names[s] = t->texts[s] = NULL;
    }
    if (personal.name != NULL)
        o->subjects[o->subject_count++] = personal;
    for (size_t b = 0; b < o->block_count; b++) {
        es_block *block = &o->blocks[b];
        block->subject = block->personal ? t->count : t->subject[b];
        if (block->personal)
            continue;
        o->subjects[block->subject].seconds += block->end - block->start;
        o->subjects[block->subject].blocks++;
    }
}

es_status es_summary_apply(const char *answer, es_outline *o, char ***texts, es_error *err)
{
    told t = {0};
    *texts = NULL;
    t.subject = es_calloc(o->block_count, sizeof *t.subject);
    char **list = es_calloc(ES_SUBJECTS_MAX + 1, sizeof *list);
    es_status status = ES_OK;
    if (t.subject == NULL || list == NULL)
        status = es_fail_memory(err, "a summary", o->block_count * sizeof *t.subject);
    for (size_t b = 0; b < o->block_count && status == ES_OK; b++)
        t.subject[b] = SIZE_MAX;
    if (status == ES_OK)
        status = read_answer(&t, answer, o, err);
    if (status == ES_OK) {
        settle(&t, o, list);
        *texts = list;
    } else {
        free(list);
    }
    free_told(&t);
    return status;
}

void es_summary_texts_free(char **texts, size_t count)
{
    for (size_t i = 0; texts != NULL && i < count; i++)
        free(texts[i]);
    free(texts);
}
