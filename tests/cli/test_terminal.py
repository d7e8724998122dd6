"""What a person sees on a real terminal, and that a pipe and --quiet get none of it."""

import io
import re
import time

import numpy as np
import pytest
from rich.console import Console
from series_bundles import WAVES, waves

from aetool.bundle.manifest import Variant
from aetool.cli._output import times_as_fast
from aetool.cli._progress import Steps, duration
from aetool.cli.commands.train import _ending
from aetool.cli.show.bundle import merits
from aetool.cli.show.scores import show_scores

from .test_process import ESCAPE, on_a_terminal

CURSOR = re.compile(r"\r\x1b\[2K")
RUNS = "running the bundle in a process of its own"


def seen(arguments, environment, **options):
    """Text on a terminal, without colours; the line that moves in each of its states."""
    with on_a_terminal(arguments, environment, **options) as (_, read):
        return ESCAPE.sub("", read())


def left(text):
    """What is left on the screen once every line that moved is erased."""
    return [CURSOR.split(line)[-1] for line in text.replace("\r\n", "\n").split("\n")]


def test_steps_move_on_a_terminal_and_stay_with_their_times(environment, made):
    text = seen(("verify", made / "bundle"), environment)
    assert text.startswith("aetool starts\r") and f"⠋ {RUNS}" in text
    screen = left(text)
    assert any(re.fullmatch(rf"✓ {RUNS} · .+", line) for line in screen)
    assert not any("⠋" in line or "starting" in line or "aetool starts" in line for line in screen)
    assert any(line.startswith("passed") for line in screen)


@pytest.mark.parametrize("silent", [("--quiet",), ("-q",)])
def test_with_quiet_a_terminal_shows_the_result_alone(environment, made, silent):
    text = seen(("info", made / "bundle", *silent), environment)
    assert text.startswith("bundle") and not CURSOR.search(text)


def test_a_pipe_gets_no_signs_of_life(process, made):
    done = process("verify", made / "bundle")
    assert done.returncode == 0 and done.stderr == "" and "✓" not in done.stdout


def test_a_terminal_that_cannot_erase_gets_none_either(environment, made):
    text = seen(("info", made / "bundle"), {**environment, "TERM": "dumb"})
    assert text.startswith("bundle") and not CURSOR.search(text)


def test_scores_on_a_terminal_are_a_table_the_most_anomalous_first(environment, made):
    lines = left(seen(("score", made / "bundle", made / "new.csv", "--keep", "id"), environment, columns=100))
    head = next(place for place, line in enumerate(lines) if line.startswith("row id"))
    rows = [line.split() for line in lines[head + 1 : head + 21]]
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True) and rows[0][1] == f"m{int(rows[0][0]) - 1:04}"
    assert all("┃" in row[3] for row in rows) and rows[0][4] == "anomaly"
    assert re.search(r"expected -?[\d.]+ *$", lines[head + 1])
    text = " ".join(lines[head + 21 :])
    assert "of 40 rows are anomalies" in text and "20 more rows; --top N shows more" in text


def test_events_on_a_terminal_are_a_table(environment, tmp_path):
    lines = ["time,machine,c0,c1,c2"]
    for t, row in enumerate(waves(60, 3, 0)):
        lines.append(f"{t},a,{','.join(str(value * (8 if 30 <= t < 36 else 1)) for value in row)}")
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    shown = left(seen(("score", WAVES, tmp_path / "log.csv", "--events", "--quiet"), environment))
    head = next(place for place, line in enumerate(shown) if line.startswith("group"))
    assert shown[head].split() == ["group", "start", "end", "rows", "score", "most", "of", "it"]
    assert re.match(r"a +\d\d\.0 +\d\d\.0 +\d+ +[\d.]+ +c[012] \d+%", shown[head + 1])
    assert re.search(r"^events +1 *$", "\n".join(shown), re.MULTILINE)


def test_scores_in_a_pipe_are_csv_though_stderr_is_a_terminal(environment, made):
    arguments = ("score", made / "bundle", made / "new.csv")
    with on_a_terminal(arguments, environment, stdout_too=False) as (scoring, _):
        head, *rows = scoring.stdout.read().decode().splitlines()
    assert head.replace('"', "") == "score,is_anomaly" and len(rows) == 40


def test_an_error_on_a_terminal_is_what_is_wrong_and_what_to_do_with_words_whole(environment):
    where = f"/nowhere/{'long-name/' * 9}bundle"
    lines = left(seen(("verify", where), environment))
    assert lines[0] == "Error:" and lines[1].startswith(where)
    assert lines[-2] == "Give the directory that aetool export wrote"
    assert all(len(line) <= 80 for line in lines if where not in line)
    lines = left(seen(("verify", "x", "--agianst", "y"), environment))
    assert lines[0].startswith("Error: No such option '--agianst'.") and lines[1] == "See aetool verify --help"


