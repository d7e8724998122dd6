"""The JSON file: what is written is read again, and nothing else is."""

import json

import pytest

from aetool.bench.result import document_of, read_result, write_document
from aetool.errors import BenchmarkError, OutputError


@pytest.fixture
def file(tmp_path, result):
    path = tmp_path / "result.json"
    write_document(document_of(result()), path)
    return path


def refused(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BenchmarkError) as error:
        read_result(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_what_is_written_is_read_again(file, result):
    assert read_result(file) == result()


def test_the_document_is_the_schema(result):
    document = document_of(result())
    assert list(document)[:2] == ["kind", "format_version"]
    assert (document["kind"], document["format_version"]) == ("aetool.bench", 1)
    assert set(document) == {
        "kind", "format_version", "created", "command", "machine", "ceiling", "bundle", "parameters", "agreement",
        "results", "ratios",
    }  # fmt: skip
    row = document["results"][0]
    assert set(row["latency_s"]) == {"mean", "min", "max", "p50", "p90", "p99", "p99.9"}
    assert set(row["stability"]) >= {"windows_s", "spread", "stable"}
    assert len(row["histogram"]["edges_s"]) == len(row["histogram"]["counts"]) + 1


def test_a_file_that_is_there_stays(file, result):
    with pytest.raises(OutputError, match="exists already"):
        write_document(document_of(result()), file)
    write_document(document_of(result()), file, overwrite=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.pop("ratios"), "$.ratios is missing"),
        (lambda d: d.update(verdict="good"), "$.verdict is unknown"),
        (lambda d: d["machine"].pop("cpu"), "$.machine.cpu is missing"),
        (lambda d: d["results"][1].update(batch="1"), "$.results[1].batch must be an integer"),
        (lambda d: d["results"][1].update(batch=True), "$.results[1].batch must be an integer"),
        (lambda d: d["results"][0]["latency_s"].update(p50=None), "$.results[0].latency_s.p50 must be a number"),
        (lambda d: d["results"][0]["latency_s"].pop("p99.9"), "$.results[0].latency_s.p99.9 is missing"),
        (lambda d: d["results"][0].update(rounds={}), "$.results[0].rounds must be a list"),
        (lambda d: d["results"][0]["placement"].update(cpu=1.5), "$.results[0].placement.cpu must be an integer"),
        (lambda d: d["ratios"][0].update(spread=[1.0]), "$.ratios[0].spread must be a list of 2"),
        (lambda d: d.update(bundle=[]), "$.bundle must be an object"),
        (lambda d: d.update(kind="aetool.tune"), "kind 'aetool.bench' expected, found 'aetool.tune'"),
        (lambda d: d.update(format_version=2), "format_version 1 expected, found 2"),
        (lambda d: d.update({"x\n" * 200: 1}), r"$.x\nx\n"),
        (lambda d: d.update(command="aetool bench"), "$.command must be a list"),
        (lambda d: d["command"].append(None), "$.command[3] must be a text"),
        (lambda d: d["machine"].update(cores=2.0), "$.machine.cores must be an integer"),
        (lambda d: d["machine"].update(memory_bytes=2**70), "$.machine.memory_bytes must be an integer"),
        (lambda d: d["machine"]["packages"].update(torch=2), "$.machine.packages.torch must be a text"),
        (lambda d: d["ceiling"].update(copy_gb_per_s=10**400), "$.ceiling.copy_gb_per_s must be a number"),
        (lambda d: d["results"][0]["stability"].update(stable=1), "stability.stable must be true or false"),
        (lambda d: d["results"][0].update(profile=3), "$.results[0].profile must be a list"),
    ],
)
def test_a_wrong_entry_is_named(file, change, named):
    content = json.loads(file.read_text())
    change(content)
    assert named in refused(file, content)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.update(results=[]), "$.results must be a list of one or more"),
        (lambda d: d["results"][0].update(batch=0), "$.results[0].batch must be 1 or more"),
        (lambda d: d["results"][1].update(rounds=[]), "$.results[1].rounds must be a list of one or more"),
        (lambda d: d["results"][1]["rounds"][2].update(p50_s=0), "$.results[1].rounds[2].p50_s must be above 0"),
        (lambda d: d["results"][0].update(throughput_rows_per_s=0), "throughput_rows_per_s must be above 0"),
        (lambda d: d["results"][0]["latency_s"].update(p50=0.0), "$.results[0].latency_s.p50 must be above 0"),
        (lambda d: d["results"][0]["latency_s"].update({"p99.9": -1}), "latency_s.p99.9 must be above 0"),
        (lambda d: d["results"][0]["histogram"].update(edges_s=[1e-6]), "$.results[0].histogram.edges_s must be"),
        (lambda d: d["results"][0]["histogram"]["edges_s"].reverse(), "edges_s must be above 0 and ascending"),
        (lambda d: d["results"][0]["histogram"]["edges_s"].__setitem__(0, 0.0), "edges_s must be above 0"),
        (lambda d: d["results"][0].update(histogram={"edges_s": [], "counts": []}), "histogram.counts must be"),
        (
            lambda d: d["results"][0]["histogram"]["counts"].__setitem__(0, -1),
            "histogram.counts must be",
        ),
        (lambda d: d["ratios"][0].update(p50=0.0), "$.ratios[0].p50 must be above 0"),
        (lambda d: d["ratios"][0].update(spread=[0.0, 1.0]), "$.ratios[0].spread[0] must be above 0"),
    ],
)
def test_what_no_measurement_gives_is_named(file, change, named):
    content = json.loads(file.read_text())
    change(content)
    assert named in refused(file, content)


FREE = ("parameters", "packages", "files", "matmul_gflops", "placement")
"""What their keys are is open."""


def places(content, path=()):
    """The path of every value inside `content`, except inside lists after their first item."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*path, key)
            if key not in FREE:
                yield from places(value, (*path, key))
    elif isinstance(content, list) and content:
        yield from places(content[0], (*path, 0))


def test_every_missing_key_is_named(file):
    text = file.read_text()
    every = list(places(json.loads(text)))
    assert len(every) > 70
    for *steps, key in every:
        content = inside = json.loads(text)
        for step in steps:
            inside = inside[step]
        del inside[key]
        named = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*steps, key))
        if key == "reason":  # the one that has a default
            file.write_text(json.dumps(content))
            read_result(file)
        else:
            assert named.removeprefix(".") in refused(file, content)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{", '{"kind": NaN}', '{"kind": 1, "kind": 1}', "\x80", "[" * 100_000),
        *('{"kind": "aetool.bench", "x": 1e999}', '{"kind": "aetool.bench", "x": "\\ud800"}'),
        '{"benchmarks": [], "machine_info": {}}',
    ],
)
def test_other_files_are_refused(file, text):
    refused(file, text)


@pytest.mark.parametrize("length", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(file, length):
    text = file.read_text().rstrip()
    assert "not valid JSON" in refused(file, text[: int(len(text) * length)])


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00\x01")
    for name in ("nothing.json", ".", "bytes.json"):
        with pytest.raises(BenchmarkError, match=r"cannot be read|not valid JSON") as error:
            read_result(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
