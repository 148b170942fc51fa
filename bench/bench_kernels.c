/* bench_kernels.c - the quantised products of the cpu device beside this core's own peak, measured turn by turn.
 *
 *     bench_kernels [REPEATS] [attention]
 *
 * One thread; time is the thread's own processor time, so a busy machine costs cache and clock but not the turns it
 * takes. Every figure is the best of REPEATS (5). Shares are of the peak measured in the same turn, best against best.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compute/cpu/device.h"
#include "compute/cpu/peak.h"

#if defined(__x86_64__)
static const struct {
    const char *name;
    es_isa isa;
    es_peak_fn fma, dot4, dot8;
} tables[] = {
    {"avx2", ES_ISA_AVX2, es_peak_fma_avx2, es_peak_dot_avx2, es_peak_wide_avx2},
    {"avxvnni", ES_ISA_AVXVNNI, es_peak_fma_avx2, es_peak_dot_avxvnni, es_peak_dot_avxvnni},
    {"avx512vnni", ES_ISA_AVX512, es_peak_fma_avx512, es_peak_dot_avx512, es_peak_dot_avx512},
};
#elif defined(__aarch64__)
static const struct {
    const char *name;
    es_isa isa;
    es_peak_fn fma, dot4, dot8;
} tables[] = {{"neondot", ES_ISA_NEON, es_peak_fma_neon, es_peak_dot_neon, es_peak_dot_neon}};
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(es_status status, const es_error *err)
{
    if (status == ES_OK)
        return;
    fprintf(stderr, "bench_kernels: %s\n", err->message);
    exit(1);
}

static void *need(size_t bytes)
{
    void *block = calloc(1, bytes);
    if (block == NULL) {
        fputs("bench_kernels: no memory\n", stderr);
        exit(1);
    }
    return block;
}

/* Numbers that look like weights: the kernels' time does not depend on them, overflow would. */
static void fill(float *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
}

/* A product on a device, and the same by the kernel alone on rows that are bytes already. */
typedef struct product {
    size_t n, in, out;
    es_device *device;
    es_tensor *x, *y, *bias;
    es_matrix *w;
    float *scale, *sum, *c;
    int8_t *a;
    uint8_t *wide; /* a depth of blocks, unpacked */
} product;

static void product_make(product *p, size_t n, size_t in, size_t out, size_t t, es_precision precision)
{
    es_error err = {0};
    es_cpu_options options = {.threads = 1, .isa_given = true, .isa = tables[t].isa, .precision = precision};
    *p = (product){.n = n, .in = in, .out = out};
    must(es_cpu_device_create(&p->device, &options, &err), &err);
    float *x = need(n * in * sizeof *x), *w = need(in * out * sizeof *w);
    fill(x, n * in);
    fill(w, in * out);
    for (size_t i = 0; i < in * out; i++) /* to bf16, in place */
        memcpy((char *)w + 2 * i, (char *)w + 4 * i + 2, 2);
    es_matrix_source source = {
        .rows = (int64_t)out, .cols = (int64_t)in, .dtype = ES_BF16, .data = w, .use = ES_USE_TEXT};
    must(es_matrix_create(p->device, &p->w, &source, &err), &err);
    must(es_tensor_create(p->device, &p->x, (int64_t)n, (int64_t)in, &err), &err);
    must(es_tensor_create(p->device, &p->y, (int64_t)n, (int64_t)out, &err), &err);
    must(es_tensor_create(p->device, &p->bias, 1, (int64_t)out, &err), &err);
    es_op_write(p->device, p->x, x, (int64_t)n);
    es_op_linear(p->device, p->y, p->x, p->w, NULL, ES_ACT_NONE, NULL);
    if (precision != ES_PRECISION_EXACT)
        free(w); /* the panels are a copy */
    free(x);
    const es_panels *panels = ((es_cpu_matrix *)p->w)->panels;
    if (panels == NULL)
        return;
    p->a = need(n * in);
    p->wide = aligned_alloc(64, ES_DOT_READY_BYTES);
    if (p->wide == NULL)
        exit(1);
    p->scale = need(n * panels->groups * sizeof *p->scale);
    p->sum = need(n * panels->groups * sizeof *p->sum);
    p->c = need(n * ES_DOT_COLS * sizeof *p->c);
    for (size_t row = 0; row < n; row += ES_DOT_ROWS)
        ((es_cpu *)p->device)
            ->dot.quantise(p->a + row * in, p->scale + row * panels->groups, p->sum + row * panels->groups,
                           es_rows(p->x, (int64_t)row), in, es_least(ES_DOT_ROWS, n - row), in, panels->group,
                           es_least(ES_DOT_ROWS, n - row));
}

static void product_free(product *p)
{
    es_tensor_free(p->device, p->x);
    es_tensor_free(p->device, p->y);
    es_tensor_free(p->device, p->bias);
    es_matrix_free(p->device, p->w);
    es_device_free(p->device);
    free(p->a);
    free(p->wide);
    free(p->scale);
    free(p->sum);
    free(p->c);
}

