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
depend on the number of workers, nor on who does which task: a driver that has a `Tasks` argument
takes them one by one, so that a worker that wakes up late, which can take 0.2 ms, does fewer::

    def scale(worker: int, workers: int, queue: Tasks, x: In, y: Out, tasks: int) -> None:
        task = take(queue)
        while task < tasks:
            ...
            task = take(queue)
"""

import hashlib
import inspect
import os
import threading
import weakref
from array import array
from collections.abc import Callable, Iterator
from functools import cache, partial, update_wrapper
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, compiler
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target

from fastscratch.kernels.numba_jit.arguments import (
    Arguments,
    Queue,
    address_of_block,
    unpacker,
)
from fastscratch.kernels.numba_jit.machine import VECTOR_BYTES
from fastscratch.types import Array

FASTMATH = {"contract", "reassoc", "nsz"}
"""What lets loops vectorise; NaN and infinities keep their meaning, a division stays a division."""

Tasks = Annotated[Any, "queue"]
"""A driver's third argument, if it has one: what all workers take their tasks from."""
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
Labels = Annotated[Array, "offsets of labels"]
"""Class numbers, or the words of a key: int64, only read."""
Numbers = Annotated[Array, "numbers"]
"""Sums, or the numbers of a formula: float64 whatever the specialisation."""
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
    """Compile a function that drivers call, once for each driver and as a part of it.

    Numba would optimise it, and make machine code of it, on its own first, and again within each
    function that calls it: the first training step of a small network took 26 s instead of 15 s.
    It returns nothing, or what its annotation says: a bool, an int, a tuple of ints, or a ``float``
    of the first array's dtype. Tests find the plain function at ``py_func``.
    """
    return _part(function, inline=False)


def inlined(function: F) -> F:
    """The same for one that is called often, in one place: its code is to stand there.

    Each array is seven words to pass, and LLVM inlines nothing that is as large as a tile.
    """
    return _part(function, inline=True)


def _part(function: F, inline: bool) -> F:
    if not JIT:
        return function
    given = inspect.signature(function)
    result = get_type_hints(function)["return"]

    def define(typing_context: Any, *arguments: Any) -> Any:
        kinds = [types.unliteral(kind) for kind in arguments]
        if get_origin(result) is tuple:
            returned = types.UniTuple(types.intp, len(get_args(result)))
        elif result is float:
            returned = next(kind.dtype for kind in kinds if isinstance(kind, types.Array))
        else:
            returned = _RETURNED[result]

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            description = _compiled_into(context, function, signature, inline)
            return context.call_internal(builder, description, signature, values)

        return returned(*kinds), generate

    define.__name__ = function.__name__
    context = inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    define.__signature__ = given.replace(  # type: ignore[attr-defined]
        parameters=[context, *given.parameters.values()]
    )
    part = intrinsic(define)
    part.py_func = function
    return part  # type: ignore[no-any-return]


_RETURNED = {type(None): types.void, bool: types.boolean, int: types.intp}
_parts: "weakref.WeakKeyDictionary[Any, dict[Any, Any]]" = weakref.WeakKeyDictionary()


def _compiled_into(context: Any, function: Any, signature: Any, inline: bool) -> Any:
    """Compile a function into the library that is being made; its description for calls.

    There it has a name that no other library has. Numba's own names are of a module, a function and
    a number that starts anew in each process: two closures of one function, compiled by two
    processes and loaded from the cache by a third, could have the same one, and one of them would
    run in place of both.
    """
    library = context.active_code_library
    parts = _parts.setdefault(library, {})
    key = function, signature.args
    if key not in parts:
        flags = compiler.Flags()
        cpu_target.options.parse_as_flags(flags, _OPTIONS)
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.forceinline = inline
        named = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__,
            function.__closure__,
        )  # fmt: skip
        named.__qualname__ = f"{function.__qualname__}.{library.name}"
        result = compiler.compile_internal(
            context.typing_context, context, library, named,
            signature.args, signature.return_type, flags, locals={},
        )  # fmt: skip
        parts[key] = result.fndesc
        # What is inlined everywhere may vanish.
        library.get_function(result.fndesc.llvm_func_name).linkage = "linkonce_odr"
    return parts[key]


