/* open.c - see open.h. */
#include "compute/open.h"

#include <stdio.h>
#include <string.h>

#include "compute/mlx/mlx.h"

static const char *const names[] = {"auto", "cpu", "mlx", "mlx-cpu", "mlx-gpu"};
static const es_mlx_where wheres[] = {ES_MLX_GPU, ES_MLX_ANY, ES_MLX_ANY, ES_MLX_CPU, ES_MLX_GPU};

/* Its place among the names; their count when it is none of them. */
static size_t find(const char *name)
{
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(names[i], name) != 0)
        i++;
    return i;
}

bool es_device_name_ok(const char *name)
{
    return find(name) < sizeof names / sizeof *names;
}

bool es_device_is_mlx(const es_device *device)
{
    return strcmp(device->name, "mlx") == 0;
}

es_status es_device_open(es_device **device, const char *name, const es_cpu_options *cpu, char note[640], es_error *err)
{
    size_t which = find(name);
    es_mlx_options mlx = {.precision = cpu->precision};
    es_mlx_info info;
    es_error why = {0};
    *device = NULL;
    note[0] = '\0';
    if (!es_device_name_ok(name))
        return es_fail(err, ES_ERR_ARGUMENT, "unknown device \"%.40s\": auto, cpu, mlx, mlx-cpu or mlx-gpu", name);
    mlx.where = wheres[which];
    if (which > 1)
        return es_mlx_device_create(device, &mlx, err);
    if (which == 0 && es_mlx_installed()) {
        if (es_mlx_describe(&info, &why) == ES_OK && info.gpu && es_mlx_device_create(device, &mlx, &why) == ES_OK)
            return ES_OK;
        if (why.status != ES_OK)
            snprintf(note, 640, "%s: the cpu computes instead", why.message);
    }
    return es_cpu_device_create(device, cpu, err);
}
