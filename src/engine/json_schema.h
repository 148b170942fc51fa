/* json_schema.h - the form of JSON values as a grammar. docs/serve.md says which keywords are known.
 *
 * The grammar writes a subset of what the schema allows, as Python's json.dumps would: `{"a": 1, "b": [1, 2]}`. What a
 * schema demands and nothing here can hold is refused, so an answer that ends by itself validates.
 */
#ifndef ES_ENGINE_JSON_SCHEMA_H
#define ES_ENGINE_JSON_SCHEMA_H

#include <jansson.h>

#include "engine/grammar.h"

/* The values that validate against the schema; finished. Errors: ES_ERR_UNSUPPORTED (a keyword that nothing here
 * holds), ES_ERR_ARGUMENT (not a schema, or nothing validates). The message names the place as "#/properties/x". */
es_status es_json_schema_grammar(es_grammar **grammar, const json_t *schema, es_error *err);
/* Any JSON object, nested at most ten deep; finished. */
es_status es_json_object_grammar(es_grammar **grammar, es_error *err);

#endif
