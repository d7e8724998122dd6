"""Files that need not fit in memory: every row, in its order, as the whole table gives it."""

import json
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_files import FEATURES, content, write

from aetool import load
from aetool.errors import BundleError, InputError, OutputError
from aetool.stream import LocalEngine, Task, stream
from aetool.stream import _engines as engines
from aetool.stream._file import DEPTH, ahead
from aetool.tables import read_table, streaming


@pytest.mark.parametrize("ending", streaming.STREAMED)
def test_scores_are_those_of_the_whole_table_in_its_order(run, rows, as_table, model, tmp_path, ending):
    values = rows(3_000)
    table = as_table(values).select(["id", *reversed(FEATURES)]).append_column("extra", pa.nulls(3_000))
    write(tmp_path / f"in{ending}", table)
    done = run(tmp_path / f"in{ending}", tmp_path / "out", keep=("id",))
    (found,) = [pq.read_table(path) for path in (tmp_path / "out").glob("*.parquet")]
    assert found.column_names == ["id", "score", "is_anomaly"]
    assert found["id"].equals(table["id"])
    expected = model.run("detector", values)
    assert np.array_equal(found["score"].to_numpy(), expected["score"])
    assert np.array_equal(found["is_anomaly"].to_numpy(), expected["is_anomaly"])
    assert (done.total("rows"), done.total("anomalies")) == (3_000, expected["is_anomaly"].sum())


@pytest.mark.parametrize(("command", "method"), [("encode", "encode"), ("reconstruct", "reconstruct")])
def test_embeddings_and_reconstructions_too(run, rows, as_table, model, tmp_path, command, method):
    values = rows(5_000)
    run(write(tmp_path / "in.parquet", as_table(values)), tmp_path / "out", command)
    found = pq.read_table(tmp_path / "out" / "in.parquet")
    expected = getattr(model, method)(values)
    names = FEATURES if command == "reconstruct" else [f"embedding_{i}" for i in range(12)]
    assert found.column_names == names
    assert np.array_equal(np.stack(found.columns, axis=1), expected)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_categories_are_taken_and_given_as_text(mixed, mixed_bundle, tmp_path, ending):
    file = write(tmp_path / f"in{ending}", pa.table(mixed))
    whole = load(mixed_bundle)
    table = read_table(file, only=whole.feature_names, categories=whole.categories)
    for command in ("score", "reconstruct"):
        stream(Task(command, str(mixed_bundle)), [str(file)], str(tmp_path / command))
    name = file.name if ending == ".parquet" else f"{file.name}.parquet"
    scores = pq.read_table(tmp_path / "score" / name)["score"].to_numpy()
    assert np.array_equal(scores, whole.score(table.values))
    expected = whole.to_columns(whole.reconstruct(table.values))
    assert pq.read_table(tmp_path / "reconstruct" / name).to_pydict() == {
        name: column.tolist() for name, column in expected.items()
    }


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 400), group=st.integers(1, 90), batch=st.integers(1, 90))
def test_no_cut_of_the_rows_loses_repeats_or_moves_one(
    rows, as_table, bundle, monkeypatch, tmp_path_factory, count, group, batch
):
    folder = tmp_path_factory.mktemp("cut")
    pq.write_table(as_table(rows(400)[:count]), folder / "in.parquet", row_group_size=group)
    with monkeypatch.context() as patch:
        patch.setattr(streaming, "MAX_BATCH_ROWS", batch)
        stream(Task("score", str(bundle), keep=("id",)), [str(folder / "in.parquet")], str(folder / "out"))
    found = pq.read_table(folder / "out" / "in.parquet")
    assert found["id"].to_pylist() == [f"m{i:06}" for i in range(count)]
    assert found.column_names == ["id", "score", "is_anomaly"]


def test_missing_and_extreme_values_are_anomalies(run, as_table, rows, tmp_path):
    values = rows(50).astype(np.float64)
    values[3, 2], values[4, 5] = np.nan, 1e300
    table = as_table(values)
    table = table.set_column(1, "c0", pa.array([None, *values[1:, 0]]))
    done = run(write(tmp_path / "in.parquet", table), tmp_path / "out")
    found = pq.read_table(tmp_path / "out" / "in.parquet")
    assert not np.isfinite(found["score"].to_numpy()[[0, 3, 4]]).any()
    assert found["is_anomaly"].to_numpy()[[0, 3, 4]].all() and done.total("not_finite") == 3


# what is read


@pytest.fixture
def three(rows, as_table, tmp_path):
    """a.parquet, deep/b.parquet and c.csv of 200 rows each, and what is no data."""
    folder = tmp_path / "in"
    for number, name in enumerate(("a.parquet", "deep/b.parquet", "c.csv")):
        write(folder / name, as_table(rows(200, number)))
    for other in ("_SUCCESS", ".hidden.parquet", "notes.txt", "_tmp/part.parquet"):
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_bytes(b"no data")
    return folder


