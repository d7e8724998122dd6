"""Faults that a proof must find: graphs changed after their export, and modules that are no function of a row.

A changed graph must be refused. A module must be refused, or what is published must be what its forward computes.
"""

from collections.abc import Callable

import numpy as np
import torch
from honest import WIDTH, Dense
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

Change = Callable[[ModelProto], None]


class NoPlaceError(Exception):
    """A graph that holds nothing for this change to change."""


def changed(model: ModelProto, change: Change) -> ModelProto:
    """A copy of `model` with a fault in it."""
    copy = ModelProto()
    copy.CopyFrom(model)
    change(copy)
    return copy


def _weights(model: ModelProto, rank: int) -> list[TensorProto]:
    kinds = (TensorProto.FLOAT, TensorProto.DOUBLE)
    found = [
        t for t in model.graph.initializer if len(t.dims) == rank and t.data_type in kinds and max(t.dims) > 1
    ]
    if not found:
        raise NoPlaceError
    return found


def _set(tensor: TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values.astype(numpy_helper.to_array(tensor).dtype), tensor.name))


def _scaled(rank: int, factor: float, place: int = 0) -> Change:
    def change(model: ModelProto) -> None:
        tensor = _weights(model, rank)[place]
        _set(tensor, numpy_helper.to_array(tensor) * factor)

    return change


def _one_number(model: ModelProto) -> None:
    tensor = _weights(model, 2)[0]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 0.05 * np.abs(values).max()
    _set(tensor, values)


def _swapped(model: ModelProto) -> None:
    """Two rows of a weight, or two biases of neighbours, change places."""
    tensor = _weights(model, 2)[-1]
    values = numpy_helper.to_array(tensor).copy()
    values[[0, 1]] = values[[1, 0]]
    _set(tensor, values)


def _transposed(model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2 and min(tensor.dims) > 1:
            values = numpy_helper.to_array(tensor)
            _set(tensor, values.T.reshape(values.shape))
            return
    raise NoPlaceError


def _rounded(kind: str) -> Change:
    def change(model: ModelProto) -> None:
        for tensor in _weights(model, 2):
            values = numpy_helper.to_array(tensor)
            step = np.abs(values).max() / 127
            _set(tensor, values.astype(np.float16) if kind == "float16" else np.round(values / step) * step)

    return change


def _node(model: ModelProto, *kinds: str) -> NodeProto:
    for node in model.graph.node:
        if node.op_type in kinds:
            return node
    raise NoPlaceError


def _other(kinds: str, new: str, **attributes: float) -> Change:
    """An operator in the place of another."""

    def change(model: ModelProto) -> None:
        node = _node(model, *kinds.split())
        node.op_type = new
        del node.attribute[:]
        if new in ("Identity", "Relu", "Tanh", "Sigmoid", "LeakyRelu"):
            del node.input[1:]
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())

    return change


def _attribute(kinds: str, name: str, new: Callable[[object], object]) -> Change:
    def change(model: ModelProto) -> None:
        node = _node(model, *kinds.split())
        for i, attribute in enumerate(node.attribute):
            if attribute.name == name:
                value = new(helper.get_attribute_value(attribute))
                del node.attribute[i]
                node.attribute.append(helper.make_attribute(name, value))
                return
        raise NoPlaceError

    return change


def _in_front(nodes: Callable[[str, str], list[NodeProto]], **constants: np.ndarray) -> Change:
    """Nodes between the input and all that reads it."""

    def change(model: ModelProto) -> None:
        for node in model.graph.node:
            for i, name in enumerate(node.input):
                node.input[i] = "fault/x" if name == "features" else name
        inner = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*nodes("features", "fault/x"), *inner])
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())

    return change


def _batch_mean(x: str, y: str) -> list[NodeProto]:
    return [
        helper.make_node("ReduceMean", [x, "fault/axis"], ["fault/mean"], keepdims=1),
        helper.make_node("Mul", ["fault/mean", "fault/little"], ["fault/share"]),
        helper.make_node("Sub", [x, "fault/share"], [y]),
    ]


