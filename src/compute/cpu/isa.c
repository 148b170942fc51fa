/* isa.c - which instruction sets can be used here: the processor has them and the system saves their registers. */
#include "compute/cpu/device.h"

#include <stdio.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static const char *const names[] = {"scalar", "avx2", "avxvnni", "avx512", "neon"};
#define ISA_COUNT (sizeof names / sizeof names[0])

const char *es_isa_name(es_isa isa)
{
    return (size_t)isa < ISA_COUNT ? names[isa] : "unknown";
}

bool es_isa_parse(const char *name, es_isa *isa)
{
    for (size_t i = 0; i < ISA_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *isa = (es_isa)i;
            return true;
        }
    }
    return false;
}

bool es_precision_parse(const char *name, es_precision *precision)
{
    static const char *const all[] = {"exact", "balanced", "fast"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(name, all[i]) == 0) {
            *precision = (es_precision)i;
            return true;
        }
    }
    return false;
}

#if defined(__x86_64__)

/* Bits of CPUID leaves 1 and 7 and of XCR0, from the processor manuals. */
typedef struct features {
    unsigned c1, b7, c7, a71; /* leaf 1 ecx; leaf 7.0 ebx and ecx; leaf 7.1 eax */
    unsigned saved;           /* XCR0, low half: which registers the system saves */
} features;

#define XCR0_YMM 0x06u /* XMM and YMM */
#define XCR0_ZMM 0xe6u /* those, opmask, ZMM */
#define BIT(value, n) (((value) >> (n)) & 1u)

static features read_features(void)
{
    features f = {0};
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        f.c1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        f.b7 = b;
        f.c7 = c;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
            f.a71 = a;
    }
    if (BIT(f.c1, 27)) { /* OSXSAVE: XGETBV may be asked */
        unsigned low, high;
        __asm__ __volatile__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        f.saved = low;
    }
    return f;
}

static bool has_avx2(const features *f)
{
    return (f->saved & XCR0_YMM) == XCR0_YMM && BIT(f->c1, 28) && BIT(f->c1, 12) && BIT(f->c1, 29) && BIT(f->b7, 5);
}

static bool has_avxvnni(const features *f)
{
    return has_avx2(f) && BIT(f->a71, 4);
}

static bool has_avx512(const features *f) /* F, DQ, BW, VL */
{
    return has_avx2(f) && (f->saved & XCR0_ZMM) == XCR0_ZMM && BIT(f->b7, 16) && BIT(f->b7, 17) && BIT(f->b7, 30) &&
           BIT(f->b7, 31);
}

bool es_cpu_has_isa(es_isa isa)
{
    features f = read_features();
    switch (isa) {
    case ES_ISA_SCALAR:
        return true;
    case ES_ISA_AVX2:
        return has_avx2(&f);
    case ES_ISA_AVXVNNI:
        return has_avxvnni(&f);
    case ES_ISA_AVX512:
        return has_avx512(&f);
    case ES_ISA_NEON:
        break;
    }
    return false;
}

es_isa es_cpu_best_isa(void)
{
    es_isa best = ES_ISA_AVX512;
    while (best != ES_ISA_SCALAR && !es_cpu_has_isa(best))
        best--;
    return best;
}

void es_cpu_kernels(es_kernels *k, es_isa isa)
{
    es_kernels_scalar(k);
    if (isa == ES_ISA_AVX2 || isa == ES_ISA_AVXVNNI)
        es_kernels_avx2(k);
    else if (isa == ES_ISA_AVX512)
        es_kernels_avx512(k);
}

bool es_dot_table(es_dot_kernels *k, size_t i)
{
    features f = read_features();
    struct {
        bool usable;
        void (*fill)(es_dot_kernels *k);
    } all[] = {{true, es_dot_scalar},
               {has_avx2(&f), es_dot_avx2},
               {has_avxvnni(&f), es_dot_avxvnni},
               {has_avx512(&f) && BIT(f.c7, 11), es_dot_avx512}};
    for (size_t at = 0; at < sizeof all / sizeof all[0]; at++) {
        if (all[at].usable && i-- == 0) {
            all[at].fill(k);
            return true;
        }
    }
    return false;
}

