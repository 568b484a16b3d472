/* The transforms of Winograd's convolution F(m x m, 3x3), as programs on vectors of channels.

   C, as Cython has no vector types. `n` is m + 2,
   the extent of a tile of the image and the number of points; both transforms of an axis are applied
   to the columns first and to the rows of what comes out. m is a constant wherever it is used, so that
   every loop here is unrolled.

   This file includes itself twice, once per dtype, with REAL set: X(name) is name_f32 or name_f64. */

#ifndef FASTSCRATCH_WINOGRAD_H
#define FASTSCRATCH_WINOGRAD_H

#include "tile.h"

/* Channels that are transformed together: one cache line of them, whatever the width of a vector. */
#define SLICE_BYTES 64
#define MOST_POINTS 6

#define REAL float
#define LANES LANES_F32
#define X(name) PASTE(name, _f32)
#include "winograd.h"
#undef REAL
#undef LANES
#undef X

#define REAL double
#define LANES LANES_F64
#define X(name) PASTE(name, _f64)
#include "winograd.h"
#undef REAL
#undef LANES
#undef X

#elif defined(REAL)

#define UNROLL _Pragma("GCC unroll 8")

/* F(2x2): the points 0, 1, -1 and infinity. Integers stay exact: sums are halved, not their terms.

   F(4x4): 0, A, -A, B, -B and infinity, where A and B are near 1 and their powers are exact. The error is
   a quarter of that of the customary 1 and 2, whose fourth powers lie far apart. Two points +-p share
   the work: a polynomial's even part is the same at both, its odd part the opposite. */
#define A ((REAL)0.625)
#define B ((REAL)1.5)
#define A2 (A * A)
#define B2 (B * B)

/* B^T d: what is multiplied, at each point, from n neighbours of the image. The row of a point is the
   product of (x - q) over the other points q; that of infinity, over all of them. */
TILE_INLINE void X(at_points)(const int m, const X(vec) *d, X(vec) *v)
{
    if (m == 2) {
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[1] - d[3];
        return;
    }
    const X(vec) even_a = d[4] - B2 * d[2], odd_a = A * (d[3] - B2 * d[1]);
    const X(vec) even_b = d[4] - A2 * d[2], odd_b = B * (d[3] - A2 * d[1]);
    v[0] = A2 * B2 * d[0] - (A2 + B2) * d[2] + d[4];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = A2 * B2 * d[1] - (A2 + B2) * d[3] + d[5];
}

/* G g: the three weights of an axis as a polynomial's values, over the product of (p - q). */
TILE_INLINE void X(weights_at_points)(const int m, const X(vec) *g, X(vec) *u)
{
    if (m == 2) {
        const X(vec) outer = g[0] + g[2];
        u[0] = g[0];
        u[1] = (REAL)0.5 * (outer + g[1]);
        u[2] = (REAL)0.5 * (outer - g[1]);
        u[3] = g[2];
        return;
    }
    const REAL at_a = 1 / (2 * A2 * (A2 - B2)), at_b = 1 / (2 * B2 * (B2 - A2));
    const X(vec) even_a = g[0] + A2 * g[2], odd_a = A * g[1];
    const X(vec) even_b = g[0] + B2 * g[2], odd_b = B * g[1];
    u[0] = (1 / (A2 * B2)) * g[0];
    u[1] = at_a * (even_a + odd_a);
    u[2] = at_a * (even_a - odd_a);
    u[3] = at_b * (even_b + odd_b);
    u[4] = at_b * (even_b - odd_b);
    u[5] = g[2];
}

