"""Whatever the bytes of a graph are: it is let in, or one line says why not; no crash, no hang, no memory."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aetool
from aetool import Limits
from aetool.bundle.manifest import GRAPHS
from aetool.onnx_check._protobuf import WireError, field, fields, integer, signed, varints
from aetool.onnx_check.check import refusal
from aetool.onnx_check.edit import with_outputs
from aetool.onnx_check.model import ReadParts, read_model

ROWS = {"decoder": (120,)}


@pytest.fixture(scope="module", params=GRAPHS)
def graph(request, exported):
    """Content and shape of a row of a real graph."""
    return (exported / f"{request.param}.onnx").read_bytes(), ROWS.get(request.param, (30,))


def test_graphs_that_aetool_exported_are_let_in(graph):
    assert refusal(*graph, Limits()) is None


def test_rows_of_another_shape_are_refused(graph):
    assert "rows of shape [7] expected from the manifest, its input is of" in refusal(graph[0], (7,), Limits())


@given(content=st.binary(max_size=400))
@settings(max_examples=500)
def test_random_bytes_are_fields_or_a_wire_error(content):
    try:
        found = list(fields(memoryview(content)))
    except WireError:
        return
    assert sum(len(value) if kind == 2 else 1 for _, kind, value in found) <= len(content)


@given(data=st.data())
@settings(max_examples=300)
def test_a_damaged_graph_is_let_in_or_refused_in_one_line(exported, data):
    content = bytearray((exported / "detector.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(
            st.integers(0, len(content) - 1)
            | st.integers(0, 200)
            | st.integers(len(content) - 900, len(content) - 1)
        )
        content[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    reason = refusal(bytes(content), (30,), Limits())
    assert reason is None or (reason.isprintable() and len(reason) < 2000)


@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_graph_cut_short_is_refused_wherever_it_was_cut(exported, cut):
    content = (exported / "autoencoder.onnx").read_bytes()
    shorter = content[: int(cut * len(content))]
    model = None
    try:
        model = read_model(shorter, 8, 1000)
    except WireError:
        return
    # Cut between two fields: what is missing stood behind the graph.
    assert len(model.graph.nodes) == len(read_model(content, 8, 1000).graph.nodes)


def test_nodes_that_another_graph_has_too_are_read_once_and_count_each_time(graph, monkeypatch):
    content, known = graph[0], ReadParts()
    first, again = (read_model(content, 8, 1000, known).graph for _ in range(2))
    assert again.nodes == first.nodes and len(known.nodes) == len(first.nodes)  # the very same objects
    assert again.input_shapes == first.input_shapes and refusal(*graph, Limits(), known=known) is None
    monkeypatch.setattr("aetool.onnx_check.model.MAX_FIELDS", 20)
    for parts in (known, None):
        with pytest.raises(WireError, match="more parts than any deployed graph has"):
            read_model(content, 8, 1000, parts)


def test_fields_are_read_as_protobuf_writes_them():
    message = b"\x08\x96\x01" + b"\x12\x03abc" + b"\x1d\x00\x00\x80\x3f" + b"\xf8\xff\xff\xff\x0f\x01"
    read = [
        (number, kind, value if isinstance(value, int) else bytes(value))
        for number, kind, value in fields(memoryview(message))
    ]
    assert read == [(1, 0, 150), (2, 2, b"abc"), (3, 5, b"\0\0\x80?"), (2**29 - 1, 0, 1)]
    assert signed(2**64 - 5) == -5
    (numbers,) = varints(memoryview(b"\x01\xac\x02"))
    assert numbers.tolist() == [1, 300]


@pytest.mark.parametrize(
    "message",
    [
        b"\x08",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x12\x05abc",
        b"\x1d\0\0",
        b"\x0b",
        b"\x0e",
        b"\x00\x01",
    ],
    ids=["no value", "endless varint", "short bytes", "short number", "a group", "type 6", "field 0"],
)
def test_what_is_no_message_is_a_wire_error(message):
    with pytest.raises(WireError):
        list(fields(memoryview(message)))


ZEROS = bytes(64 << 20)


def model_of(graph):
    return integer(1, 8) + field(7, graph) + field(8, integer(2, 18))


def constant_of(kind, numbers):
    return field(5, integer(2, kind) + numbers)


ODD_FILES = {
    "packed zeros": lambda: model_of(constant_of(7, integer(1, len(ZEROS)) + field(7, ZEROS))),
    "packed integers of three bytes": lambda: model_of(
        constant_of(10, integer(1, 22_000_000) + field(5, b"\xff\xff\x01" * 22_000_000))
    ),
    "zeros one by one": lambda: model_of(constant_of(7, b"\x38\x00" * (32 << 20))),
    "a shape of many sides": lambda: model_of(constant_of(1, field(1, ZEROS))),
    "empty nodes": lambda: model_of(b"\x0a\x00" * (32 << 20)),
    "empty constants": lambda: model_of(b"\x2a\x00" * (32 << 20)),
    "inputs of one node": lambda: model_of(field(1, b"\x0a\x00" * (32 << 20))),
    "a list of floats": lambda: model_of(field(1, field(5, field(1, b"x") + field(7, ZEROS) + integer(20, 6)))),
    "tensors in an attribute": lambda: model_of(field(1, field(5, b"\x52\x00" * (32 << 20) + integer(20, 9)))),
    "one name": lambda: model_of(field(1, field(3, b"n" * (64 << 20)) + field(4, b"Nothing"))),
}


def resident(key):
    """KiB."""
    return int(re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
@pytest.mark.parametrize("name", ODD_FILES)
def test_the_check_itself_is_bounded(name):
    """In bytes here; in parts of a file, of which each takes a microsecond, by its budget."""
    content = ODD_FILES[name]()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident("VmRSS")
    reason = refusal(content, (3,), Limits())
    assert reason is not None and len(reason) < 400
    assert resident("VmHWM") - before < 512 << 10


def test_a_split_into_many_parts_is_refused_by_its_outputs():
    attributes = field(5, field(1, b"axis") + integer(3, 1) + integer(20, 2))
    attributes += field(5, field(1, b"num_outputs") + integer(3, 10**8) + integer(20, 2))
    node = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Split") + attributes)
    reason = refusal(model_of(node + field(11, field(1, b"x")) + field(12, field(1, b"y"))), (3,), Limits())
    assert "100,000,000 parts of 1 outputs" in reason


@pytest.mark.parametrize("number", [1, 2, 4, 5, 7])  # of a node: inputs, outputs, operator, attributes, domain
@pytest.mark.parametrize("wrong", [0, 1, 5])
def test_a_field_of_another_wire_type_than_its_own_is_refused(number, wrong):
    content = {0: b"\x07", 1: bytes(8), 5: bytes(4)}[wrong]
    node = field(1, bytes([number << 3 | wrong]) + content)
    assert f"field {number} of a node: wire type {wrong}" in refusal(model_of(node), (3,), Limits())


def test_what_protobuf_would_pass_over_is_no_size():
    # dims, data_type and raw_data of a constant in wire types that are not theirs
    for part in (b"\x0d" + bytes(4), b"\x15" + bytes(4), b"\x48\x01"):
        assert "of a constant: wire type" in refusal(model_of(field(5, part)), (3,), Limits())
    assert "field 99 of a graph" in refusal(model_of(field(99, b"")), (3,), Limits())
    twice = field(5, integer(2, 1) + integer(2, 7))
    assert "field 2 of a constant" in refusal(model_of(twice), (3,), Limits())


def test_outputs_added_by_aetool_itself_are_added_after_the_look(graph):
    assert refusal(with_outputs(graph[0], ["features"]), graph[1], Limits()).startswith("two graphs")


def test_limits_travel_with_a_pickled_model(exported):
    import pickle

    tight = aetool.load(exported, limits=Limits(nodes=1), provider="cpu")
    with pytest.raises(aetool.BundleError, match="more nodes than allowed"):
        pickle.loads(pickle.dumps(tight)).score(np.ones((1, 30)))
