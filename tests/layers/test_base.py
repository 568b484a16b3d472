"""The layer contract: building, checks that name the layer, state, threads, seeds."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import (
    ArgumentError,
    BackendUnavailableError,
    DtypeError,
    ShapeError,
    TrainingError,
)
from fastscratch.layers import (
    ELU,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    DropConnect,
    Dropout,
    Flatten,
    FractionalMaxPool2d,
    GlobalAvgPool2d,
    Identity,
    Layer,
    LeakyReLU,
    MaxPool2d,
    PReLU,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from fastscratch.types import Array

KINDS = {
    "dense": (lambda: Dense(3), (5,)),
    "conv2d": (lambda: Conv2d(3, 3, padding=1), (2, 6, 6)),
    "max_pool2d": (lambda: MaxPool2d(2), (2, 6, 6)),
    "avg_pool2d": (lambda: AvgPool2d(2), (2, 6, 6)),
    "global_avg_pool2d": (lambda: GlobalAvgPool2d(), (2, 6, 6)),
    "flatten": (lambda: Flatten(), (2, 6, 6)),
    "relu": (lambda: ReLU(), (2, 6, 6)),
    "sigmoid": (lambda: Sigmoid(), (5,)),
    "tanh": (lambda: Tanh(), (5,)),
    "softmax": (lambda: Softmax(), (5,)),
    "batch_norm_rows": (lambda: BatchNorm(), (5,)),
    "batch_norm_images": (lambda: BatchNorm(), (2, 6, 6)),
    "dropout": (lambda: Dropout(0.3), (5,)),
    "leaky_relu": (lambda: LeakyReLU(0.1), (2, 6, 6)),
    "elu": (lambda: ELU(), (5,)),
    "prelu": (lambda: PReLU(), (2, 6, 6)),
    "prelu_shared": (lambda: PReLU(shared=True), (2, 6, 6)),
    "identity": (lambda: Identity(), (5,)),
    "drop_connect": (lambda: DropConnect(3, 0.3), (5,)),
    "fractional_max_pool2d": (lambda: FractionalMaxPool2d(), (2, 6, 6)),
    "residual_survival": (lambda: Residual(Dense(5), survival=0.5), (5,)),
    "sequential": (lambda: Sequential(Conv2d(3, 3), ReLU(), Flatten(), Dense(4)), (2, 6, 6)),
}


@pytest.fixture(params=list(KINDS))
def kind(request):
    return KINDS[request.param]


def batch(shape, n=4, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(dtype)


def small_net(seed=0, **build):
    net = Sequential(
        ("conv", Conv2d(4, 3)), ("norm", BatchNorm()), ("relu", ReLU()), ("flatten", Flatten()),
        ("drop", Dropout(0.5)), ("dense", Dense(3)), seed=seed,
    )  # fmt: skip
    net.build((2, 6, 6), **build)
    return net


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_output_has_the_announced_shape_and_the_dtype(kind, dtype):
    make, shape = kind
    layer = make()
    announced = layer.build(shape, dtype)
    x = batch(shape, dtype=dtype)
    for training in (False, True):
        y = layer.forward(x, training)
        assert y.shape == (4, *announced) == (4, *layer.output_shape)
        assert y.dtype == dtype
    dx = layer.backward(np.ones_like(y))
    assert dx.shape == x.shape and dx.dtype == dtype
    for parameter in layer.parameters():
        assert parameter.value.dtype == parameter.grad.dtype == dtype


def test_arrays_are_read_only_for_the_layer(kind):
    make, shape = kind
    layer = make()
    x = batch(shape)
    x.flags.writeable = False
    y = layer.forward(x, training=True)
    dout = batch(y.shape[1:], seed=1)
    dout.flags.writeable = False
    kept_x, kept_dout = x.copy(), dout.copy()
    layer.backward(dout)
    layer.forward(x)
    assert np.array_equal(x, kept_x) and np.array_equal(dout, kept_dout)


def test_other_memory_layouts_give_the_same(kind):
    make, shape = kind
    x = batch(shape)
    reference, other = make(), make()
    strange = (
        np.asfortranarray(x)
        if x.ndim == 2
        else x.transpose(1, 2, 3, 0).copy().transpose(3, 0, 1, 2)
    )
    assert not strange.flags.c_contiguous
    np.testing.assert_allclose(
        other.forward(strange, training=True),
        reference.forward(x, training=True),
        rtol=1e-5,
        atol=1e-6,
    )


def test_backward_overwrites_and_may_be_repeated(kind):
    make, shape = kind
    layer = make()
    y = layer.forward(batch(shape), training=True)
    dout = batch(y.shape[1:], seed=1)
    dx = layer.backward(dout)
    grads = [parameter.grad.copy() for parameter in layer.parameters()]
    again = layer.backward(dout)
    assert np.array_equal(dx, again)
    for parameter, grad in zip(layer.parameters(), grads, strict=True):
        assert np.array_equal(parameter.grad, grad)


def test_backward_parameters_gives_the_same_gradients(kind):
    make, shape = kind
    layer = make()
    y = layer.forward(batch(shape), training=True)
    dout = batch(y.shape[1:], seed=1)
    layer.backward(dout)
    grads = [parameter.grad.copy() for parameter in layer.parameters()]
    for parameter in layer.parameters():
        parameter.grad.fill(np.nan)
    layer.backward_parameters(dout)
    for parameter, grad in zip(layer.parameters(), grads, strict=True):
        assert np.array_equal(parameter.grad, grad)


def test_prediction_stores_nothing(kind):
    make, shape = kind
    layer = make()
    layer.build(shape)
    before = [dict(vars(inner)) for inner in layer.walk()]
    state = layer.state_dict()
    layer.forward(batch(shape))
    assert [vars(inner) for inner in layer.walk()] == before
    for name, array in layer.state_dict().items():
        assert np.array_equal(array, state[name])


def test_backward_without_training_forward_is_an_error(kind):
    make, shape = kind
    layer = make()
    y = layer.forward(batch(shape))
    with pytest.raises(TrainingError, match="training=True"):
        layer.backward(np.ones_like(y))
    with pytest.raises(TrainingError, match="training=True"):
        layer.backward_parameters(np.ones_like(y))


def test_prediction_between_forward_and_backward_changes_nothing(kind):
    make, shape = kind
    layer = make()
    y = layer.forward(batch(shape), training=True)
    dout = batch(y.shape[1:], seed=1)
    dx = layer.backward(dout)
    layer.forward(batch(shape, n=7, seed=3))
    assert np.array_equal(layer.backward(dout), dx)


def test_forget_drops_what_training_kept(kind):
    make, shape = kind
    layer = make()
    y = layer.forward(batch(shape), training=True)
    layer.forget()
    assert all(inner._saved is None for inner in layer.walk())
    with pytest.raises(TrainingError):
        layer.backward(np.ones_like(y))


def test_a_training_forward_that_fails_leaves_nothing_to_go_back_through():
    norm = BatchNorm()
    y = norm.forward(batch((3,)), training=True)
    with pytest.raises(ShapeError, match="empty batch"):
        norm.forward(batch((3,), n=0), training=True)
    with pytest.raises(TrainingError, match="training=True"):
        norm.backward(y)


def test_dout_of_another_shape_or_dtype_is_an_error(kind):
    make, shape = kind
    layer = Sequential(("it", make()))
    y = layer.forward(batch(shape), training=True)
    with pytest.raises(ShapeError, match="dout"):
        layer.backward(np.ones((*y.shape, 1), np.float32))
    with pytest.raises(ShapeError, match="5 samples"):
        layer.backward(np.ones((5, *y.shape[1:]), np.float32))
    with pytest.raises(DtypeError, match="dout"):
        layer.backward(np.ones(y.shape, np.float64))


def test_input_that_does_not_fit_names_the_layer(kind):
    make, shape = kind
    model = Sequential(("first", make()))
    model["first"].build(shape, path="first")
    with pytest.raises(ShapeError, match=r"layer 'first' \(\w+\).*takes input of shape"):
        model["first"].forward(batch((*shape[:-1], shape[-1] + 1)))
    with pytest.raises(DtypeError, match=r"layer 'first'.*float32.*float64"):
        model["first"].forward(batch(shape, dtype=np.float64))
    with pytest.raises(DtypeError, match=r"layer 'first'.*astype\(np.float32\)"):
        model["first"].forward(np.zeros((2, *shape), np.uint8))
    with pytest.raises(DtypeError, match="NumPy array, got list"):
        model["first"].forward([[1.0]])  # type: ignore[arg-type]


def test_empty_batch_predicts_nothing(kind):
    make, shape = kind
    layer = make()
    announced = layer.build(shape)
    assert layer.forward(np.empty((0, *shape), np.float32)).shape == (0, *announced)


def test_config_makes_the_same_layer_again(kind):
    make, shape = kind
    layer = make()
    twin = type(layer).from_config(layer.config())
    assert twin.config() == layer.config()
    layer.build(shape, seed=3)
    twin.build(shape, seed=3)
    x = batch(shape)
    assert np.array_equal(layer.forward(x, training=True), twin.forward(x, training=True))


def test_copies_are_independent_and_leave_kept_arrays_behind(kind):
    make, shape = kind
    layer = make()
    y = layer.forward(batch(shape), training=True)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with pytest.raises(TrainingError):
            twin.backward(np.ones_like(y))
        for mine, its in zip(layer.parameters(), twin.parameters(), strict=True):
            assert np.array_equal(mine.value, its.value)
            assert not np.shares_memory(mine.value, its.value)


def test_astype_keeps_the_state(kind):
    make, shape = kind
    layer = make()
    layer.forward(batch(shape), training=True)
    twin = layer.astype(np.float64)
    assert twin.dtype == np.float64 and layer.dtype == np.float32
    x = batch(shape, seed=5)
    np.testing.assert_allclose(
        twin.forward(x.astype(np.float64)), layer.forward(x), rtol=1e-4, atol=1e-5
    )
    for name, array in layer.state_dict().items():
        other = twin.state_dict()[name]
        assert np.array_equal(array, other)
        assert other.dtype == (np.float64 if array.dtype == np.float32 else array.dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex64])
def test_other_dtypes_are_refused_when_building(dtype):
    with pytest.raises(DtypeError, match="float32 or float64"):
        Dense(2).build((3,), dtype)
    with pytest.raises(DtypeError, match=r"Dense: .*astype\(np.float32\)"):
        Dense(2).forward(np.zeros((2, 3), dtype))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), 5, (-1, 2, 2)])
def test_impossible_input_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match="positive ints"):
        Dense(2).build(shape)


def test_a_layer_is_built_once():
    dense = Dense(2)
    dense.build((3,))
    with pytest.raises(TrainingError, match="built already"):
        dense.build((3,))
    shared = ReLU()
    with pytest.raises(TrainingError, match=r"layer '0' \(ReLU\): built already.*two places"):
        Sequential(shared, Dense(3), shared).build((3,))


def test_a_failed_build_can_be_mended():
    model = Sequential(Conv2d(3, 3), Flatten(), Dense(2), seed=4)
    with pytest.raises(ShapeError):
        model.build((1, 2, 2))
    assert not model.built and not model["0"].built
    model.build((1, 5, 5))
    reference = Sequential(Conv2d(3, 3), Flatten(), Dense(2), seed=4)
    reference.build((1, 5, 5))
    for mine, its in zip(model.parameters(), reference.parameters(), strict=True):
        assert np.array_equal(mine.value, its.value)


def test_a_failed_build_leaves_layers_alone_that_were_built_before():
    ready = Dense(2)
    ready.build((3,))
    kept = ready.weight.value.copy()
    with pytest.raises(TrainingError, match="built already"):
        Sequential(Dense(3), ready).build((3,))
    assert ready.built and np.array_equal(ready.weight.value, kept)


def test_parameters_before_building_are_an_error():
    for call in ("parameters", "buffers", "state_dict"):
        with pytest.raises(TrainingError, match="build"):
            getattr(Sequential(Dense(2)), call)()


def test_kept_value_stays_in_place_when_assigned():
    dense = Dense(2)
    dense.build((3,))
    array = dense.weight.value
    dense.weight.value = np.ones((3, 2))
    dense.weight.value *= 2
    assert dense.weight.value is array and (array == 2).all()
    dense.weight.grad = np.full((3, 2), 5.0)
    assert (dense.weight.grad == 5).all()
    with pytest.raises(ShapeError, match="weight"):
        dense.weight.value = np.ones((2, 3))
    with pytest.raises(DtypeError, match="weight"):
        dense.weight.value = np.ones((3, 2), complex)


def test_names_are_dotted_paths():
    net = Sequential(("stem", Sequential(Conv2d(2, 3), BatchNorm())), Flatten(), ("top", Dense(2)))
    net.build((1, 5, 5))
    assert [p.name for p in net.parameters()] == [
        "stem.0.weight", "stem.0.bias", "stem.1.gamma", "stem.1.beta", "top.weight", "top.bias",
    ]  # fmt: skip
    assert [b.name for b in net.buffers()] == ["stem.1.running_mean", "stem.1.running_var"]
    assert list(net.state_dict()) == [
        "stem.0.weight", "stem.0.bias", "stem.1.gamma", "stem.1.beta", "stem.1.running_mean",
        "stem.1.running_var", "top.weight", "top.bias",
    ]  # fmt: skip


def test_only_weights_decay():
    decaying = {p.name for p in small_net().parameters() if p.decay}
    assert decaying == {"conv.weight", "dense.weight"}


def test_state_round_trip():
    source, target = small_net(seed=1), small_net(seed=2)
    x = batch((2, 6, 6))
    source.forward(x, training=True)
    target.load_state_dict(source.state_dict())
    assert np.array_equal(source.forward(x), target.forward(x))
    state = source.state_dict()
    state["dense.weight"][:] = 0
    assert source["dense"].weight.value.any(), "state_dict copies"


def test_loading_writes_in_place():
    net = small_net()
    arrays = [p.value for p in net.parameters()] + [b.value for b in net.buffers()]
    net.load_state_dict(small_net(seed=9).state_dict())
    after = [p.value for p in net.parameters()] + [b.value for b in net.buffers()]
    assert all(one is other for one, other in zip(arrays, after, strict=True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("conv.bias"), ArgumentError, "missing: conv.bias$"),
        (lambda s: s.update(extra=np.zeros(1)), ArgumentError, "unexpected: extra"),
        (lambda s: s.update({"conv.bias": np.zeros(5)}), ShapeError, r"conv.bias.*\(4,\).*\(5,\)"),
        (lambda s: s.update({"conv.bias": np.array(["a"] * 4)}), DtypeError, "conv.bias"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, message):
    net = small_net(seed=1)
    kept = net.state_dict()
    state = small_net(seed=2).state_dict()
    change(state)
    with pytest.raises(error, match=message):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        assert np.array_equal(array, kept[name])


def test_first_weights_depend_on_seed_and_path_alone():
    def weights(seed, dtype=np.float32):
        return small_net(seed=seed, dtype=dtype).state_dict()

    one, same, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["conv.weight"], other["conv.weight"])
    # Building another layer first, or another number of layers, shifts no stream.
    alone = Dense(3)
    Dense(100).build((50,), seed=1)
    alone.build((64,), seed=1, path="dense")
    assert np.array_equal(alone.weight.value, one["dense.weight"])
    # Both dtypes start from the same numbers.
    wide = weights(1, np.float64)
    assert np.array_equal(wide["conv.weight"].astype(np.float32), one["conv.weight"])


def test_layers_of_one_shape_differ():
    first, second = Dense(4), Dense(4)
    Sequential(first, second).build((4,))
    assert not np.array_equal(first.weight.value, second.weight.value)


def test_seed_given_to_build_wins():
    one, other = Dense(4), Dense(4)
    Sequential(one, seed=1).build((3,))
    Sequential(other).build((3,), seed=1)
    assert np.array_equal(one.weight.value, other.weight.value)
    with pytest.raises(ArgumentError, match="seed"):
        Dense(2).build((3,), seed=-1)


def test_threads_predict_at_once_with_one_network():
    net = small_net()
    inputs = [batch((2, 6, 6), n=20, seed=s) for s in range(8)]
    expected = [net.forward(x) for x in inputs]
    results: list[list[Array]] = [[] for _ in inputs]

    def work(number):
        for _ in range(20):
            results[number].append(net.predict(inputs[number], batch_size=7))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(len(inputs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for outputs, reference in zip(results, expected, strict=True):
        assert len(outputs) == 20
        for output in outputs:
            np.testing.assert_allclose(output, reference, rtol=1e-5, atol=1e-6)


def test_threads_that_meet_an_unbuilt_network_build_it_once():
    for _ in range(20):
        net = Sequential(Dense(8), ReLU(), Dense(3))
        barrier = threading.Barrier(4)
        outputs: list[Array] = []
        x = batch((5,))

        def work(net=net, barrier=barrier, outputs=outputs, x=x):
            barrier.wait()
            outputs.append(net.forward(x))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(outputs) == 4
        assert all(np.array_equal(outputs[0], output) for output in outputs)


def test_backend_of_a_layer_is_preferred_and_a_block_wins(monkeypatch):
    from fastscratch.dispatch import record_choices

    x = batch((2, 6, 6))
    plain = Sequential(Conv2d(2, 3, backend="numpy"), Flatten(), Dense(2), backend="numpy")
    with record_choices() as choices:
        plain.forward(x)
    assert {name for used in choices.values() for name in used} == {"numpy"}
    assert set(choices) == {"conv2d_forward", "dense_forward"}

    def outside(x, weight, bias, y, num_threads):
        y[...] = 7

    fs.register_kernel("dense_forward", outside, name="sevens")
    try:
        dense = Dense(2, backend="sevens")
        assert (dense.forward(batch((3,))) == 7).all()
        with fs.use_backend(dense_forward="numpy"):
            assert not (dense.forward(batch((3,))) == 7).all()
    finally:
        fs.unregister_kernel("dense_forward", "sevens")


def test_a_backend_that_is_not_there_names_the_layer():
    model = Sequential(("first", Dense(2, backend="cuda")))
    with pytest.raises(BackendUnavailableError, match=r"layer 'first' \(Dense\).*cuda"):
        model.forward(batch((3,)))


def test_errors_name_the_innermost_layer_once():
    model = Sequential(("block", Sequential(("conv", Conv2d(2, 3, stride=2)))))
    with pytest.raises(ShapeError) as caught:
        model.build((1, 6, 6))
    text = str(caught.value)
    assert text.startswith("layer 'block.conv' (Conv2d): conv2d_forward: input height 6")
    assert text.count("layer '") == 1 and "rounding" in text


def test_a_new_kind_needs_three_methods():
    class Scale(Layer):
        def _build(self, input_shape):
            self.factor = self.add_parameter("factor", (1,), "constant")
            return input_shape

        def _forward(self, x, training):
            if training:
                self._saved = x
            return x * self.factor.value

        def _backward(self, dout):
            self.factor.grad[0] = (dout * self._saved).sum()
            return dout * self.factor.value

    net = Sequential(("scale", Scale()), ("dense", Dense(2)))
    report = fs.gradient_check.check_gradients(
        net, fs.losses.SoftmaxCrossEntropy(), batch((3,)), np.array([0, 1, 1, 0])
    )
    assert report.ok, str(report)
    assert "scale.factor" in report.worst()