def test_help_has_bold_names_on_a_terminal_and_none_in_a_pipe(environment, process):
    with on_a_terminal(("train", "--help"), environment) as (_, read):
        text = read()
    assert "\x1b[1mOptions:\x1b[0m" in text and "  \x1b[1m--epochs INTEGER\x1b[0m  " in text
    assert "\x1b[36m\x1b[1m    aetool train machines.csv" in text
    assert "\x1b" not in process("train", "--help").stdout


# the moving line itself


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def shown(screen):
    console = Console(file=screen, force_terminal=True, color_system=None, width=60, legacy_windows=False)
    with Steps(console) as steps:
        yield steps


def test_a_brief_step_leaves_no_line_and_a_long_one_does(shown, screen, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shown.step("reading")
    now[0] += 0.1
    shown.step("tracing")
    now[0] += 75
    shown.step("writing", stays=False)
    now[0] += 3
    shown.done("6 graphs written")
    assert re.findall(r"✓ .*", screen.getvalue()) == ["✓ tracing · 1 min 15 s", "✓ 6 graphs written · 3.0 s"]


def test_a_bar_tells_the_time_left(shown, screen, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shown.step("training")
    shown.update("epoch 1 of 40", 0.025)
    now[0] += 10
    shown.update("epoch 10 of 40", 0.25)
    shown._draw(0)
    assert screen.getvalue().endswith("⠋ epoch 10 of 40 ━━━━━─────────────── 30 s left")


def test_a_long_step_is_cut_to_one_line(shown, screen):
    shown.step("reading " + "x" * 200)
    line = screen.getvalue().split("\r\x1b[2K")[-1]
    assert len(line) < 60 and line.endswith("…")


def test_a_warning_goes_above_the_line_that_moves(shown, screen):
    stream = io.StringIO()
    stream.isatty = lambda: True
    shown.step("importing torch")
    shown.above(stream).write("a warning\n")
    assert stream.getvalue() == "a warning\n" and screen.getvalue().endswith("\r\x1b[2K")


def test_steps_that_are_not_shown_write_nothing(capsys):
    with Steps() as steps:
        steps.step("reading")
        steps.update("reading", 0.5)
        steps.done("read")
    assert capsys.readouterr() == ("", "")


# words


@pytest.mark.parametrize(
    ("speed", "words"),
    [(1.0, "as fast"), (1.5, "1.5x faster"), (1 / 1.5, "1.5x slower"), (0.97, "1.03x slower"), (40, "40x faster")],
)
def test_a_ratio_is_told_with_its_direction(speed, words):
    assert times_as_fast(speed) == words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.94, "9.9 s"), (12.4, "12 s"), (59.9, "1 min 00 s"), (125, "2 min 05 s")],
)
def test_a_duration_has_a_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("speed", "words"),
    [
        ({"one_row": 0.5, "one_row_range": [0.4, 0.6], "bulk": 2.0, "bulk_range": [1.9, 2.1]}, "bulk 2.0x faster"),
        ({"one_row": 1.2, "one_row_range": [0.9, 1.5]}, "no clear difference in speed"),
        ({}, "40 % smaller"),
    ],
)
def test_a_precision_is_told_by_what_it_gains_and_costs(speed, words):
    told = merits(Variant({}, 1.0, {"speed": speed, "bytes_ratio": {"all": 0.6}}))
    assert told.startswith("40 % smaller") and told.endswith(words)
    assert ("one row 2.0x slower" in told) == (speed.get("one_row") == 0.5)


class Epoch:
    def __init__(self, number, of):
        self.number, self.of = number, of


@pytest.mark.parametrize(
    ("last", "interrupted", "words"),
    [
        (Epoch(121, 600), False, "stopped at epoch 121 of 600: no better for 10 epochs"),
        (Epoch(600, 600), False, "trained to epoch 600 of 600"),
        (Epoch(5, 600), True, "stopped at epoch 5 of 600: interrupted"),
    ],
)
def test_the_end_of_a_training_says_why(last, interrupted, words):
    assert _ending(last, 10, interrupted) == words


@pytest.mark.parametrize("threshold", [0.5, 3.4e38, 0.0, -1.0])
@pytest.mark.parametrize("scores", [[1.0, 0.1], [1e9, 1e-9, float("nan")], [float("inf"), 0.0], [-1.0, -2.0], []])
def test_any_scores_are_drawn(threshold, scores):
    out = io.StringIO()
    columns = {"score": np.array(scores), "is_anomaly": np.array(scores) > threshold}
    show_scores(Console(file=out, width=80), columns, {}, threshold, len(scores), 0)
    assert ("no threshold is set" in out.getvalue()) == (threshold > 1e38)
