"""How a driver's arguments travel: a tuple in Python, a block of words, and arrays once more.

A word is 64 bits. An array takes two, its address and its size, a tuple one for each of its ints,
`Constants` bring theirs ready-made. The first word counts tasks, for all workers together. Compiled
code fills the block while it holds the interpreter's lock: a call with five arrays takes 0.8 us in
all, where ctypes took 1.4, and looking up what each argument is in Python another 3.
"""

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, models, register_model, unbox
from numba.np import arrayobj

MOST_WORDS = 256
"""Words that the arguments of a driver may take."""

_FIRST = 1
"""Where the arguments begin, behind the count of tasks."""

_WORD = ir.IntType(64)
_STATUS = ir.IntType(32)
_MOST_DIMENSIONS = 64


class Arguments(types.Type):  # type: ignore[misc]
    """Numba's type of a tuple of arguments; its value is the address of the block of words."""

    def __init__(self) -> None:
        super().__init__(name="Arguments")


@register_model(Arguments)
class _ArgumentsModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any):
        super().__init__(manager, kind, _WORD)


@unbox(Arguments)  # type: ignore[untyped-decorator]
def _fill(kind: Any, given: Any, c: Any) -> Any:
    """Fill a block of words, which lives as long as the call."""
    builder, pyapi = c.builder, c.pyapi
    item_of = _c_function(c, pyapi.pyobj, "PyTuple_GetItem", pyapi.pyobj, pyapi.py_ssize_t)
    adapt = _c_function(c, _STATUS, "numba_adapt_ndarray", pyapi.pyobj, pyapi.voidptr)
    is_subtype = _c_function(c, _STATUS, "PyType_IsSubtype", pyapi.voidptr, pyapi.voidptr)
    bytes_of = _c_function(c, pyapi.voidptr, "PyBytes_AsString", pyapi.pyobj)
    bytes_size = _c_function(c, pyapi.py_ssize_t, "PyBytes_Size", pyapi.pyobj)
    # Two more, where an array goes that has no room.
    block = cgutils.alloca_once(builder, _WORD, size=_FIRST + MOST_WORDS + 2)
    builder.store(_WORD(0), block)
    count = cgutils.alloca_once_value(builder, _WORD(_FIRST))
    # What numba_adapt_ndarray fills: owner twice, size, item size, address, shape and strides.
    words_of_array = cgutils.alloca_once(builder, ir.ArrayType(_WORD, 5 + 2 * _MOST_DIMENSIONS))

    def reserve(words: Any) -> tuple[Any, Any]:
        """Where the next words go, and how many; without room it is none, and an error."""
        start = builder.load(count)
        end = builder.add(start, words)
        full = builder.icmp_signed(">", end, _WORD(_FIRST + MOST_WORDS))
        with builder.if_then(full, likely=False):
            pyapi.err_set_string("PyExc_ValueError", "too many arguments")
        builder.store(builder.select(full, start, end), count)
        return builder.gep(block, [start]), builder.select(full, _WORD(0), words)

    def is_a(item: Any, name: str) -> Any:
        kind = builder.bitcast(pyapi.get_type(item), pyapi.voidptr)
        wanted = builder.bitcast(_c_object(c, name), pyapi.voidptr)
        return cgutils.is_true(builder, builder.call(is_subtype, [kind, wanted]))

    def put_int(item: Any) -> None:
        place, _ = reserve(_WORD(1))
        builder.store(pyapi.long_as_longlong(item), place)

    with cgutils.for_range(builder, pyapi.tuple_size(given)) as loop:
        item = builder.call(item_of, [given, loop.index])
        status = builder.call(adapt, [item, builder.bitcast(words_of_array, pyapi.voidptr)])
        with builder.if_else(cgutils.is_false(builder, status)) as (is_array, is_no_array):
            with is_array:
                place, _ = reserve(_WORD(2))
                for i, field in enumerate((4, 2)):
                    value = builder.load(cgutils.gep_inbounds(builder, words_of_array, 0, field))
                    builder.store(value, builder.gep(place, [_WORD(i)]))
            with is_no_array, builder.if_else(is_a(item, "PyBytes_Type")) as (is_bytes, is_none):
                with is_bytes:
                    words = builder.udiv(builder.call(bytes_size, [item]), _WORD(8))
                    place, words = reserve(words)
                    cgutils.raw_memcpy(builder, place, builder.call(bytes_of, [item]), words, 8)
                with is_none, builder.if_else(is_a(item, "PyTuple_Type")) as (is_tuple, is_int):
                    with is_tuple, cgutils.for_range(builder, pyapi.tuple_size(item)) as inner:
                        put_int(builder.call(item_of, [item, inner.index]))
                    with is_int:
                        put_int(item)
    failed = cgutils.is_not_null(builder, pyapi.err_occurred())
    return NativeValue(builder.ptrtoint(block, _WORD), is_error=failed)


def _c_function(c: Any, result: Any, name: str, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(c.builder.module, kind, name)


def _c_object(c: Any, name: str) -> Any:
    module = c.builder.module
    if name not in module.globals:
        ir.GlobalVariable(module, ir.IntType(8), name)
    return module.globals[name]


def _address_of_block(typing_context, arguments):  # type: ignore[no-untyped-def]
    """The block's address, as drivers take it."""
    return types.intp(arguments), lambda context, builder, signature, values: values[0]


address_of_block = numba.extending.intrinsic(_address_of_block)


class Queue(types.Integer):  # type: ignore[misc]
    """Numba's type of the count of tasks: its address."""

    def __init__(self) -> None:
        super().__init__("Queue", bitwidth=64, signed=True)


register_model(Queue)(models.IntegerModel)


def _take(typing_context, queue):  # type: ignore[no-untyped-def]
    """The next task that no worker has taken."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count = builder.inttoptr(values[0], _WORD.as_pointer())
        return builder.atomic_rmw("add", count, _WORD(1), "monotonic")

    return types.intp(queue), generate


def plain_take(queue: Any) -> int:
    """The same in plain Python, where the queue is an array of one int."""
    queue[0] += 1
    return int(queue[0]) - 1


take = plain_take if numba.config.DISABLE_JIT else numba.extending.intrinsic(_take)


def unpacker(kinds: list[Any]) -> Any:
    """A function from the address of a block to the arguments, for compiled code."""

    @numba.extending.intrinsic
    def unpack(typing_context, block):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words = builder.inttoptr(arguments[0], _WORD.as_pointer())
            position = _FIRST

            def following() -> Any:
                nonlocal position
                value = builder.load(builder.gep(words, [_WORD(position)]))
                position += 1
                return value

            values = []
            for kind in kinds:
                if isinstance(kind, Queue):
                    values.append(arguments[0])
                elif isinstance(kind, types.Array):
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
