/* Columns of windows for the product tile. tile.h includes this once per dtype, with REAL, LANES and X set. */

/* columns[k*step + at[i] + :] = source[k_offset[k] + place[i] + :] for vectors i in ascending order.

   A vector that is longer than its piece of a row is overwritten by the next one; the last reaches up to
   a vector beyond its step. Where less than `step` columns are wanted the rest is finite: what happens to
   lie in memory may take the processor a hundred times as long to multiply. The windows that follow in
   the same rows are fetched ahead, for each k is on a page of its own where x is read as it lies. */
TILE_INLINE void X(columns_body)(const int vectors, const int whole, REAL *restrict columns, ptrdiff_t step,
                                 const REAL *restrict source, const ptrdiff_t *restrict k_offset,
                                 ptrdiff_t depth, const ptrdiff_t *restrict place,
                                 const ptrdiff_t *restrict at)
{
    for (ptrdiff_t k = 0; k < depth; k++, columns += step) {
        const REAL *row = source + k_offset[k];
        if (!whole)
            X(store)(columns + step - LANES, (X(vec)){0});
        else
            __builtin_prefetch(row + place[vectors - 1] + LANES);
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++)
            X(store)(columns + at[i], X(load)(row + place[i]));
    }
}

#define COLUMNS_ARGUMENTS columns, step, source, k_offset, depth, place, at
#define COLUMNS_CASE(vectors)                                                                       \
    case vectors:                                                                                   \
        if (whole)                                                                                  \
            X(columns_body)(vectors, 1, COLUMNS_ARGUMENTS);                                         \
        else                                                                                        \
            X(columns_body)(vectors, 0, COLUMNS_ARGUMENTS);                                         \
        break

TILE_FUNCTION void X(gather_columns)(int vectors, int whole, REAL *columns, ptrdiff_t step,
                                     const REAL *source, const ptrdiff_t *k_offset, ptrdiff_t depth,
                                     const ptrdiff_t *place, const ptrdiff_t *at)
{
    switch (vectors) {
        COLUMNS_CASE(1);
        COLUMNS_CASE(2);
        COLUMNS_CASE(3);
        COLUMNS_CASE(4);
        default:
            X(columns_body)(vectors, 0, COLUMNS_ARGUMENTS);
    }
}
#undef COLUMNS_CASE
#undef COLUMNS_ARGUMENTS

/* row[:] += the columns of some taps, which lie `step` apart, where they meet a row of an image.

   For each vector of the row and each tap: which lanes it meets, and the first of its elements; those that
   follow are `spread` over the lanes, or lie as the lanes do. The row is read and written once for all
   taps; added to it one by one, a gradient took 1.27 times as long in the mean, up to 4.9 times. For
   processors that have masks; nobody calls it for others. */
TILE_FUNCTION void X(add_taps)(REAL *row, ptrdiff_t count, int taps, int spread, const REAL *columns,
                               ptrdiff_t step, const unsigned *lanes, const ptrdiff_t *first)
{
#if HAS_MASKS
    for (ptrdiff_t v = 0; v < count; v += LANES, lanes += taps, first += taps) {
        const ptrdiff_t width = count - v < LANES ? count - v : LANES;
        X(vec) sum = X(load_first)(row + v, width);
        if (spread)
            for (int k = 0; k < taps; k++)
                sum += (X(vec))EXPANDING_LOAD(lanes[k], columns + k * step + first[k]);
        else
            for (int k = 0; k < taps; k++)
                sum += X(load_some)(columns + k * step + first[k], lanes[k]);
        X(store_first)(row + v, sum, width);
    }
#endif
}
