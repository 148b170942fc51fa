/* turns.h - when it was whose turn in the queue: clients by name, as many as are worth remembering. */
#ifndef ES_SERVE_TURNS_H
#define ES_SERVE_TURNS_H

#include <stdint.h>

#define ES_TURNS 64

typedef struct es_turns {
    struct {
        char *name;
        uint64_t turn;
    } clients[ES_TURNS];
    uint64_t last;
} es_turns; /* zero-initialise */

/* The number of the client's last turn, higher for later ones; 0: none that is remembered. */
uint64_t es_turns_last(const es_turns *turns, const char *client);
/* Remembers that it was this client's turn, in the place of the one longest ago. Without memory it is forgotten, which
 * only makes the queue a little less fair. */
void es_turns_note(es_turns *turns, const char *client);
void es_turns_free(es_turns *turns);

#endif