class Driver:
    """A function compiled on demand, once per dtype, and run by any number of workers.

    Arrays are handed to it flat, so that a specialisation serves every shape, read-only or not.
    """

    def __init__(self, function: FunctionType, variant: str = ""):
        self.function = function
        self._variant = variant
        update_wrapper(self, function)
        hints = get_type_hints(function, include_extras=True)
        names = list(inspect.signature(function).parameters)
        assert names[:2] == ["worker", "workers"], names
        self._kinds = [hints[name] for name in names[2:]]
        self._takes = self._kinds[:1] == [Tasks]
        self._compiled: dict[tuple[str, str], Any] = {}
        self._alone: dict[tuple[str, str], Callable[[tuple[Any, ...]], None]] = {}

    def __call__(self, workers: int, *arguments: Any, window: str = "B") -> None:
        """Run with so many workers, as `usable_workers` gives them."""
        if not JIT:
            queue = [np.zeros(1, np.intp)] if self._takes else []
            for worker in range(workers):
                self.function(worker, workers, *queue, *_flat(arguments))
            return
        key = arguments[0].dtype.char, window
        if workers == 1:
            run_alone = self._alone.get(key)
            if run_alone is None:
                run_alone = self._alone[key] = partial(_run_alone(), self.specialised(*key).address)
            run_alone(arguments)
            return
        _run_shared()(self.specialised(*key).address, arguments, workers)

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
            "unpack": unpacker([_numba_type(kind, dtype, window) for kind in self._kinds]),
        }
        module = self.function.__module__.rpartition(".")[2]
        name = f"{module}_{self.function.__name__}{self._variant}_{dtype}_{window}"
        signature = types.void(types.intp, types.intp, types.intp)
        return compile_cached(numba.cfunc, _entry, scope, name, signature, **_OPTIONS)


def run_both(
    workers: tuple[int, int], first: Driver, arguments: tuple[Any, ...],
    second: Driver, others: tuple[Any, ...],
) -> None:  # fmt: skip
    """Run a driver and then another: one worker is entered once, which takes 1 us less."""
    if workers == (1, 1) and JIT:
        _both(first, second, arguments[0].dtype.char)(arguments, others)
    else:
        first(workers[0], *arguments)
        second(workers[1], *others)


@cache
def _both(first: Driver, second: Driver, dtype: str) -> Callable[..., None]:
    addresses = first.specialised(dtype).address, second.specialised(dtype).address
    return partial(_run_in_turn(), *addresses)


class Constants(bytes):
    """Arguments that stay the same from call to call, as words of the block of arguments."""

    values: tuple[Any, ...]

    def __new__(cls, *values: Any) -> "Constants":
        """Keep the arrays alive, too."""
        words: list[int] = []
        for value in values:
            if isinstance(value, np.ndarray):
                words += (value.ctypes.data, value.size)
            else:
                words += value if isinstance(value, tuple) else (value,)
        self = super().__new__(cls, array("q", words).tobytes())
        self.values = values
        return self


def _flat(values: tuple[Any, ...]) -> Iterator[Any]:
    """The same values for plain Python."""
    for value in values:
        if isinstance(value, Constants):
            yield from _flat(value.values)
        else:
            yield value.reshape(-1) if isinstance(value, np.ndarray) else value


def driver(function: Callable[..., None], variant: str = "") -> Driver:
    """Make a `Driver` of a function whose arguments are annotated with the words above.

    Several of one name in one file differ by their variant.
    """
    assert isinstance(function, FunctionType)
    return Driver(function, variant)


def _entry(worker, workers, block):  # type: ignore[no-untyped-def]
    """What each driver is compiled as; the two functions come with the copy that is compiled."""
    function(worker, workers, *unpack(block))  # type: ignore[name-defined] # noqa: F821


