/* plan.h - where a step's rows go in the key-value cache and what each may see, as MLX wants it said. All layers of a
 * step share one plan.
 */
#ifndef ES_COMPUTE_MLX_PLAN_H
#define ES_COMPUTE_MLX_PLAN_H

#include "compute/mlx/shim.h"

typedef struct es_plan {
    int32_t *key; /* [key_count] what it was made from */
    size_t key_count, key_capacity;
    int64_t rows;                /* new tokens in all */
    bool whole;                  /* they are rows 0 .. rows - 1 */
    int64_t first_slot;          /* their slots are consecutive from here on; else -1 */
    int64_t last_slot;           /* the largest that is written or seen; -1: none */
    es_mx *row_list, *slot_list; /* [rows] */
    es_mx_part *parts;           /* [part_count]; their arrays are owned */
    size_t part_count, part_capacity;
} es_plan;

/* Makes the plan for these sequences, unless it is made already. */
es_mx_status es_plan_make(es_plan *p, es_mx_queue *queue, int32_t page_tokens, const es_attend *sequences, size_t n);
void es_plan_clear(es_plan *p); /* the next one is made anew */
void es_plan_free(es_plan *p);

#endif