/* A^T p: m outputs from the products at the points. */
TILE_INLINE void X(outputs_of_points)(const int m, const X(vec) *p, X(vec) *y)
{
    if (m == 2) {
        y[0] = (p[0] + p[1]) + p[2];
        y[1] = (p[1] - p[2]) - p[3];
        return;
    }
    const X(vec) even_a = p[1] + p[2], odd_a = A * (p[1] - p[2]);
    const X(vec) even_b = p[3] + p[4], odd_b = B * (p[3] - p[4]);
    y[0] = p[0] + even_a + even_b;
    y[1] = odd_a + odd_b;
    y[2] = A2 * even_a + B2 * even_b;
    y[3] = A2 * odd_a + B2 * odd_b + p[5];
}

/* A dy: the way back of outputs_of_points. */
TILE_INLINE void X(outputs_at_points)(const int m, const X(vec) *dy, X(vec) *d)
{
    if (m == 2) {
        d[0] = dy[0];
        d[1] = dy[0] + dy[1];
        d[2] = dy[0] - dy[1];
        d[3] = -dy[1];
        return;
    }
    const X(vec) even_a = dy[0] + A2 * dy[2], odd_a = A * (dy[1] + A2 * dy[3]);
    const X(vec) even_b = dy[0] + B2 * dy[2], odd_b = B * (dy[1] + B2 * dy[3]);
    d[0] = dy[0];
    d[1] = even_a + odd_a;
    d[2] = even_a - odd_a;
    d[3] = even_b + odd_b;
    d[4] = even_b - odd_b;
    d[5] = dy[3];
}

/* G^T s: the way back of weights_at_points. */
TILE_INLINE void X(weights_of_points)(const int m, const X(vec) *s, X(vec) *g)
{
    if (m == 2) {
        const X(vec) sum = (REAL)0.5 * (s[1] + s[2]);
        g[0] = s[0] + sum;
        g[1] = (REAL)0.5 * (s[1] - s[2]);
        g[2] = sum + s[3];
        return;
    }
    const REAL at_a = 1 / (2 * A2 * (A2 - B2)), at_b = 1 / (2 * B2 * (B2 - A2));
    const X(vec) even_a = at_a * (s[1] + s[2]), odd_a = at_a * A * (s[1] - s[2]);
    const X(vec) even_b = at_b * (s[3] + s[4]), odd_b = at_b * B * (s[3] - s[4]);
    g[0] = (1 / (A2 * B2)) * s[0] + even_a + even_b;
    g[1] = odd_a + odd_b;
    g[2] = A2 * even_a + B2 * even_b + s[5];
}

#undef A
#undef B
#undef A2
#undef B2

/* v[point][tile] of a row of `count` tiles, for one slice of channels, from an image [row][col][slice].

   Neighbouring tiles share two columns: their first transform is done once. */
TILE_INLINE void X(tiles_at_points_body)(const int m, const REAL *image, ptrdiff_t image_row, REAL *v,
                                         ptrdiff_t v_point, ptrdiff_t v_tile, ptrdiff_t count)
{
    const int n = m + 2, slice = SLICE_BYTES / sizeof(REAL);
    for (int part = 0; part < slice; part += LANES) {
        const REAL *source = image + part;
        REAL *target = v + part;
        X(vec) column[MOST_POINTS][MOST_POINTS], d[MOST_POINTS], points[MOST_POINTS];
        UNROLL
        for (int j = 0; j < 2; j++) {
            UNROLL
            for (int i = 0; i < n; i++)
                d[i] = X(load)(source + i * image_row + j * slice);
            X(at_points)(m, d, column[j]);
        }
        for (ptrdiff_t t = 0; t < count; t++) {
            UNROLL
            for (int j = 2; j < n; j++) {
                UNROLL
                for (int i = 0; i < n; i++)
                    d[i] = X(load)(source + i * image_row + j * slice);
                X(at_points)(m, d, column[j]);
            }
            UNROLL
            for (int i = 0; i < n; i++) {
                UNROLL
                for (int j = 0; j < n; j++)
                    d[j] = column[j][i];
                X(at_points)(m, d, points);
                UNROLL
                for (int j = 0; j < n; j++)
                    X(store)(target + (i * n + j) * v_point, points[j]);
            }
            UNROLL
            for (int j = 0; j < 2; j++)
                UNROLL
                for (int i = 0; i < n; i++)
                    column[j][i] = column[j + m][i];
            source += m * slice;
            target += v_tile;
        }
    }
}

