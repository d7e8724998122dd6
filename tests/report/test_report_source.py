"""What is read, and what is refused by the name of the file and the key."""

import json

import pytest

from aetool.errors import InputError
from aetool.report import read_result


@pytest.fixture
def refused(write):
    """Read, expect an InputError in one line that names the file; gives it."""

    def read(content):
        path = write(content)
        with pytest.raises(InputError) as caught:
            read_result(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message and "run aetool bench" in message
        return message

    return read


def places(content, path=()):
    """The path of every value inside `content`, except inside lists after their first item."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*path, key)
            yield from places(value, (*path, key))
    elif isinstance(content, list) and content:
        yield from places(content[0], (*path, 0))


def parent_of(content, path):
    for step in path[:-1]:
        content = content[step]
    return content


def shown(path):
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


FREE = ("parameters", "packages", "files", "matmul_gflops", "placement")  # what their keys are is open


def test_what_is_written_is_read(write, many):
    found = read_result(write(many))
    assert len(found.results) == len(many["results"]) and len(found.ratios) == len(many["ratios"])
    assert found.results[0].latency_s.p99_9 == many["results"][0]["latency_s"]["p99.9"]
    assert found.bundle.files["encoder"].multiply_adds_per_row == 132_096
    assert found.results[0].profile[0].op == "Gemm"


def test_keys_that_are_not_known_are_ignored(write, single):
    single["later"] = single["results"][0]["later"] = {"x": 1}
    assert len(read_result(write(single)).results) == 1


def test_every_missing_key_is_named(refused, many):
    text = json.dumps(many)
    checked = 0
    for path in places(many):
        if any(step in FREE for step in path[:-1]):
            continue
        changed = json.loads(text)
        del parent_of(changed, path)[path[-1]]
        assert shown(path) in refused(changed)
        checked += 1
    assert checked > 70


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("created",), 5),
        (("command",), "aetool bench"),
        (("command", 1), None),
        (("machine",), []),
        (("machine", "cores"), 2.0),
        (("machine", "memory_bytes"), 2**70),
        (("machine", "packages"), []),
        (("machine", "packages", "torch"), 2),
        (("ceiling", "matmul_gflops", "1"), "fast"),
        (("ceiling", "copy_gb_per_s"), 10**400),
        (("bundle", "files", "encoder"), None),
        (("results",), {}),
        (("results",), []),
        (("results", 0), 1),
        (("results", 0, "batch"), True),
        (("results", 0, "batch"), 0),
        (("results", 0, "throughput_rows_per_s"), 0),
        (("results", 0, "latency_s", "p50"), None),
        (("results", 0, "latency_s", "p50"), 0.0),
        (("results", 0, "latency_s", "p99.9"), -1.0),
        (("results", 0, "histogram", "edges_s"), [1e-6]),
        (("results", 0, "histogram", "edges_s", 1), 0.0),
        (("results", 0, "histogram", "counts", 1), 1.5),
        (("results", 0, "rounds", 0, "p50_s"), 0),
        (("results", 0, "stability", "stable"), 1),
        (("ratios", 0, "spread"), [1.0]),
        (("ratios", 0, "p50"), 0.0),
    ],
)
def test_a_wrong_value_is_named(refused, many, path, value):
    parent_of(many, path)[path[-1]] = value
    named = shown(path[:-1] if isinstance(path[-1], int) and value == 0.0 else path)
    assert named in refused(many)


def test_counts_below_zero_are_refused(refused, single):
    single["results"][0]["histogram"]["counts"][0] = -1
    assert "$.results[0].histogram.counts" in refused(single)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is not JSON"),
        ('{"kind": "aetool.bench", "resu', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"kind": "aetool.bench", "kind": "x"}', "twice"),
        ('{"kind": "aetool.bench", "x": NaN}', "NaN"),
        ('{"kind": "aetool.bench", "x": 1e999}', "too large"),
        ("[]", "$.kind must be 'aetool.bench'"),
        ("null", "$.kind"),
        ('{"benchmarks": [], "machine_info": {}}', "found 'None'"),
        ('{"kind": "aetool.bench", "format_version": 2}', "$.format_version must be 1"),
    ],
)
def test_foreign_and_broken_files_are_refused(refused, content, told):
    assert told in refused(content)


@pytest.mark.parametrize("length", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(refused, many, length):
    text = json.dumps(many)
    assert "not all of it" in refused(text[: int(len(text) * length)])


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00\x01")
    for name in ("bytes.json", "nowhere.json", "."):
        with pytest.raises(InputError, match=r"aetool bench"):
            read_result(tmp_path / name)
