/* endpoint.h - what users call a server, as the base address of its requests. */
#ifndef ES_INTELLIGENCE_NET_ENDPOINT_H
#define ES_INTELLIGENCE_NET_ENDPOINT_H

#include <stdbool.h>

#include "base/status.h"

/* Whether what a user gave is one address (or none, NULL) and not a list or "@FILE". */
bool es_endpoint_is_one(const char *text);

/* OLLAMA_HOST as Ollama reads it: "", "host", "host:port", ":port", "http://host[:port][/path]"; 0.0.0.0 means this
 * machine. *base is "http://127.0.0.1:11434", without a trailing slash; free with free. */
es_status es_endpoint_ollama(const char *text, char **base, es_error *err);
/* OPENAI_BASE_URL: http or https; without a path it gets /v1. */
es_status es_endpoint_openai(const char *text, char **base, es_error *err);

#endif
