"""ONNX graphs: the export by torch, its checks, and the slices cut from it."""

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, helper, numpy_helper
from torch import Tensor, nn

from aetool.bundle.manifest import SEGMENTER, THRESHOLD
from aetool.errors import ExportError
from aetool.export._dynamic_batch import BATCH, has_dynamic_batch, lift_batch
from aetool.export._graph_checks import require_sane, values_read
from aetool.export.opset import NATIVE_OPSET, bring_down, require_opset_known, standard_opset
from aetool.model.pipeline import Outputs

_SLICES = {
    "encoder": ("features", ("embedding",)),
    "decoder": ("embedding", ("reconstruction",)),
    "autoencoder": ("features", ("embedding", "reconstruction")),
    "detector": ("features", ("score", "is_anomaly")),
    "explainer": ("features", ("contribution", "reconstruction")),
    SEGMENTER: ("features", ("segment", "distance")),
}
OUTPUTS = ("embedding", "reconstruction", "score", "contribution", "is_anomaly")
_WIDE_ROW = 64
"""Numbers in a row from which onnxruntime takes two to three times as long for ReduceSumSquare as for Mul and
ReduceSum, which it vectorises; below, one node is faster than two."""


class WithDecision(nn.Module):
    """A pipeline with its verdict: `not (score <= threshold)`, so that NaN is an anomaly."""

    threshold: Tensor

    def __init__(self, pipeline: nn.Module, threshold: float) -> None:
        """Add the decision to a pipeline."""
        super().__init__()
        self.pipeline = pipeline
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float32))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return the available outputs, in the order of OUTPUTS."""
        outputs: Outputs = self.pipeline(features)
        there = tuple(output for output in outputs[:4] if output is not None)
        return (*there, torch.logical_not(outputs.score <= self.threshold))


def export_graph(module: WithDecision, sample: Tensor, opset: int, max_ir: int | None = None) -> ModelProto:
    """Export `module` (features -> OUTPUTS) with `torch.onnx.export`, and require that the graph can be shipped.

    A module that can be traced for one row only is traced so, and its batch left free afterwards; that it
    then computes the same is for the verification to prove.

    Args:
        module: the pipeline with its decision.
        sample: (batch, ...) float32; with one row the exporter fixes the batch.
        opset: opset of the graph.
        max_ir: highest IR version; None for no limit.

    Raises:
        ExportError: the exporter refuses, or what it wrote is not what was asked for.
    """
    require_opset_known(opset)
    module.eval()
    _require_repeatable(module, sample)
    native = max(opset, NATIVE_OPSET)
    model = _export(module, sample, native, dynamic=True) if len(sample) > 1 else None
    if model is None or not has_dynamic_batch(model):
        single = _export(module, sample[:1], native, dynamic=False)
        assert single is not None
        model = lift_batch(single)
    _drop_traces(model)
    model = bring_down(model, opset, max_ir)
    require_deployable(model, opset)
    if opset >= 18 and sample[0].numel() < _WIDE_ROW:  # before 18, its axes are an attribute
        _merge_sums_of_squares(model)
    return model


def _export(module: WithDecision, sample: Tensor, opset: int, *, dynamic: bool) -> ModelProto | None:
    """Return the graph that torch writes; None if torch cannot leave the batch free."""
    with torch.no_grad():
        count = len(module(sample))
    shapes = {"features": {0: torch.export.Dim(BATCH)}} if dynamic else None
    said = io.StringIO()
    try:
        with _without_garbage_collection(), _quiet() as said:
            program = torch.onnx.export(
                module,
                (sample,),
                dynamo=True,
                opset_version=opset,
                input_names=["features"],
                output_names=list(OUTPUTS[-count:]),
                dynamic_shapes=shapes,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors share no base: tracing, translation, conversion
        if dynamic:
            return None
        cause = error.__cause__ or error
        refused = ExportError(
            f"torch.onnx.export refuses the model: {_first_sentence(str(cause))}; {_remedy_of(str(cause))} "
            "(--verbose shows its full message)"
        )
        refused.add_note(f"{said.getvalue()}\n{cause}".strip())
        raise refused from error
    assert program is not None
    return program.model_proto


def _first_sentence(text: str) -> str:
    """Return the first line that has content."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    first = next((line for line in lines if line), "no reason given")
    return first.removesuffix("See the stack trace for more information.").rstrip(". ")[:200]


def _remedy_of(text: str) -> str:
    if "data-dependent" in text or "guard on" in text or "GuardOnDataDependent" in text:
        return "its forward branches on the values of the rows: decide for each row with torch.where"
    return "write that part of its forward with other operators"


def require_deployable(model: ModelProto, opset: int) -> None:
    """Check the structure alone: the opset asked for, nothing of training, nothing random, any batch.

    Raises:
        ExportError: naming what was found.
    """
    found = standard_opset(model)
    if found != opset:
        raise ExportError(f"opset {opset} was requested, {found} was written; choose --opset {found}")
    require_sane(model, "the exported graph")
    _require_dynamic_batch(model)