@pytest.mark.parametrize(
    ("given", "outputs"),
    [
        (["in"], ["a.parquet", "c.csv.parquet", "deep/b.parquet"]),
        (["in/*.parquet"], ["a.parquet"]),
        (["in/**/*.parquet"], ["a.parquet", "deep/b.parquet"]),
        (["in/[ab].p*"], ["a.parquet"]),
        (["in/a.parquet", "in/deep/b.parquet", "in/a.parquet"], ["a.parquet", "b.parquet"]),
    ],
)
def test_files_directories_and_patterns_become_one_output_each(run, three, tmp_path, monkeypatch, given, outputs):
    monkeypatch.chdir(tmp_path)
    run(given, "out")
    assert sorted(content(tmp_path / "out")) == outputs
    manifest = json.loads((tmp_path / "out" / "_aetool.json").read_text())
    assert [(entry["output"], entry["rows"]) for entry in manifest["files"]] == [(name, 200) for name in outputs]
    assert len(pq.read_table(tmp_path / "out")) == 200 * len(outputs)  # the manifest is no part of the table


def test_what_stands_for_no_file_or_two_for_one_output_is_refused(run, three, tmp_path):
    for inputs, told in (
        ([three / "nowhere.csv"], "no such file"),
        ([three / "*.gz"], "no files"),
        ([three / "notes.txt"], "can be streamed"),
        (["nowhere://x/y"], "no file system"),
    ):
        with pytest.raises(InputError, match=told):
            run(inputs, tmp_path / "out")
    (three / "again").mkdir()
    (three / "a.parquet").rename(three / "again" / "b.parquet")
    with pytest.raises(InputError, match=r"both become b\.parquet"):
        run([three / "again", three / "deep"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stores_that_fsspec_knows_are_read_and_written(run, three, tmp_path):
    memory = pytest.importorskip("fsspec", reason="fsspec is not installed").filesystem("memory")
    memory.put(f"{three}/", "/store/in/", recursive=True)
    run("memory://store/in/**/*.parquet", "memory://store/out")
    run("memory://store/in", "memory://store/out", overwrite=True)
    run(three, tmp_path / "out")
    expected = content(tmp_path / "out")
    for name, here in expected.items():
        there = pq.read_table(pa.BufferReader(memory.cat(f"/store/out/{name}")))
        assert there.equals(pq.read_table(pa.BufferReader(here)))
    assert {path.removeprefix("/store/out/") for path in memory.find("/store/out")} == {*expected, "_aetool.json"}


# bad files


@pytest.fixture
def bad(three):
    whole = (three / "a.parquet").read_bytes()
    (three / "b0.parquet").write_bytes(whole[: len(whole) // 2] + whole[len(whole) // 2 + 500 :])
    lines = (three / "c.csv").read_text().splitlines()
    lines[150] = lines[150].replace(lines[150].split(",")[4], "oops")
    (three / "d.csv").write_text("\n".join(lines))
    return three


def test_a_bad_file_stops_the_run_and_is_named(run, bad, tmp_path):
    with pytest.raises(InputError, match=r"b0\.parquet|column 'c3': 'oops' is not a number"):
        run(bad, tmp_path / "out")
    left = set(content(tmp_path / "out"))
    assert left <= {"a.parquet", "c.csv.parquet", "deep/b.parquet"}  # nothing half written either


def test_bad_files_are_skipped_when_told_and_done_when_mended(run, bad, three, tmp_path):
    done = run(bad, tmp_path / "out", skip_bad=True)
    assert [outcome.source.name for outcome in done.failed] == ["b0.parquet", "d.csv"]
    assert "oops" in done.failed[1].error and done.total("rows") == 600
    manifest = json.loads((tmp_path / "out" / "_aetool.json").read_text())
    assert [entry["output"] for entry in manifest["files"] if "error" in entry] == ["b0.parquet", "d.csv.parquet"]
    for name in ("b0.parquet", "d.csv"):
        (bad / name).write_bytes((bad / f"a{name[2:]}" if name == "b0.parquet" else bad / "c.csv").read_bytes())
    again = run(bad, tmp_path / "out", resume=True)
    assert (again.resumed, again.failed, again.total("rows")) == (3, (), 1_000)


def test_a_missing_column_or_a_kept_one_with_a_results_name_is_told(run, three, tmp_path):
    with pytest.raises(InputError, match="'nosuch'"):
        run(three, tmp_path / "out", keep=("nosuch",))
    with pytest.raises(InputError, match="--keep 'c1'"):
        run(three, tmp_path / "other", "reconstruct", keep=("c1",))


# the output directory


def test_resume_does_what_is_left_only(run, three, tmp_path, monkeypatch):
    run(three, tmp_path / "whole")
    run(three / "a.parquet", tmp_path / "out")
    asked = []
    shard = engines.run_shard
    monkeypatch.setattr(engines, "run_shard", lambda *all: asked.append(all[2].name) or shard(*all))
    assert run(three, tmp_path / "out", resume=True).resumed == 1
    assert sorted(asked) == ["c.csv", "deep/b.parquet"]
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    asked.clear()
    assert run(three, tmp_path / "out", resume=True).resumed == 3 and asked == []


def test_resume_computes_an_input_again_that_has_changed_since(run, three, rows, as_table, tmp_path):
    run(three, tmp_path / "out")
    write(three / "a.parquet", as_table(rows(70, 9)))
    (tmp_path / "out" / "c.csv.parquet").write_bytes(b"half")
    assert run(three, tmp_path / "out", resume=True).resumed == 1
    run(three, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_resume_refuses_other_settings_and_results_without_their_input(run, three, bundle, tmp_path):
    run(three, tmp_path / "out")
    with pytest.raises(OutputError, match="keep was"):
        run(three, tmp_path / "out", keep=("id",), resume=True)
    with pytest.raises(OutputError, match="command was"):
        run(three, tmp_path / "out", "encode", resume=True)
    with pytest.raises(OutputError, match=r"a\.parquet.* not given any more"):
        run(three / "deep", tmp_path / "out", resume=True)


def test_a_directory_is_taken_only_when_it_is_free_or_ones_own(run, three, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(OutputError, match="something else"):
            run(three, tmp_path / "mine", **options)
    run(three, tmp_path / "out")
    with pytest.raises(OutputError, match="--resume or --overwrite"):
        run(three, tmp_path / "out")
    run(three / "deep", tmp_path / "out", overwrite=True)
    assert sorted(content(tmp_path / "out")) == ["b.parquet"]
    with pytest.raises(OutputError, match="is a file"):
        run(three, three / "notes.txt")


def test_overwrite_deletes_nothing_outside_of_the_directory(run, three, tmp_path):
    run(three, tmp_path / "out")
    (tmp_path / "thesis.parquet").write_text("years")
    text = (tmp_path / "out" / "_aetool.json").read_text()
    (tmp_path / "out" / "_aetool.json").write_text(text.replace('"a.parquet"', '"../thesis.parquet"'))
    with pytest.raises(OutputError, match="does not stay inside"):
        run(three, tmp_path / "out", overwrite=True)
    assert (tmp_path / "thesis.parquet").read_text() == "years"


def test_results_below_the_inputs_are_never_taken_for_inputs(run, three):
    for _ in range(2):
        assert run(three, three / "results", resume=True).total("rows") == 600


def test_two_runs_never_share_a_directory(run, three, tmp_path):
    class Slow:
        def run(self, task, sources, output, progress):
            with pytest.raises(OutputError, match="another run"):
                run(three, tmp_path / "out", resume=True)
            yield from LocalEngine().run(task, sources, output, progress)

    assert run(three, tmp_path / "out", engine=Slow()).total("rows") == 600


def test_half_written_files_of_a_killed_run_are_swept_away(run, three, tmp_path):
    run(three, tmp_path / "out")
    (tmp_path / "out" / ".aetool-0123.tmp").write_bytes(b"half")
    run(three, tmp_path / "out", resume=True)
    assert not list((tmp_path / "out").glob(".aetool-*"))


def test_an_output_that_cannot_be_written_stops_the_run_also_when_bad_files_are_skipped(run, three, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to("/dev/null/nothing")
    with pytest.raises(OutputError):
        run(three, tmp_path / "out", skip_bad=True)


def test_images_are_refused_and_so_is_what_is_no_bundle(three, tmp_path):
    with pytest.raises(BundleError):
        stream(Task("score", str(tmp_path)), [str(three)], str(tmp_path / "out"))
    with pytest.raises(InputError, match="workers"):
        LocalEngine(0)


def test_progress_adds_up_to_all_rows_and_all_bytes(run, three, tmp_path):
    told, begun = [], []
    run(
        three,
        tmp_path / "out",
        started=lambda *what: begun.append(what),
        progress=lambda *what: told.append(what),
    )
    size = sum((three / name).stat().st_size for name in ("a.parquet", "deep/b.parquet", "c.csv"))
    assert begun == [(0, size)] and tuple(map(sum, zip(*told, strict=True))) == (600, size)


# steps that overlap


def test_ahead_gives_every_item_in_order_and_never_runs_far_ahead():
    made = []

    def numbers():
        for number in range(50):
            made.append(number)
            yield number

    for seen, number in enumerate(ahead(numbers())):
        assert number == seen and len(made) <= seen + DEPTH + 3
        time.sleep(0.001)
    assert made == list(range(50))


def test_ahead_raises_what_its_step_raised_after_the_items_before():
    def numbers():
        yield 1
        raise InputError("no more")

    found = []
    with pytest.raises(InputError, match="no more"):
        found.extend(ahead(numbers()))
    assert threading.active_count() < 20


def test_closing_ahead_early_ends_its_threads():
    closed = []

    def numbers():
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            closed.append(True)

    def doubled(items):
        try:
            for item in items:
                yield 2 * item
        finally:
            items.close()

    before = threading.active_count()
    steps = ahead(doubled(ahead(numbers())))
    assert [next(steps), next(steps)] == [2, 4]
    steps.close()
    assert closed == [True] and threading.active_count() == before
