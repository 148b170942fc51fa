/* choice.h - whose turn it is. docs/serve.md tells the rules. */
#ifndef ES_SERVE_CHOICE_H
#define ES_SERVE_CHOICE_H

#include "serve/ticket.h"
#include "serve/turns.h"

/* What the choice depends on. */
typedef struct es_line {
    es_ticket *queue;         /* oldest first */
    const es_ticket *running; /* begun, in any order */
    const char *model;        /* the loaded one's directory; "" */
    const es_turns *turns;
    size_t batch;  /* sequences that may be under way at once */
    int overtaken; /* tickets in a row that went ahead of one of lower rank */
} es_line;

/* The ticket to begin now, with the priority it is to have, or NULL; line->overtaken is brought up to date. It is still
 * in the queue. */
es_ticket *es_choose_ticket(es_line *line);
/* How many sequences the tickets of a list come to; client NULL: of all. */
size_t es_sequences_of(const es_ticket *list, const char *client);
/* Whether a client has a ticket in a list. */
bool es_client_in(const es_ticket *list, const char *client);

#endif
