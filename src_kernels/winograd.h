/* The transforms of Winograd's convolution F(m x m, taps x taps), as programs on vectors of channels.

   C, as Cython has no vector types. An algorithm is known by its number of points: F2 is F(2x2, 3x3) and
   F(3x3, 2x2), F4 is F(4x4, 3x3), and GAUSS is F(4x4, 3x3) and F(3x3, 4x4). Each axis has
   n = m + taps - 1 values, the extent of a tile of the image; to the points, both axes are transformed, and
   what comes out is spread to the points. Windows of a single row or column have lines for tiles: F2_LINE and
   GAUSS_LINE transform one axis, which is called that of the rows here. Both numbers are constants wherever
   they are used, so that every loop here is unrolled.

   This file includes itself twice, once per dtype, with REAL set: X(name) is name_f32 or name_f64. */

#ifndef FASTSCRATCH_WINOGRAD_H
#define FASTSCRATCH_WINOGRAD_H

#include "tile.h"

/* Channels that are transformed together: one cache line of them, whatever the width of a vector. */
#define SLICE_BYTES 64

#define F2 16
#define F4 36
#define GAUSS 46
#define F2_LINE 4
#define GAUSS_LINE 7
#define IS_LINE(points) ((points) < F2)
#define IS_GAUSS(points) ((points) == GAUSS || (points) == GAUSS_LINE)
#define VALUES(points) ((points) == F2 || (points) == F2_LINE ? 4 : 6)
#define POINTS_OF_LINE(points) (IS_GAUSS(points) ? GAUSS_LINE : VALUES(points))
#define OUTPUTS_OF(points, taps) (VALUES(points) - (taps) + 1)
#define MOST_VALUES 6
#define MOST_TAPS 4

/* Calls a function's body for an algorithm. */
#define BY_ALGORITHM(body, ...)             \
    if (points == F2 && taps == 2)          \
        body(F2, 2, __VA_ARGS__);           \
    else if (points == F2)                  \
        body(F2, 3, __VA_ARGS__);           \
    else if (points == F4)                  \
        body(F4, 3, __VA_ARGS__);           \
    else if (points == GAUSS && taps == 3)  \
        body(GAUSS, 3, __VA_ARGS__);        \
    else if (points == GAUSS)               \
        body(GAUSS, 4, __VA_ARGS__);        \
    else if (points == F2_LINE && taps == 2)\
        body(F2_LINE, 2, __VA_ARGS__);      \
    else if (points == F2_LINE)             \
        body(F2_LINE, 3, __VA_ARGS__);      \
    else if (taps == 3)                     \
        body(GAUSS_LINE, 3, __VA_ARGS__);   \
    else                                    \
        body(GAUSS_LINE, 4, __VA_ARGS__)

/* Which of the three factors of a sum of products is transformed. */
enum { IMAGE, WEIGHTS, OUTPUTS };

/* Where GAUSS has the complex value of an axis, and which four are real. */
#define RE 3
#define IM 4
#define REAL_VALUE(k) ((k) < 3 ? (k) : 5)

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

/* F2: the points 0, 1, -1 and infinity. Integers stay exact: sums are halved, not their terms.

   F4, F(4x4, 3x3): 0, A, -A, B, -B and infinity, where A and B are near 1 and their powers are exact.
   The error is a quarter of that of the customary 1 and 2, whose fourth powers lie far apart. Two points +-p
   share the work: a polynomial's even part is the same at both, its odd part the opposite.

   GAUSS: 0, 1, -1, infinity and the pair i and -i, as Meng and Brothers have it ("Efficient Winograd
   convolution via integer arithmetic", 2019). Values at i and -i are conjugate, so that one complex value
   stands for both; a product of two of them takes three multiplications. There are no factors but halves and
   quarters of weights: integers stay exact, and the error is about that of F2. Six values of an axis are a
   product of polynomials of any two lengths that come to seven; the image's part is the same for all. */
#define A ((REAL)0.625)
#define B ((REAL)1.5)
#define A2 (A * A)
#define B2 (B * B)

/* B^T d: an axis' values of n neighbours of the image. The row of a point is the product of (x - q) over the
   other points q; that of infinity, over all of them. */
