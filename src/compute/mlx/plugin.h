/* plugin.h - what the library and an MLX plug-in agree on. The plug-in brings its own copy of the lower floors; the two
 * share only these structs and compute.h's.
 */
#ifndef ES_COMPUTE_MLX_PLUGIN_H
#define ES_COMPUTE_MLX_PLUGIN_H

#include "compute/mlx/mlx.h"

/* Changes when any struct here or in compute.h does; the sizes catch what was forgotten. */
#define ES_MLX_PLUGIN_ABI 3
#define ES_MLX_PLUGIN_SYMBOL "escriba_mlx_plugin"

typedef struct es_mlx_plugin {
    uint32_t abi;
    uint32_t sizes; /* ES_MLX_PLUGIN_SIZES */
    es_status (*describe)(es_mlx_info *info, es_error *err);
    es_status (*create)(es_device **device, const es_mlx_options *options, es_error *err);
} es_mlx_plugin;

typedef const es_mlx_plugin *(*es_mlx_plugin_fn)(void); /* the type of the symbol */

#define ES_MLX_PLUGIN_SIZES                                                                                            \
    (uint32_t)(sizeof(es_device_ops) + 3 * sizeof(es_device) + 5 * sizeof(es_matrix_source) +                          \
               7 * sizeof(es_mlx_options) + 11 * sizeof(es_mlx_info) + 13 * sizeof(es_error))

#endif
