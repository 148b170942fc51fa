/* avx2_only.c - a library to preload: the program then finds a processor with AVX2 and FMA, and nothing wider or newer.
 *
 *     gcc -O2 -fPIC -shared avx2_only.c -o avx2_only.so;  LD_PRELOAD=./avx2_only.so PROGRAM
 *
 * Linux on a processor that can fault on CPUID. Each such instruction raises a signal then; it is executed here and
 * what the answers say of AVX-512, AVX-VNNI, AMX and the like is taken out. It holds whatever asks the processor itself
 * (oneDNN, Xbyak, OpenVINO), not what was compiled for another one.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static struct sigaction before;

static void faulting(long on)
{
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on) != 0) {
        static const char words[] = "avx2_only: this processor or system cannot fault on CPUID\n";
        (void)!write(2, words, sizeof words - 1);
        _exit(1);
    }
}

static void hide(uint32_t leaf, uint32_t part, uint32_t r[4])
{
    if (leaf == 7 && part == 0) {
        /* AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL */
        r[1] &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
        /* AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
        r[2] &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        /* AVX-512 4VNNIW, 4FMAPS, VP2INTERSECT; AMX BF16, FP16 of AVX-512, AMX TILE, AMX INT8 */
        r[3] &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
    } else if (leaf == 7) {
        r[0] = r[1] = r[2] = r[3] = 0; /* AVX-VNNI, AVX-512 BF16, AVX10 and later */
    } else if (leaf == 0xd && part == 0) {
        r[0] &= 7u; /* states that the system saves: x87, SSE, AVX */
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)g[REG_RIP];
    if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
        sigaction(number, &before, NULL); /* no CPUID: fault again, as without this library */
        return;
    }
    uint32_t leaf = (uint32_t)g[REG_RAX], part = (uint32_t)g[REG_RCX], r[4];
    faulting(0);
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(part));
    faulting(1);
    hide(leaf, part, r);
    g[REG_RAX] = r[0];
    g[REG_RBX] = r[1];
    g[REG_RCX] = r[2];
    g[REG_RDX] = r[3];
    g[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction own = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &own, &before);
    faulting(1);
}
