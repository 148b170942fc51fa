/* open.h - a device by the name users give it. */
#ifndef ES_COMPUTE_OPEN_H
#define ES_COMPUTE_OPEN_H

#include "compute/cpu/cpu.h"

/* "auto", "cpu", "mlx", "mlx-cpu", "mlx-gpu". */
bool es_device_name_ok(const char *name);

/* Opens the device of that name; `cpu` holds what all devices take (precision) and what the cpu takes. "mlx" is MLX on
 * its GPU, or on the processor where it has none. "auto" is MLX where it is installed with a GPU, else the cpu; when
 * MLX fails, `note` says so in one line and the cpu it is (otherwise note is ""). */
es_status es_device_open(es_device **device, const char *name, const es_cpu_options *cpu, char note[640],
                         es_error *err);
bool es_device_is_mlx(const es_device *device);

#endif
