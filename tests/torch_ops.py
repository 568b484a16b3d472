"""Every operation through PyTorch: the judge from outside. Who imports it is skipped without."""

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch, the outside judge, is not installed: pip install torch==2.13.0"
)
F = torch.nn.functional

torch.set_num_threads(1)


def run(p, inputs):
    """The outputs of a problem, by name, computed by PyTorch in the dtype of the inputs."""
    tensors = {name: torch.tensor(array) for name, array in inputs.items()}
    if p.op.startswith("dense"):
        outputs = _dense(p, **tensors)
    elif p.op.startswith("conv2d"):
        outputs = _conv2d(p, **tensors)
    elif p.op.startswith("max_pool2d"):
        outputs = _max_pool2d(p, **tensors)
    elif p.op.startswith("avg_pool2d"):
        outputs = _avg_pool2d(p, **tensors)
    else:
        outputs = _columns(p, **tensors)
    return {name: tensor.detach().numpy() for name, tensor in outputs.items()}


def unsupported(p):
    """Why PyTorch cannot pose this problem; empty if it can."""
    if p.op.startswith("dense"):
        return ""
    if p.N == 0 and p.op in ("im2col", "col2im"):
        return "unfold takes no empty batch"
    if p.op.startswith("avg_pool2d"):
        top, bottom, left, right = p.padding
        if (top, left) != (bottom, right):
            return "its padding is symmetric"
        if 2 * top > p.kernel_size[0] or 2 * left > p.kernel_size[1]:
            return "its padding is half the window at most"
    return ""


def _margins(p):
    """Padding for F.pad, with the overhang that "ceil" allows; negative where "floor" drops."""
    (OH, OW), (top, bottom, left, right) = p.outputs, p.padding
    reach_h = (OH - 1) * p.stride[0] + (p.kernel_size[0] - 1) * p.dilation[0] + 1
    reach_w = (OW - 1) * p.stride[1] + (p.kernel_size[1] - 1) * p.dilation[1] + 1
    bottom = max(bottom, reach_h - p.H - top)
    right = max(right, reach_w - p.W - left)
    return left, right, top, bottom


def _dense(p, x=None, weight=None, bias=None, dout=None):
    if p.op == "dense_forward":
        return {"y": F.linear(x, weight.T, bias)}
    if p.op == "dense_backward_input":
        return {"dx": dout @ weight.T}
    return {"dw": x.T @ dout, "db": dout.sum(0)}


def _conv2d(p, x=None, weight=None, bias=None, dout=None):
    dtype = (x if x is not None else dout).dtype
    if x is None:
        x = torch.zeros(p.N, p.C, p.H, p.W, dtype=dtype)
    if weight is None:
        weight = torch.zeros(p.OC, p.C // p.groups, *p.kernel_size, dtype=dtype)
    if bias is None:
        bias = torch.zeros(p.OC, dtype=dtype)
    for tensor in (x, weight, bias):
        tensor.requires_grad_()
    y = F.conv2d(F.pad(x, _margins(p)), weight, bias, p.stride, 0, p.dilation, p.groups)
    if dout is None:
        return {"y": y}
    y.backward(dout)
    if p.op == "conv2d_backward_input":
        return {"dx": x.grad}
    return {"dw": weight.grad, "db": bias.grad}


def _max_pool2d(p, x=None, dout=None, argmax=None):
    if p.op == "max_pool2d_forward":
        left, right, top, bottom = _margins(p)
        padded = F.pad(x, (left, right, top, bottom), value=-np.inf)
        y, flat = F.max_pool2d(padded, p.kernel_size, p.stride, 0, p.dilation, return_indices=True)
        width = p.W + left + right
        oh, ow = torch.meshgrid(*map(torch.arange, y.shape[2:]), indexing="ij")
        kh = (flat // width - oh * p.stride[0]) // p.dilation[0]
        kw = (flat % width - ow * p.stride[1]) // p.dilation[1]
        return {"y": y, "argmax": kh * p.kernel_size[1] + kw}
    # PyTorch keeps flat indices and no argmax, so that the gradient is scattered by them.
    kh, kw = argmax.long() // p.kernel_size[1], argmax.long() % p.kernel_size[1]
    oh, ow = torch.meshgrid(*map(torch.arange, dout.shape[2:]), indexing="ij")
    ih = oh * p.stride[0] - p.padding[0] + kh * p.dilation[0]
    iw = ow * p.stride[1] - p.padding[2] + kw * p.dilation[1]
    dx = torch.zeros(p.N, p.C, p.H * p.W, dtype=dout.dtype)
    dx.scatter_add_(2, (ih * p.W + iw).flatten(2), dout.flatten(2))
    return {"dx": dx.reshape(p.N, p.C, p.H, p.W)}


def _avg_pool2d(p, x=None, dout=None):
    if x is None:
        x = torch.zeros(p.N, p.C, p.H, p.W, dtype=dout.dtype)
    x.requires_grad_()
    y = F.avg_pool2d(
        x, p.kernel_size, p.stride, (p.padding[0], p.padding[2]),
        p.rounding == "ceil", p.count_include_pad,
    )  # fmt: skip
    if dout is None:
        return {"y": y}
    y.backward(dout)
    return {"dx": x.grad}


def _columns(p, x=None, columns=None):
    OH, OW = p.outputs
    if x is not None:
        unfolded = F.unfold(F.pad(x, _margins(p)), p.kernel_size, p.dilation, 0, p.stride)
        return {"columns": unfolded.transpose(1, 2).reshape(p.N * OH * OW, -1)}
    left, right, top, bottom = _margins(p)
    folded = F.fold(
        columns.reshape(p.N, OH * OW, -1).transpose(1, 2),
        (p.H + top + bottom, p.W + left + right), p.kernel_size, p.dilation, 0, p.stride,
    )  # fmt: skip
    return {"x": folded[:, :, top : top + p.H, left : left + p.W]}
