"""Checks that a module is a function of each row alone, before it is traced, and the cost of a row."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from onnx import ModelProto, NodeProto, helper, shape_inference
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from aetool.errors import ExportError, reason_of
from aetool.export._dynamic_batch import real_inputs
from aetool.export._export_input import FEW, WORK, Reference, RowCost, Rows, finite_rows, out_of_range, probes
from aetool.model.foreign.adapter import has_mean, own_copy
from aetool.model.foreign.scored_module import ScoredModule
from aetool.model.pipeline import evaluate_rows

_REPEATS = 3
_CROWD_ROWS = 1000
SAMPLE_ROWS = 7
"""To trace with: no number of layers, channels or steps is likely to be taken for it."""
SAME = {torch.float64: 1e-7, torch.float32: 1e-4}
"""Difference between a row alone and among others, relative to the output's size, that rounding explains."""
_LIVE_TENSORS = 3
"""Times the largest value of a run that are held at one time: an operator's inputs, its output, its workspace."""


@dataclass(frozen=True, slots=True)
class ModuleReference:
    """A module as what its graph must equal."""

    evaluate: "Evaluate"
    """Evaluation in float64, or in float32 if forward allows nothing else."""
    in_float32: "Evaluate"
    name: str
    cost: RowCost

    def scores(self, rows: Rows) -> Reference:
        """Return the outputs for all `rows`; in float32 where that is what the cost of a row allows."""
        costly = len(rows) * self.cost.multiply_adds > WORK
        return self.in_float32(rows) if costly else self.evaluate(rows)


def reference_of(scored: ScoredModule, sample: Tensor) -> ModuleReference:
    """Return the module in float64, or in float32 where its forward makes float32 tensors of its own."""
    single = Evaluate(scored.as_reference(torch.float32), torch.float32)
    evaluate, name = Evaluate(scored.as_reference(torch.float64), torch.float64), "PyTorch in float64"
    try:
        cost = evaluate.cost(sample[:1])
        evaluate(sample.numpy())
    except ExportError:
        evaluate, name, cost = single, "PyTorch in float32", single.cost(sample[:1])
    block = 1 if len(sample) == 1 else cost.batch
    return ModuleReference(replace(evaluate, block=block), replace(single, block=block), name, cost)


