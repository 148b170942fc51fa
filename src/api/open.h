/* open.h - the public options as a working adapter. */
#ifndef ES_API_OPEN_H
#define ES_API_OPEN_H

#include "escriba.h"
#include "intelligence/intelligence.h"

/* Checks the options and opens the backend they name, with its fallback. */
es_status es_open_who(es_intelligence **who, const escriba_options *options, es_error *err);

#endif
