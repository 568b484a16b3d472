"""Aligned scratch memory, checked out for one call and kept for the next.

A fresh large block costs a page fault every 4 KiB (1 ms for the packed weights of a 512-channel
convolution, as long as the convolution of two 7x7 images), so a few blocks are kept. All of it runs
under the interpreter's lock; a kernel slices its block for its workers itself.

Vectors reach beyond the end of rows, and multiply what lies there, which nobody uses. That must
not be a denormal number, which takes a processor 100 cycles, and small integers are just that: a
block starts as zeros, and a kernel clears its tables of integers when it is done. A small
convolution took 2 to 12 times as long with another one's tables in its memory.
"""

cimport cython
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef extern from "tile.h" nogil:
    bint CHECKED

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** pointer, size_t alignment, size_t size)

cdef extern from *:
    """
    #if defined(__SANITIZE_ADDRESS__)
    #define SANITIZED 1
    #else
    #define SANITIZED 0
    #endif
    """
    bint SANITIZED

cdef enum:
    KEPT_BLOCKS = 4
    ALIGNMENT = 64
    GUARD = 64
    POISON = 0xFF  # bytes of it are NaN, as float32 and as float64

# Blocks above this are given back at once.
cdef size_t KEPT_BYTES = 16 << 20

cdef char* kept[KEPT_BLOCKS]
cdef size_t kept_size[KEPT_BLOCKS]


@cython.final
@cython.freelist(8)
cdef class Scratch:
    """A block of at least `size` bytes at `address`, returned when the object goes."""

    cdef char* data
    cdef readonly size_t capacity  # bytes of the block, which are more than were asked for
    cdef size_t size

    def __cinit__(self, size_t size):
        self.size = size
        if not take_kept(size + GUARD, &self.data, &self.capacity):
            # The sanitizer sees the end of what was asked for, and nothing inside.
            self.capacity = max(size, 1) if SANITIZED and not CHECKED else round_up(size + GUARD)
            if posix_memalign(<void**> &self.data, ALIGNMENT, self.capacity) != 0:
                drop_kept()
                if posix_memalign(<void**> &self.data, ALIGNMENT, self.capacity) != 0:
                    self.data = NULL
                    raise MemoryError(f"fastscratch: no memory for {size} bytes of scratch space")
            memset(self.data, 0, self.capacity)
        if CHECKED:
            memset(self.data, POISON, self.size + GUARD)

    def __dealloc__(self):
        cdef size_t i
        if self.data == NULL:
            return
        if CHECKED:
            for i in range(self.size, self.size + GUARD):
                assert (<unsigned char*> self.data)[i] == POISON, "a write past scratch memory"
        if SANITIZED:
            free(self.data)
        else:
            give_back(self.data, self.capacity)

    @property
    def address(self):
        return <uintptr_t> self.data


cdef size_t round_up(size_t size) noexcept:
    """Sizes in steps of an eighth, so that calls of similar shapes share their blocks."""
    cdef size_t step = 4096
    while step * 8 < size:
        step *= 2
    return (size + step - 1) // step * step


cdef bint take_kept(size_t size, char** data, size_t* capacity) noexcept:
    """The smallest kept block that is large enough."""
    cdef int i, best = -1
    for i in range(KEPT_BLOCKS):
        if kept[i] != NULL and kept_size[i] >= size:
            if best < 0 or kept_size[i] < kept_size[best]:
                best = i
    if best < 0:
        return False
    data[0] = kept[best]
    capacity[0] = kept_size[best]
    kept[best] = NULL
    return True


cdef void give_back(char* data, size_t capacity) noexcept:
    """Keep the block in place of an empty or smaller one; free what is left over."""
    cdef int i, smallest = 0
    if capacity > KEPT_BYTES:
        free(data)
        return
    for i in range(KEPT_BLOCKS):
        if kept[i] == NULL:
            smallest = i
            break
        if kept_size[i] < kept_size[smallest]:
            smallest = i
    if kept[smallest] != NULL:
        if kept_size[smallest] >= capacity:
            free(data)
            return
        free(kept[smallest])
    kept[smallest] = data
    kept_size[smallest] = capacity


def release_kept():
    """Give back what is kept for the next call."""
    drop_kept()


cdef void drop_kept() noexcept:
    cdef int i
    for i in range(KEPT_BLOCKS):
        free(kept[i])
        kept[i] = NULL
