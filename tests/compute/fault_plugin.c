/* fault_plugin.c - an MLX plug-in without MLX: the cpu device, which fails when $ESCRIBA_FAULT says so. It stands in
 * for what cannot be had at will: a library of another version, a GPU that does not start, one that fails in mid-step.
 *
 *     abi            another version of escriba
 *     old            the library is too old
 *     start          the device does not start
 *     memory:N       no memory at the Nth operation or weight
 *     throw:N        an exception there
 *     none           all is well
 */
#include <stdlib.h>
#include <string.h>

#include "compute/cpu/cpu.h"
#include "compute/mlx/plugin.h"

static const es_device_ops *real;
static es_device_ops ops;
static long left = -1; /* calls until the failure; -1: none to come */
static es_status what;

static const char *fault(void)
{
    const char *text = getenv("ESCRIBA_FAULT");
    return text != NULL ? text : "none";
}

static bool strikes(void)
{
    return left > 0 && --left == 0;
}

static bool strikes_op(es_device *d)
{
    if (!strikes())
        return false;
    d->lost = true;
    es_device_fail(d, what, "MLX on the GPU: %s",
                   what == ES_ERR_MEMORY ? "not enough memory: [malloc] of 1 byte" : "[eval] thrown");
    return true;
}

static es_status matrix_create(es_device *d, es_matrix **m, const es_matrix_source *source, es_error *err)
{
    if (strikes())
        return es_fail(err, what, "MLX: not enough memory for a weight: [malloc]");
    return real->matrix_create(d, m, source, err);
}

static void read_rows(es_device *d, const es_tensor *t, int64_t first, int64_t rows, float *host)
{
    if (!strikes_op(d))
        real->read(d, t, first, rows, host);
}

static void linear(es_device *d, es_tensor *y, const es_tensor *x, const es_matrix *w, const es_tensor *bias,
                   es_activation act, const es_tensor *residual)
{
    if (!strikes_op(d))
        real->linear(d, y, x, w, bias, act, residual);
}

static void attend_paged(es_device *d, es_tensor *y, const es_tensor *q, const es_kv *kv, int32_t layer, int64_t heads,
                         const es_attend *sequences, size_t n)
{
    if (!strikes_op(d))
        real->attend_paged(d, y, q, kv, layer, heads, sequences, n);
}

static es_status describe(es_mlx_info *info, es_error *err)
{
    if (strcmp(fault(), "old") == 0)
        return es_fail(
            err, ES_ERR_UNSUPPORTED,
            "MLX cannot be used here: the MLX library found is 0.20.1, this plug-in was built for 0.32: build "
            "escriba again");
    *info = (es_mlx_info){.version = "0.0.0", .device = "a GPU for tests", .gpu = true, .memory = 1e9};
    return ES_OK;
}

static es_status create(es_device **device, const es_mlx_options *options, es_error *err)
{
    es_cpu_options cpu = {.threads = 1};
    es_mlx_info info;
    (void)options;
    ES_TRY(describe(&info, err));
    if (strcmp(fault(), "start") == 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "MLX 0.0.0 cannot start on a GPU: no such device");
    ES_TRY(es_cpu_device_create(device, &cpu, err));
    const char *number = strchr(fault(), ':');
    left = number != NULL ? strtol(number + 1, NULL, 10) : -1;
    what = strncmp(fault(), "memory", 6) == 0 ? ES_ERR_MEMORY : ES_ERR_INTERNAL;
    real = (*device)->ops;
    ops = *real;
    ops.matrix_create = matrix_create;
    ops.read = read_rows;
    ops.linear = linear;
    ops.attend_paged = attend_paged;
    (*device)->ops = &ops;
    (*device)->name = "mlx";
    (*device)->layout[0] = '\0';
    (*device)->keeps_pictures = true;
    return ES_OK;
}

__attribute__((visibility("default"))) const es_mlx_plugin *escriba_mlx_plugin(void);
const es_mlx_plugin *escriba_mlx_plugin(void)
{
    static es_mlx_plugin plugin = {ES_MLX_PLUGIN_ABI, ES_MLX_PLUGIN_SIZES, describe, create};
    plugin.abi = strcmp(fault(), "abi") == 0 ? 999 : ES_MLX_PLUGIN_ABI;
    return &plugin;
}
