/* identity.h - telling one checkpoint from another, so that nothing kept on the disk is used with what it was not made
 * from.
 */
#ifndef ES_MODEL_IDENTITY_H
#define ES_MODEL_IDENTITY_H

#include "base/sha.h"
#include "model/model.h"

void es_identity_add_number(es_sha *sha, uint64_t number);
void es_identity_add_text(es_sha *sha, const char *text);
/* Every file's size, times and place on the disk; every tensor's name, type, shape and some of its bytes.
 * ES_ERR_UNSUPPORTED: a file cannot be looked at. */
es_status es_identity_add_tensors(es_sha *sha, const es_tensors *tensors);

/* What the vision tower's numbers depend on besides the picture: this program's version, the device's arithmetic, the
 * tower's shape, the weights. Errors as es_identity_add_tensors. */
es_status es_vision_identity(char identity[ES_SHA256_HEX + 1], const es_model *model);

#endif