TILE_FUNCTION void X(tiles_at_points)(int m, const REAL *image, ptrdiff_t image_row, REAL *v,
                                      ptrdiff_t v_point, ptrdiff_t v_tile, ptrdiff_t count)
{
    if (m == 4)
        X(tiles_at_points_body)(4, image, image_row, v, v_point, v_tile, count);
    else
        X(tiles_at_points_body)(2, image, image_row, v, v_point, v_tile, count);
}

/* d[point][tile] of a row of `count` tiles of m x m gradients, likewise, and behind the last point their
   sum, which is what the bias gets. */
TILE_INLINE void X(gradients_at_points_body)(const int m, const REAL *image, ptrdiff_t image_row, REAL *d,
                                             ptrdiff_t d_point, ptrdiff_t d_tile, ptrdiff_t count)
{
    const int n = m + 2, slice = SLICE_BYTES / sizeof(REAL);
    for (ptrdiff_t t = 0; t < count; t++)
        for (int part = 0; part < slice; part += LANES) {
            const REAL *source = image + t * m * slice + part;
            REAL *target = d + t * d_tile + part;
            X(vec) column[MOST_POINTS][MOST_POINTS], dy[MOST_POINTS], points[MOST_POINTS];
            UNROLL
            for (int j = 0; j < m; j++) {
                UNROLL
                for (int i = 0; i < m; i++)
                    dy[i] = X(load)(source + i * image_row + j * slice);
                X(outputs_at_points)(m, dy, column[j]);
            }
            UNROLL
            for (int i = 0; i < n; i++) {
                UNROLL
                for (int j = 0; j < m; j++)
                    dy[j] = column[j][i];
                X(outputs_at_points)(m, dy, points);
                UNROLL
                for (int j = 0; j < n; j++)
                    X(store)(target + (i * n + j) * d_point, points[j]);
            }
            X(vec) sum = {0};
            UNROLL
            for (int i = 0; i < m; i++)
                UNROLL
                for (int j = 0; j < m; j++)
                    sum += X(load)(source + i * image_row + j * slice);
            X(store)(target + n * n * d_point, sum);
        }
}

TILE_FUNCTION void X(gradients_at_points)(int m, const REAL *image, ptrdiff_t image_row, REAL *d,
                                          ptrdiff_t d_point, ptrdiff_t d_tile, ptrdiff_t count)
{
    if (m == 4)
        X(gradients_at_points_body)(4, image, image_row, d, d_point, d_tile, count);
    else
        X(gradients_at_points_body)(2, image, image_row, d, d_point, d_tile, count);
}

/* out[pixel][panel] of a row of `count` tiles, from products [point][tile], plus bias. Only `rows` rows
   and `cols` columns are inside of the output: the last tile may overhang. */
TILE_INLINE void X(tiles_of_points_body)(const int m, const REAL *products, ptrdiff_t point,
                                         ptrdiff_t tile_step, const REAL *bias, REAL *out,
                                         ptrdiff_t out_row, ptrdiff_t count, ptrdiff_t rows, ptrdiff_t cols)
{
    const int n = m + 2, panel = 2 * LANES;
    for (ptrdiff_t t = 0; t < count; t++) {
        const ptrdiff_t width = cols - t * m;
        for (int part = 0; part < panel; part += LANES) {
            const REAL *source = products + t * tile_step + part;
            REAL *target = out + t * m * panel + part;
            const X(vec) start = X(load)(bias + part);
            X(vec) column[MOST_POINTS][MOST_POINTS], p[MOST_POINTS], y[MOST_POINTS];
            UNROLL
            for (int j = 0; j < n; j++) {
                UNROLL
                for (int i = 0; i < n; i++)
                    p[i] = X(load)(source + (i * n + j) * point);
                X(outputs_of_points)(m, p, column[j]);
            }
            UNROLL
            for (int i = 0; i < m; i++) {
                UNROLL
                for (int j = 0; j < n; j++)
                    p[j] = column[j][i];
                X(outputs_of_points)(m, p, y);
                UNROLL
                for (int j = 0; j < m; j++)
                    if (i < rows && j < width)
                        X(store)(target + i * out_row + j * panel, y[j] + start);
            }
        }
    }
}

