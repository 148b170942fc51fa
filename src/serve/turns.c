#include "serve/turns.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

uint64_t es_turns_last(const es_turns *t, const char *client)
{
    for (size_t i = 0; i < ES_TURNS; i++)
        if (t->clients[i].name != NULL && strcmp(t->clients[i].name, client) == 0)
            return t->clients[i].turn;
    return 0;
}

void es_turns_note(es_turns *t, const char *client)
{
    size_t place = 0;
    for (size_t i = 0; i < ES_TURNS; i++) {
        if (t->clients[i].name != NULL && strcmp(t->clients[i].name, client) == 0) {
            t->clients[i].turn = ++t->last;
            return;
        }
        if (t->clients[i].turn < t->clients[place].turn)
            place = i;
    }
    free(t->clients[place].name);
    t->clients[place].name = es_strdup(client);
    t->clients[place].turn = t->clients[place].name != NULL ? ++t->last : 0;
}

void es_turns_free(es_turns *t)
{
    for (size_t i = 0; i < ES_TURNS; i++)
        free(t->clients[i].name);
    *t = (es_turns){0};
}
