/* The register tile of matrix products. tile.h includes this once per dtype, with REAL, LANES and X set.

   The tile of tile.h finds its operands through tables of offsets. A product needs none: its operands
   lie at even steps, and 8 loads a step of k instead of 10 make 85 GFLOP/s of 72 (AVX2, 6 x 2 vectors). */

/* out[r, :] = init[r, :] + sum[r, :], `width` columns of them. The last vector of a row overlaps the one
   before: two moves where a loop over what is left would take longer than the sums of a short product. */
TILE_FUNCTION void X(add_part)(int rows, ptrdiff_t width, const REAL *restrict sum, ptrdiff_t sum_step,
                               const REAL *init, ptrdiff_t init_step, REAL *out, ptrdiff_t out_step)
{
    for (int r = 0; r < rows; r++, sum += sum_step, init += init_step, out += out_step) {
        ptrdiff_t n = 0;
        if (width >= LANES) {
            const ptrdiff_t last = width - LANES;
            /* Read before anything is written: init may be out. */
            const X(vec) end = X(load)(sum + last) + X(load)(init + last);
            for (; n < last; n += LANES)
                X(store)(out + n, X(load)(sum + n) + X(load)(init + n));
            X(store)(out + last, end);
            continue;
        }
        for (; n < width; n++)
            out[n] = sum[n] + init[n];
    }
}

/* packed[k*step + j] = b[k*b_step + j] for j < `cols`, zero up to the step. */
TILE_FUNCTION void X(pack_part)(REAL *restrict packed, ptrdiff_t step, const REAL *restrict b,
                                ptrdiff_t b_step, ptrdiff_t depth, ptrdiff_t cols)
{
    for (ptrdiff_t k = 0; k < depth; k++, packed += step, b += b_step) {
        ptrdiff_t j = 0;
        if (cols < step)
            X(store)(packed + step - LANES, (X(vec)){0});
        if (cols >= LANES) {
            for (; j < cols - LANES; j += LANES)
                X(store)(packed + j, X(load)(b + j));
            X(store)(packed + cols - LANES, X(load)(b + cols - LANES));
            continue;
        }
        for (; j < cols; j++)
            packed[j] = b[j];
    }
}

/* packed[k*TILE_ROWS + r] = a[r*a_step + k], for a tile of `rows` rows, through register transposes.

   Vectors reach beyond their step into the next, which is written after it; the last one reaches up to a
   vector beyond the tile. */
TILE_FUNCTION void X(pack_tile)(REAL *packed, const REAL *a, ptrdiff_t a_step, int rows, ptrdiff_t depth)
{
    const ptrdiff_t whole = depth / LANES * LANES;
    for (int first = (rows - 1) / LANES * LANES; first >= 0; first -= LANES)
        for (ptrdiff_t k = 0; k < whole; k += LANES) {
            X(vec) row[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                row[i] = X(load)(a + (first + i < rows ? first + i : rows - 1) * a_step + k);
            X(transpose_rows)(row);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                X(store)(packed + (k + i) * TILE_ROWS + first, row[i]);
        }
    for (ptrdiff_t k = whole; k < depth; k++)
        for (int r = 0; r < rows; r++)
            packed[k * TILE_ROWS + r] = a[r * a_step + k];
}

/* acc[r, :] += a[r] * b[:], where a[r] is that of the row beside it or one of a_step elements away. */
TILE_INLINE void X(product_step)(const int rows, const int vectors, const int side_by_side,
                                 const REAL *restrict a, ptrdiff_t a_step, const REAL *restrict b,
                                 X(vec) (*restrict acc)[3])
{
    X(vec) column[3];
    if (TALL_TILE && side_by_side) /* The next tile's part of this row, which may be a page of its own. */
        __builtin_prefetch(a + 2 * TILE_ROWS - 1);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++)
        column[v] = X(load)(b + v * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        const REAL value = side_by_side ? a[r] : a[r * a_step];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            acc[r][v] += value * column[v];
    }
}

/* out[r, :] = init[r, :] + sum_k a[r, k] * b[k, :]

   for `rows` rows and `vectors` (1 to 3) vectors of columns, of which `width` columns exist in init and
   out; b has them all. a[r, k] is a[k*a_step + r] if side_by_side, else a[r*a_step + k].

   Unrolled, a step of k is its multiply-adds and loads alone: a tenth faster, and a fifth where another
   program has the other half of the core. */
TILE_INLINE void X(product_body)(const int rows, const int vectors, const int side_by_side,
                                 const REAL *restrict a, ptrdiff_t a_step, ptrdiff_t depth,
                                 const REAL *restrict b, ptrdiff_t b_step, const REAL *init,
                                 ptrdiff_t init_step, REAL *out, ptrdiff_t out_step, ptrdiff_t width)
{
    X(vec) acc[TILE_ROWS][3];
    const ptrdiff_t next = side_by_side ? a_step : 1;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            acc[r][v] = (X(vec)){0};
    /* Where the sums go may be far away; by the end of the loop it is here. A tall tile that asks for all
       its rows at once holds up b (0.9 of the speed where sums of 32 to 128 terms make a large matrix),
       and one that asks in every step has two loads too many in it (0.96 of Winograd's). A low one has no
       time to spare in a step: asked for one by one, 0.96 of the speed. */
#pragma GCC unroll 16
    for (int r = 0; !TALL_TILE && r < rows; r++) {
        __builtin_prefetch(out + r * out_step, 1);
        __builtin_prefetch(out + r * out_step + width - 1, 1);
    }
    ptrdiff_t k = depth;
    for (int r = 0; TALL_TILE && r < rows && k > 0; r++, k--, a += next, b += b_step) {
        __builtin_prefetch(out + r * out_step, 1);
        __builtin_prefetch(out + r * out_step + width - 1, 1);
        X(product_step)(rows, vectors, side_by_side, a, a_step, b, acc);
    }
#pragma GCC unroll 4
    for (; k > 0; k--, a += next, b += b_step)
        X(product_step)(rows, vectors, side_by_side, a, a_step, b, acc);
    if (width == vectors * LANES) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++)
                X(store)(out + r * out_step + v * LANES,
                         acc[r][v] + X(load)(init + r * init_step + v * LANES));
        return;
    }
    REAL wide[TILE_ROWS * 3 * LANES];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            X(store)(wide + (r * 3 + v) * LANES, acc[r][v]);
    X(add_part)(rows, width, wide, 3 * LANES, init, init_step, out, out_step);
}

