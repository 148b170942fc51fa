#include "serve/choice.h"

#include <string.h>

#define MOST_OVERTAKEN 3 /* then one of lower rank goes first */

size_t es_sequences_of(const es_ticket *list, const char *client)
{
    size_t n = 0;
    for (const es_ticket *t = list; t != NULL; t = t->next)
        if (client == NULL || strcmp(t->client, client) == 0)
            n += (size_t)t->choices;
    return n;
}

bool es_client_in(const es_ticket *list, const char *client)
{
    const es_ticket *t = list;
    while (t != NULL && strcmp(t->client, client) != 0)
        t = t->next;
    return t != NULL;
}

/* How a ticket stands to the others now: 1 first, 0 ordinary, -1 after them. A client has one that goes first; its
 * others are ordinary. */
static int32_t rank_of(const es_line *l, const es_ticket *t)
{
    bool first = t->tier == ES_TIER_PRIORITY || (t->tier == ES_TIER_AUTO && t->interactive);
    for (const es_ticket *r = l->running; first && r != NULL; r = r->next)
        first = r->priority <= 0 || strcmp(r->client, t->client) != 0;
    return first ? 1 : t->tier == ES_TIER_FLEX ? -1 : 0;
}

/* Of the tickets whose rank is below `below`, the one whose turn it is: of the highest rank (where `ranked`), then of
 * the client with the fewest sequences under way, then the one served longest ago, then the oldest. */
static es_ticket *choose_below(const es_line *l, int32_t below, bool ranked)
{
    es_ticket *best = NULL;
    size_t best_load = 0;
    uint64_t best_turn = 0;
    int32_t best_rank = 0;
    for (es_ticket *t = l->queue; t != NULL && strcmp(t->model, l->model) == 0; t = t->next) {
        int32_t rank = rank_of(l, t);
        if (rank >= below || (ranked && best != NULL && rank < best_rank))
            continue;
        size_t load = es_sequences_of(l->running, t->client);
        uint64_t turn = es_turns_last(l->turns, t->client);
        bool higher = ranked && rank > best_rank;
        if (best == NULL || higher || load < best_load || (load == best_load && turn < best_turn)) {
            best = t;
            best_load = load;
            best_turn = turn;
            best_rank = rank;
        }
    }
    return best;
}

/* One more than the batch has seats for may go first; those that go after the others leave one seat free. */
static bool has_room(const es_line *l, const es_ticket *t, int32_t rank)
{
    size_t under_way = es_sequences_of(l->running, NULL), seats = l->batch;
    if (rank > 0)
        seats++;
    else if (rank < 0 && seats > 1)
        seats--;
    return under_way == 0 || under_way + (size_t)t->choices <= seats;
}

es_ticket *es_choose_ticket(es_line *l)
{
    if (l->queue == NULL)
        return NULL;
    if (strcmp(l->queue->model, l->model) != 0) { /* it lets nobody pass, and goes when nothing is under way */
        l->queue->priority = 0;
        return l->running == NULL ? l->queue : NULL;
    }
    es_ticket *chosen = choose_below(l, INT32_MAX, true);
    es_ticket *other = choose_below(l, rank_of(l, chosen), false);
    bool overtakes = other != NULL && l->overtaken < MOST_OVERTAKEN;
    if (other != NULL && !overtakes)
        chosen = other;
    int32_t rank = rank_of(l, chosen);
    if (!has_room(l, chosen, rank))
        return NULL;
    l->overtaken = overtakes ? l->overtaken + 1 : 0;
    chosen->priority = rank;
    return chosen;
}
