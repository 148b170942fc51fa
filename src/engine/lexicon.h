/* lexicon.h - a vocabulary as a tree of its tokens' bytes, so that a grammar is walked over all of it at once: what no
 * token may begin with is passed over with everything below it. Made once a model; its matchers share it. */
#ifndef ES_ENGINE_LEXICON_H
#define ES_ENGINE_LEXICON_H

#include "model/tokenizer.h"

/* The nodes lie in preorder: the bytes of a token are those on its node's way from the root, which itself is no node.
 * Immutable: any number of matchers may read it. */
typedef struct es_lexicon {
    const es_tokenizer *tokenizer; /* the caller's */
    int32_t vocab;                 /* logits there are */
    size_t count;                  /* nodes */
    size_t longest;                /* bytes of the longest token */
    uint8_t *bytes;                /* [count] */
    uint16_t *depths;              /* [count] from 1 */
    int32_t *skip;                 /* [count] the first node after this one that is not below it */
    int32_t *first;                /* [count + 1]: tokens[first[i]..first[i + 1]) end at node i */
    int32_t *tokens;               /* ids of ordinary tokens by their bytes */
} es_lexicon;

/* The tokenizer must outlive it. vocab: how many logits there are; tokens beyond do not exist. */
es_status es_lexicon_create(es_lexicon **lexicon, const es_tokenizer *tokenizer, int32_t vocab, es_error *err);
void es_lexicon_free(es_lexicon *lexicon); /* NULL is fine; no matcher may use it any more */

#endif