@intrinsic
def _call(typing_context, address, worker, workers, block):  # type: ignore[no-untyped-def]
    """Call the C function at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 3).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), arguments[1:])
        return context.get_dummy_value()

    return types.void(address, worker, workers, block), generate


def _alone(address, arguments):  # type: ignore[no-untyped-def]
    """One worker: no thread layer is asked."""
    _call(address, 0, 1, address_of_block(arguments))


def _in_turn(first, second, arguments, others):  # type: ignore[no-untyped-def]
    """The same for two drivers."""
    _call(first, 0, 1, address_of_block(arguments))
    _call(second, 0, 1, address_of_block(others))


@intrinsic
def _swap_num_threads(typing_context, threads):  # type: ignore[no-untyped-def]
    """How many threads parallel loops had; they are to have so many, of those that there are.

    In Python, which asks and sets twice and checks, it takes 7 us.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, count = ir.IntType(64), ir.IntType(32)
        ask = ir.FunctionType(word, [])  # as Numba declares what gives an int of C
        change = ir.FunctionType(ir.VoidType(), [count])
        find = cgutils.get_or_insert_function
        before = builder.call(find(builder.module, ask, "get_num_threads"), [])
        wanted = builder.trunc(arguments[0], count)
        builder.call(find(builder.module, change, "set_num_threads"), [wanted])
        return builder.sext(builder.trunc(before, count), word)

    return types.intp(threads), generate


def _shared(address, arguments, workers):  # type: ignore[no-untyped-def]
    """The parallel loop."""
    block = address_of_block(arguments)
    before = _swap_num_threads(workers)
    for worker in numba.prange(workers):
        _call(address, worker, workers, block)
    _swap_num_threads(before)


@cache
def _run_alone() -> Any:
    return _entry_point(_alone, types.void(types.intp, Arguments()), _nrt=False)


@cache
def _run_in_turn() -> Any:
    signature = types.void(types.intp, types.intp, Arguments(), Arguments())
    return _entry_point(_in_turn, signature, _nrt=False)


@cache
def _run_shared() -> Any:
    signature = types.void(types.intp, Arguments(), types.intp)
    return _entry_point(_shared, signature, parallel=True)


def _entry_point(function: Callable[..., None], signature: Any, **options: Any) -> Any:
    """What a compiled function's dispatcher would call, had it found out the types: 20 us later."""
    scope = {
        "numba": numba, "_call": _call, "_swap_num_threads": _swap_num_threads,
        "address_of_block": address_of_block,
    }  # fmt: skip
    name = function.__name__.lstrip("_")
    dispatcher = compile_cached(numba.njit, function, scope, name, signature, nogil=True, **options)
    return dispatcher.overloads[signature.args].entry_point


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
"""Multiply-adds that repay another worker, or what takes as long: an element counts for several."""


def usable_workers(num_threads: int, work: int) -> int:
    """How many of the threads asked for a problem repays and can have, here and now.

    One in a child of `fork`, where no thread layer survives, and with the layer ``workqueue``,
    which aborts the process if two Python threads use it.
    """
    if num_threads == 1 or work < 2 * WORKER_WORK or not JIT or _forked or not _layer_is_safe():
        return 1
    return min(num_threads, work // WORKER_WORK, int(numba.config.NUMBA_NUM_THREADS))


def movers(workers: int, elements: int) -> int:
    """How many of the workers of a problem its weights, or the sums of their gradient, repay.

    Waking another thread for few of them takes longer than they do: those of 128 channels by 128,
    at 16 points, take 57 us on one thread and 90 or more on two.
    """
    if workers == 1:
        return 1
    return max(min(workers, elements // WORKER_WORK), 1)


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
        if word == "queue":
            return Queue()
        element: str | type = dtype
        if word.startswith("offsets"):
            element = np.intp
        elif word == "numbers":
            element = np.float64
        elif word.startswith("window"):
            element = window
        # One type for what is read and what is written: half as many functions to compile.
        return types.Array(numba.from_dtype(np.dtype(element)), 1, "C")
    return types.NamedUniTuple(numba.intp, len(kind._fields), kind)
