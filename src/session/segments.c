#include "session/segments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "intelligence/record.h"
#include "session/subjects.h"
#include "session/words.h"

/* The code of docs/session.md; chosen on scripted sessions with seeds other than the test's. */
#define NOISE 0.1           /* e: a word may come from anywhere */
#define LEARNING 0.5        /* s: words of weight a block's own knowledge starts with */
#define CUT 6.0             /* nats a new block costs, less in proportion where blocks may be shorter than usual */
#define USUAL_LENGTH 30.0   /* seconds a block must last at least */
#define LOOK_BACK 720       /* frames; two hours at 10 s */
#define LOOK_BACK_MOST 8192 /* frames, when they are denser than a block is long */
#define LABEL_SHARE 0.2     /* of a block's frames: what a label must be seen in */

static const double field_weight[ES_FIELD_COUNT] = {1.0, 1.0, 0.5};

void es_segment_options_init(es_segment_options *options)
{
    *options = (es_segment_options){.gap_tolerance = 5, .min_length = USUAL_LENGTH};
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* scratch: [count]. The median step that is not zero. */
static double median_step(const es_moment *moments, size_t count, double *scratch)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < count; i++)
        if (moments[i + 1].at > moments[i].at)
            scratch[n++] = moments[i + 1].at - moments[i].at;
    if (n == 0)
        return 10;
    qsort(scratch, n, sizeof *scratch, compare_doubles);
    return scratch[(n - 1) / 2];
}

double es_moment_spans(const es_moment *moments, size_t count, const es_segment_options *options, double *spans,
                       bool *breaks)
{
    double interval = options->interval > 0 ? options->interval : median_step(moments, count, spans);
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        double step = last ? interval : moments[i + 1].at - moments[i].at;
        bool paused = !last && step > interval + options->gap_tolerance;
        spans[i] = paused ? interval : step;
        if (last && options->length > 0) {
            double left = options->length - moments[i].at;
            spans[i] = left < 0 ? 0 : left > interval + options->gap_tolerance ? interval : left;
        }
        if (breaks != NULL)
            breaks[i] = last || paused;
    }
    return interval;
}

typedef struct coder {
    const es_words *words;
    uint32_t *count; /* [words]: how often in this block, valid where stamp is the present one */
    uint32_t *stamp; /* [words] */
    uint32_t now;
    double total[ES_FIELD_COUNT];
} coder;

static void coder_begin(coder *c)
{
    c->now++;
    memset(c->total, 0, sizeof c->total);
}

/* The cost in nats of the next moment of the present block; the block learns it. */
static double coder_add(coder *c, size_t moment)
{
    double sum[ES_FIELD_COUNT] = {0}, n[ES_FIELD_COUNT] = {0}, cost = 0;
    size_t begin = c->words->first[moment], end = c->words->first[moment + 1];
    for (size_t i = begin; i < end; i++) {
        uint32_t id = c->words->ids[i];
        const es_word *word = &c->words->items[id];
        double seen = c->stamp[id] == c->now ? c->count[id] : 0;
        double known = (seen + LEARNING * word->base) / (c->total[word->field] + LEARNING);
        sum[word->field] -= log(NOISE * word->base + (1 - NOISE) * known);
        n[word->field] += 1;
    }
    for (size_t i = begin; i < end; i++) { /* learned after the whole moment: the order of its words is nothing */
        uint32_t id = c->words->ids[i];
        c->count[id] = (c->stamp[id] == c->now ? c->count[id] : 0) + 1;
        c->stamp[id] = c->now;
    }
    for (size_t f = 0; f < ES_FIELD_COUNT; f++) {
        c->total[f] += n[f];
        cost += n[f] > 0 ? field_weight[f] * sum[f] / n[f] : 0;
    }
    return cost;
}

static double coder_span(coder *c, size_t first, size_t count)
{
    double cost = 0;
    coder_begin(c);
    for (size_t i = first; i < first + count; i++)
        cost += coder_add(c, i);
    return cost;
}

typedef struct work {
    const es_moment *moments;
    size_t count;
    es_segment_options options;
    es_words words;
    double *spans;
    bool *breaks;
    coder code;
    double cut;
    double *best; /* [count + 1]: the cheapest way to cut all before i */
    size_t *from; /* [count + 1]: where the last block of that way begins */
    es_block *blocks;
    size_t block_count;
} work;

static double block_end(const work *w, size_t first, size_t count)
{
    size_t last = first + count - 1;
    return w->moments[last].at + w->spans[last];
}

