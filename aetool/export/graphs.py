"""ONNX graphs: one export, its proofs, and the slices cut from it."""

import contextlib
import io
import logging
import reprlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
import torch
from onnx import ModelProto, NodeProto, helper
from onnx.utils import Extractor
from torch import Tensor, nn

from aetool.errors import ExportError
from aetool.model.pipeline import Outputs

DEFAULT_OPSET = 18
OPSETS = range(17, onnx.defs.onnx_opset_version() + 1)
"""What the exporter can be asked for: it writes 18 and converts from there."""
SLICES = {
    "encoder": (["features"], ["embedding"]),
    "decoder": (["embedding"], ["reconstruction"]),
    "autoencoder": (["features"], ["embedding", "reconstruction"]),
    "detector": (["features"], ["score", "is_anomaly"]),
}
OUTPUTS = ("embedding", "reconstruction", "score", "is_anomaly")
TRAINING_OPS = {"Dropout", "BatchNormalization"}
RANDOM_OPS = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}


class WithDecision(nn.Module):
    """A pipeline with its verdict: `not (score <= threshold)`, so that NaN is an anomaly."""

    threshold: Tensor

    def __init__(self, pipeline: nn.Module, threshold: float) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float32))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        outputs: Outputs = self.pipeline(features)
        return (*outputs, torch.logical_not(outputs.score <= self.threshold))


def export_graph(module: nn.Module, sample: Tensor, opset: int) -> ModelProto:
    """One `torch.onnx.export` of `module` (features -> OUTPUTS), proven fit to be shipped.

    Args:
        sample: (2 or more, n_features) float32; with one row the exporter would fix the batch.

    Raises:
        ExportError: the exporter refuses, or what it wrote is not what was asked for.
    """
    require_opset_known(opset)
    module.eval()
    _require_repeatable(module, sample)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (sample,),
                dynamo=True,
                opset_version=opset,
                input_names=["features"],
                output_names=list(OUTPUTS),
                dynamic_shapes={"features": {0: torch.export.Dim("batch")}},
                verbose=False,
            )
    except Exception as error:  # the exporter's errors share no base: tracing, translation, conversion
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"torch.onnx.export refuses the model: {reason}; simplify its forward") from error
    assert program is not None
    model = program.model_proto
    require_deployable(model, opset)
    if opset >= 18:  # before, its axes are an attribute
        _merge_sums_of_squares(model)
    _drop_traces(model)
    return model


def require_opset_known(opset: int) -> None:
    """Refuse early what can only fail.

    Raises:
        ExportError: no such opset, or too old.
    """
    if not isinstance(opset, int) or isinstance(opset, bool) or opset not in OPSETS:
        raise ExportError(
            f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {reprlib.repr(opset)}; choose another"
        )


def require_deployable(model: ModelProto, opset: int) -> None:
    """Structure alone: the opset asked for, nothing of training, nothing random, any batch.

    Raises:
        ExportError: naming what was found.
    """
    _require_opset(model, opset)
    for node in model.graph.node:
        _require_eval(node)
    _require_dynamic_batch(model)


def slice_graphs(model: ModelProto, metadata: Mapping[str, str], producer: str) -> dict[str, bytes]:
    """Graph name -> serialised model, each standing alone: weights inside, metadata attached."""
    extractor = Extractor(model)
    graphs = {}
    for name, (inputs, outputs) in SLICES.items():
        graph = extractor.extract_model(inputs, outputs)
        graph.producer_name, graph.producer_version = "aetool", producer
        graph.graph.name = name
        helper.set_model_props(graph, {**metadata, "graph": name})
        onnx.checker.check_model(graph, full_check=True)
        graphs[name] = graph.SerializeToString(deterministic=True)
    return graphs


def _require_repeatable(module: nn.Module, sample: Tensor) -> None:
    active = [name or "the model" for name, part in module.named_modules() if part.training]
    if active:
        raise ExportError(f"still in training mode: {', '.join(active[:5])}; call eval() on the model")
    with torch.no_grad():
        first, second = module(sample), module(sample)
    for name, a, b in zip(OUTPUTS, first, second, strict=True):
        if not torch.equal(torch.nan_to_num(a.float()), torch.nan_to_num(b.float())):
            raise ExportError(
                f"two runs on the same rows differ in {name}: something random is active in eval mode; make "
                "dropout and sampling depend on self.training"
            )


def _require_opset(model: ModelProto, opset: int) -> None:
    found = {entry.domain: entry.version for entry in model.opset_import}
    if found != {"": opset}:
        raise ExportError(
            f"opset {opset} of the standard operators was asked for, the exporter wrote {found}; choose "
            f"--opset {found.get('', DEFAULT_OPSET)}"
        )


def _require_eval(node: NodeProto) -> None:
    if node.op_type in TRAINING_OPS | RANDOM_OPS:
        kind = "random" if node.op_type in RANDOM_OPS else "left from training"
        raise ExportError(
            f"node {node.name!r} ({node.op_type}) is {kind}; a deployed graph may not hold it: call eval() "
            "and make dropout and sampling depend on self.training"
        )


def _require_dynamic_batch(model: ModelProto) -> None:
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_param != "batch":
            raise ExportError(f"{value.name}: the batch dimension came out fixed; make forward free of constants")


def _merge_sums_of_squares(model: ModelProto) -> None:
    """Mul(x, x) and ReduceSum become one ReduceSumSquare: one pass over the residual instead of two."""
    nodes = model.graph.node
    uses = [name for node in nodes for name in node.input] + [output.name for output in model.graph.output]
    squares = {
        node.output[0]: node
        for node in nodes
        if node.op_type == "Mul" and node.input[0] == node.input[1] and uses.count(node.output[0]) == 1
    }
    for node in list(nodes):
        if node.op_type == "ReduceSum" and node.input[0] in squares:
            square = squares[node.input[0]]
            node.op_type = "ReduceSumSquare"
            node.input[0] = square.input[0]
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
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter (missing torchvision, its own deprecations) from the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
