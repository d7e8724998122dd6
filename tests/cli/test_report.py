"""`aetool report`: what it writes, says and refuses."""

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest

from aetool.bundle import atomic
from aetool.bundle.bundle import Bundle
from aetool.cli._tables import as_read, was_trained_on
from aetool.errors import OutputError

MADE = runpy.run_path(str(Path(__file__).parents[1] / "report" / "bench_results.py"))


@pytest.fixture
def bench(work):
    """An empty current directory but for bench.json, whose document it gives."""
    document = MADE["document"]([MADE["measurement"](name) for name in ("aetool", "torch")])
    (work / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    return document


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_one_page_and_says_so(aetool, bench, work):
    result = aetool("report", "bench.json", "-o", "pages/page.html")
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.startswith("pages/page.html: 2 measurements")
    assert names(work) == ["bench.json", "pages"] and names(work / "pages") == ["page.html"]
    assert (work / "pages" / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_without_a_name_it_stands_beside_the_result(aetool, bench, work):
    document = json.loads(aetool("report", "bench.json", "--json").stdout)
    assert document == {
        "page": "bench.html",
        "bytes": (work / "bench.html").stat().st_size,
        "measurements": 2,
        "unstable": 0,
    }


def test_what_was_not_stable_is_counted(aetool, bench, work):
    bench["results"][1]["stability"]["stable"] = False
    (work / "bench.json").write_text(json.dumps(bench), encoding="utf-8")
    assert "1 not stable" in aetool("report", "bench.json").stdout


def test_a_page_that_exists_is_replaced_when_told_only(aetool, fails, bench, work):
    (work / "bench.html").write_text("mine", encoding="utf-8")
    message = fails("report", "bench.json")
    assert "bench.html" in message and "--overwrite" in message
    assert (work / "bench.html").read_text(encoding="utf-8") == "mine"
    assert aetool("report", "bench.json", "--overwrite").exit_code == 0
    assert "<!doctype" in (work / "bench.html").read_text(encoding="utf-8")


def test_the_result_itself_is_never_replaced(fails, bench, work):
    before = (work / "bench.json").read_bytes()
    assert ".html" in fails("report", "bench.json", "-o", "bench.json", "--overwrite")
    assert (work / "bench.json").read_bytes() == before


def test_a_result_named_like_a_page_is_not_replaced(fails, bench, work):
    before = (work / "bench.json").rename(work / "bench.html").read_bytes()
    assert "is the result itself" in fails("report", "bench.html", "--overwrite")
    assert (work / "bench.html").read_bytes() == before


def test_a_directory_is_not_replaced(fails, bench, work):
    (work / "page.html").mkdir()
    assert "a directory" in fails("report", "bench.json", "-o", "page.html", "--overwrite")


@pytest.mark.parametrize(
    ("content", "told"), [("{", "not valid JSON"), ("{}", "kind 'aetool.bench' or 'aetool.tuning' expected")]
)
def test_a_bad_result_leaves_nothing_behind(fails, work, content, told):
    (work / "bench.json").write_text(content, encoding="utf-8")
    message = fails("report", "bench.json", "-o", "page.html")
    assert "bench.json" in message and told in message
    assert names(work) == ["bench.json"]


def test_a_missing_key_is_named(fails, bench, work):
    del bench["results"][1]["latency_s"]["p99.9"]
    (work / "bench.json").write_text(json.dumps(bench), encoding="utf-8")
    assert "$.results[1].latency_s.p99.9 is missing" in fails("report", "bench.json")


def test_a_missing_file_is_one_line_and_json_when_asked(fails, aetool, work):
    assert "nowhere.json" in fails("report", "nowhere.json")
    found = json.loads(aetool("report", "nowhere.json", "--json").stdout)
    assert found["type"] == "BenchmarkError"


def test_it_needs_no_torch_no_onnx_no_onnxruntime_and_no_pyarrow(process, bench, work):
    code = "import sys; sys.modules |= dict.fromkeys(('torch', 'onnx', 'onnxruntime', 'pyarrow'))"
    assert process("report", "bench.json", code=code, cwd=work).returncode == 0


def test_a_file_that_appears_meanwhile_is_kept(work, monkeypatch):
    page = work / "page.html"

    def write(path, content):
        path.write_bytes(content)
        page.write_text("theirs", encoding="utf-8")

    monkeypatch.setattr(atomic, "write_file", write)
    with pytest.raises(OutputError, match="appeared while"):
        atomic.publish_file(page, b"ours")
    assert page.read_text(encoding="utf-8") == "theirs" and names(work) == ["page.html"]


def test_a_bundle_becomes_a_page_beside_it(aetool, made, work):
    shutil.copytree(made / "bundle", work / "machines-1.2")
    document = json.loads(
        aetool("report", "machines-1.2", "--data", made / "new.csv", "--label", "broken", "--json").stdout
    )
    assert document["page"] == "machines-1.2.html" and (work / "machines-1.2.html").exists()
    assert document["rows"] == 40 and document["golden"] is False
    assert 0.5 < document["auroc"] <= 1 and document["drifted"] in (True, False)
    text = (work / "machines-1.2.html").read_text(encoding="utf-8")
    assert "new.csv" in text and "größe" in text and str(made) not in text


def test_columns_that_are_kept_name_the_rows(aetool, fails, made, work):
    header, *lines = (line.split(",") for line in (made / "new.csv").read_text(encoding="utf-8").splitlines())
    given = ("report", made / "bundle", "--data", made / "new.csv", "-o", "page.html", "--keep")
    assert aetool(*given, "id").exit_code == 0
    text = (work / "page.html").read_text(encoding="utf-8")
    numbers = re.findall(r"<h4>Row (\d+): .*?</h4><p class=.which.>id (.*?)</p>", text)
    assert len(numbers) == 9
    assert all(lines[int(number) - 1][header.index("id")] == name for number, name in numbers)
    assert "'nowhere'" in fails(*given, "nowhere", "--overwrite")


def test_the_rows_of_training_are_known(aetool, made, work):
    told = "These are the rows that the model was trained on."
    for name, is_told in (("train.csv", True), ("new.csv", False)):
        aetool("report", made / "bundle", "--data", made / name, "--label", "broken", "-o", f"{name}.html")
        assert (told in (work / f"{name}.html").read_text(encoding="utf-8")) is is_told


def test_rows_are_those_of_training_with_and_without_labels_and_unknown_of_a_bundle_that_does_not_tell(made):
    manifest = Bundle.open(made / "bundle").manifest
    for label in (None, "broken"):
        assert was_trained_on(manifest, as_read(manifest, made / "train.csv", label=label)) is True
    table = as_read(manifest, made / "new.csv")
    assert was_trained_on(manifest, table) is False
    assert was_trained_on(manifest._replace(provenance={}), table) is None


def test_a_bundle_without_data_is_shown_with_its_golden_rows(aetool, made, work):
    result = aetool("report", made / "bundle", "-o", "page.html")
    assert result.exit_code == 0 and "golden rows, " in result.stdout


def test_what_goes_with_a_bundle_does_not_go_with_a_measurement(aetool, bench):
    for options in (["--data", "new.csv"], ["--bench", "bench.json"], ["--umap"], ["--precision", "int8"]):
        result = aetool("report", "bench.json", *options)
        assert result.exit_code == 2 and "go with a bundle" in result.stderr


@pytest.mark.parametrize("option", ["--label", "--keep"])
def test_columns_need_data(aetool, made, option):
    result = aetool("report", made / "bundle", option, "broken")
    assert result.exit_code == 2 and "give --data too" in result.stderr


def test_the_benchmark_of_another_bundle_is_refused(fails, bench, made):
    message = fails("report", made / "bundle", "--bench", "bench.json", "-o", "page.html")
    assert "give a benchmark of this bundle" in message


def test_a_checkpoint_is_no_result(fails, made):
    assert "aetool export" in fails("report", made / "checkpoint", "-o", "page.html")
