"""Every operation as plain Python loops over plain numbers: the oracle that judges the reference.

It shares no code with the library, knows of no arrays but as nested lists, and is written for
nothing but being seen to be right. Images are ``x[n][c][h][w]``.
"""

import math
from itertools import product


def window_starts(extent, kernel, stride, before, after, dilation=1, rounding="exact"):
    """Where the windows start along one axis, counted from the array's first element."""
    reach = dilation * (kernel - 1) + 1
    starts = []
    start = -before
    while start + reach <= extent + after:
        starts.append(start)
        start += stride
    if not starts:
        raise ValueError("no window fits")
    if starts[-1] + reach != extent + after:
        if rounding == "exact":
            raise ValueError("a remainder")
        if rounding == "ceil" and start < extent:
            starts.append(start)
    return starts


def windows(p):
    """For each window (oh, ow) of a problem, its elements as (kh, kw, ih, iw)."""
    top, bottom, left, right = p.padding
    (KH, KW), (sh, sw), (dh, dw) = p.kernel_size, p.stride, p.dilation
    rows = window_starts(p.H, KH, sh, top, bottom, dh, p.rounding)
    cols = window_starts(p.W, KW, sw, left, right, dw, p.rounding)
    return {
        (oh, ow): [
            (kh, kw, rows[oh] + kh * dh, cols[ow] + kw * dw)
            for kh, kw in product(range(KH), range(KW))
        ]
        for oh, ow in product(range(len(rows)), range(len(cols)))
    }


def inside(p, ih, iw):
    return 0 <= ih < p.H and 0 <= iw < p.W


def zeros(*shape):
    if not shape:
        return 0.0
    return [zeros(*shape[1:]) for _ in range(shape[0])]


def taps(p):
    """Every product of a convolution: n, oc, oh, ow, channel, channel in group, kh, kw, ih, iw."""
    filters, channels = p.OC // p.groups, p.C // p.groups
    for (oh, ow), elements in windows(p).items():
        for kh, kw, ih, iw in elements:
            if inside(p, ih, iw):
                for n, oc, c in product(range(p.N), range(p.OC), range(channels)):
                    yield n, oc, oh, ow, oc // filters * channels + c, c, kh, kw, ih, iw


def extents(p):
    oh, ow = max(windows(p))
    return oh + 1, ow + 1


def conv2d_forward(p, x, weight, bias):
    y = zeros(p.N, p.OC, *extents(p))
    for n, oc, oh, ow in product(range(p.N), range(p.OC), *map(range, extents(p))):
        y[n][oc][oh][ow] = bias[oc]
    for n, oc, oh, ow, channel, c, kh, kw, ih, iw in taps(p):
        y[n][oc][oh][ow] += x[n][channel][ih][iw] * weight[oc][c][kh][kw]
    return {"y": y}


def conv2d_backward_input(p, dout, weight):
    dx = zeros(p.N, p.C, p.H, p.W)
    for n, oc, oh, ow, channel, c, kh, kw, ih, iw in taps(p):
        dx[n][channel][ih][iw] += dout[n][oc][oh][ow] * weight[oc][c][kh][kw]
    return {"dx": dx}