#define PRODUCT_ARGUMENTS a, a_step, depth, b, init, init_step, out, out_step, width
#define PACKED_ARGUMENTS(vectors) \
    a, a_step, depth, b, (vectors) * LANES, init, init_step, out, out_step, width
#define PRODUCT_CASE(rows, vectors)                                                                 \
    case (rows) * 4 + (vectors):                                                                    \
        if (side_by_side)                                                                           \
            X(product_body)(rows, vectors, 1, PACKED_ARGUMENTS(vectors));                                  \
        else                                                                                        \
            X(product_body)(rows, vectors, 0, PACKED_ARGUMENTS(vectors));                                  \
        break
#define PRODUCT_PAIR(rows)                                                                          \
    PRODUCT_CASE(rows, 1);                                                                          \
    PRODUCT_CASE(rows, 2)
#define PRODUCT_TRIPLE(rows)                                                                        \
    PRODUCT_PAIR(rows);                                                                             \
    PRODUCT_CASE(rows, 3)

/* Three vectors have half as many rows. */
TILE_FUNCTION void X(product_tile)(int rows, int vectors, int side_by_side, const REAL *a,
                                   ptrdiff_t a_step, ptrdiff_t depth, const REAL *b, const REAL *init,
                                   ptrdiff_t init_step, REAL *out, ptrdiff_t out_step, ptrdiff_t width)
{
    if (vectors == 3 && rows > TILE_ROWS / 2) {
        const ptrdiff_t upper = (rows + 1) / 2;
        X(product_tile)((int)upper, vectors, side_by_side, PRODUCT_ARGUMENTS);
        X(product_tile)(rows - (int)upper, vectors, side_by_side, a + upper * (side_by_side ? 1 : a_step),
                        a_step, depth, b, init + upper * init_step, init_step, out + upper * out_step,
                        out_step, width);
        return;
    }
    switch (rows * 4 + vectors) {
        PRODUCT_TRIPLE(1);
        PRODUCT_TRIPLE(2);
        PRODUCT_TRIPLE(3);
        PRODUCT_PAIR(4);
        PRODUCT_PAIR(5);
        PRODUCT_PAIR(6);
#if TILE_ROWS > 6
        PRODUCT_CASE(4, 3);
        PRODUCT_CASE(5, 3);
        PRODUCT_CASE(6, 3);
        PRODUCT_PAIR(7);
        PRODUCT_PAIR(8);
        PRODUCT_PAIR(9);
        PRODUCT_PAIR(10);
        PRODUCT_PAIR(11);
        PRODUCT_PAIR(12);
#endif
#if TILE_ROWS > 12
        PRODUCT_CASE(7, 3);
        PRODUCT_PAIR(13);
        PRODUCT_PAIR(14);
#endif
    }
}

/* out[r, j] = init[r, j] + sum_k a[k*a_step + r] * b[k*b_step + j]

   for a few columns (at most FEW_COLUMNS) and three vectors of rows or more. Along so few columns most of
   a vector would be empty; here the vectors lie along the rows. The last three overlap those before. */
TILE_FUNCTION void X(few_columns)(int cols, ptrdiff_t rows, const REAL *a, ptrdiff_t a_step, ptrdiff_t depth,
                                  const REAL *b, ptrdiff_t b_step, const REAL *init, ptrdiff_t init_step,
                                  REAL *out, ptrdiff_t out_step)
{
    static const REAL zeros[3 * LANES];
    REAL sums[FEW_COLUMNS * 3 * LANES];
    for (ptrdiff_t done = 0, first; done < rows; done = first + 3 * LANES) {
        first = done + 3 * LANES <= rows ? done : rows - 3 * LANES;
        switch (cols) {
#define FEW_CASE(cols)                                                                              \
    case cols:                                                                                      \
        X(product_body)(cols, 3, 1, b, b_step, depth, a + first, a_step, zeros, 0, sums, 3 * LANES, \
                        3 * LANES);                                                                 \
        break
            FEW_CASE(1);
            FEW_CASE(2);
            FEW_CASE(3);
#if FEW_COLUMNS > 3
            FEW_CASE(4);
            FEW_CASE(5);
            FEW_CASE(6);
            FEW_CASE(7);
#endif
        }
#undef FEW_CASE
        for (ptrdiff_t r = done; r < first + 3 * LANES; r++)
            for (int j = 0; j < cols; j++)
                out[r * out_step + j] = init[r * init_step + j] + sums[j * 3 * LANES + r - first];
    }
}
#undef PACKED_ARGUMENTS
#undef PRODUCT_CASE
#undef PRODUCT_PAIR
#undef PRODUCT_TRIPLE
#undef PRODUCT_ARGUMENTS
