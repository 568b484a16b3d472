"""How kernels are compiled: lazily, per dtype; their cache; and how their work is shared out.

A *driver* is one worker's share of some work::

    @driver
    def scale(worker: int, workers: int, x: In, y: Out, tasks: int) -> None:
        for task in range(worker, tasks, workers):
            ...

    scale(workers, x, y, tasks)

It is compiled once per dtype, to a C function that takes its arguments from a block of memory. One
small parallel loop, the same for all drivers, calls it once for each worker: a parallel loop of
its own would make each driver take some ten seconds to compile instead of two. What a task
computes depends on the shapes alone, and no two tasks write to one place, so that the bits do not
depend on the number of workers.
"""

import ctypes
import hashlib
import inspect
import os
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from functools import cache, update_wrapper
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, TypeVar, get_type_hints

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.np import arrayobj

from fastscratch.kernels.numba_jit.machine import VECTOR_BYTES
from fastscratch.types import Array

FASTMATH = {"contract", "reassoc", "nsz"}
"""What lets loops vectorise; NaN and infinities keep their meaning, a division stays a division."""

In = Annotated[Array, "in"]
"""A driver's argument: an array that is only read, in the dtype of the specialisation."""
Out = Annotated[Array, "out"]
"""An array that is written, in the dtype of the specialisation."""
Offsets = Annotated[Array, "offsets"]
"""A table of element offsets (intp), only read."""
WindowIn = Annotated[Array, "window in"]
"""Offsets within a pooling window, only read: uint8 or int32."""
WindowOut = Annotated[Array, "window out"]
"""The same, written."""
OffsetsOut = Annotated[Array, "offsets out"]
"""Scratch for element offsets (intp)."""

JIT = not numba.config.DISABLE_JIT
"""Whether anything is compiled: NUMBA_DISABLE_JIT runs the same sources as plain Python."""

intrinsic: Any = numba.extending.intrinsic
"""Numba's decorator, whose results its annotations do not describe."""

# Kernels allocate nothing: without Numba's memory runtime they compile a quarter faster.
_OPTIONS = {"_nrt": False, "fastmath": FASTMATH, "error_model": "numpy"}
_lock = threading.RLock()

F = TypeVar("F", bound=Callable[..., Any])


def inner(function: F) -> F:
    """Compile a function that drivers call; it becomes part of each driver's cached code."""
    return numba.extending.register_jitable(**_OPTIONS)(function)  # type: ignore[no-any-return]


class Driver:
    """A function compiled on demand, once per dtype, and run by any number of workers.

    Arrays are handed to it flat, so that a specialisation serves every shape, read-only or not.
    """

    def __init__(self, function: FunctionType):
        self.function = function
        update_wrapper(self, function)
        hints = get_type_hints(function, include_extras=True)
        names = list(inspect.signature(function).parameters)
        assert names[:2] == ["worker", "workers"], names
        self._kinds = [hints[name] for name in names[2:]]
        self._compiled: dict[tuple[str, str], Any] = {}

    def __call__(self, workers: int, *arguments: Any, window: str = "B") -> None:
        """Run with so many workers, as `usable_workers` gives them."""
        if not JIT:
            for worker in range(workers):
                self.function(worker, workers, *_flat(arguments))
            return
        entry = self.specialised(arguments[0].dtype.char, window)
        block = array("q", _words(arguments))
        address = block.buffer_info()[0]
        if workers == 1:
            entry.ctypes(0, 1, address)
            return
        launch = _launch()
        before = numba.get_num_threads()
        numba.set_num_threads(workers)
        try:
            launch(entry.address, address, workers)
        finally:
            numba.set_num_threads(before)

    def specialised(self, dtype: str, window: str = "B") -> Any:
        """The compiled function for a dtype, and for the dtype of offsets in a window."""
        key = dtype, window
        function = self._compiled.get(key)
        if function is None:
            with _lock:
                function = self._compiled.get(key)
                if function is None:
                    function = self._compiled[key] = self._compile(*key)
        return function

    def _compile(self, dtype: str, window: str) -> Any:
        scope = {
            "function": inner(self.function),
            "unpack": _unpacker([_numba_type(kind, dtype, window) for kind in self._kinds]),
        }
        module = self.function.__module__.rpartition(".")[2]
        name = f"{module}_{self.function.__name__}_{dtype}_{window}"
        signature = types.void(types.intp, types.intp, types.intp)
        return compile_cached(numba.cfunc, _entry, scope, name, signature, **_OPTIONS)


class Constants(tuple[int, ...]):
    """Arguments that stay the same from call to call, as words of the block of arguments."""

    values: tuple[Any, ...]

    def __new__(cls, *values: Any) -> "Constants":
        """Keep the arrays alive, too."""
        self = super().__new__(cls, _words(values))
        self.values = values
        return self


def _words(values: tuple[Any, ...]) -> list[int]:
    """What `_unpacker` unpacks: addresses and sizes of arrays, the ints of tuples, and ints."""
    words: list[int] = []
    for value in values:
        if isinstance(value, int):
            words.append(value)
        elif isinstance(value, tuple):
            words += value
        else:
            words += (_address(value), value.size)
    return words


def _address_from_interface(array: Array) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _address_from_struct(array: Array) -> int:
    return _word.from_address(id(array) + _data_field).value


# NumPy documents that an array's object begins with the address of its elements, behind the header
# of all objects. Reading it there takes 0.2 us, and there are several in each call; the official
# way builds a dictionary, in 1.4 us.
_word = ctypes.c_size_t
_data_field = object.__basicsize__
_probe = np.empty(3)
_address = _address_from_interface
if sys.implementation.name == "cpython" and all(
    _address_from_struct(view) == _address_from_interface(view) for view in (_probe, _probe[1:])
):
    _address = _address_from_struct


