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