TILE_INLINE void X(image_values)(const int points, const X(vec) *d, X(vec) *v)
{
    if (VALUES(points) == 4) {
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[1] - d[3];
        return;
    }
    if (IS_GAUSS(points)) {
        const X(vec) even = d[2] + d[4], odd = d[1] + d[3];
        v[0] = d[0] - d[4];
        v[1] = even + odd;
        v[2] = even - odd;
        v[RE] = d[4] - d[2];
        v[IM] = d[1] - d[3];
        v[5] = d[5] - d[1];
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

/* The sums of the even and of the odd coefficients, which are a polynomial's parts at 1 and -1, or of the
   coefficients with signs that alternate among them, its parts at i and -i. */
TILE_INLINE X(vec) X(sum_of_second)(const int first, const int count, const int alternating, const X(vec) *g)
{
    X(vec) sum = g[first];
    UNROLL
    for (int k = first + 2; k < count; k += 2)
        sum = alternating && (k & 2) ? sum - g[k] : sum + g[k];
    return sum;
}

/* G g: the weights of an axis as a polynomial's values, over the product of (p - q). */
TILE_INLINE void X(weights_values)(const int points, const int taps, const X(vec) *g, X(vec) *u)
{
    if (VALUES(points) == 4) {
        const X(vec) even = X(sum_of_second)(0, taps, 0, g), odd = X(sum_of_second)(1, taps, 0, g);
        u[0] = g[0];
        u[1] = (REAL)0.5 * (even + odd);
        u[2] = (REAL)0.5 * (even - odd);
        u[3] = g[taps - 1];
        return;
    }
    if (IS_GAUSS(points)) {
        const X(vec) even = X(sum_of_second)(0, taps, 0, g), odd = X(sum_of_second)(1, taps, 0, g);
        u[0] = g[0];
        u[1] = (REAL)0.25 * (even + odd);
        u[2] = (REAL)0.25 * (even - odd);
        u[RE] = (REAL)0.5 * X(sum_of_second)(0, taps, 1, g);
        u[IM] = (REAL)0.5 * X(sum_of_second)(1, taps, 1, g);
        u[5] = g[taps - 1];
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

/* The way back of `sum_of_second`: coefficients of a polynomial, the first and the last of which have a part
   of their own. */
TILE_INLINE void X(coefficients)(const int count, const X(vec) first, const X(vec) even, const X(vec) odd,
                                 const X(vec) re, const X(vec) im, const X(vec) last, X(vec) *y)
{
    UNROLL
    for (int k = 0; k < count; k++) {
        const X(vec) real = k & 1 ? odd : even, other = k & 1 ? im : re;
        y[k] = k & 2 ? real - other : real + other;
    }
    y[0] = first + y[0];
    y[count - 1] = y[count - 1] + last;
}

/* A^T p: m outputs from an axis' values of the products. */
TILE_INLINE void X(outputs_of_values)(const int points, const int m, const X(vec) *p, X(vec) *y)
{
    const X(vec) even = p[1] + p[2], odd = p[1] - p[2];
    if (VALUES(points) == 4) {
        UNROLL
        for (int k = 0; k < m; k++)
            y[k] = k & 1 ? odd : even;
        y[0] = p[0] + y[0];
        y[m - 1] = y[m - 1] - p[3];
        return;
    }
    if (IS_GAUSS(points)) {
        X(coefficients)(m, p[0], even, odd, p[RE], p[IM], p[5], y);
        return;
    }
    const X(vec) odd_a = A * odd, even_b = p[3] + p[4], odd_b = B * (p[3] - p[4]);
    y[0] = p[0] + even + even_b;
    y[1] = odd_a + odd_b;
    y[2] = A2 * even + B2 * even_b;
    y[3] = A2 * odd_a + B2 * odd_b + p[5];
}

/* A dy: the way back of outputs_of_values. */
TILE_INLINE void X(outputs_values)(const int points, const int m, const X(vec) *dy, X(vec) *d)
{
    d[0] = dy[0];
    if (points != F4) {
        const X(vec) even = X(sum_of_second)(0, m, 0, dy), odd = X(sum_of_second)(1, m, 0, dy);
        d[1] = even + odd;
        d[2] = even - odd;
    }
    if (VALUES(points) == 4) {
        d[3] = -dy[m - 1];
        return;
    }
    d[5] = dy[m - 1];
    if (IS_GAUSS(points)) {
        d[RE] = X(sum_of_second)(0, m, 1, dy);
        d[IM] = X(sum_of_second)(1, m, 1, dy);
        return;
    }
    const X(vec) even_a = dy[0] + A2 * dy[2], odd_a = A * (dy[1] + A2 * dy[3]);
    const X(vec) even_b = dy[0] + B2 * dy[2], odd_b = B * (dy[1] + B2 * dy[3]);
    d[1] = even_a + odd_a;
    d[2] = even_a - odd_a;
    d[3] = even_b + odd_b;
    d[4] = even_b - odd_b;
}

/* G^T s: the way back of weights_values. */
TILE_INLINE void X(weights_of_values)(const int points, const int taps, const X(vec) *s, X(vec) *g)
{
    if (VALUES(points) == 4) {
        const X(vec) even = (REAL)0.5 * (s[1] + s[2]), odd = (REAL)0.5 * (s[1] - s[2]);
        UNROLL
        for (int k = 0; k < taps; k++)
            g[k] = k & 1 ? odd : even;
        g[0] = s[0] + g[0];
        g[taps - 1] = g[taps - 1] + s[3];
        return;
    }
    if (IS_GAUSS(points)) {
        X(coefficients)(taps, s[0], (REAL)0.25 * (s[1] + s[2]), (REAL)0.25 * (s[1] - s[2]),
                        (REAL)0.5 * s[RE], (REAL)0.5 * s[IM], s[5], g);
        return;
    }
    const REAL at_a = 1 / (2 * A2 * (A2 - B2)), at_b = 1 / (2 * B2 * (B2 - A2));
    const X(vec) even_a = at_a * (s[1] + s[2]), odd_a = at_a * A * (s[1] - s[2]);
    const X(vec) even_b = at_b * (s[3] + s[4]), odd_b = at_b * B * (s[3] - s[4]);
    g[0] = (1 / (A2 * B2)) * s[0] + even_a + even_b;
    g[1] = odd_a + odd_b;
    g[2] = A2 * even_a + B2 * even_b + s[5];
}

TILE_INLINE void X(values)(const int points, const int taps, const int factor, const X(vec) *from, X(vec) *to)
{
    if (factor == IMAGE)
        X(image_values)(points, from, to);
    else if (factor == WEIGHTS)
        X(weights_values)(points, taps, from, to);
    else
        X(outputs_values)(points, OUTPUTS_OF(points, taps), from, to);
}

TILE_INLINE void X(of_values)(const int points, const int taps, const int factor, const X(vec) *from,
                              X(vec) *to)
{
    if (factor == WEIGHTS)
        X(weights_of_values)(points, taps, from, to);
    else
        X(outputs_of_values)(points, OUTPUTS_OF(points, taps), from, to);
}

/* Three points of a complex value: of an image z and weights w, z times the conjugate of w is
   (p0 + p1) + (p0 - p2)i with p0 = (re z + im z) re w, p1 = im z (im w - re w), p2 = re z (re w + im w). */
TILE_INLINE void X(spread)(const int factor, const X(vec) re, const X(vec) im, REAL *target, ptrdiff_t point)
{
    X(store)(target, factor == WEIGHTS ? re : re + im);
    X(store)(target + point, factor == IMAGE ? im : factor == WEIGHTS ? im - re : re);
    X(store)(target + 2 * point, factor == IMAGE ? re : factor == WEIGHTS ? re + im : -im);
}

/* The way back of `spread`, for weights and outputs. */
TILE_INLINE void X(gather)(const int factor, const REAL *source, ptrdiff_t point, X(vec) *re, X(vec) *im)
{
    const X(vec) p0 = X(load)(source), p1 = X(load)(source + point), p2 = X(load)(source + 2 * point);
    *re = factor == WEIGHTS ? (p0 - p1) + p2 : p0 + p1;
    *im = factor == WEIGHTS ? p1 + p2 : p0 - p2;
}

/* The values of an axis as points, a complex one as three. */
TILE_INLINE void X(store_line)(const int points, const int factor, const X(vec) *v, REAL *target,
                               ptrdiff_t point)
{
    const int real = IS_GAUSS(points) ? 4 : VALUES(points);
    UNROLL
    for (int k = 0; k < real; k++)
        X(store)(target + k * point, v[IS_GAUSS(points) ? REAL_VALUE(k) : k]);
    if (IS_GAUSS(points))
        X(spread)(factor, v[RE], v[IM], target + 4 * point, point);
}

/* The way back, for weights and outputs. */
TILE_INLINE void X(load_line)(const int points, const int factor, const REAL *source, ptrdiff_t point,
                              X(vec) *v)
{
    const int real = IS_GAUSS(points) ? 4 : VALUES(points);
    UNROLL
    for (int k = 0; k < real; k++)
        v[IS_GAUSS(points) ? REAL_VALUE(k) : k] = X(load)(source + k * point);
    if (IS_GAUSS(points))
        X(gather)(factor, source + 4 * point, point, &v[RE], &v[IM]);
}

/* The second axis, if there is one, from the first's values of some columns, and to the points.

   Where an axis has a complex value, a real one of the other axis leaves it as it is. Two complex ones have
   four parts, with a root of -1 for each axis. Where both roots are the same, and where one is the
   negative of the other, that is a complex value again: these two tell as much as the four parts. */
TILE_INLINE void X(store_points)(const int points, const int taps, const int factor,
                                 X(vec) (*column)[MOST_VALUES], const int columns, REAL *target,
                                 ptrdiff_t point)
{
    const int n = VALUES(points);
    X(vec) line[MOST_VALUES], row[MOST_VALUES][MOST_VALUES];
    if (IS_LINE(points)) {
        X(store_line)(points, factor, column[0], target, point);
        return;
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int j = 0; j < columns; j++)
            line[j] = column[j][i];
        X(values)(points, taps, factor, line, row[i]);
        if (points == GAUSS && (i == RE || i == IM))
            continue;
        X(store_line)(points, factor, row[i], target, point);
        target += POINTS_OF_LINE(points) * point;
        KEEP_WALKING(target);
    }
    if (points != GAUSS)
        return;
    UNROLL
    for (int k = 0; k < 4; k++) {
        X(spread)(factor, row[RE][REAL_VALUE(k)], row[IM][REAL_VALUE(k)], target, point);
        target += 3 * point;
        KEEP_WALKING(target);
    }
    const REAL scale = factor == WEIGHTS ? (REAL)0.5 : (REAL)1;
    X(spread)(factor, scale * (row[RE][RE] - row[IM][IM]), scale * (row[IM][RE] + row[RE][IM]),
              target, point);
    X(spread)(factor, scale * (row[RE][RE] + row[IM][IM]), scale * (row[IM][RE] - row[RE][IM]),
              target + 3 * point, point);
}

/* The way back: outputs, or weights, as [column][row]. */
TILE_INLINE void X(load_points)(const int points, const int taps, const int factor, const REAL *source,
                                ptrdiff_t point, X(vec) (*result)[MOST_VALUES])
{
    const int n = VALUES(points), extent = factor == WEIGHTS ? taps : OUTPUTS_OF(points, taps);
    X(vec) row[MOST_VALUES][MOST_VALUES], line[MOST_VALUES], column[MOST_VALUES][MOST_VALUES];
    if (IS_LINE(points)) {
        X(load_line)(points, factor, source, point, line);
        X(of_values)(points, taps, factor, line, result[0]);
        return;
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        if (points == GAUSS && (i == RE || i == IM))
            continue;
        X(load_line)(points, factor, source, point, row[i]);
        source += POINTS_OF_LINE(points) * point;
        KEEP_WALKING(source);
        X(of_values)(points, taps, factor, row[i], column[i]);
    }
    if (points == GAUSS) {
        UNROLL
        for (int k = 0; k < 4; k++) {
            X(gather)(factor, source, point, &row[RE][REAL_VALUE(k)], &row[IM][REAL_VALUE(k)]);
            source += 3 * point;
            KEEP_WALKING(source);
        }
        const REAL scale = factor == WEIGHTS ? (REAL)0.5 : (REAL)1;
        X(vec) same_re, same_im, other_re, other_im;
        X(gather)(factor, source, point, &same_re, &same_im);
        X(gather)(factor, source + 3 * point, point, &other_re, &other_im);
        row[RE][RE] = scale * (same_re + other_re);
        row[RE][IM] = scale * (same_im - other_im);
        row[IM][RE] = scale * (same_im + other_im);
        row[IM][IM] = scale * (other_re - same_re);
        X(of_values)(points, taps, factor, row[RE], column[RE]);
        X(of_values)(points, taps, factor, row[IM], column[IM]);
    }
    UNROLL
    for (int j = 0; j < extent; j++) {
        UNROLL
        for (int i = 0; i < n; i++)
            line[i] = column[i][j];
        X(of_values)(points, taps, factor, line, result[j]);
    }
}

#undef A
#undef B
#undef A2
#undef B2

/* v[point][tile] of a row of `count` tiles, for one slice of channels, from an image [row][col][slice]. Its
   steps are those between the rows and columns that a window sees, which may be dilated, and from a tile to
   the next.

   Neighbouring tiles share columns, as many as overlap: their first transform is done once. */
TILE_INLINE void X(tiles_at_points_body)(const int points, const int taps, const REAL *image,
                                         ptrdiff_t image_row, ptrdiff_t image_col, ptrdiff_t next, REAL *v,
                                         ptrdiff_t v_point, ptrdiff_t v_tile, ptrdiff_t count)
{
    const int n = VALUES(points), m = OUTPUTS_OF(points, taps), slice = SLICE_BYTES / sizeof(REAL);
    const int columns = IS_LINE(points) ? 1 : n, shared = IS_LINE(points) ? 0 : taps - 1;
    for (int part = 0; part < slice; part += LANES) {
        const REAL *source = image + part;
        REAL *target = v + part;
        X(vec) column[MOST_VALUES][MOST_VALUES], d[MOST_VALUES];
        UNROLL
        for (int j = 0; j < shared; j++) {
            UNROLL
            for (int i = 0; i < n; i++)
                d[i] = X(load)(source + i * image_row + j * image_col);
            X(image_values)(points, d, column[j]);
        }
        for (ptrdiff_t t = 0; t < count; t++) {
            UNROLL
            for (int j = shared; j < columns; j++) {
                UNROLL
                for (int i = 0; i < n; i++)
                    d[i] = X(load)(source + i * image_row + j * image_col);
                X(image_values)(points, d, column[j]);
            }
            X(store_points)(points, taps, IMAGE, column, columns, target, v_point);
            UNROLL
            for (int j = 0; j < shared; j++)
                UNROLL
                for (int i = 0; i < n; i++)
                    column[j][i] = column[j + m][i];
            source += next;
            target += v_tile;
        }
    }
}

TILE_FUNCTION void X(tiles_at_points)(int points, int taps, const REAL *image, ptrdiff_t image_row,
                                      ptrdiff_t image_col, ptrdiff_t next, REAL *v, ptrdiff_t v_point,
                                      ptrdiff_t v_tile, ptrdiff_t count)
{
    BY_ALGORITHM(X(tiles_at_points_body), image, image_row, image_col, next, v, v_point, v_tile, count);
}

/* d[point][tile] of a row of `count` tiles of gradients, likewise, and behind the last point their sum, which
   is what the bias gets. */
TILE_INLINE void X(gradients_at_points_body)(const int points, const int taps, const REAL *image,
                                             ptrdiff_t image_row, ptrdiff_t image_col, ptrdiff_t next, REAL *d,
                                             ptrdiff_t d_point, ptrdiff_t d_tile, ptrdiff_t count)
{
    const int m = OUTPUTS_OF(points, taps), slice = SLICE_BYTES / sizeof(REAL);
    const int columns = IS_LINE(points) ? 1 : m;
    for (ptrdiff_t t = 0; t < count; t++)
        for (int part = 0; part < slice; part += LANES) {
            const REAL *source = image + t * next + part;
            REAL *target = d + t * d_tile + part;
            X(vec) column[MOST_VALUES][MOST_VALUES], dy[MOST_VALUES], sum = {0};
            UNROLL
            for (int j = 0; j < columns; j++) {
                UNROLL
                for (int i = 0; i < m; i++)
                    dy[i] = X(load)(source + i * image_row + j * image_col);
                X(outputs_values)(points, m, dy, column[j]);
            }
            X(store_points)(points, taps, OUTPUTS, column, columns, target, d_point);
            UNROLL
            for (int i = 0; i < m; i++)
                UNROLL
                for (int j = 0; j < columns; j++)
                    sum += X(load)(source + i * image_row + j * image_col);
            X(store)(target + points * d_point, sum);
        }
}

TILE_FUNCTION void X(gradients_at_points)(int points, int taps, const REAL *image, ptrdiff_t image_row,
                                          ptrdiff_t image_col, ptrdiff_t next, REAL *d, ptrdiff_t d_point,
                                          ptrdiff_t d_tile, ptrdiff_t count)
{
    BY_ALGORITHM(X(gradients_at_points_body), image, image_row, image_col, next, d, d_point, d_tile, count);
}

/* out[pixel][panel] of a row of `count` tiles, `next` apart, from products [point][tile], plus bias. Only
   `rows` rows and `cols` columns are inside of the output: the last tile may overhang. Lines that lie behind
   each other have `rows` in all, each so many fewer, `rows_step`, than the one before. */
TILE_INLINE void X(tiles_of_points_body)(const int points, const int taps, ptrdiff_t panel,
                                         const REAL *products, ptrdiff_t point, ptrdiff_t tile_step, const REAL *bias, REAL *out,
                                         ptrdiff_t out_row, ptrdiff_t out_col, ptrdiff_t next, ptrdiff_t count,
                                         ptrdiff_t rows, ptrdiff_t rows_step, ptrdiff_t cols)
{
    const int m = OUTPUTS_OF(points, taps), columns = IS_LINE(points) ? 1 : m;
    for (ptrdiff_t t = 0; t < count; t++) {
        const ptrdiff_t height = rows - t * rows_step, width = IS_LINE(points) ? 1 : cols - t * m;
        for (ptrdiff_t part = 0; part < panel; part += LANES) {
            REAL *target = out + t * next + part;
            const X(vec) start = X(load)(bias + part);
            X(vec) y[MOST_VALUES][MOST_VALUES];
            X(load_points)(points, taps, OUTPUTS, products + t * tile_step + part, point, y);
            UNROLL
            for (int i = 0; i < m; i++) {
                UNROLL
                for (int j = 0; j < columns; j++)
                    if (i < height && j < width)
                        X(store)(target + j * out_col, y[j][i] + start);
                target += out_row;
                KEEP_WALKING(target);
            }
        }
    }
}

TILE_FUNCTION void X(tiles_of_points)(int points, int taps, ptrdiff_t panel, const REAL *products,
                                      ptrdiff_t point, ptrdiff_t tile_step, const REAL *bias, REAL *out,
                                      ptrdiff_t out_row, ptrdiff_t out_col, ptrdiff_t next, ptrdiff_t count,
                                      ptrdiff_t rows, ptrdiff_t rows_step, ptrdiff_t cols)
{
    BY_ALGORITHM(X(tiles_of_points_body), panel, products, point, tile_step, bias, out, out_row, out_col, next,
                 count, rows, rows_step, cols);
}

/* u[point] of a panel's weights [tap][panel]. */
TILE_INLINE void X(kernel_at_points_body)(const int points, const int taps, ptrdiff_t panel,
                                          const REAL *weights, REAL *u, ptrdiff_t point)
{
    const int columns = IS_LINE(points) ? 1 : taps;
    for (ptrdiff_t part = 0; part < panel; part += LANES) {
        X(vec) column[MOST_TAPS][MOST_VALUES], g[MOST_TAPS];
        UNROLL
        for (int j = 0; j < columns; j++) {
            UNROLL
            for (int i = 0; i < taps; i++)
                g[i] = X(load)(weights + (i * columns + j) * panel + part);
            X(weights_values)(points, taps, g, column[j]);
        }
        X(store_points)(points, taps, WEIGHTS, column, columns, u + part, point);
    }
}

TILE_FUNCTION void X(kernel_at_points)(int points, int taps, ptrdiff_t panel, const REAL *weights, REAL *u,
                                       ptrdiff_t point)
{
    BY_ALGORITHM(X(kernel_at_points_body), panel, weights, u, point);
}

/* weights[tap][panel] of the sums at the points: the way back of kernel_at_points. */
TILE_INLINE void X(kernel_of_points_body)(const int points, const int taps, ptrdiff_t panel, const REAL *sums,
                                          ptrdiff_t point, REAL *weights)
{
    const int columns = IS_LINE(points) ? 1 : taps;
    for (ptrdiff_t part = 0; part < panel; part += LANES) {
        X(vec) g[MOST_TAPS][MOST_VALUES];
        X(load_points)(points, taps, WEIGHTS, sums + part, point, g);
        UNROLL
        for (int j = 0; j < columns; j++)
            UNROLL
            for (int i = 0; i < taps; i++)
                X(store)(weights + (i * columns + j) * panel + part, g[j][i]);
    }
}

TILE_FUNCTION void X(kernel_of_points)(int points, int taps, ptrdiff_t panel, const REAL *sums, ptrdiff_t point,
                                       REAL *weights)
{
    BY_ALGORITHM(X(kernel_of_points_body), panel, sums, point, weights);
}

#undef UNROLL

#endif
