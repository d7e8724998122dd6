"""Whatever a client sends wrongly: a 4xx, in JSON, that says what; and the server goes on."""

import json
import socket

import pytest

INFER = "/v2/models/cancer/infer"


def exchange(server, *parts):
    """Send bytes as they are; status, headers and parsed body of the answer."""
    host, port = server.authority.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65536)
    return int(head[9:12]), headers, json.loads(body[: int(headers["content-length"])])


def head(method=b"POST", path=b"/v2/models/cancer/infer", **headers):
    lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: here"]
    lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in headers.items()]
    return b"\r\n".join([*lines, b"", b""])


def whole(body, **headers):
    return head(Content_Length=len(body), **headers) + body


def refused(answer, status, *words):
    assert answer[0] == status, answer
    assert list(answer[2]) == ["error"]
    for word in words:
        assert word in answer[2]["error"], answer


def change(body, **changes):
    return {**body, "inputs": [{**body["inputs"][0], **changes}]}


@pytest.fixture
def body(rows, infer_body):
    return infer_body(rows[:2])


@pytest.fixture(autouse=True)
def still_serving(server, rows, infer_body):
    yield
    assert server.call("POST", INFER, infer_body(rows[:1]))[0] == 200


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"inputs": [}',
        b"[" * 100_000,
        b'{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 30], "data": [NaN]}]}',
        b'{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 30], "data": [Infinity]}]}',
        b'{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 30], "data": [1e999]}]}',
        b'{"id": "\\ud800", "inputs": []}',
    ],
)
def test_what_is_no_json_object_is_400(server, text):
    refused(exchange(server, whole(text)), 400, "body: ")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "feature"}, "'features'"),
        ({"name": ["features"]}, "'features'"),
        ({"datatype": "FP64"}, "'FP32'"),
        ({"datatype": None}, "'FP32'"),
        ({"shape": [2, 29]}, "[rows, 30]"),
        ({"shape": [60]}, "[rows, 30]"),
        ({"shape": [1, 30]}, "30 numbers"),
        ({"shape": [3, 30]}, "90 numbers"),
        ({"shape": [0, 30], "data": []}, "rows"),
        ({"shape": [-1, 30]}, "rows"),
        ({"shape": [2**70, 30]}, "rows"),
        ({"shape": [513, 30], "data": [0.0] * 513 * 30}, "512 rows"),
        ({"shape": [2.0, 30]}, "[rows, 30]"),
        ({"shape": [True, 30]}, "[rows, 30]"),
        ({"shape": "2,30"}, "[rows, 30]"),
        ({"data": None}, "a list"),
        ({"data": "0" * 60}, "a list"),
        ({"data": ["0"] * 60}, "numbers"),
        ({"data": [0.0] * 59 + [True]}, "numbers"),
        ({"data": [0.0] * 59 + [[1]]}, "numbers"),
        ({"data": [{}] * 60}, "numbers"),
        ({"data": [[0.0] * 30, [0.0] * 29]}, "nested"),
        ({"data": [[[0.0] * 30], [[0.0] * 30]]}, "nested"),
        ({"parameters": {"binary_data_size": 240}}, "Inference-Header-Content-Length"),
        ({"parameters": {"shared_memory_region": "x"}}, "not supported"),
        ({"parameters": []}, "an object"),
    ],
)
def test_a_tensor_that_does_not_fit_is_400(server, body, changes, word):
    refused(server.call("POST", INFER, change(body, **changes)), 400, "inputs[0].", word)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"inputs": []}, "one tensor"),
        ({"inputs": {}}, "a list"),
        ({"inputs": ["features"]}, "one tensor"),
        ({"id": 7}, "id"),
        ({"parameters": 1}, "an object"),
        ({"parameters": {"binary_data_output": 1}}, "true or false"),
        ({"outputs": [{"name": "scores"}]}, "score"),
        ({"outputs": [{"name": "score"}, {"name": "score"}]}, "once"),
        ({"outputs": ["score"]}, "outputs[0]"),
        ({"outputs": [{"name": "score", "parameters": {"classification": 3}}]}, "not supported"),
        ({"outputs": [{"name": "score", "parameters": {"binary_data": "yes"}}]}, "true or false"),
    ],
)
def test_a_request_that_asks_for_what_is_not_there_is_400(server, body, more, word):
    refused(server.call("POST", INFER, {**body, **more}), 400, word)


