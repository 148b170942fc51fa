/* positions.h - where every token stands: 3-axis text positions, rope tables, interpolated vision position
 * embeddings. */
#ifndef ES_MODEL_POSITIONS_H
#define ES_MODEL_POSITIONS_H

#include "model/config.h"
#include "model/preprocess.h"

/* A token's place on the three axes: time, height, width. */
typedef struct es_position {
    int32_t axis[3];
} es_position;

/* Positions of a whole prompt: text counts up on all axes at once; a picture's tokens share one time and
 * spread over height and width; what follows continues after the larger side. grids: [images] of (merged
 * rows, merged columns). *next receives the position of the first token to be generated. */
es_status es_text_positions(const es_model_config *config, const int32_t *ids, size_t n, const int32_t (*grids)[2],
                            size_t images, es_position *positions, int32_t *next, es_error *err);

/* cos and sin rows for the text decoder, interleaved over the axes: pair i of head_dim / 2 belongs to height
 * when i % 3 == 1 and i < 3 * section[1], to width when i % 3 == 2 and i < 3 * section[2], else to time.
 * table [n, head_dim]: head_dim / 2 cosines, then the sines. */
void es_text_rope(const es_text_config *config, const es_position *positions, size_t n, float *table);

/* The same for the vision tower: the first quarter of head_dim turns with the row, the second with the
 * column; patches in merge-block order. table [grid_h * grid_w, head_dim]. */
void es_vision_rope(const es_vision_config *config, int32_t grid_h, int32_t grid_w, float *table);

/* For each patch (merge-block order) the four cells of the learned side x side grid around it and their
 * bilinear weights (corners aligned). index, weight [grid_h * grid_w, 4]. */
void es_vision_interpolation(const es_vision_config *config, int32_t grid_h, int32_t grid_w, int32_t *index,
                             float *weight);

#endif