TILE_FUNCTION void X(tiles_of_points)(int m, const REAL *products, ptrdiff_t point, ptrdiff_t tile_step,
                                      const REAL *bias, REAL *out, ptrdiff_t out_row, ptrdiff_t count,
                                      ptrdiff_t rows, ptrdiff_t cols)
{
    if (m == 4)
        X(tiles_of_points_body)(4, products, point, tile_step, bias, out, out_row, count, rows, cols);
    else
        X(tiles_of_points_body)(2, products, point, tile_step, bias, out, out_row, count, rows, cols);
}

/* u[point] of a panel's 3x3 weights [tap][panel]. */
TILE_INLINE void X(kernel_at_points_body)(const int m, const REAL *taps, REAL *u, ptrdiff_t point)
{
    const int n = m + 2, panel = 2 * LANES;
    for (int part = 0; part < panel; part += LANES) {
        X(vec) column[3][MOST_POINTS], g[3], points[MOST_POINTS];
        UNROLL
        for (int j = 0; j < 3; j++) {
            UNROLL
            for (int i = 0; i < 3; i++)
                g[i] = X(load)(taps + (i * 3 + j) * panel + part);
            X(weights_at_points)(m, g, column[j]);
        }
        UNROLL
        for (int i = 0; i < n; i++) {
            UNROLL
            for (int j = 0; j < 3; j++)
                g[j] = column[j][i];
            X(weights_at_points)(m, g, points);
            UNROLL
            for (int j = 0; j < n; j++)
                X(store)(u + (i * n + j) * point + part, points[j]);
        }
    }
}

TILE_FUNCTION void X(kernel_at_points)(int m, const REAL *taps, REAL *u, ptrdiff_t point)
{
    if (m == 4)
        X(kernel_at_points_body)(4, taps, u, point);
    else
        X(kernel_at_points_body)(2, taps, u, point);
}

/* taps[tap][panel] of the sums at the points: the way back of kernel_at_points. */
TILE_INLINE void X(kernel_of_points_body)(const int m, const REAL *sums, ptrdiff_t point, REAL *taps)
{
    const int n = m + 2, panel = 2 * LANES;
    for (int part = 0; part < panel; part += LANES) {
        X(vec) column[MOST_POINTS][3], s[MOST_POINTS], g[3];
        UNROLL
        for (int j = 0; j < n; j++) {
            UNROLL
            for (int i = 0; i < n; i++)
                s[i] = X(load)(sums + (i * n + j) * point + part);
            X(weights_of_points)(m, s, column[j]);
        }
        UNROLL
        for (int i = 0; i < 3; i++) {
            UNROLL
            for (int j = 0; j < n; j++)
                s[j] = column[j][i];
            X(weights_of_points)(m, s, g);
            UNROLL
            for (int j = 0; j < 3; j++)
                X(store)(taps + (i * 3 + j) * panel + part, g[j]);
        }
    }
}

TILE_FUNCTION void X(kernel_of_points)(int m, const REAL *sums, ptrdiff_t point, REAL *taps)
{
    if (m == 4)
        X(kernel_of_points_body)(4, sums, point, taps);
    else
        X(kernel_of_points_body)(2, sums, point, taps);
}

#undef UNROLL

#endif