static double time_kernel(const product *p)
{
    const es_panels *w = ((es_cpu_matrix *)p->w)->panels;
    size_t depth = es_least(ES_DOT_DEPTH / w->group, w->groups);
    const es_dot_kernels *k = &((es_cpu *)p->device)->dot;
    /* once a depth, as the device does it for so many rows */
    bool ready = k->prepare != NULL, unpack = w->bits == 4 && k->unpack != NULL;
    double start = now();
    for (size_t panel = 0; panel < p->out / ES_DOT_COLS; panel++) {
        for (size_t g = 0; g < w->groups; g += depth) {
            const uint8_t *blocks = w->data + panel * w->panel_bytes + g * w->block_bytes;
            size_t groups = es_least(depth, w->groups - g);
            if (ready)
                k->prepare(p->wide, blocks, w->group, groups, w->bits, w->bf16);
            else if (unpack)
                k->unpack(p->wide, blocks, w->group, groups, w->bf16);
            if (ready || unpack)
                blocks = p->wide;
            for (size_t row = 0; row < p->n; row += ES_DOT_ROWS) {
                size_t rows = es_least(ES_DOT_ROWS, p->n - row), at = row * w->groups + g * rows;
                es_dot d = {.rows = rows,
                            .stride = rows,
                            .group = w->group,
                            .groups = groups,
                            .bits = unpack ? 8 : w->bits,
                            .a = p->a + row * w->in + g * w->group * rows,
                            .scale = p->scale + at,
                            .sum = p->sum + at,
                            .panel = blocks,
                            .bf16 = w->bf16,
                            .ready = ready,
                            .c = p->c + row * ES_DOT_COLS,
                            .add = g > 0};
                k->multiply(&d);
            }
        }
    }
    return now() - start;
}

/* Activations to bytes, product, bias, GELU or a residual: all that a layer asks for. */
static double time_device(const product *p, es_activation act)
{
    double start = now();
    es_op_linear(p->device, p->y, p->x, p->w, p->bias, act, act == ES_ACT_NONE ? p->y : NULL);
    return now() - start;
}

static double time_peak(es_peak_fn peak, double operations)
{
    double start = now(), done = peak(operations);
    return (now() - start) * operations / done;
}

static volatile uint64_t sink;

static double time_read(const uint64_t *data, size_t bytes)
{
    double start = now();
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < bytes / 8; i += 8)
        for (size_t j = 0; j < 8; j++)
            sums[j] += data[i + j];
    sink = sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
    return now() - start;
}

static void best(double *least, double seconds)
{
    *least = seconds < *least ? seconds : *least;
}

static void bench_large(size_t t, size_t n, size_t in, size_t out, es_precision precision, int repeats)
{
    product p;
    product_make(&p, n, in, out, t, precision);
    double work = 2.0 * (double)n * (double)in * (double)out, kernel = 1e9, linear = 1e9, gelu = 1e9, peak = 1e9;
    es_peak_fn fn = precision == ES_PRECISION_EXACT  ? tables[t].fma
                    : precision == ES_PRECISION_FAST ? tables[t].dot4
                                                     : tables[t].dot8;
    for (int i = 0; i < repeats; i++) {
        best(&peak, time_peak(fn, 2e9) / 2e9);
        if (p.a != NULL)
            best(&kernel, time_kernel(&p) / work);
        best(&peak, time_peak(fn, 2e9) / 2e9);
        best(&linear, time_device(&p, ES_ACT_NONE) / work);
        best(&gelu, time_device(&p, ES_ACT_GELU_TANH) / work);
    }
    const char *what = precision == ES_PRECISION_EXACT ? "float32" : precision == ES_PRECISION_FAST ? "4 bit" : "8 bit";
    printf("| %zu x %zu x %zu | %s, %s | %.0f | ", n, in, out, tables[t].name, what, 1e-9 / peak);
    if (p.a != NULL)
        printf("%.0f (%.0f %%)", 1e-9 / kernel, 100.0 * peak / kernel);
    printf(" | %.0f (%.0f %%) | %.0f (%.0f %%) |\n", 1e-9 / linear, 100.0 * peak / linear, 1e-9 / gelu,
           100.0 * peak / gelu);
    fflush(stdout);
    product_free(&p);
}

/* Few rows: what counts is how fast the panels stream by, beside a loop that only reads them. */
static void bench_small(size_t t, size_t n, es_precision precision, int repeats)
{
    product p;
    size_t in = 2048, out = 49152;
    product_make(&p, n, in, out, t, precision);
    const es_panels *w = ((es_cpu_matrix *)p.w)->panels;
    double linear = 1e9, read = 1e9, bytes = (double)(w->panel_bytes * (out / ES_DOT_COLS));
    for (int i = 0; i < repeats; i++) {
        best(&read, time_read((const uint64_t *)(const void *)w->data, (size_t)bytes));
        best(&linear, time_device(&p, ES_ACT_NONE));
    }
    printf("| %zu x %zu x %zu | %s, %s | %.1f | %.1f (%.0f %%) | %.1f |\n", n, in, out, tables[t].name,
           precision == ES_PRECISION_FAST ? "4 bit" : "8 bit", 1e-9 * bytes / read, 1e-9 * bytes / linear,
           100.0 * read / linear, 1e-9 * (double)(n * in * out) / linear);
    fflush(stdout);
    product_free(&p);
}

