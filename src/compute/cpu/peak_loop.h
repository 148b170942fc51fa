/* peak_loop.h - twelve independent chains of one step, OPS operations each. They are named, not an array, so that they
 * stay in registers; the empty asm keeps the compiler from seeing that all twelve compute the same, or share a part. */
#define PEAK_STEP(STEP, REGISTER, sum)                                                                                 \
    __asm__ volatile("" : "+" REGISTER(sum), "+" REGISTER(one));                                                       \
    sum = STEP(sum, one);
#define PEAK_ALL(STEP, REGISTER)                                                                                       \
    PEAK_STEP(STEP, REGISTER, a)                                                                                       \
    PEAK_STEP(STEP, REGISTER, b)                                                                                       \
    PEAK_STEP(STEP, REGISTER, c)                                                                                       \
    PEAK_STEP(STEP, REGISTER, d)                                                                                       \
    PEAK_STEP(STEP, REGISTER, e)                                                                                       \
    PEAK_STEP(STEP, REGISTER, f)                                                                                       \
    PEAK_STEP(STEP, REGISTER, g)                                                                                       \
    PEAK_STEP(STEP, REGISTER, h)                                                                                       \
    PEAK_STEP(STEP, REGISTER, i)                                                                                       \
    PEAK_STEP(STEP, REGISTER, j)                                                                                       \
    PEAK_STEP(STEP, REGISTER, k)                                                                                       \
    PEAK_STEP(STEP, REGISTER, l)
#define PEAK(NAME, VECTOR, START, REGISTER, OPS, STEP)                                                                 \
    double NAME(double n)                                                                                              \
    {                                                                                                                  \
        VECTOR one = START, a = one, b = one, c = one, d = one, e = one, f = one;                                      \
        VECTOR g = one, h = one, i = one, j = one, k = one, l = one;                                                   \
        long rounds = (long)(n / (12.0 * (OPS))) + 1;                                                                  \
        for (long r = 0; r < rounds; r++) {                                                                            \
            PEAK_ALL(STEP, REGISTER)                                                                                   \
        }                                                                                                              \
        __asm__ volatile("" : : REGISTER(a), REGISTER(b), REGISTER(c), REGISTER(d), REGISTER(e), REGISTER(f));         \
        __asm__ volatile("" : : REGISTER(g), REGISTER(h), REGISTER(i), REGISTER(j), REGISTER(k), REGISTER(l));         \
        return 12.0 * (OPS) * (double)rounds;                                                                          \
    }
