"""``python -m fastscratch.compat.book SCRIPT``: a script of the book's on this library."""

from fastscratch.compat.book.runner import main

if __name__ == "__main__":
    main()
