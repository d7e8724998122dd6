"""Any body at all is either understood, exactly as numpy would, or refused: nothing else comes out."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aetool.serve._protocol import Refusal, Signature, TensorSpec, answer, read_request

SCORE, CODE = TensorSpec("score", "FP32", ()), TensorSpec("embedding", "FP32", (2,))
SIGNATURE = Signature(TensorSpec("features", "FP32", (3,)), (SCORE, CODE))
MAX_ROWS = 5

FINITE = st.floats(-(2.0**90), 2.0**90, width=32, allow_subnormal=False)

WORDS = (
    *("inputs", "outputs", "name", "datatype", "shape", "data", "parameters", "id", "features", "FP32", "score"),
    *("binary_data", "binary_data_size", "binary_data_output", "classification", "", "ä"),
)
texts = st.sampled_from(WORDS)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
good_rows = arrays.arrays(np.float32, st.tuples(st.integers(1, MAX_ROWS), st.just(3)), elements=FINITE)


def read(body, header_length=None):
    return read_request(body, header_length, SIGNATURE, MAX_ROWS)


def refused_or_read(body, header_length=None):
    try:
        request = read(body, header_length)
    except Refusal as refusal:
        assert 400 <= refusal.status < 500 and refusal.message
    else:
        assert request.rows.dtype == np.float32 and 1 <= len(request.rows) <= MAX_ROWS
        assert request.rows.shape[1:] == (3,) and request.rows.flags.c_contiguous and request.rows.flags.aligned


def described(rows, **more):
    return {"inputs": [{"name": "features", "datatype": "FP32", "shape": list(rows.shape), **more}]}


@given(st.binary(max_size=200), st.none() | st.integers(0, 250))
def test_any_bytes(body, header_length):
    refused_or_read(body, header_length)


@given(values)
def test_any_json(document):
    refused_or_read(json.dumps(document).encode())


@given(
    good_rows, st.lists(st.tuples(st.booleans(), texts, values), min_size=1, max_size=3), st.binary(max_size=80)
)
def test_a_good_request_with_anything_changed(rows, changes, tail):
    document = {**described(rows, data=rows.ravel().tolist()), "outputs": [{"name": "score"}]}
    for inside, key, value in changes:
        (document["inputs"][0] if inside else document)[key] = value
        if not isinstance(document["inputs"], list) or not document["inputs"]:
            break
        if not isinstance(document["inputs"][0], dict):
            break
    text = json.dumps(document).encode()
    refused_or_read(text)
    refused_or_read(text + tail, len(text))


@given(good_rows, st.booleans(), st.integers(0, 7))
def test_rows_come_out_as_they_went_in(rows, nested, padding):
    data = rows.tolist() if nested else rows.ravel().tolist()
    np.testing.assert_array_equal(read(json.dumps(described(rows, data=data)).encode()).rows, rows)
    parameters = {"binary_data_size": rows.nbytes}
    text = json.dumps(described(rows, parameters=parameters)).encode() + b" " * padding
    np.testing.assert_array_equal(read(text + rows.tobytes(), len(text)).rows, rows)


@given(good_rows, st.booleans(), st.booleans())
def test_answers_hold_each_output_as_it_was_asked_for(rows, score_binary, code_binary):
    outputs = [{"name": "embedding", "parameters": {"binary_data": code_binary}}]
    outputs += [{"name": "score", "parameters": {"binary_data": score_binary}}]
    request = read(json.dumps({**described(rows, data=rows.ravel().tolist()), "outputs": outputs}).encode())
    given = {"embedding": rows[:, :2].copy(), "score": rows[:, 2].copy()}
    headers, body = answer("m", "1", request, [given[name] for name, _ in request.outputs])
    found = dict(headers)
    assert int(found[b"content-length"]) == len(body)
    length = int(found.get(b"inference-header-content-length", len(body)))
    rest = body[length:]
    for tensor in json.loads(body[:length])["outputs"]:
        expected = given[tensor["name"]]
        assert tensor["shape"] == list(expected.shape)
        if "data" in tensor:
            values = np.array(tensor["data"], np.float32)
        else:
            size = tensor["parameters"]["binary_data_size"]
            values, rest = np.frombuffer(rest[:size], np.float32), rest[size:]
        np.testing.assert_array_equal(values, expected.ravel())
    assert rest == b""
