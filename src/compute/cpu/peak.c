/* peak.c - all threads at once: multiply-adds, products of bytes, reading memory. */
#include "compute/cpu/peak.h"

#include <stdlib.h>

#include "base/mem.h"
#include "compute/cpu/device.h"

#define TURNS 3
#define PIECES 16              /* a worker; they are taken as they are finished, so nobody waits for long */
#define PIECE 1e8              /* operations */
#define READ ((size_t)1 << 28) /* bytes: many times what a cache holds */
#define READ_PIECE ((size_t)1 << 20)

typedef struct loop {
    es_peak_fn fn;
    double *done; /* [tasks] */
} loop;

static void run_loop(void *context, size_t task, size_t worker)
{
    const loop *l = context;
    (void)worker;
    l->done[task] = l->fn(PIECE);
}

static double ops_of(es_cpu *cpu, es_peak_fn fn, double *done, size_t tasks)
{
    loop l = {fn, done};
    double best = 0.0;
    for (int turn = 0; turn < TURNS && fn != NULL; turn++) {
        double start = es_now(), sum = 0.0;
        es_pool_run(cpu->pool, tasks, run_loop, &l);
        double seconds = es_now() - start;
        for (size_t i = 0; i < tasks; i++)
            sum += done[i];
        best = seconds > 0.0 && sum / seconds > best ? sum / seconds : best;
    }
    return best;
}

typedef struct reading {
    const uint64_t *data;
    double *sums; /* [tasks] so that no reading can be left out */
} reading;

static void run_read(void *context, size_t task, size_t worker)
{
    const reading *r = context;
    const uint64_t *data = r->data + task * (READ_PIECE / 8);
    uint64_t sums[16] = {0};
    (void)worker;
    for (size_t i = 0; i < READ_PIECE / 8; i += 16)
        for (size_t j = 0; j < 16; j++)
            sums[j] |= data[i + j];
    for (size_t j = 1; j < 16; j++)
        sums[0] |= sums[j];
    r->sums[task] = (double)sums[0];
}

static double read_of(es_cpu *cpu, const uint64_t *data, double *sums)
{
    reading r = {data, sums};
    double best = 0.0;
    for (int turn = 0; turn < TURNS; turn++) {
        double start = es_now();
        es_pool_run(cpu->pool, READ / READ_PIECE, run_read, &r);
        double seconds = es_now() - start;
        best = seconds > 0.0 && (double)READ / seconds > best ? (double)READ / seconds : best;
    }
    return best;
}

/* The loops of the instruction set in use. */
static void loops_of(const es_cpu *cpu, es_peak_fn *floats, es_peak_fn *bytes)
{
    *floats = *bytes = NULL;
#if defined(__x86_64__)
    if (cpu->isa == ES_ISA_AVX512)
        *floats = es_peak_fma_avx512;
    else if (cpu->isa == ES_ISA_AVX2 || cpu->isa == ES_ISA_AVXVNNI)
        *floats = es_peak_fma_avx2;
    if (strcmp(cpu->dot.name, "avx512vnni") == 0)
        *bytes = es_peak_dot_avx512;
    else if (strcmp(cpu->dot.name, "avxvnni") == 0)
        *bytes = es_peak_dot_avxvnni;
    else if (strcmp(cpu->dot.name, "avx2") == 0)
        *bytes = es_peak_dot_avx2;
#elif defined(__aarch64__)
    if (cpu->isa == ES_ISA_NEON)
        *floats = es_peak_fma_neon;
    if (strcmp(cpu->dot.name, "neondot") == 0)
        *bytes = es_peak_dot_neon;
#endif
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

es_status es_cpu_peaks(es_device *d, es_peaks *peaks, es_error *err)
{
    es_cpu *cpu = (es_cpu *)d;
    es_peak_fn floats, bytes;
    size_t tasks = PIECES * cpu->workers;
    double *done = es_calloc(tasks > READ / READ_PIECE ? tasks : READ / READ_PIECE, sizeof *done);
    uint64_t *data = es_aligned_calloc(READ / sizeof *data, sizeof *data);
    if (done == NULL || data == NULL) {
        free(done);
        es_aligned_free(data);
        return es_fail_memory(err, "measuring this machine", READ);
    }
    loops_of(cpu, &floats, &bytes);
    for (size_t i = 0; i < READ / sizeof *data; i += 512)
        data[i] = i; /* else all pages are one page of zeros */
    peaks->float_ops = larger(peaks->float_ops, ops_of(cpu, floats, done, tasks));
    peaks->byte_ops = larger(peaks->byte_ops, ops_of(cpu, bytes, done, tasks));
    peaks->read = larger(peaks->read, read_of(cpu, data, done));
    free(done);
    es_aligned_free(data);
    return ES_OK;
}
