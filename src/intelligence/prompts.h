/* prompts.h - the words escriba puts to a model. */
#ifndef ES_INTELLIGENCE_PROMPTS_H
#define ES_INTELLIGENCE_PROMPTS_H

#include "base/str.h"
#include "intelligence/intelligence.h"

/* The question about a single frame. */
extern const char *const es_prompt_frame;
/* The question about `frames` frames in one prompt; appended to out. */
void es_prompt_frames(es_str *out, size_t frames);
/* The label before frame number `number` (from 1): "Frame 3 (timestamp: 20s):". Timestamp left out when negative. */
void es_prompt_label(es_str *out, size_t number, double timestamp);
/* The question for a summary of blocks. */
void es_prompt_summary(es_str *out, const es_topic_block *blocks, size_t count);

#endif
