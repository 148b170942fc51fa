/* mlx.h - the MLX device: Metal on a Mac, CUDA or the processor on Linux. It lives in a plug-in that is looked for when
 * it is asked for, so a machine without MLX needs nothing of it. docs/mlx.md tells how it works.
 */
#ifndef ES_COMPUTE_MLX_MLX_H
#define ES_COMPUTE_MLX_MLX_H

#include "compute/cpu/cpu.h"

typedef enum es_mlx_where { ES_MLX_ANY, ES_MLX_CPU, ES_MLX_GPU } es_mlx_where; /* ANY: the GPU when there is one */

typedef struct es_mlx_options {
    es_mlx_where where;
    es_precision precision; /* exact: float32 throughout. balanced: on a GPU 16 bits (bf16); fast: text weights that are
                               not packed yet become 4 bits, too */
    es_dtype numbers;       /* of activations, when `numbers_given`: ES_F32, ES_F16 or ES_BF16 whatever the precision */
    bool numbers_given;
    bool mlx_products; /* on the processor MLX multiplies, not the cpu device for it */
} es_mlx_options;

typedef struct es_mlx_info {
    char version[32]; /* of the library found, "0.32.4" */
    char device[96];  /* what ANY would take: "NVIDIA H100", "Apple M3", "cpu" */
    bool gpu;         /* that is a GPU */
    double memory;    /* bytes it has; 0: not known */
} es_mlx_info;

/* Whether a plug-in lies where one is looked for: in $ESCRIBA_MLX_PLUGIN, beside this library, in its folder of
 * plug-ins. That it loads is another question. */
bool es_mlx_installed(void);
/* Loads the plug-in and asks MLX what it has. ES_ERR_UNSUPPORTED: not installed, too old or new, or it cannot start. */
es_status es_mlx_describe(es_mlx_info *info, es_error *err);
/* Errors as above; options NULL means the defaults. ESCRIBA_MLX_PRODUCTS=mlx in the environment sets mlx_products. */
es_status es_mlx_device_create(es_device **device, const es_mlx_options *options, es_error *err);

#endif
