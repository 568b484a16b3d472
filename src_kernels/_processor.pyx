"""Asks the processor which of the compiled levels it, and the operating system, can run."""

cdef extern from *:
    """
    #if defined(__x86_64__)
    /* The built-in looks at XCR0 too: a level counts only if the system saves its registers. */
    static int has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    static int has_avx512(void) {
        __builtin_cpu_init();
        return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    }
    #else
    static int has_avx2(void) { return 0; }
    static int has_avx512(void) { return 0; }
    #endif
    """
    bint has_avx2() nogil
    bint has_avx512() nogil


def supported_levels():
    """The levels that can run here, lowest first."""
    levels = ["base"]
    if has_avx2():
        levels.append("avx2")
    if has_avx512():
        levels.append("avx512")
    return tuple(levels)
