"""A model repository for NVIDIA's Triton Inference Server, backend onnxruntime."""

from collections.abc import Mapping, Sequence

from aetool.bundle.bundle import Bundle
from aetool.bundle.escape import protobuf_text
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import SEGMENTER, THRESHOLD
from aetool.deploy._deployment import Deployment, admitted, asset, identifier, in_order
from aetool.onnx_check.model import read_model

_MAX_BATCH = 256
_QUEUE_DELAY_US = 100
"""Longest wait of a request for others to be batched with, in microseconds."""
_QUEUE_SIZE = 1024
_TIMEOUT_US = 1_000_000
"""Timeout of a queued request, in microseconds."""
_WARMUP = "golden"

Shapes = Mapping[str, tuple[str, Sequence[int]]]


def triton(bundle: Bundle) -> Deployment:
    """Make one model per graph (NAME_encoder ...), warmed up with a golden row before it is ready."""
    manifest = bundle.manifest
    name = identifier(manifest.name)
    golden = read_golden(bundle)
    row: Shapes = {"features": ("TYPE_FP32", manifest.input_shape)}
    code: Shapes = {"embedding": ("TYPE_FP32", manifest.embedding_shape or ())}
    back: Shapes = {"reconstruction": ("TYPE_FP32", manifest.input_shape)}
    verdict: Shapes = {"score": ("TYPE_FP32", ()), "is_anomaly": ("TYPE_BOOL", ())}
    both = {**code, **back} if manifest.embedding_shape is not None else back
    why: Shapes = {"contribution": ("TYPE_FP32", manifest.input_shape), **back}
    clusters = golden["distance"].shape[1:] if "distance" in golden else ()
    limit: Shapes = {THRESHOLD: ("TYPE_FP32", ())}
    group: Shapes = {"segment": ("TYPE_INT64", ()), "distance": ("TYPE_FP32", clusters)}
    ports = {
        "encoder": (row, code),
        "decoder": (code, back),
        "autoencoder": (row, both),
        "detector": ({**row, **limit} if _takes_threshold(bundle) else row, verdict),
        "explainer": (row, why),
        SEGMENTER: (row, group),
    }
    files = {"README.md": asset("triton_files/README.md", name=name, shape=str(list(manifest.input_shape)))}
    for graph in in_order(bundle):
        given = next(iter(ports[graph][0]))
        folder = f"{name}_{graph}"
        files[f"{folder}/config.pbtxt"] = _config(folder, *ports[graph]).encode()
        files[f"{folder}/1/model.onnx"] = admitted(bundle, graph)
        files[f"{folder}/warmup/{_WARMUP}"] = golden[given][0].astype("<f4").tobytes()
    return Deployment(files, "tritonserver --model-repository={output}")


def _config(name: str, given: Shapes, outputs: Shapes) -> str:
    (key, (kind, shape)), *more = given.items()
    inputs = [_port(key, kind, shape), *(_port(name, *port, optional=True) for name, port in more)]
    return f"""name: {protobuf_text(name)}
backend: "onnxruntime"
max_batch_size: {_MAX_BATCH}
input [{", ".join(inputs)}]
output [{", ".join(_port(output, kind, shape) for output, (kind, shape) in outputs.items())}]
instance_group [{{ count: 1, kind: KIND_CPU }}]
parameters {{ key: "intra_op_thread_count", value: {{ string_value: "1" }} }}
dynamic_batching {{
  max_queue_delay_microseconds: {_QUEUE_DELAY_US}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {_TIMEOUT_US}
    allow_timeout_override: true
    max_queue_size: {_QUEUE_SIZE}
  }}
}}
model_warmup [{_warmup(1, key, kind, shape)}, {_warmup(_MAX_BATCH, key, kind, shape)}]
"""


def _port(name: str, kind: str, shape: Sequence[int], *, optional: bool = False) -> str:
    # Triton has no tensor without dimensions: one number a row is [1] outside, nothing inside.
    dims = f"dims: {list(shape)}" if shape else "dims: [1], reshape { shape: [] }"
    more = ", optional: true" if optional else ""
    return f"{{ name: {protobuf_text(name)}, data_type: {kind}, {dims}{more} }}"


def _takes_threshold(bundle: Bundle) -> bool:
    """Decide whether the threshold is an input with a default: bundles of older versions have it as a constant."""
    limits = bundle.limits
    return THRESHOLD in read_model(bundle.graph("detector"), limits.depth, limits.nodes).graph.inputs


def _warmup(batch: int, name: str, kind: str, shape: Sequence[int]) -> str:
    data = f"{{ data_type: {kind}, dims: {list(shape)}, input_data_file: {protobuf_text(_WARMUP)} }}"
    return f'{{ name: "{batch}", batch_size: {batch}, inputs {{ key: {protobuf_text(name)}, value: {data} }} }}'