/* The cheapest cuts of the run [first, end) that no pause interrupts, by the dynamic program. */
static void cut_run(work *w, size_t first, size_t end)
{
    for (size_t i = first; i <= end; i++)
        w->best[i] = INFINITY;
    w->best[first] = 0;
    for (size_t i = first; i < end; i++) {
        if (isinf(w->best[i]))
            continue;
        double cost = w->best[i] + w->cut, start = w->moments[i].at;
        coder_begin(&w->code);
        for (size_t j = i; j < end; j++) {
            double long_enough = block_end(w, i, j - i + 1) - start;
            if (j - i >= LOOK_BACK && (long_enough > 2 * w->options.min_length || j - i >= LOOK_BACK_MOST))
                break;
            cost += coder_add(&w->code, j);
            if (long_enough >= w->options.min_length && cost < w->best[j + 1]) {
                w->best[j + 1] = cost;
                w->from[j + 1] = i;
            }
        }
    }
    if (isinf(w->best[end])) { /* the whole run is shorter than a block may be */
        w->from[end] = first;
    }
    size_t begin = w->block_count;
    for (size_t i = end; i > first; i = w->from[i])
        w->blocks[w->block_count++] = (es_block){.first = w->from[i], .count = i - w->from[i]};
    for (size_t a = begin, b = w->block_count; a + 1 < b; a++) { /* found from the end */
        es_block swap = w->blocks[a];
        w->blocks[a] = w->blocks[--b];
        w->blocks[b] = swap;
    }
}

typedef struct tally {
    uint32_t id;
    double seconds;
    size_t frames;
} tally;

static int compare_tallies(const void *a, const void *b)
{
    const tally *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    if (x->frames != y->frames)
        return x->frames < y->frames ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* What the block shows, by time. tallies: room for every word; *n of them filled. */
static void tally_block(work *w, const es_block *block, tally *tallies, size_t *n)
{
    coder_begin(&w->code); /* its stamps tell which words were met; its counts, where */
    *n = 0;
    for (size_t m = block->first; m < block->first + block->count; m++) {
        for (size_t i = w->words.first[m]; i < w->words.first[m + 1]; i++) {
            uint32_t id = w->words.ids[i];
            if (w->code.stamp[id] != w->code.now) {
                w->code.stamp[id] = w->code.now;
                w->code.count[id] = (uint32_t)*n;
                tallies[(*n)++] = (tally){.id = id};
            }
            tallies[w->code.count[id]].seconds += w->spans[m];
            tallies[w->code.count[id]].frames++;
        }
    }
    if (*n > 1)
        qsort(tallies, *n, sizeof *tallies, compare_tallies);
}

static void label_block(work *w, es_block *block, tally *tallies)
{
    size_t n;
    tally_block(w, block, tallies, &n);
    block->start = w->moments[block->first].at;
    block->end = block_end(w, block->first, block->count);
    block->activity = NULL;
    block->app_count = block->topic_count = 0;
    for (size_t i = 0; i < n; i++) {
        const es_word *word = &w->words.items[tallies[i].id];
        bool often = (double)tallies[i].frames >= LABEL_SHARE * (double)block->count;
        if (word->field == ES_FIELD_ACTIVITY && block->activity == NULL)
            block->activity = word->text;
        if (word->field == ES_FIELD_APP && block->app_count < ES_BLOCK_WORDS && (often || block->app_count == 0))
            block->apps[block->app_count++] = word->text;
        if (word->field == ES_FIELD_TOPIC && block->topic_count < ES_BLOCK_WORDS && (often || block->topic_count == 0))
            block->topics[block->topic_count++] = word->text;
    }
    if (block->activity == NULL)
        block->activity = "other";
    block->personal = es_block_is_personal(block, &w->words, w->spans);
}

static bool same_first(const char *const *a, size_t n, const char *const *b, size_t m)
{
    return (n == 0 && m == 0) || (n > 0 && m > 0 && a[0] == b[0]); /* spellings are shared: pointers tell */
}

static bool should_join(work *w, const es_block *a, const es_block *b)
{
    if (w->breaks[b->first - 1])
        return false;
    if (strcmp(a->activity, b->activity) == 0 && same_first(a->apps, a->app_count, b->apps, b->app_count) &&
        same_first(a->topics, a->topic_count, b->topics, b->topic_count))
        return true;
    return coder_span(&w->code, a->first, a->count + b->count) <
           coder_span(&w->code, a->first, a->count) + coder_span(&w->code, b->first, b->count) + w->cut;
}

/* Labels the blocks and joins neighbours, from the left: a joined block is compared with what lies before it again. */
static es_status label_and_join(work *w, es_error *err)
{
    tally *tallies = es_calloc(w->words.count, sizeof *tallies);
    if (tallies == NULL)
        return es_fail_memory(err, "the labels of blocks", w->words.count * sizeof *tallies);
    size_t kept = 0;
    for (size_t i = 0; i < w->block_count; i++) {
        w->blocks[kept] = w->blocks[i];
        label_block(w, &w->blocks[kept++], tallies);
        while (kept > 1 && should_join(w, &w->blocks[kept - 2], &w->blocks[kept - 1])) {
            w->blocks[kept - 2].count += w->blocks[kept - 1].count;
            label_block(w, &w->blocks[--kept - 1], tallies);
        }
    }
    w->block_count = kept;
    free(tallies);
    return ES_OK;
}

static es_status prepare(work *w, es_error *err)
{
    ES_TRY(es_words_make(&w->words, w->moments, w->count, err));
    w->spans = es_calloc(w->count, sizeof *w->spans);
    w->breaks = es_calloc(w->count, sizeof *w->breaks);
    w->best = es_calloc(w->count + 1, sizeof *w->best);
    w->from = es_calloc(w->count + 1, sizeof *w->from);
    w->blocks = es_calloc(w->count, sizeof *w->blocks);
    w->code.words = &w->words;
    w->code.count = es_calloc(w->words.count, sizeof *w->code.count);
    w->code.stamp = es_calloc(w->words.count, sizeof *w->code.stamp);
    if (w->spans == NULL || w->breaks == NULL || w->best == NULL || w->from == NULL || w->blocks == NULL ||
        w->code.count == NULL || w->code.stamp == NULL)
        return es_fail_memory(err, "the blocks of a session", w->count * sizeof *w->blocks);
    return ES_OK;
}

static es_status check(const es_moment *moments, size_t count, es_error *err)
{
    if (count > ES_MOMENTS_MAX)
        return es_fail(err, ES_ERR_LIMIT, "%zu observations in one session: at most %d; use a longer interval", count,
                       ES_MOMENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(moments[i].at) || moments[i].at < 0 || moments[i].at > 1e9)
            return es_fail(err, ES_ERR_ARGUMENT, "observation %zu has no usable time (%g s)", i, moments[i].at);
        if (i > 0 && moments[i].at < moments[i - 1].at)
            return es_fail(err, ES_ERR_ARGUMENT, "observation %zu (%.3f s) comes before the one it follows (%.3f s)", i,
                           moments[i].at, moments[i - 1].at);
    }
    return ES_OK;
}

