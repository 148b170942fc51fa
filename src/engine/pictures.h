/* pictures.h - what the vision tower made of pictures, kept by content: the vision cache. */
#ifndef ES_ENGINE_PICTURES_H
#define ES_ENGINE_PICTURES_H

#include "base/hash.h"
#include "model/model.h"

/* One picture's embeddings. Shared by the sequences that show it and by the cache. */
typedef struct es_picture {
    es_hash hash;
    int32_t users;
    es_vision_output output;
    struct es_picture *older, *newer; /* in the cache's list */
} es_picture;

typedef struct es_pictures {
    es_picture *oldest, *newest;
    int64_t bytes, limit; /* of embeddings held for nobody's present use; limit 0: no cache */
} es_pictures;

void es_pictures_free(es_pictures *pictures);

/* The picture with this content, with one more user; NULL when it is not known. */
es_picture *es_pictures_find(es_pictures *pictures, es_hash hash);
/* Whether it is known; nothing is changed by asking. */
bool es_pictures_know(const es_pictures *pictures, es_hash hash);
/* Takes over the output (also when this fails) as a picture with one user. */
es_status es_pictures_add(es_pictures *pictures, es_hash hash, es_vision_output *output, es_picture **picture,
                          es_error *err);
/* One user less; NULL is fine. Unused pictures stay as long as the limit allows, least recently used out first. */
void es_pictures_release(es_pictures *pictures, es_picture *picture);

/* The fingerprint of a picture's patches, under the engine's key. */
es_hash es_picture_hash(es_hash key, const es_patches *patches);

#endif
