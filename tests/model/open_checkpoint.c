/* open_checkpoint.c - opens a checkpoint on the cpu device a few times and prints the seconds each took. */
#include <stdio.h>
#include <stdlib.h>

#include "base/thread.h"
#include "compute/cpu/cpu.h"
#include "model/model.h"

static es_status open_once(const char *dir, es_error *err)
{
    es_device *device;
    es_model *model;
    double start = es_now();
    ES_TRY(es_cpu_device_create(&device, NULL, err));
    es_status status = es_model_open(&model, device, dir, err);
    if (status == ES_OK) {
        printf("%.4f\n", es_now() - start);
        es_model_free(model);
    }
    es_device_free(device);
    return status;
}

int main(int argc, char **argv)
{
    es_error err = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: open_checkpoint DIRECTORY TIMES\n");
        return 2;
    }
    for (long left = strtol(argv[2], NULL, 10); left > 0; left--) {
        if (open_once(argv[1], &err) != ES_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
    }
    return 0;
}
