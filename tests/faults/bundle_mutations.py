"""Damage to a bundle, seeded: what a disk, a network or a hostile author would make of its files.

A hostile author also makes the hashes in the manifest right again: most mutations do.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from aetool.bundle.files import sha256
from aetool.onnx_check._shapes import RULES

TOKENS = [
    b"\0" * 8,
    b"\xff" * 9,
    b"\x7f\xff\xff\xff",
    b"../../etc/passwd",
    b"/dev/zero",
    b"NaN",
    b"1e999",
    b"[" * 200,
]
TOKENS += [
    b"{}",
    b"\\ud800",
    b"null",
    b"-1",
    b"9" * 400,
    b"PK\x03\x04",
    b"ConstantOfShape",
    b"com.microsoft",
    b"\x08\x0d",
]
TOKENS += [
    name.encode() for name in ("Expand", "Tile", "Loop", "RandomNormal", "EPContext", "Resize", "Scan", "If")
]
SIZES = [-(2**63), -1, 0, 1, 2, 3, 7, 255, 2**16, 10**6, 10**9, 2**31 - 1, 2**31, 10**12, 2**62, 2**63 - 1]
OPERATORS = [
    *RULES,
    "Loop",
    "Scan",
    "RandomNormal",
    "NonZero",
    "Unique",
    "EPContext",
    "StringNormalizer",
    "ImageDecoder",
]


def mutate(path: Path, random: np.random.Generator) -> str:
    """Change one file of the bundle at `path`; what was done, in words."""
    manifest = json.loads((path / "manifest.json").read_text())
    graphs = [name for name in manifest["files"] if name.endswith(".onnx")]
    kind = random.choice(["manifest", "graph", "model", "file"], p=[0.15, 0.2, 0.55, 0.1])
    if kind == "manifest":
        if random.random() < 0.5:
            return _write(path, "manifest.json", _bytes((path / "manifest.json").read_bytes(), random, path))
        return _write(path, "manifest.json", json.dumps(_json(manifest, random)).encode())
    name = str(random.choice(graphs if kind != "file" else list(manifest["files"])))
    data = (path / name).read_bytes()
    try:
        changed = _model(data, random) if kind == "model" else _bytes(data, random, path)
    except ValueError:  # a number that protobuf does not take, as often as not
        changed = _bytes(data, random, path)
    done = _write(path, name, changed)
    if random.random() < 0.15:
        return f"{done}, hashes as they were"
    manifest["files"][name] = {"sha256": sha256(changed), "size": len(changed)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return done


def _write(path: Path, name: str, content: bytes) -> str:
    (path / name).write_bytes(content)
    return f"{name}: {len(content)} bytes"


def _bytes(data: bytes, random: np.random.Generator, path: Path) -> bytes:
    """Bits flipped, bytes cut out, doubled, spliced in from another file or from TOKENS, one to four times."""
    for _ in range(random.integers(1, 5)):
        start = int(random.integers(0, max(1, min(len(data), int(random.choice([64, 1024, 1 << 30]))))))
        size = int(random.choice([1, 2, 8, 64, 1000]))
        how = random.choice(["flip", "cut", "end", "double", "token", "splice", "fill"])
        if how == "flip":
            changed = bytearray(data)
            for place in random.integers(start, max(start + 1, min(len(data), start + size)), 3):
                changed[min(place, len(data) - 1) : place + 1] = bytes(
                    [changed[min(place, len(data) - 1)] ^ 1 << int(random.integers(8))]
                )
            data = bytes(changed)
        elif how == "cut":
            data = data[:start] + data[start + size :]
        elif how == "end":
            data = data[:start]
        elif how == "double":
            data = data[: start + size] + data[start:]
        elif how == "token":
            token = TOKENS[random.integers(len(TOKENS))]
            data = data[:start] + token + data[start + (len(token) if random.random() < 0.5 else 0) :]
        elif how == "splice":
            other = random.choice(sorted(file.name for file in path.iterdir() if file.is_file()))
            content = (path / other).read_bytes()
            data = data[:start] + content[-size:] + data[start + size :]
        else:
            data = data[:start] + bytes([random.choice([0, 1, 127, 128, 255])]) * size + data[start + size :]
        data = data or b"\0"
    return data


def _json(content, random: np.random.Generator):
    """One value of a document replaced, taken away or added."""
    values = [None, True, -1, 0, 10**30, 1.5, "", "..", "/etc/passwd", "x" * 10_000, [], {}, [[[]]], "fp32"]
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return content
        key = keys[random.integers(len(keys))]
        inner = place[key]
        if isinstance(inner, dict | list) and inner and random.random() < 0.7:
            place = inner
            continue
        how = random.random()
        if how < 0.2:
            del place[key]
        elif how < 0.3 and isinstance(place, dict):
            place[str(random.integers(9))] = values[random.integers(len(values))]
        else:
            place[key] = values[random.integers(len(values))]
        return content


def _model(data: bytes, random: np.random.Generator) -> bytes:
    """A graph that is well-formed protobuf and means something else."""
    model = onnx.load_from_string(data)
    for _ in range(random.integers(1, 3)):
        how = random.choice(
            ["operator", "attribute", "dims", "inputs", "grow", "type", "opset", "external", "constant"]
        )
        node = model.graph.node[random.integers(len(model.graph.node))]
        tensors = model.graph.initializer
        tensor = tensors[random.integers(len(tensors))] if tensors else None
        size = int(random.choice(np.array(SIZES, dtype=object)))
        if how == "operator":
            domain, _, node.op_type = str(random.choice(OPERATORS)).rpartition(".")
            node.domain = domain
        elif how == "attribute":
            name = str(
                random.choice(["axis", "transA", "transB", "axes", "pads", "kernel_shape", "group", "perm", "to"])
            )
            several = bool(random.random() < 0.5)
            node.attribute.append(helper.make_attribute(name, [size, 1] if several else size))
        elif how == "dims" and tensor is not None and tensor.dims:
            tensor.dims[random.integers(len(tensor.dims))] = size
        elif how == "inputs" and node.input:
            names = [
                *node.output,
                *model.graph.node[0].output,
                *(each.name for each in tensors),
                "",
                "features",
                "none",
            ]
            node.input[random.integers(len(node.input))] = str(random.choice(names))
        elif how == "grow":
            _grow(model, node, size, random)
        elif how == "type" and tensor is not None:
            tensor.data_type = int(random.integers(0, 30))
        elif how == "opset":
            model.opset_import[0].version = size
        elif how == "external" and tensor is not None:
            tensor.data_location = 1
            tensor.external_data.add(key="location", value=str(random.choice(["/dev/zero", "../x", "golden.npz"])))
        elif how == "constant" and tensor is not None and tensor.data_type == 1 and tensor.raw_data:
            raw = np.frombuffer(tensor.raw_data, "<f4").copy()
            raw[random.integers(len(raw))] = random.choice([np.nan, np.inf, 1e38, 1e-40, 0])
            tensor.raw_data = raw.tobytes()
    return model.SerializeToString()


def _grow(model, node, size: int, random: np.random.Generator) -> None:
    """A node before `node` that makes one of its inputs as large as it likes."""
    if not node.input:
        return
    place = int(random.integers(len(node.input)))
    source, shape, new = node.input[place], f"shape{random.integers(9)}", f"grown{random.integers(99)}"
    operator = str(
        random.choice(["Expand", "Tile", "ConstantOfShape", "Range", "Pad", "Resize", "OneHot", "Concat"])
    )
    numbers = (
        [size] if operator in ("ConstantOfShape", "OneHot") else [size, 1] if random.random() < 0.5 else [1, size]
    )
    kind = np.float32 if operator == "Resize" else np.int64
    scalar = operator in ("Range",)
    array = np.array(size if scalar else numbers * (2 if operator == "Pad" else 1)).astype(kind)
    model.graph.initializer.append(numpy_helper.from_array(array, shape))
    inputs = {
        "ConstantOfShape": [shape],
        "Range": [shape] * 3,
        "Resize": [source, "", shape],
        "Concat": [source] * 50,
    }
    more = {"axis": 0} if operator == "Concat" else {}
    made = helper.make_node(operator, inputs.get(operator, [source, shape]), [new], **more)
    index = list(model.graph.node).index(node)
    model.graph.node.insert(index, made)
    model.graph.node[index + 1].input[place] = new