def slice_graphs(model: ModelProto, metadata: Mapping[str, str], producer: str) -> dict[str, bytes]:
    """Return graph name -> serialised model, each complete: weights inside, metadata attached.

    Without an embedding there is no encoder; without a reconstruction made of it alone, no decoder.
    """
    there = {output.name for output in model.graph.output}
    graphs = {}
    for name, (source, wanted) in _SLICES.items():
        outputs = [output for output in wanted if output in there]
        if source not in {"features"} | there or not outputs:
            continue
        needed = _needed(model, outputs, stop=source)
        if source == "embedding" and "features" in needed:
            continue
        graph = _cut(model, source, outputs, needed)
        if "is_anomaly" in outputs:
            _open_threshold(graph.graph)
        graph.producer_name, graph.producer_version = "aetool", producer
        graph.graph.name = name
        helper.set_model_props(graph, {**metadata, "graph": name})
        onnx.checker.check_model(graph, full_check=True)
        graphs[name] = graph.SerializeToString(deterministic=True)
    return graphs


def _needed(model: ModelProto, outputs: list[str], stop: str) -> set[str]:
    """Return the values that `outputs` are computed from, looking no further back than `stop`."""
    makers = {value: node for node in model.graph.node for value in node.output}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        value = waiting.pop()
        if value in found or value == stop:
            continue
        found.add(value)
        if value in makers:
            waiting += values_read(makers[value])
    return found


def _cut(model: ModelProto, source: str, outputs: list[str], needed: set[str]) -> ModelProto:
    # Not onnx.utils.extract_model: it misses what inner graphs read.
    whole = model.graph
    values = {value.name: value for value in [*whole.input, *whole.output]}
    graph = helper.make_graph(
        [node for node in whole.node if not needed.isdisjoint(node.output)],
        "graph",
        [values[source]],
        [values[output] for output in outputs],
        [tensor for tensor in whole.initializer if tensor.name in needed],
    )
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
    )


def _open_threshold(graph: onnx.GraphProto) -> None:
    """Make the threshold of `is_anomaly` an input with a default: one number, or one per row.

    An initializer that is an input too may be overridden in each run. A graph that decides otherwise, or that
    calls another value by that name, stays as it is.
    """
    makers = {output: node for node in graph.node for output in node.output}
    comparison = makers[makers["is_anomaly"].input[0]] if makers["is_anomaly"].op_type == "Not" else None
    if comparison is None or comparison.op_type != "LessOrEqual" or comparison.input[0] != "score":
        return
    default = next((each for each in graph.initializer if each.name == comparison.input[1]), None)
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    if default is None or (default.name != THRESHOLD and THRESHOLD in names):
        return
    value = numpy_helper.to_array(default).astype(np.float32).reshape(1)
    readers = [node for node in graph.node if default.name in node.input]
    if default.name == THRESHOLD or len(readers) == 1:
        graph.initializer.remove(default)
    comparison.input[1] = THRESHOLD
    graph.initializer.append(numpy_helper.from_array(value, THRESHOLD))
    graph.input.append(helper.make_tensor_value_info(THRESHOLD, onnx.TensorProto.FLOAT, ["thresholds"]))
    # Stated, since it no longer follows from the inputs: the runtime binds values whose shape it knows.
    graph.value_info.append(helper.make_tensor_value_info(comparison.output[0], onnx.TensorProto.BOOL, [BATCH]))


def _require_repeatable(module: nn.Module, sample: Tensor) -> None:
    active = [name or "the model" for name, part in module.named_modules() if part.training]
    if active:
        raise ExportError(f"still in training mode: {', '.join(active[:5])}; call eval() on the model")
    with torch.no_grad():
        first, second = module(sample), module(sample)
    for name, a, b in zip(OUTPUTS[-len(first) :], first, second, strict=True):
        if not torch.equal(torch.nan_to_num(a.float()), torch.nan_to_num(b.float())):
            raise ExportError(
                f"two runs on the same rows differ in {name}: something random is active in eval mode; make "
                "dropout and sampling depend on self.training"
            )


def _require_dynamic_batch(model: ModelProto) -> None:
    defaults = {tensor.name for tensor in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.output]:
        if value.name in defaults:
            continue
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_param != BATCH:
            raise ExportError(
                f"{value.name}: the batch dimension is fixed; remove constant batch sizes from forward"
            )


def _merge_sums_of_squares(model: ModelProto) -> None:
    """Merge Mul(x, x) and ReduceSum to ReduceSumSquare: one pass over the residual instead of two."""
    nodes = model.graph.node
    uses = [name for node in nodes for name in node.input] + [output.name for output in model.graph.output]
    squares = {node.output[0]: node for node in nodes if node.op_type == "Mul" and node.input[0] == node.input[1]}
    for node in list(nodes):
        if node.op_type == "ReduceSum" and node.input[0] in squares:
            square = squares[node.input[0]]
            node.op_type = "ReduceSumSquare"
            node.input[0] = square.input[0]
            if uses.count(square.output[0]) == 1:  # the explainer gives the squares themselves
                nodes.remove(square)


def _drop_traces(model: ModelProto) -> None:
    """Remove what the exporter notes about the Python source: paths of the machine that exported."""
    parts: list[Any] = [
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
        *model.graph.initializer,
    ]
    for part in parts:
        del part.metadata_props[:]
        part.ClearField("doc_string")
    del model.graph.value_info[:]


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Leave garbage for later: the exporter makes hundreds of thousands of objects that stay, which Python would
    look through again and again, a second of the four of a first export."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep the exporter's chatter from the user's terminal; it is what is given."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield said
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