def conv2d_backward_weight(p, dout, x):
    dw = zeros(p.OC, p.C // p.groups, *p.kernel_size)
    db = zeros(p.OC)
    for n, oc, oh, ow, channel, c, kh, kw, ih, iw in taps(p):
        dw[oc][c][kh][kw] += dout[n][oc][oh][ow] * x[n][channel][ih][iw]
    for n, oc, oh, ow in product(range(p.N), range(p.OC), *map(range, extents(p))):
        db[oc] += dout[n][oc][oh][ow]
    return {"dw": dw, "db": db}


def pool_extents(p):
    return tuple(extent // size for extent, size in zip(extents(p), p.pool, strict=True))


def conv2d_relu_max_pool2d_forward(p, x, weight, bias):
    conv = conv2d_forward(p, x, weight, bias)["y"]
    y, argmax = (zeros(p.N, p.OC, *pool_extents(p)) for _ in range(2))
    for n, oc, ph, pw in product(range(p.N), range(p.OC), *map(range, pool_extents(p))):
        best, where = None, None
        for kh, kw in product(*map(range, p.pool)):
            value = conv[n][oc][ph * p.pool[0] + kh][pw * p.pool[1] + kw]
            if best is None or value > best:
                best, where = value, kh * p.pool[1] + kw
        y[n][oc][ph][pw], argmax[n][oc][ph][pw] = max(best or 0, 0), where
    return {"y": y, "argmax": argmax}


def conv2d_relu_max_pool2d_backward_weight(p, dout, y, argmax, x):
    dconv = zeros(p.N, p.OC, *extents(p))
    for n, oc, ph, pw in product(range(p.N), range(p.OC), *map(range, pool_extents(p))):
        which = argmax[n][oc][ph][pw]
        if y[n][oc][ph][pw] > 0 and 0 <= which < p.pool[0] * p.pool[1]:
            oh = ph * p.pool[0] + which // p.pool[1]
            dconv[n][oc][oh][pw * p.pool[1] + which % p.pool[1]] = dout[n][oc][ph][pw]
    return conv2d_backward_weight(p, dconv, x)


def max_pool2d_forward(p, x):
    y, argmax = (zeros(p.N, p.C, *extents(p)) for _ in range(2))
    for (n, c), ((oh, ow), elements) in product(
        product(range(p.N), range(p.C)), windows(p).items()
    ):
        best, where = None, None
        for kh, kw, ih, iw in elements:
            if not inside(p, ih, iw):
                continue
            value = x[n][c][ih][iw]
            if best is None or value > best or (math.isnan(value) and not math.isnan(best)):
                best, where = value, kh * p.kernel_size[1] + kw
        y[n][c][oh][ow], argmax[n][c][oh][ow] = best, where
    return {"y": y, "argmax": argmax}


def max_pool2d_backward(p, dout, argmax):
    dx = zeros(p.N, p.C, p.H, p.W)
    for (n, c), ((oh, ow), elements) in product(
        product(range(p.N), range(p.C)), windows(p).items()
    ):
        for kh, kw, ih, iw in elements:
            if kh * p.kernel_size[1] + kw == argmax[n][c][oh][ow] and inside(p, ih, iw):
                dx[n][c][ih][iw] += dout[n][c][oh][ow]
    return {"dx": dx}


def counted(p, elements):
    """How many elements of a window an average divides by."""
    top, bottom, left, right = p.padding if p.count_include_pad else (0, 0, 0, 0)
    return sum(-top <= ih < p.H + bottom and -left <= iw < p.W + right for _, _, ih, iw in elements)


def avg_pool2d_forward(p, x):
    y = zeros(p.N, p.C, *extents(p))
    for (n, c), ((oh, ow), elements) in product(
        product(range(p.N), range(p.C)), windows(p).items()
    ):
        total = sum(x[n][c][ih][iw] for _, _, ih, iw in elements if inside(p, ih, iw))
        y[n][c][oh][ow] = total / counted(p, elements)
    return {"y": y}


def avg_pool2d_backward(p, dout):
    dx = zeros(p.N, p.C, p.H, p.W)
    for (n, c), ((oh, ow), elements) in product(
        product(range(p.N), range(p.C)), windows(p).items()
    ):
        for _, _, ih, iw in elements:
            if inside(p, ih, iw):
                dx[n][c][ih][iw] += dout[n][c][oh][ow] / counted(p, elements)
    return {"dx": dx}


def im2col(p, x):
    rows = []
    for n, elements in product(range(p.N), windows(p).values()):
        rows.append([
            x[n][c][ih][iw] if inside(p, ih, iw) else 0.0
            for c in range(p.C) for _, _, ih, iw in elements
        ])  # fmt: skip
    return {"columns": rows}


def col2im(p, columns):
    x = zeros(p.N, p.C, p.H, p.W)
    for row, (n, elements) in zip(columns, product(range(p.N), windows(p).values()), strict=True):
        for c, (k, (_, _, ih, iw)) in product(range(p.C), enumerate(elements)):
            if inside(p, ih, iw):
                x[n][c][ih][iw] += row[c * len(elements) + k]
    return {"x": x}


def dense_forward(p, x, weight, bias):
    y = zeros(p.N, p.out_features)
    for n, o in product(range(p.N), range(p.out_features)):
        y[n][o] = bias[o] + sum(x[n][i] * weight[i][o] for i in range(p.in_features))
    return {"y": y}


def dense_backward_input(p, dout, weight):
    dx = zeros(p.N, p.in_features)
    for n, i in product(range(p.N), range(p.in_features)):
        dx[n][i] = sum(dout[n][o] * weight[i][o] for o in range(p.out_features))
    return {"dx": dx}


def dense_backward_weight(p, dout, x):
    dw, db = zeros(p.in_features, p.out_features), zeros(p.out_features)
    for n, o in product(range(p.N), range(p.out_features)):
        db[o] += dout[n][o]
        for i in range(p.in_features):
            dw[i][o] += x[n][i] * dout[n][o]
    return {"dw": dw, "db": db}


def flat(array):
    """The elements of nested lists in order."""
    if not isinstance(array, list):
        return [array]
    return [element for inner in array for element in flat(inner)]


def relu_forward(p, x):
    return {"y": [v if v > 0 or math.isnan(v) else 0.0 for v in flat(x)]}


def add_forward(p, x, other):
    return {"y": [a + b for a, b in zip(flat(x), flat(other), strict=True)]}


def add_relu_forward(p, x, other):
    return relu_forward(p, add_forward(p, x, other)["y"])


def relu_backward(p, dout, y):
    return {"dx": [d if v > 0 else 0.0 for d, v in zip(flat(dout), flat(y), strict=True)]}


def sigmoid_forward(p, x):
    def sigmoid(v):
        return 1 / (1 + math.exp(-v)) if v > 0 else 1 - 1 / (1 + math.exp(v))

    return {"y": [v if math.isnan(v) else sigmoid(v) for v in flat(x)]}


def sigmoid_backward(p, dout, y):
    return {"dx": [d * v * (1 - v) for d, v in zip(flat(dout), flat(y), strict=True)]}


def tanh_forward(p, x):
    return {"y": [math.tanh(v) for v in flat(x)]}


def tanh_backward(p, dout, y):
    return {"dx": [d * (1 - v * v) for d, v in zip(flat(dout), flat(y), strict=True)]}


def leaky_relu_forward(p, x, alpha):
    return {"y": [v if v > 0 else alpha[0] * v for v in flat(x)]}


def leaky_relu_backward(p, dout, x, alpha):
    pairs = zip(flat(dout), flat(x), strict=True)
    return {"dx": [d if v > 0 else alpha[0] * d for d, v in pairs]}


def elu_forward(p, x, alpha):
    return {"y": [v if v > 0 else alpha[0] * math.expm1(v) for v in flat(x)]}


def elu_backward(p, dout, y, alpha):
    pairs = zip(flat(dout), flat(y), strict=True)
    return {"dx": [d if v > 0 else d * (v + alpha[0]) for d, v in pairs]}


def prelu_forward(p, x, slopes):
    return {
        "y": [
            v if v > 0 else slopes[c] * v
            for sample in x for c in range(p.C) for v in sample[c]
        ]
    }  # fmt: skip


def prelu_backward(p, dout, x, slopes):
    dx, dslopes = zeros(p.N, p.C, p.S), zeros(p.C)
    for n, c, i in product(range(p.N), range(p.C), range(p.S)):
        above = x[n][c][i] > 0
        dx[n][c][i] = dout[n][c][i] * (1 if above else slopes[c])
        dslopes[c] += 0 if above else dout[n][c][i] * x[n][c][i]
    return {"dx": dx, "dslopes": dslopes}


def fractional_max_pool2d_forward(p, x, rows, cols):
    y, argmax = [], []
    for n, c, row, col in product(range(p.N), range(p.C), rows, cols):
        window = [(x[n][c][ih][iw], ih * p.W + iw) for ih in range(*row) for iw in range(*col)]
        largest, place = window[0]
        for value, at in window[1:]:
            if value > largest or (math.isnan(value) and not math.isnan(largest)):
                largest, place = value, at
        y.append(largest)
        argmax.append(place)
    return {"y": y, "argmax": argmax}


def fractional_max_pool2d_backward(p, dout, argmax):
    dx = zeros(p.N, p.C, p.H, p.W)
    for n, c, oh, ow in product(range(p.N), range(p.C), range(p.OH), range(p.OW)):
        ih, iw = divmod(argmax[n][c][oh][ow], p.W)
        if 0 <= ih < p.H:
            dx[n][c][ih][iw] += dout[n][c][oh][ow]
    return {"dx": dx}


def softmax_cross_entropy_forward(p, scores, labels):
    probabilities, losses = [], []
    for row, label in zip(scores, labels, strict=True):
        powers = [math.exp(score) for score in row]
        probabilities.append([power / sum(powers) for power in powers])
        own = probabilities[-1][label] if 0 <= label < p.C else math.nan
        losses.append(-math.log(own))
    return {"probabilities": probabilities, "losses": losses}


def softmax_cross_entropy_backward(p, probabilities, labels):
    return {
        "dscores": [
            [(share - (c == label)) / p.N for c, share in enumerate(row)]
            for row, label in zip(probabilities, labels, strict=True)
        ]
    }


def sgd_update(p, value, grad, rates):
    lr, decay = rates
    return {
        "value": [w - lr * (g + decay * w) for w, g in zip(flat(value), flat(grad), strict=True)]
    }


def momentum_update(p, value, velocity, grad, rates):
    momentum, gain, step, decay = rates
    velocities, values = [], []
    for w, v, g in zip(flat(value), flat(velocity), flat(grad), strict=True):
        velocities.append(momentum * v + gain * (g + decay * w))
        values.append(w + step * velocities[-1])
    return {"value": values, "velocity": velocities}


def nesterov_update(p, value, velocity, grad, rates):
    """As it is defined: the gradient is that of the point ahead, which is what value holds."""
    momentum, gain, step, decay = rates
    velocities, values = [], []
    for ahead, v, g in zip(flat(value), flat(velocity), flat(grad), strict=True):
        behind = ahead - step * momentum * v
        velocities.append(momentum * v + gain * (g + decay * ahead))
        behind += step * velocities[-1]
        values.append(behind + step * momentum * velocities[-1])
    return {"value": values, "velocity": velocities}


def adagrad_update(p, value, total, grad, rates):
    lr, eps, decay = rates
    values, totals = [], []
    for w, square, g in zip(flat(value), flat(total), flat(grad), strict=True):
        g += decay * w
        totals.append(square + g**2)
        values.append(w - lr * g / (math.sqrt(totals[-1]) + eps))
    return {"value": values, "total": totals}


def rmsprop_update(p, value, v, grad, rates):
    lr, rho, eps, decay = rates
    values, squares = [], []
    for w, square, g in zip(flat(value), flat(v), flat(grad), strict=True):
        g += decay * w
        squares.append(rho * square + (1 - rho) * g**2)
        values.append(w - lr * g / (math.sqrt(squares[-1]) + eps))
    return {"value": values, "v": squares}


def adam_update(p, value, m, v, grad, rates):
    beta1, beta2, rate, scale, eps, decay = rates
    values, means, squares = [], [], []
    for w, mean, square, g in zip(flat(value), flat(m), flat(v), flat(grad), strict=True):
        g += decay * w
        means.append(beta1 * mean + (1 - beta1) * g)
        squares.append(beta2 * square + (1 - beta2) * g**2)
        values.append(w - rate * means[-1] / (math.sqrt(scale * squares[-1]) + eps))
    return {"value": values, "m": means, "v": squares}


def squared_norm(p, x):
    elements = flat(x)
    starts = range(0, len(elements), 8192)
    return {"sums": [sum(v * v for v in elements[i : i + 8192]) for i in starts]}


def batch_norm_inference(p, x, gamma, beta, mean, var, eps):
    return {
        "y": [
            gamma[c] * (v - mean[c]) / math.sqrt(var[c] + eps[0]) + beta[c]
            for sample in x for c in range(p.C) for v in sample[c]
        ]
    }  # fmt: skip


def batch_norm_forward(p, x, gamma, beta, eps):
    mean, var = [], []
    for c in range(p.C):
        pixels = [v for sample in x for v in sample[c]]
        mean.append(sum(pixels) / max(len(pixels), 1))
        var.append(sum((v - mean[c]) ** 2 for v in pixels) / max(len(pixels), 1))
    return batch_norm_inference(p, x, gamma, beta, mean, var, eps) | {"mean": mean, "var": var}


def batch_norm_backward(p, dout, x, gamma, mean, var, eps):
    """From the derivatives of mean and variance, one after the other, as the paper's list has it.

    The mean and variance given need not be x's own: what sum(x - mean) adds is left out.
    """
    dx, dgamma, dbeta = zeros(p.N, p.C, p.S), zeros(p.C), zeros(p.C)
    count = p.N * p.S
    for c in range(p.C):
        std = math.sqrt(var[c] + eps[0])
        places = list(product(range(p.N), range(p.S)))
        for n, i in places:
            dbeta[c] += dout[n][c][i]
            dgamma[c] += dout[n][c][i] * (x[n][c][i] - mean[c]) / std
        dvar = -gamma[c] * dgamma[c] / (2 * std**2)
        dmean = -gamma[c] * dbeta[c] / std
        for n, i in places:
            through_var = dvar * 2 * (x[n][c][i] - mean[c]) / count
            dx[n][c][i] = gamma[c] * dout[n][c][i] / std + through_var + dmean / count
    return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def batch_norm_relu_forward(p, x, gamma, beta, eps):
    outputs = batch_norm_forward(p, x, gamma, beta, eps)
    return outputs | {"y": [v if v > 0 or v != v else 0 for v in outputs["y"]]}


def batch_norm_relu_backward(p, dout, y, x, gamma, mean, var, eps):
    inner = zeros(p.N, p.C, p.S)
    for n, c, i in product(range(p.N), range(p.C), range(p.S)):
        if y[n][c][i] > 0:
            inner[n][c][i] = dout[n][c][i]
    return batch_norm_backward(p, inner, x, gamma, mean, var, eps)


def mixed(word):
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
        word = (word ^ (word >> shift)) * factor % 2**32
    return word ^ (word >> 15)


def dropout_forward(p, x, key, ratio):
    def kept(place):
        return mixed(mixed(place ^ key[0]) ^ key[1]) >= ratio[0] * 2**32

    return {"y": [v / (1 - ratio[0]) if kept(i) else 0.0 for i, v in enumerate(flat(x))]}


def dropout_backward(p, dout, key, ratio):
    return {"dx": dropout_forward(p, dout, key, ratio)["y"]}