def _flat(values: tuple[Any, ...]) -> Iterator[Any]:
    """The same values for plain Python."""
    for value in values:
        if isinstance(value, Constants):
            yield from _flat(value.values)
        else:
            yield value.reshape(-1) if isinstance(value, np.ndarray) else value


def driver(function: Callable[..., None]) -> Driver:
    """Make a `Driver` of a function whose arguments are annotated with the words above."""
    assert isinstance(function, FunctionType)
    return Driver(function)


def _entry(worker, workers, block):  # type: ignore[no-untyped-def]
    """What each driver is compiled as; the two functions come with the copy that is compiled."""
    function(worker, workers, *unpack(block))  # type: ignore[name-defined] # noqa: F821


def _unpacker(kinds: list[Any]) -> Any:
    """A function from the address of a block of arguments to the arguments."""

    @intrinsic
    def unpack(typing_context, block):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = ir.IntType(64)
            words = builder.inttoptr(arguments[0], word.as_pointer())
            position = 0

            def following() -> Any:
                nonlocal position
                value = builder.load(builder.gep(words, [word(position)]))
                position += 1
                return value

            values = []
            for kind in kinds:
                if isinstance(kind, types.Array):
                    values.append(_array(context, builder, kind, following(), following()))
                elif isinstance(kind, types.BaseTuple):
                    values.append(cgutils.pack_array(builder, [following() for _ in kind]))
                else:
                    values.append(following())
            return context.make_tuple(builder, signature.return_type, values)

        return types.Tuple(kinds)(block), generate

    return unpack


def _array(context: Any, builder: Any, kind: Any, address: Any, size: Any) -> Any:
    """An array on memory that someone else keeps alive."""
    result = arrayobj.make_array(kind)(context, builder)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(result.data.type.pointee))
    arrayobj.populate_array(
        result,
        data=builder.inttoptr(address, result.data.type),
        shape=cgutils.pack_array(builder, [size]),
        strides=cgutils.pack_array(builder, [itemsize]),
        itemsize=itemsize,
        meminfo=None,
    )
    return result._getvalue()


@intrinsic
def _call(typing_context, address, worker, workers, block):  # type: ignore[no-untyped-def]
    """Call the C function at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 3).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), arguments[1:])
        return context.get_dummy_value()

    return types.void(address, worker, workers, block), generate


def _launch_all(address, block, workers):  # type: ignore[no-untyped-def]
    """The parallel loop."""
    for worker in numba.prange(workers):
        _call(address, worker, workers, block)


@cache
def _launch() -> Any:
    signature = types.void(types.intp, types.intp, types.intp)
    scope = {"numba": numba, "_call": _call}
    options = {"parallel": True, "nogil": True}
    return compile_cached(numba.njit, _launch_all, scope, "launch", signature, **options)


def compile_cached(
    decorator: Callable[..., Any], function: Callable[..., None], scope: dict[str, Any], name: str,
    signature: Any, **options: Any,
) -> Any:  # fmt: skip
    """A copy of a function with globals and a name of its own, compiled through Numba's cache.

    The name names the cache's file. It holds a digest of what the code depends on, since the cache
    itself notices a change in the function's own file alone, and it is another one for each
    signature, since a file for several is not safe from two processes that write at once. A cache
    that cannot be read or written costs time, and nothing else.
    """
    name = f"{name}_{source_digest()[:16]}"
    copy = FunctionType(
        function.__code__.replace(co_name=name, co_qualname=name),
        {**scope, "__name__": __name__}, name,
    )  # fmt: skip
    copy.__qualname__ = name
    try:
        return decorator(signature, cache=True, **options)(copy)
    except NumbaError:
        raise
    except Exception:
        # A damaged, foreign, full or unwritable cache: unpickling alone can raise anything.
        return decorator(signature, **options)(copy)


@cache
def source_digest() -> str:
    """A digest of what compiled code depends on: this folder's sources and the vector width."""
    digest = hashlib.sha256(str(VECTOR_BYTES).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


WORKER_WORK = 200_000
"""Multiply-adds, or elements, that repay another worker."""


def usable_workers(num_threads: int, work: int) -> int:
    """How many of the threads asked for a problem repays and can have, here and now.

    One in a child of `fork`, where no thread layer survives, and with the layer ``workqueue``,
    which aborts the process if two Python threads use it.
    """
    workers = min(num_threads, work // WORKER_WORK, int(numba.config.NUMBA_NUM_THREADS))
    if workers <= 1 or not JIT or _forked or not _layer_is_safe():
        return 1
    return workers


@cache
def _layer_is_safe() -> bool:
    numba.get_num_threads()  # starts the layer, which has no name before
    return bool(numba.threading_layer() != "workqueue")


_forked = False


def _note_fork() -> None:
    global _forked, _lock
    _forked = True
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _numba_type(kind: Any, dtype: str, window: str) -> Any:
    """Numba's type of a driver's argument."""
    if kind is int:
        return numba.intp
    if kind is bool:
        return numba.boolean
    if hasattr(kind, "__metadata__"):
        word: str = kind.__metadata__[0]
        element: str | type = dtype
        if word.startswith("offsets"):
            element = np.intp
        elif word.startswith("window"):
            element = window
        # One type for what is read and what is written: half as many functions to compile.
        return types.Array(numba.from_dtype(np.dtype(element)), 1, "C")
    return types.NamedUniTuple(numba.intp, len(kind._fields), kind)
