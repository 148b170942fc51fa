#include "session/subjects.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

#define NEAR 0.25        /* cosine below which two groups are different subjects */
#define TOPIC_WEIGHT 2.0 /* of a topic beside an app: an app serves many subjects */
#define GROUPS_MAX 256   /* what the clustering starts from; coarser keys are used beyond */
#define NAME_TOPICS 2    /* a subject is named by at most so many */

/* Words that stand for time of one's own, as whole words of an app's or topic's name. */
static const char *const personal_words[] = {
    "whatsapp", "instagram", "facebook", "tiktok",    "netflix", "spotify",  "steam",    "youtube",
    "twitch",   "reddit",    "snapchat", "pinterest", "disney+", "hulu",     "amazon",   "ebay",
    "telegram", "signal",    "imessage", "messages",  "twitter", "personal", "shopping", "gaming",
    "games",    "music",     "movies",   "recipes",   "holiday", "vacation", "banking",  "dating",
    "social",   "bluesky",   "photos",   "mastodon",  "news",    "travel",   NULL};

static const char *const work_activities[] = {"coding", "debugging", "review", "terminal", "meeting", NULL};

static bool among(const char *text, size_t n, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strlen(*list) == n && strncasecmp(text, *list, n) == 0)
            return true;
    return false;
}

static bool is_personal_word(const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, " -_/,.:()");
        if (n > 0 && among(text, n, personal_words))
            return true;
        text += n;
        text += strspn(text, " -_/,.:()");
    }
    return false;
}

bool es_block_is_personal(const es_block *block, const es_words *words, const double *spans)
{
    double personal = 0, all = 0;
    if (among(block->activity, strlen(block->activity), work_activities))
        return false;
    for (size_t m = block->first; m < block->first + block->count; m++) {
        bool shows = false;
        for (size_t i = words->first[m]; i < words->first[m + 1] && !shows; i++) {
            const es_word *word = &words->items[words->ids[i]];
            shows = word->field != ES_FIELD_ACTIVITY && is_personal_word(word->text);
        }
        personal += shows ? spans[m] : 0;
        all += spans[m];
    }
    return all > 0 && personal > all / 2;
}

typedef struct group {
    const es_block *sample; /* the longest block: its labels stand for the group */
    double seconds;
    size_t blocks;
    size_t into; /* the group it was merged into; itself while it lives */
} group;

typedef struct clustering {
    group items[GROUPS_MAX];
    size_t count;
    size_t living;
    double near[GROUPS_MAX][GROUPS_MAX]; /* cosine between living groups */
} clustering;

static const char *first_of(const char *const *items, size_t n)
{
    return n > 0 ? items[0] : NULL;
}

/* Level 0: first app and first topic; 1: first app; 2: activity (static strings, so at most eight). */
static bool same_key(const es_block *a, const es_block *b, int level)
{
    if (level == 2)
        return strcmp(a->activity, b->activity) == 0;
    if (first_of(a->apps, a->app_count) != first_of(b->apps, b->app_count))
        return false;
    return level == 1 || first_of(a->topics, a->topic_count) == first_of(b->topics, b->topic_count);
}

/* Puts work blocks with the same key together; false when there are too many keys of this level. */
static bool gather(clustering *c, es_outline *outline, int level)
{
    c->count = 0;
    for (size_t i = 0; i < outline->block_count; i++) {
        es_block *block = &outline->blocks[i];
        size_t g = 0;
        if (block->personal)
            continue;
        while (g < c->count && !same_key(c->items[g].sample, block, level))
            g++;
        if (g == GROUPS_MAX)
            return false;
        if (g == c->count)
            c->items[c->count++] = (group){.sample = block, .into = g};
        if (block->end - block->start > c->items[g].sample->end - c->items[g].sample->start)
            c->items[g].sample = block;
        c->items[g].seconds += block->end - block->start;
        c->items[g].blocks++;
        block->subject = g;
    }
    c->living = c->count;
    return true;
}

static double shared(const char *const *a, size_t n, const char *const *b, size_t m)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            sum += a[i] == b[j]; /* one spelling, one pointer */
    return sum;
}

/* Cosine of two blocks' labels. */
static double nearness(const es_block *a, const es_block *b)
{
    double t = TOPIC_WEIGHT * TOPIC_WEIGHT;
    double dot = shared(a->apps, a->app_count, b->apps, b->app_count) +
                 t * shared(a->topics, a->topic_count, b->topics, b->topic_count);
    double na = (double)a->app_count + t * (double)a->topic_count,
           nb = (double)b->app_count + t * (double)b->topic_count;
    if (na == 0 && nb == 0)
        return strcmp(a->activity, b->activity) == 0 ? 1 : 0;
    return na > 0 && nb > 0 ? dot / sqrt(na * nb) : 0;
}

/* The nearest living pair; among equals the one with the least time. */
static double nearest(const clustering *c, size_t *first, size_t *second)
{
    double best = -1, least = INFINITY;
    for (size_t a = 0; a < c->count; a++) {
        if (c->items[a].into != a)
            continue;
        for (size_t b = a + 1; b < c->count; b++) {
            double seconds = c->items[a].seconds + c->items[b].seconds;
            if (c->items[b].into != b || c->near[a][b] < best || (c->near[a][b] == best && seconds >= least))
                continue;
            best = c->near[a][b];
            least = seconds;
            *first = a;
            *second = b;
        }
    }
    return best;
}