void es_cpu_dot_kernels(es_dot_kernels *k, es_isa isa)
{
    features f = read_features();
    es_dot_scalar(k);
    if (isa != ES_ISA_SCALAR)
        es_dot_avx2(k);
    if (isa == ES_ISA_AVXVNNI || (isa == ES_ISA_AVX512 && has_avxvnni(&f)))
        es_dot_avxvnni(k);
    if (isa == ES_ISA_AVX512 && BIT(f.c7, 11))
        es_dot_avx512(k);
}

/* The 48 characters of the processor's brand, trimmed. */
static void brand(char text[49])
{
    unsigned words[12] = {0};
    unsigned highest = __get_cpuid_max(0x80000000u, NULL);
    for (unsigned i = 0; i < 3 && highest >= 0x80000004u; i++)
        __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
    memcpy(text, words, 48);
    text[48] = '\0';
    size_t start = strspn(text, " "), length = strlen(text);
    while (length > start && text[length - 1] == ' ')
        length--;
    text[length] = '\0';
    memmove(text, text + start, length - start + 1);
    if (text[0] == '\0')
        memcpy(text, "x86-64", sizeof "x86-64");
}

void es_cpu_describe(char *text, size_t size)
{
    features f = read_features();
    char name[49];
    brand(name);
    bool wide = has_avx512(&f), avx2 = has_avx2(&f);
    snprintf(text, size, "%s:%s%s%s%s%s%s%s", name, avx2 ? " avx2 fma f16c" : "",
             wide ? " avx512f avx512dq avx512bw avx512vl" : "", wide && BIT(f.c7, 11) ? " avx512_vnni" : "",
             has_avxvnni(&f) ? " avx_vnni" : "", wide && BIT(f.a71, 5) ? " avx512_bf16" : "",
             wide && BIT(f.c7, 1) ? " avx512_vbmi" : "", avx2 ? "" : " no vectors beyond the base");
}

#elif defined(__aarch64__)

bool es_cpu_has_isa(es_isa isa)
{
    return isa == ES_ISA_SCALAR || isa == ES_ISA_NEON; /* Advanced SIMD is part of every aarch64 */
}

es_isa es_cpu_best_isa(void)
{
    return ES_ISA_NEON;
}

void es_cpu_kernels(es_kernels *k, es_isa isa)
{
    es_kernels_scalar(k);
    if (isa == ES_ISA_NEON)
        es_kernels_neon(k);
}

/* The dot product instructions, which an aarch64 may lack. */
static bool has_dot(void)
{
#if defined(__linux__)
    return (getauxval(AT_HWCAP) >> 20 & 1u) != 0; /* ASIMDDP */
#elif defined(__APPLE__)
    return true; /* every processor of Apple's */
#else
    return false;
#endif
}

bool es_dot_table(es_dot_kernels *k, size_t i)
{
    if (i > (has_dot() ? 1u : 0u))
        return false;
    es_dot_scalar(k);
    if (i == 1)
        es_dot_neon(k);
    return true;
}

void es_cpu_dot_kernels(es_dot_kernels *k, es_isa isa)
{
    es_dot_scalar(k);
    if (isa == ES_ISA_NEON && has_dot())
        es_dot_neon(k);
}

void es_cpu_describe(char *text, size_t size)
{
    snprintf(text, size, "aarch64: neon%s", has_dot() ? " dotprod" : "");
}

#else

bool es_cpu_has_isa(es_isa isa)
{
    return isa == ES_ISA_SCALAR;
}

es_isa es_cpu_best_isa(void)
{
    return ES_ISA_SCALAR;
}

void es_cpu_kernels(es_kernels *k, es_isa isa)
{
    (void)isa;
    es_kernels_scalar(k);
}

bool es_dot_table(es_dot_kernels *k, size_t i)
{
    es_dot_scalar(k);
    return i == 0;
}

void es_cpu_dot_kernels(es_dot_kernels *k, es_isa isa)
{
    (void)isa;
    es_dot_scalar(k);
}

void es_cpu_describe(char *text, size_t size)
{
    snprintf(text, size, "unknown processor: scalar only");
}

#endif
