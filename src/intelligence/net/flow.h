/* flow.h - how many requests at once a server is good for, learnt from its throughput. Knows no network and no clock.
 */
#ifndef ES_INTELLIGENCE_NET_FLOW_H
#define ES_INTELLIGENCE_NET_FLOW_H

#include <stdbool.h>
#include <stddef.h>

typedef struct es_flow {
    size_t limit; /* requests to have in flight now */
    size_t most;
    size_t proven;      /* the limit that paid so far */
    double proven_rate; /* answers a second there; 0: not measured */
    size_t counted;     /* answers in the present window */
    size_t skipped;     /* answers to let pass first: they were sent under another limit */
    double window_start;
    bool measuring;
    size_t patience; /* windows to stay before trying more again; doubles with each try that did not pay */
    size_t stayed;
} es_flow;

void es_flow_begin(es_flow *flow, size_t most);
/* An answer worth `frames` came at `now` (seconds), and there is more to ask: else it says nothing about the server. */
void es_flow_answered(es_flow *flow, size_t frames, double now);
/* The server said that it is too much (429, 503). */
void es_flow_refused(es_flow *flow);

#endif