def _no_nan(x: str, y: str) -> list[NodeProto]:
    return [
        helper.make_node("IsNaN", [x], ["fault/nan"]),
        helper.make_node("Where", ["fault/nan", "fault/zero", x], [y]),
    ]


def _clipped(x: str, y: str) -> list[NodeProto]:
    return [helper.make_node("Clip", [x, "fault/low", "fault/high"], [y])]


def _clip(most: float) -> Change:
    return _in_front(
        _clipped, **{"fault/low": np.float32(-most).reshape(()), "fault/high": np.float32(most).reshape(())}
    )


def _half(x: str, y: str) -> list[NodeProto]:
    return [
        helper.make_node("Cast", [x], ["fault/half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["fault/half"], [y], to=TensorProto.FLOAT),
    ]


def _noise(x: str, y: str) -> list[NodeProto]:
    return [
        helper.make_node("RandomNormalLike", [x], ["fault/noise"], scale=1e-3),
        helper.make_node("Add", [x, "fault/noise"], [y]),
    ]


def _dropping(x: str, y: str) -> list[NodeProto]:
    return [helper.make_node("Dropout", [x, "fault/ratio", "fault/training"], [y])]


def _threshold(factor: float) -> Change:
    def change(model: ModelProto) -> None:
        compare = _node(model, "LessOrEqual")
        for tensor in model.graph.initializer:
            if tensor.name == compare.input[1]:
                _set(tensor, numpy_helper.to_array(tensor) * factor)
                return
        raise NoPlaceError

    return change


def _nan_is_normal(model: ModelProto) -> None:
    """score > threshold, where not (score <= threshold) was asked for."""
    compare, negation = _node(model, "LessOrEqual"), _node(model, "Not")
    compare.op_type, negation.op_type = "Greater", "Identity"


def _no_skip(model: ModelProto) -> None:
    adds = [n for n in model.graph.node if n.op_type == "Add"]
    weights = {t.name for t in model.graph.initializer}
    for node in adds:
        if not weights & set(node.input):
            node.op_type = "Identity"
            del node.input[1:]
            return
    raise NoPlaceError


def _other_gates(model: ModelProto) -> None:
    """The gates of a recurrent layer in PyTorch's order, not in ONNX's."""
    node = _node(model, "LSTM", "GRU")
    for tensor in model.graph.initializer:
        if tensor.name == node.input[1]:
            values = numpy_helper.to_array(tensor)
            hidden = values.shape[1] // (4 if node.op_type == "LSTM" else 3)
            _set(tensor, np.roll(values, hidden, axis=1))
            return
    raise NoPlaceError


GRAPHS: dict[str, Change] = {
    "a weight 1.001 times": _scaled(2, 1.001),
    "the last weight .999 times": _scaled(2, 0.999, -1),
    "a bias 1.01 times": _scaled(1, 1.01),
    "no last bias": _scaled(1, 0.0, -1),
    "a kernel 1.001 times": _scaled(4, 1.001),
    "a kernel in time 1.001 times": _scaled(3, 1.001),
    "one number of a weight": _one_number,
    "two rows of a weight swapped": _swapped,
    "a weight transposed": _transposed,
    "weights rounded to float16": _rounded("float16"),
    "weights rounded to int8": _rounded("int8"),
    "rows rounded to float16": _in_front(_half),
    "an activation dropped": _other("Relu Tanh Gelu Erf Elu LeakyRelu Sigmoid", "Identity"),
    "a leaky activation": _other("Relu", "LeakyRelu", alpha=0.01),
    "another activation": _other("Tanh Elu Sigmoid", "Relu"),
    "another epsilon": _attribute(
        "BatchNormalization LayerNormalization GroupNormalization InstanceNormalization RMSNormalization",
        "epsilon",
        lambda _: 1e-2,
    ),
    "another padding": _attribute(
        "Conv",
        "pads",
        lambda pads: (
            [*pads[len(pads) // 2 :], *pads[: len(pads) // 2]][::-1]
            if len(set(pads)) > 1
            else [pads[0] + 1, *pads[1:-1], pads[-1] - 1]
        ),
    ),
    "another slope": _attribute("LeakyRelu", "alpha", lambda _: 0.02),
    "no skip": _no_skip,
    "gates in another order": _other_gates,
    "another softmax axis": _attribute("Softmax", "axis", lambda _: 1),
    "rows clipped at 20": _clip(20),
    "rows clipped at 1e5": _clip(1e5),
    "no value below 0": _in_front(lambda x, y: [helper.make_node("Relu", [x], [y])]),
    "NaN replaced in front": _in_front(_no_nan, **{"fault/zero": np.zeros((), np.float32)}),
    "a little of the batch's mean": _in_front(
        _batch_mean, **{"fault/axis": np.array([0]), "fault/little": np.float32(1e-3).reshape(())}
    ),
    "noise": _in_front(_noise),
    "dropout in training mode": _in_front(
        _dropping, **{"fault/ratio": np.float32(0.1).reshape(()), "fault/training": np.array(True)}
    ),
    "threshold 1.1 times": _threshold(1.1),
    "threshold .9 times": _threshold(0.9),
    "NaN is normal": _nan_is_normal,
}


class Imputing(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(torch.where(torch.isnan(x), 0.5, x)))


class WithoutNan(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(torch.nan_to_num(x, 0.0, 3.0, -3.0)))


class BranchOnMean(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x if x.mean() > -1e3 else -x))


class BranchOnLargest(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x / 255 if x.max() > 1e4 else x))


class Clamped(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x.clamp(-20, 20)))


class ClampedFar(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x.clamp(-1e4, 1e4)))