@dataclass(frozen=True, slots=True)
class Evaluate:
    """rows -> outputs by name, in PyTorch."""

    module: ScoredModule
    dtype: torch.dtype
    block: int = 1
    """Rows at once."""

    def __call__(self, rows: Rows) -> Reference:
        """Return the outputs for the rows."""
        # What forward makes itself (an initial state, say) then has the right type as well.
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            return dict(evaluate_rows(self.module, rows, self.dtype, self.block))
        except Exception as error:
            raise ExportError(
                f"{self._kind} fails on {len(rows)} rows ({type(error).__name__}: {reason_of(error, 200)}); "
                "forward must take any batch of such rows"
            ) from error
        finally:
            torch.set_default_dtype(before)

    def cost(self, row: Tensor) -> RowCost:
        """Return what one row, (1, ...), takes."""
        largest = _LargestValue()
        with largest, FlopCounterMode(display=False) as operations:
            self(row.numpy())
        numbers = max(largest.numbers, row.numel())
        multiply_adds = max(operations.get_total_flops() // 2, numbers)
        return RowCost(_LIVE_TENSORS * 8 * numbers, multiply_adds, row.numel())

    @property
    def _kind(self) -> str:
        return type(self.module.network.module).__name__


class _LargestValue(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers of the largest tensor that any operator gives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, tuple | list) else (found,):
            if isinstance(value, Tensor):
                self.numbers = max(self.numbers, value.numel())
        return found


def require_repeatable(scored: ScoredModule, sample: Tensor, module: nn.Module) -> None:
    """Raise unless a module gives the same results when run again, and for one row alone.

    Raises:
        ExportError: it fails, or the results differ; the message gives the usual cause.
    """
    kind, single = type(module).__name__, scored.as_reference(torch.float32)
    with torch.no_grad():
        try:
            runs = [single(sample) for _ in range(_REPEATS)]
            single(sample[:1])
        except Exception as error:
            raise ExportError(
                f"{kind}: fails on {len(sample)} rows or on one ({type(error).__name__}: {reason_of(error)}); "
                "forward must take any batch: no batch norm in training mode, no shape that is fixed"
            ) from error
    for name, first, *others in zip(runs[0]._fields, *runs, strict=True):
        if first is not None and not all(torch.equal(_numbers(first), _numbers(other)) for other in others):
            remedy = (
                "export its mean with --latent mean"
                if has_mean(module)
                else "make dropout and sampling depend on self.training"
            )
            raise ExportError(
                f"{kind}: runs on the same rows differ in {name}: something is random in eval mode; {remedy}"
            )


def require_rows_apart(reference: ModuleReference, sample: Tensor, module: nn.Module) -> None:
    """Run a module on single rows, on many, and on rows of every kind together.

    Judged are embedding and reconstruction, in float64 where the module runs in it: a score is a difference of
    nearly equal numbers, and computed of them row by row.

    Raises:
        ExportError: a row's results depend on the rows beside it.
    """
    if len(sample) == 1:
        return  # the module takes no more
    evaluate, rows = reference.evaluate, sample.numpy()
    together = replace(evaluate, block=_CROWD_ROWS)
    # A forward may branch on the size of its batch, or on what stands in it.
    crowd = np.resize(rows, (reference.cost.rows(_CROWD_ROWS, least=len(rows)), *rows.shape[1:]))
    _require_apart(type(module).__name__, evaluate, together, [rows, crowd, *_mixtures(together, rows)])


def _mixtures(together: Evaluate, sample: Rows) -> list[Rows]:
    """Return rows of other kinds that the module takes, with real ones between them."""
    found = []
    for rows in [out_of_range(sample, sample), *(probe.rows for probe in probes(sample, FEW) if probe.finite)]:
        try:
            together(rows[:1])
        except ExportError:
            continue  # it asserts what its rows may be
        found.append(np.concatenate([sample[:2], rows[:1], sample[2:3]]))
    return found


def _require_apart(kind: str, evaluate: Evaluate, together: Evaluate, batches: Sequence[Rows]) -> None:
    alone = replace(evaluate, block=1)
    for rows in batches:
        contents = [row.tobytes() for row in rows]
        distinct = dict(zip(contents, rows, strict=True))  # a crowd repeats its rows
        places = {content: place for place, content in enumerate(distinct)}
        order = [places[content] for content in contents]
        expected, found = alone(np.stack(list(distinct.values()))), together(rows)
        for name in [name for name in ("embedding", "reconstruction") if name in expected]:
            one, many = expected[name][order], found[name]
            if one.shape != many.shape or not _same(one, many, SAME[evaluate.dtype]):
                raise ExportError(
                    f"{kind}: the {name} of a row depends on the other rows of its batch: batch norm in training "
                    "mode (track_running_stats=False, or training=True), a recurrent layer without "
                    "batch_first=True, or a branch or a mean over the whole batch (`if x.max() > 1`)? Use running "
                    "statistics in eval mode, the batch in front, and decide for each row with torch.where"
                )


def usable_sample(module: nn.Module, rows: Rows) -> Tensor:
    """Return rows to trace with, or one row if the module takes no more; more than one leave the batch free."""
    several = some_rows(rows)
    own = own_copy(module)
    with torch.no_grad():
        try:
            own(several)
        except Exception:  # noqa: BLE001 - what is wrong, if it is not the number of rows, shows again with one
            return several[:1]
    return several


def some_rows(rows: Rows) -> Tensor:
    """Return SAMPLE_ROWS of the rows, finite ones if there are any, repeated if they are fewer."""
    finite = finite_rows(rows)
    chosen = finite if len(finite) else rows
    return torch.from_numpy(np.resize(chosen[:SAMPLE_ROWS], (SAMPLE_ROWS, *rows.shape[1:])))


def _numbers(values: Tensor) -> Tensor:
    return torch.nan_to_num(values)


def _same(one: np.ndarray, many: np.ndarray, tolerance: float) -> bool:
    """Return True if rows agree, relative to the size of each, or that of most of them."""
    if one.size == 0:
        return True
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(many)):
        return False
    size = np.abs(np.where(finite, one, 0.0)).reshape(len(one), -1).max(axis=1)
    allowed = (tolerance * np.maximum(size, np.median(size))).reshape(-1, *[1] * (one.ndim - 1))
    with np.errstate(invalid="ignore"):
        difference = np.where(finite, np.abs(one - many), 0.0)
    return bool((difference <= allowed).all())


# Cost of one row in a user's graph: memory and multiplications, from the shapes of its values.

Shapes = Mapping[str, tuple[int, ...]]


def cost_of(model: ModelProto, row: tuple[int, ...]) -> RowCost:
    """Return the cost of one row of shape `row`; of a value whose shape is unknown nothing is counted."""
    single = copy.deepcopy(model)
    del single.graph.value_info[:]
    source = real_inputs(single)[0].type.tensor_type
    source.shape.CopyFrom(helper.make_tensor_type_proto(source.elem_type, (1, *row)).tensor_type.shape)
    for output in single.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(single, data_prop=True).graph
    shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    largest = math.prod(row)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.name not in shapes and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
            largest = max(largest, math.prod(shapes[value.name]))
    products = sum(_products(node, shapes) for node in graph.node)
    return RowCost(_LIVE_TENSORS * 8 * largest, max(largest, products), math.prod(row))


def _products(node: NodeProto, shapes: Shapes) -> int:
    """Return the multiplications of one node; of those without weights, one for each value."""
    weight = shapes.get(node.input[1] if len(node.input) > 1 else "", ())
    given, made = (math.prod(shapes.get(names[0], (0,))) if names else 0 for names in (node.input, node.output))
    if node.op_type in ("Conv", "QLinearConv", "ConvInteger"):
        return made * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return given * math.prod(weight[1:])
    if node.op_type in ("Gemm", "MatMul", "QLinearMatMul"):
        return given * (weight[-1] if weight else 1)
    if node.op_type in ("LSTM", "GRU", "RNN"):
        sequence = shapes.get(node.input[0], (0,))
        recurrence = shapes.get(node.input[2], (0,)) if len(node.input) > 2 else (0,)
        return sequence[0] * (math.prod(weight) + math.prod(recurrence))
    return made
