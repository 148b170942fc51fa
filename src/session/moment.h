/* moment.h - an observation as the session floor sees it, whoever made it: a time and what was on screen then. */
#ifndef ES_SESSION_MOMENT_H
#define ES_SESSION_MOMENT_H

#include <stdbool.h>
#include <stddef.h>

/* Strings are borrowed and may be NULL (nothing known). A failed frame has neither activity nor words. */
typedef struct es_moment {
    double at; /* seconds from the recording's start, finite, not negative */
    const char *activity;
    const char *description;
    const char *const *apps;
    size_t app_count;
    const char *const *topics;
    size_t topic_count;
    bool reused; /* taken over from an equal neighbour, not asked of a model */
} es_moment;

#endif