/* The tower's attention over one frame of 1024 x 576, heads of 64. */
static void bench_attention(size_t t, es_precision precision, int repeats)
{
    enum { ROWS = 2304, HEADS = 16, DIM = 64 };
    es_error err = {0};
    es_device *d;
    es_tensor *qkv, *y;
    es_cpu_options options = {.threads = 1, .isa_given = true, .isa = tables[t].isa, .precision = precision};
    must(es_cpu_device_create(&d, &options, &err), &err);
    must(es_tensor_create(d, &qkv, ROWS, 3 * HEADS * DIM, &err), &err);
    must(es_tensor_create(d, &y, ROWS, HEADS * DIM, &err), &err);
    fill(es_rows(qkv, 0), (size_t)ROWS * 3 * HEADS * DIM);
    es_op_reshape(d, y, ROWS, HEADS * DIM);
    bool bytes = precision != ES_PRECISION_EXACT && ((es_cpu *)d)->dot.quick_bytes; /* else they are floats, too */
    es_segment whole = {0, ROWS};
    double work = 4.0 * ROWS * ROWS * HEADS * DIM, peak = 1e9, seconds = 1e9;
    for (int i = 0; i < repeats; i++) {
        best(&peak, time_peak(bytes ? tables[t].dot8 : tables[t].fma, 2e9) / 2e9);
        double start = now();
        es_op_attend_segments(d, y, qkv, HEADS, DIM, &whole, 1);
        best(&seconds, (now() - start) / work);
    }
    must(es_device_check(d, &err), &err);
    printf("| attention, %d rows, %d heads of %d | %s, %s | %.0f | %.0f (%.0f %%) |\n", ROWS, HEADS, DIM,
           tables[t].name, bytes ? "8 bit" : "float32", 1e-9 / peak, 1e-9 / seconds, 100.0 * peak / seconds);
    fflush(stdout);
    es_tensor_free(d, qkv);
    es_tensor_free(d, y);
    es_device_free(d);
}

static bool usable(size_t t)
{
    es_dot_kernels k;
    bool found = false;
    for (size_t i = 0; !found && es_dot_table(&k, i); i++)
        found = strcmp(k.name, tables[t].name) == 0;
    return found;
}

static void bench_table(size_t t, bool decode, int repeats)
{
    for (es_precision q = ES_PRECISION_EXACT; q <= ES_PRECISION_FAST; q++) {
        if (decode && q != ES_PRECISION_EXACT) {
            bench_small(t, 1, q, repeats);
            bench_small(t, 8, q, repeats);
        } else if (!decode) {
            bench_large(t, 2304, 1024, 4096, q, repeats);
            bench_large(t, 600, 2048, 6144, q, repeats);
        }
    }
}

/* bench_kernels [REPEATS [attention|large|small [TABLE]]] */
int main(int argc, char **argv)
{
    int repeats = argc > 1 ? atoi(argv[1]) : 5;
    const char *part = argc > 2 ? argv[2] : "", *only = argc > 3 ? argv[3] : "";
    bool use[sizeof tables / sizeof tables[0]];
    const size_t count = sizeof tables / sizeof tables[0];
    for (size_t t = 0; t < count; t++)
        use[t] = usable(t) && (*only == '\0' || strcmp(only, tables[t].name) == 0);
    char words[160];
    es_cpu_describe(words, sizeof words);
    printf("%s\n", words);
    if (*part == '\0' || strcmp(part, "attention") == 0) {
        printf("\n| attention | kernel | peak GOP/s | with all that belongs to it |\n|---|---|---|---|\n");
        for (size_t t = 0; t < count; t++)
            for (es_precision q = ES_PRECISION_EXACT; q <= ES_PRECISION_BALANCED && use[t]; q++)
                bench_attention(t, q, repeats);
    }
    if (*part == '\0' || strcmp(part, "large") == 0) {
        printf("\n| rows x in x out | kernel | peak GOP/s | kernel alone | with quantisation, bias, residual | and "
               "GELU |\n"
               "|---|---|---|---|---|---|\n");
        for (size_t t = 0; t < count; t++)
            if (use[t])
                bench_table(t, false, repeats);
    }
    if (*part == '\0' || strcmp(part, "small") == 0) {
        printf("\n| rows x in x out | kernel | read GB/s | product GB/s | Gweight x row/s |\n|---|---|---|---|---|\n");
        for (size_t t = 0; t < count; t++)
            if (use[t])
                bench_table(t, true, repeats);
    }
    return 0;
}