class Negative(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(torch.where(x.sum(dim=1, keepdim=True) < -30, x.abs(), x)))


class ConstantRows(Dense):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.std(dim=1, keepdim=True) < 1e-6
        return torch.where(flat, torch.zeros_like(x), self.decoder(self.encoder(x)))


class ZeroRows(Dense):
    def forward(self, x: Tensor) -> Tensor:
        zero = (x == 0).all(dim=1, keepdim=True)
        return torch.where(zero, torch.ones_like(x), self.decoder(self.encoder(x)))


class Dropping(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(F.dropout(self.encoder(x), 0.1, training=True))


class Noisy(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x + 1e-4 * torch.randn_like(x)))


class BatchStatistics(Dense):
    def __init__(self) -> None:
        super().__init__(nn.ReLU, lambda width: nn.BatchNorm1d(width, track_running_stats=False))


class ByLargest(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x / x.abs().max().clamp(min=10.0)))


class Counting(Dense):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.decoder(self.encoder(x)) + 1e-3 * self.calls


class Cumulative(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)) + 1e-3 * torch.cumsum(x, dim=0)


class Sorted(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.sort(self.encoder(x), dim=0).values)


class BySize(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)) * (1.0 if x.shape[0] < 64 else 1.001)


class Centred(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x - 1e-3 * x.mean(dim=0)))


class Constant(Dense):
    def forward(self, x: Tensor) -> Tensor:
        bias = torch.from_numpy(x.detach().numpy().mean(axis=1, keepdims=True) * 1e-2)
        return self.decoder(self.encoder(x)) + bias


class SequenceFirst(nn.Module):
    """A recurrent layer that takes the batch for time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.GRU(WIDTH, 16), nn.Linear(16, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x.unsqueeze(1))[0].squeeze(1))


class OtherDecoder(Dense):
    """Its forward decodes with another layer than the attribute `decoder`."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(6, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.encoder(x))


MODULES: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        *(
            Imputing,
            WithoutNan,
            BranchOnMean,
            BranchOnLargest,
            Clamped,
            ClampedFar,
            Negative,
            ConstantRows,
            ZeroRows,
        ),
        *(Dropping, Noisy, BatchStatistics, ByLargest, Counting, Cumulative, Sorted, BySize, Centred, Constant),
        *(SequenceFirst, OtherDecoder),
    )
}
