"""`aetool watch` reads lines and messages as the log was read that the model was trained on."""

import json
import shutil

import click.testing
import pytest
from processes import records_in
from series_bundles import waves

from aetool.bundle.manifest import Series
from aetool.cli import main
from aetool.runtime.cells import TIME_FORMS, seconds_of
from aetool.tables.windows import Log
from aetool.watch._messages import Message, Reader

NOON = 1772366400.0  # 2026-03-01 12:00:00, UTC


@pytest.fixture
def watch(series, tmp_path):
    """Watch a text as a file, with a bundle whose log was read as `reading`; return result and records."""

    def run(text, *options, **reading):
        bundle = shutil.copytree(series, tmp_path / "bundle", dirs_exist_ok=True)
        manifest = json.loads((series / "manifest.json").read_text())
        manifest["provenance"]["reading"] = reading
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        log, alerts = tmp_path / "log.csv", tmp_path / "alerts.jsonl"
        log.write_text(text)
        alerts.unlink(missing_ok=True)
        done = click.testing.CliRunner().invoke(
            main, ["watch", str(bundle), str(log), "-o", str(alerts), "--scores", *options]
        )
        return done, records_in(alerts)

    return run


def lines(form="{t}", comma=False, names="time;machine;c0;c1;c2"):
    rows = waves(12, 3, 0)
    found = [names] if names else []
    for t, row in enumerate(rows):
        values = ";".join(f"{value:.4f}" for value in row)
        found.append(f"{form.format(t=t)};a;{values.replace('.', ',') if comma else values}")
    return "\n".join(found) + "\n"


@pytest.mark.parametrize(
    "when",
    [
        *("2026-03-01 12:00:00", "2026-03-01T12:00", "2026-03-01T13:00:00+01:00", " 2026-03-01 12:00:00Z "),
        *("2026/03/01 12:00:00", "01.03.2026 12:00:00", "01.03.2026 12:00", "20260301T120000"),
        *(NOON, str(NOON), NOON * 1e3, str(int(NOON * 1e6)), NOON * 1e9),
    ],
)
def test_a_time_is_the_same_in_a_table_and_in_a_message(when, tmp_path):
    assert seconds_of(when) == NOON and seconds_of(when, TIME_FORMS[1]) == NOON
    path = tmp_path / "log.csv"
    path.write_text(f"t,x\n{when if isinstance(when, str) else int(when)},1\n")
    (run,) = Log(path, Series(1, 1, time="t"), ("x",)).runs()
    assert run.times.astype("datetime64[s]").astype(int).tolist() == [NOON]


@pytest.mark.parametrize("when", ["yesterday", "", "32.01.2026 12:00:00", "nan", "inf", None, []])
def test_what_is_no_time_is_refused(when):
    with pytest.raises((ValueError, TypeError)):
        seconds_of(when)


def test_training_keeps_how_times_are_written_as_a_hint(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(lines("01.03.2026 06:00:{t:02}", comma=True))
    log = Log(path, Series(4, 1, time="time", group="machine"))
    assert log.head().reading.to_dict() == {"sep": ";", "decimal": ",", "time": "%d.%m.%Y %H:%M:%S"}


@pytest.mark.parametrize("hint", [{}, {"time": "%d.%m.%Y %H:%M:%S"}, {"time": 3}, {"time": "%Y/%m/%d %H:%M:%S"}])
def test_dates_as_training_read_them_need_no_hint(watch, hint):
    expected = [each["score"] for each in watch(lines())[1] if each["kind"] == "score"]
    done, found = watch(lines("01.03.2026 06:00:{t:02}", comma=True), decimal=",", **hint)
    assert done.exit_code == 0, done.output
    assert [each["score"] for each in found if each["kind"] == "score"] == expected != []
    assert found[0]["time"] == "01.03.2026 06:00:07"


def test_a_file_of_which_nothing_could_be_read_is_an_error_that_says_what_would_be_right(watch):
    done, found = watch(lines("1st March, {t} o'clock"), time="%d.%m.%Y %H:%M")
    assert done.exit_code == 1 and found == []
    assert "no sample in any of 13 messages" in done.output
    assert "not a time: \"1st March, 0 o'clock\"; expected seconds, or a date as '31.01.2026 12:00'" in done.output


def test_some_lines_that_cannot_be_read_are_no_error(watch):
    done, found = watch(lines() + "odd;a;1;2;3\n")
    assert done.exit_code == 0 and len(found) > 0 and "1 malformed" in done.output


def test_lines_without_names_ask_for_them_and_take_them(watch):
    done, _ = watch(lines(names=""))
    assert done.exit_code == 1
    assert "the model needs 'time' and 'machine' too; give --columns" in done.output
    _, named = watch(lines(comma=True, names=""), "--columns", "time,machine,c0,c1,c2", decimal=",")
    assert named == watch(lines(comma=True), decimal=",")[1] != []


def test_lists_and_messages_of_several_lines_are_read_by_the_names_of_columns(watch):
    expected = watch(lines())[1]
    rows = [line.split(";") for line in lines().splitlines()]
    lists = "".join(json.dumps([float(row[0]), row[1], *map(float, row[2:])]) + "\n" for row in rows[1:])
    _, found = watch(lists, "--columns", ",".join(rows[0]))
    assert [each["score"] for each in found] == [each["score"] for each in expected]
    _, at_once = watch(f"[{','.join(lists.splitlines())}]\n", "--columns", ",".join(rows[0]))
    assert [each["score"] for each in at_once] == [each["score"] for each in expected]


def test_words_that_meant_missing_in_training_do_so_here(watch):
    text = lines().replace("0;a;", "0;a;-999 ;", 1).split("\n")
    text[1] = ";".join(text[1].split(";")[:5])  # the first sample has -999 for c0
    _, found = watch("\n".join(text), na=["-999"])
    assert found[0]["score"] == "nan"
    assert watch("\n".join(text))[1][0]["score"] != "nan"


def test_an_mqtt_message_may_hold_its_own_names_and_several_lines():
    reader = Reader(("c0", "c1"), time="t")
    first = reader.read(Message("t;c0;c1\r\n1;2;3\n2;3;4\n", "plant/a"))
    assert [(each.group, each.time, each.values.tolist()) for each in first] == [
        ("plant/a", 1.0, [2, 3]),
        ("plant/a", 2.0, [3, 4]),
    ]
    (other,) = reader.read(Message("c1,c0,t\n9,8,3", "plant/b"))  # in another order
    assert (other.group, other.time, other.values.tolist()) == ("plant/b", 3.0, [8, 9])
