"""From start to end: bundles replaced while they are served, tokens, signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from aetool.bench._http_load import NO_ANSWER, OK
from aetool.serve.models import place

INFER = "/v2/models/cancer/infer"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_under_load_loses_no_request_and_ends_the_server(start, exported, under_load, number, code):
    with start(f"cancer={exported}") as server:
        result = under_load(server, 30)
        time.sleep(0.5)
        begin = time.monotonic()
        assert server.stop(number)[0] == code
        assert time.monotonic() - begin < 10  # long before the clients would have stopped by themselves
        seen = result()
        assert seen.statuses[OK] > 100 and set(seen.statuses) == {OK}
        assert [line["event"] for line in server.log][-3:] == ["stopping", "stopped", "ended"]


def test_when_it_stops_it_tells_how_much_it_did(start, exported):
    with start(f"cancer={exported}", "--json") as server:
        server.call("GET", "/v2")
        code, out = server.stop()
        assert code == 0 and json.loads(out)["requests"] == 1


def published(source, path):
    """As aetool export does: in one step."""
    shutil.copytree(source, beside := path.with_name("beside"))
    if path.exists():
        path.rename(path.with_name("old"))
    beside.rename(path)
    shutil.rmtree(path.with_name("old"), ignore_errors=True)


def test_another_bundle_in_its_place_is_served_without_a_gap(
    start, exported, bundle, tmp_path, rows, under_load, infer_body
):
    """`bundle` is another model of the same table."""
    published(exported, path := tmp_path / "cancer")
    with start(path) as server:
        before = server.call("GET", "/v2/models/cancer")[2]["versions"]
        result = under_load(server, 4)
        published(bundle, path)
        replaced = server.wait_for("bundle replaced")
        after = server.call("GET", "/v2/models/cancer")[2]["versions"]
        assert after == [replaced["version"]] != before
        assert server.call("POST", f"/v2/models/cancer/versions/{before[0]}/infer", infer_body(rows[:1]))[0] == 404
        assert server.call("POST", INFER, infer_body(rows[:1]))[2]["model_version"] == after[0]
        assert set(result().statuses) == {OK}


def test_a_bad_bundle_in_its_place_is_refused_and_the_old_one_stays(
    start, exported, bundle, tmp_path, rows, infer_body
):
    published(exported, path := tmp_path / "cancer")
    with start(path) as server:
        good = server.call("POST", INFER, infer_body(rows[:1]))[2]
        shutil.copytree(bundle, bad := tmp_path / "bad")
        graph = bytearray((bad / "detector.onnx").read_bytes())
        graph[-100] ^= 1
        (bad / "detector.onnx").write_bytes(graph)
        published(bad, path)
        assert "detector.onnx" in server.wait_for("bundle refused, the old one is served")["error"]
        for output in ("score", "reconstruction"):  # also a graph that was never asked for before
            body = infer_body(rows[:1], outputs=[{"name": output}])
            assert server.call("POST", INFER, body)[2]["model_version"] == good["model_version"]
        shutil.rmtree(path)
        assert server.call("POST", INFER, infer_body(rows[:1]))[0] == 200
        seen = len(server.log)
        published(bundle, path)
        server.wait_for("bundle replaced", after=seen)
        page = server.call("GET", "/metrics")[2].decode()
        assert 'aetool_replacements_total{bundle="cancer",result="refused"} 1.0' in page


def test_bundles_of_one_name_are_versions_and_the_last_is_the_default(start, exported, bundle, rows, infer_body):
    with start(f"cancer={exported}", f"cancer={bundle}", f"other={exported}") as server:
        first, last = server.call("GET", "/v2/models/cancer")[2]["versions"]
        answers = [
            server.call("POST", path, infer_body(rows[:1], outputs=[{"name": "score"}]))[2]
            for path in (INFER, f"/v2/models/cancer/versions/{first}/infer", "/v2/models/other/infer")
        ]
        assert [answer["model_version"] for answer in answers] == [last, first, first]
        scores = [answer["outputs"][0]["data"] for answer in answers]
        assert scores[0] != scores[1] == scores[2]


@pytest.mark.parametrize("from_file", [True, False])
def test_a_token_is_asked_of_everybody_but_probes(start, exported, tmp_path, from_file):
    token = "a-token-of-enough-letters"
    (tmp_path / "token").write_text(f"{token}\n")
    arguments = ["--token-file", tmp_path / "token"] if from_file else []
    variables = {} if from_file else {"AETOOL_TOKEN": token}
    with start(f"cancer={exported}", *arguments, **variables) as server:
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert server.call("GET", path)[0] == 200
        for path in ("/v2", "/v2/models/cancer", "/metrics", "/openapi.json", "/nothing"):
            for headers in ({}, {"Authorization": f"Bearer {token}x"}, {"Authorization": f"Basic {token}"}):
                status, answered, body = server.call("GET", path, **headers)
                assert status == 401 and answered["www-authenticate"] == "Bearer" and "error" in body
        assert server.call("GET", "/v2", Authorization=f"Bearer {token}")[0] == 200
        assert server.call("POST", INFER, {}, Authorization=f"bearer {token}")[0] == 400
        assert server.call("POST", INFER, {})[0] == 401
        document = server.call("GET", "/openapi.json", Authorization=f"Bearer {token}")[2]
        assert document["security"] and "401" in document["paths"]["/v2/models/{model}/infer"]["post"]["responses"]
        assert token not in json.dumps(server.log)


def refused(*arguments, **variables):
    """stderr of a server that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "aetool", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 1 and done.stdout == ""
    return done.stderr


def test_what_cannot_be_served_is_told_in_one_line(exported, bundle, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = refused(exported, "--port", taken.getsockname()[1])
        assert text.startswith("Error: 127.0.0.1:") and "in use" in text and text.count("\n") == 1
    shutil.copytree(bundle, bad := tmp_path / "bad")
    (bad / "encoder.onnx").write_bytes(b"")
    assert "encoder.onnx" in refused(bad, "--port", 0)
    (tmp_path / "token").write_text("short")
    assert "16 or more" in refused(exported, "--token-file", tmp_path / "token")
    assert "16 or more" in refused(exported, AETOOL_TOKEN="")
    assert "max_batch" in refused(exported, "--max-batch", 0)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a.b", "-a", "_a", "a b", "ä", "a%2f", "x" * 65])
def test_a_name_that_would_not_do_in_a_url_is_refused(exported, name):
    with pytest.raises(Exception, match="NAME=PATH"):
        place(exported, name)


def test_a_bundle_is_called_like_its_directory(exported):
    assert place(exported).name == "breast-cancer" and place(exported, "b-1").name == "b-1"


def test_nothing_lost_is_what_the_client_counts(start, exported, under_load):
    """The check above finds requests that are lost: here the server is killed."""
    with start(f"cancer={exported}") as server:
        result = under_load(server, 30)
        time.sleep(0.5)
        server.process.kill()
        server.process.wait()
        assert result().statuses[NO_ANSWER] > 0


def test_serving_needs_no_torch_and_no_onnx(exported):
    script = "import sys, aetool.serve.server; print({'torch', 'onnx', 'pyarrow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
