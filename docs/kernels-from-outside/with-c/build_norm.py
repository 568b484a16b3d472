"""The C part: one function for each dtype."""

from cffi import FFI

ffi = FFI()
ffi.cdef(
    """
    void sums_f32(const float *x, long size, long run, double *sums);
    void sums_f64(const double *x, long size, long run, double *sums);
    """
)
ffi.set_source(
    "_norm_with_c",
    """
    #define SUMS(NAME, TYPE)                                                       \\
        static void NAME(const TYPE *x, long size, long run, double *sums) {       \\
            for (long start = 0; start < size; start += run) {                     \\
                long stop = start + run < size ? start + run : size;               \\
                double part[8] = {0}, sum = 0;                                     \\
                long i = start;                                                    \\
                for (; i + 8 <= stop; i += 8)                                      \\
                    for (int j = 0; j < 8; j++)                                    \\
                        part[j] += (double)x[i + j] * x[i + j];                    \\
                for (; i < stop; i++) part[0] += (double)x[i] * x[i];              \\
                for (int j = 0; j < 8; j++) sum += part[j];                        \\
                *sums++ = sum;                                                     \\
            }                                                                      \\
        }
    SUMS(sums_f32, float)
    SUMS(sums_f64, double)
    """,
    extra_compile_args=["-O3"],
)
