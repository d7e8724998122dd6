"""The JSON file: what is written is read again, and nothing else is."""

import json

import pytest

from aetool.bench.result import document_of, read_result, write_result
from aetool.errors import BenchmarkError, OutputError


@pytest.fixture
def file(tmp_path, result):
    path = tmp_path / "result.json"
    write_result(result(), path)
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
        write_result(result(), file)
    write_result(result(), file, overwrite=True)


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
    ],
)
def test_a_wrong_entry_is_named(file, change, named):
    content = json.loads(file.read_text())
    change(content)
    assert named in refused(file, content)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"kind": NaN}', '{"kind": 1, "kind": 1}', "\x80"])
def test_other_files_are_refused(file, text):
    refused(file, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match=r"nothing\.json: cannot be read"):
        read_result(tmp_path / "nothing.json")
