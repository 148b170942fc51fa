/* peak_neon.c - peaks of NEON: float32 and sdot. */
#include "compute/cpu/peak.h"

#include <arm_neon.h>

#include "compute/cpu/peak_loop.h"

#define FMA(c, one) vfmaq_f32(c, one, one)
#define DOT(c, one) vdotq_s32(c, vreinterpretq_s8_s32(one), vreinterpretq_s8_s32(one))

PEAK(es_peak_fma_neon, float32x4_t, vdupq_n_f32(0.5f), "w", 8, FMA)
PEAK(es_peak_dot_neon, int32x4_t, vdupq_n_s32(0x01010101), "w", 32, DOT)