def binary(size=240, claimed=240, header=None, shape=(2, 30), **tensor):
    described = {
        "name": "features",
        "datatype": "FP32",
        "shape": shape,
        "parameters": {"binary_data_size": claimed},
    }
    text = json.dumps({"inputs": [{**described, **tensor}]}).encode()
    return whole(text + bytes(size), Inference_Header_Content_Length=len(text) if header is None else header)


@pytest.mark.parametrize(
    "request_bytes",
    [
        binary(claimed=236),
        binary(size=239),
        binary(size=0),
        binary(size=120, claimed=120),
        binary(claimed=-240),
        binary(claimed="240"),
        binary(claimed=True),
        binary(header=10),
        binary(header=0),
        binary(header=10**6),
        binary(header=-5),
        binary(header="ten"),
        binary(header=10**30),
        binary(data=[0.0] * 60),
    ],
)
def test_lengths_that_lie_about_a_binary_tensor_are_400(server, request_bytes):
    refused(exchange(server, request_bytes), 400)


def test_a_content_length_below_the_body_is_400(server, body):
    text = json.dumps(body).encode()
    refused(exchange(server, head(Content_Length=len(text) - 9) + text), 400)


def test_a_content_length_above_the_body_is_408(server, body):
    text = json.dumps(body).encode()
    refused(exchange(server, head(Content_Length=len(text) + 9) + text), 408, "not whole after 1 s")


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "99999999999999999999"])
def test_a_content_length_that_is_none_is_400(server, length):
    refused(exchange(server, head(Content_Length=length)), 400)


def test_a_body_of_a_gigabyte_is_413_before_it_is_sent(server):
    answer = exchange(server, head(Content_Length=1 << 30))
    refused(answer, 413, "larger than")
    assert answer[1]["connection"] == "close"


def test_a_body_that_is_sent_on_all_the_same_is_413(server):
    refused(exchange(server, head(Content_Length=8 << 20), bytes(8 << 20)), 413)


def test_a_body_in_chunks_that_never_end_is_413(server):
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    refused(exchange(server, head(Transfer_Encoding="chunked"), chunk * 20), 413)


def test_a_slow_body_and_a_slow_head_are_408(server):
    refused(exchange(server, head(Content_Length=100), b"{"), 408, "body")
    refused(exchange(server, b"POST /v2/mod"), 408, "head")
    refused(exchange(server, b""), 408, "head")


def test_a_compressed_body_is_415(server):
    refused(exchange(server, whole(b"\x1f\x8b", Content_Encoding="gzip")), 415)


@pytest.mark.parametrize("text", [b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"POST / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_400(server, text):
    refused(exchange(server, text), 400, "Invalid HTTP")


@pytest.mark.parametrize(
    "name",
    [
        "nobody",
        "..",
        "../../etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5cwindows",
        "cancer/..",
        "cancer%00",
        "cancer.",
        "cancer.fp32",
        "%ff",
        "~root",
        "x" * 5000,
    ],
)
def test_a_model_that_is_not_served_is_404_whatever_its_name_looks_like(server, name):
    for method, end in (("POST", "/infer"), ("GET", ""), ("GET", "/ready"), ("GET", "/versions/1")):
        refused(exchange(server, head(method.encode(), f"/v2/models/{name}{end}".encode(), Content_Length=0)), 404)


@pytest.mark.parametrize("path", ["/", "/v2/", "/v2/models", "/v2/models/", "/docs", "/static", "/exported"])
def test_there_is_no_listing(server, path):
    refused(server.call("GET", path), 404)


def test_a_wrong_method_is_405(server):
    refused(server.call("GET", INFER), 405)
    refused(server.call("DELETE", "/v2/models/cancer"), 405)
