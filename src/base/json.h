/* json.h - reading JSON from files nobody vouches for: size and depth bounded, duplicates refused, errors with a place.
 */
#ifndef ES_BASE_JSON_H
#define ES_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Parses text; `name` is the file or source for errors. *root is owned by the caller (json_decref). */
es_status es_json_parse(json_t **root, const char *text, size_t size, const char *name, es_error *err);
/* Reads and parses a file of at most `limit` bytes. The top must be an object. */
es_status es_json_read(json_t **root, const char *path, size_t limit, es_error *err);

/* Typed members of an object. A missing member keeps *value (set your default first) unless `required`; a member of the
 * wrong type, or outside [low, high], is ES_ERR_FORMAT naming `where` and key. JSON null counts as missing. */
es_status es_json_int(const json_t *object, const char *where, const char *key, bool required, int64_t low,
                      int64_t high, int64_t *value, es_error *err);
es_status es_json_number(const json_t *object, const char *where, const char *key, bool required, double low,
                         double high, double *value, es_error *err);
es_status es_json_bool(const json_t *object, const char *where, const char *key, bool required, bool *value,
                       es_error *err);
/* The string stays the object's. */
es_status es_json_string(const json_t *object, const char *where, const char *key, bool required, const char **value,
                         es_error *err);

#endif