static es_status make(work *w, es_outline *outline, es_error *err)
{
    ES_TRY(prepare(w, err));
    outline->interval = es_moment_spans(w->moments, w->count, &w->options, w->spans, w->breaks);
    for (size_t first = 0, i = 0; i < w->count; i++) {
        if (!w->breaks[i])
            continue;
        cut_run(w, first, i + 1);
        first = i + 1;
    }
    ES_TRY(label_and_join(w, err));
    outline->blocks = w->blocks;
    outline->block_count = w->block_count;
    w->blocks = NULL;
    for (size_t i = 0; i < outline->block_count; i++)
        outline->seconds += outline->blocks[i].end - outline->blocks[i].start;
    return es_subjects_make(outline, err);
}

es_status es_outline_make(es_outline *outline, const es_moment *moments, size_t count,
                          const es_segment_options *options, es_error *err)
{
    work w = {.moments = moments, .count = count};
    memset(outline, 0, sizeof *outline);
    ES_TRY(check(moments, count, err));
    if (count == 0)
        return ES_OK;
    if (options != NULL)
        w.options = *options;
    else
        es_segment_options_init(&w.options);
    w.cut = w.options.min_length < USUAL_LENGTH ? CUT * w.options.min_length / USUAL_LENGTH : CUT;
    es_status status = make(&w, outline, err);
    es_words_free(&w.words);
    free(w.spans);
    free(w.breaks);
    free(w.best);
    free(w.from);
    free(w.blocks);
    free(w.code.count);
    free(w.code.stamp);
    if (status != ES_OK)
        es_outline_free(outline);
    return status;
}

void es_outline_free(es_outline *outline)
{
    for (size_t i = 0; i < outline->subject_count; i++)
        free(outline->subjects[i].name);
    free(outline->subjects);
    free(outline->blocks);
    memset(outline, 0, sizeof *outline);
}