static void merge(clustering *c, size_t a, size_t b)
{
    double wa = c->items[a].seconds, wb = c->items[b].seconds;
    if (wa + wb <= 0)
        wa = wb = 1;
    for (size_t k = 0; k < c->count; k++)
        c->near[a][k] = c->near[k][a] = (wa * c->near[a][k] + wb * c->near[b][k]) / (wa + wb);
    c->items[a].seconds += c->items[b].seconds;
    c->items[a].blocks += c->items[b].blocks;
    c->items[b].into = a;
    c->living--;
}

static void cluster(clustering *c)
{
    for (size_t a = 0; a < c->count; a++)
        for (size_t b = 0; b < c->count; b++)
            c->near[a][b] = nearness(c->items[a].sample, c->items[b].sample);
    while (c->living > 1) {
        size_t a = 0, b = 0;
        if (nearest(c, &a, &b) < NEAR && c->living <= ES_SUBJECTS_MAX)
            break;
        merge(c, a, b);
    }
}

typedef struct named {
    const char *text;
    double seconds;
} named;

/* The topics (or apps, or activities) of a group by the time of the blocks that show them first. */
static size_t rank(const es_outline *outline, size_t subject, int what, named top[GROUPS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < outline->block_count; i++) {
        const es_block *block = &outline->blocks[i];
        if (block->personal || block->subject != subject)
            continue;
        const char *text = what == 0   ? first_of(block->topics, block->topic_count)
                           : what == 1 ? first_of(block->apps, block->app_count)
                                       : block->activity;
        size_t k = 0;
        while (k < n && top[k].text != text)
            k++;
        if (text == NULL || k == GROUPS_MAX)
            continue;
        if (k == n)
            top[n++] = (named){text, 0};
        top[k].seconds += block->end - block->start;
    }
    for (size_t i = 1; i < n; i++) /* stable insertion: the first seen wins a tie */
        for (size_t k = i; k > 0 && top[k].seconds > top[k - 1].seconds; k--) {
            named swap = top[k];
            top[k] = top[k - 1];
            top[k - 1] = swap;
        }
    return n;
}

static es_status name_subject(const es_outline *outline, size_t subject, char **name, es_error *err)
{
    named top[GROUPS_MAX];
    size_t n = 0;
    for (int what = 0; what < 3 && n == 0; what++)
        n = rank(outline, subject, what, top);
    es_str text = {0};
    for (size_t i = 0; i < n && i < NAME_TOPICS; i++) {
        if (i > 0 && top[i].seconds < top[0].seconds / 4)
            break; /* too little of it to stand in the name */
        es_str_append(&text, i > 0 ? ", " : "");
        es_str_append(&text, top[i].text);
    }
    if (n == 0)
        es_str_append(&text, "other");
    *name = es_str_take(&text, err);
    return *name == NULL ? ES_ERR_MEMORY : ES_OK;
}

static int compare_groups(const void *a, const void *b)
{
    const group *x = *(const group *const *)a, *y = *(const group *const *)b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return (x->into > y->into) - (x->into < y->into);
}

/* The living groups become subjects, most time first; blocks are told the new numbers. */
static es_status settle(const clustering *c, es_outline *outline, es_error *err)
{
    const group *order[ES_SUBJECTS_MAX];
    size_t n = 0, number[GROUPS_MAX] = {0};
    for (size_t g = 0; g < c->count && n < ES_SUBJECTS_MAX; g++)
        if (c->items[g].into == g)
            order[n++] = &c->items[g];
    if (n > 0)
        qsort(order, n, sizeof *order, compare_groups);
    for (size_t i = 0; i < n; i++)
        number[order[i] - c->items] = i;
    for (size_t i = 0; i < outline->block_count; i++) {
        es_block *block = &outline->blocks[i];
        size_t g = block->subject;
        while (!block->personal && c->items[g].into != g)
            g = c->items[g].into;
        block->subject = block->personal ? n : number[g];
    }
    for (size_t i = 0; i < n; i++) {
        es_subject *subject = &outline->subjects[outline->subject_count];
        *subject = (es_subject){.seconds = order[i]->seconds, .blocks = order[i]->blocks};
        ES_TRY(name_subject(outline, i, &subject->name, err));
        outline->subject_count++;
    }
    return ES_OK;
}

static es_status add_personal(es_outline *outline, es_error *err)
{
    es_subject personal = {.personal = true};
    for (size_t i = 0; i < outline->block_count; i++) {
        personal.blocks += outline->blocks[i].personal;
        personal.seconds += outline->blocks[i].personal ? outline->blocks[i].end - outline->blocks[i].start : 0;
    }
    if (personal.blocks == 0)
        return ES_OK;
    personal.name = es_strdup("Personal");
    if (personal.name == NULL)
        return es_fail_memory(err, "a subject", 0);
    outline->subjects[outline->subject_count++] = personal;
    return ES_OK;
}

es_status es_subjects_make(es_outline *outline, es_error *err)
{
    clustering *c = es_calloc(1, sizeof *c);
    outline->subjects = es_calloc(ES_SUBJECTS_MAX + 1, sizeof *outline->subjects);
    es_status status = ES_OK;
    if (c == NULL || outline->subjects == NULL) {
        status = es_fail_memory(err, "the subjects of a session", sizeof *c);
    } else {
        int level = 0;
        while (!gather(c, outline, level))
            level++;
        cluster(c);
        status = settle(c, outline, err);
    }
    free(c);
    return status == ES_OK ? add_personal(outline, err) : status;
}
