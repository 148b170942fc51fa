/* peak.h - loops of nothing but the instruction a kernel lives on, to measure what this machine can do at this moment.
 */
#ifndef ES_COMPUTE_CPU_PEAK_H
#define ES_COMPUTE_CPU_PEAK_H

#include <stddef.h>

#include "compute/compute.h"

/* Runs about n operations (a multiply and an add are two) and returns how many. */
typedef double (*es_peak_fn)(double n);

double es_peak_fma_avx2(double n);
double es_peak_dot_avx2(double n);    /* byte multiply-add and 16-bit add, what 4-bit weights cost at least */
double es_peak_wide_avx2(double n);   /* 16-bit multiply-add and 32-bit add, what 8-bit weights cost at least */
double es_peak_dot_avxvnni(double n); /* vpdpbusd on 256 bits */
double es_peak_fma_avx512(double n);
double es_peak_dot_avx512(double n); /* vpdpbusd on 512 bits */
double es_peak_fma_neon(double n);
double es_peak_dot_neon(double n); /* sdot */

/* A second's worth of all threads together; 0: not known here. */
typedef struct es_peaks {
    double float_ops; /* float32 multiply-adds, two operations each */
    double byte_ops;  /* of the instruction that products of bytes live on */
    double read;      /* bytes from memory */
} es_peaks;

/* Measures a cpu device for some tenths of a second and keeps the larger of what *peaks holds and what is seen. */
es_status es_cpu_peaks(es_device *d, es_peaks *peaks, es_error *err);

#endif
