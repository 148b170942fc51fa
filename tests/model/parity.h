/* parity.h - a fixture's stages, one by one, on a device. */
#ifndef TESTS_MODEL_PARITY_H
#define TESTS_MODEL_PARITY_H

#include "fixture.h"

typedef struct parity {
    double worst;   /* relative L2 of the worst stage */
    double company; /* relative L2 of the logits when the same rows go through in other company; 0: bit for bit */
    double others;  /* share of places where another token than the reference's is the best */
} parity;

/* Takes the device over. A stage that is off by more than `bound` fails the test. */
parity parity_of(const char *name, es_device *device, double bound);

#endif
