"""Tables as people have them, on the command line: the obvious command trains, or its remedy, pasted, does."""

import json
import re
import shlex

import numpy as np
import pytest

ROWS = np.random.default_rng(0).normal(size=(60, 3)) @ np.diag([2, 1, 9]) + [20, 50, 100]
QUICK = ("--epochs", "1", "--embedding-dim", "2", "-o", "checkpoint", "--overwrite", "--json")


def table(cells, header="a,b,c", separator=","):
    """Text of rows: `cells` gives those of a row, from its number and its three values."""
    lines = [separator.join(map(str, cells(i, *row))) for i, row in enumerate(ROWS.round(2).tolist())]
    return "\n".join([header, *lines]) + "\n"


def euro(value):
    return f"{value:.2f}".replace(".", ",")


TRAINS = {
    "a European export": table(lambda i, a, b, c: (euro(a), euro(b), euro(c)), "a;b;c", ";"),
    "dates": table(lambda i, a, b, c: (f"2024-01-01 {i % 24:02}:00", b, c)),
    "no header": "\n".join(table(lambda i, a, b, c: (a, b, c)).splitlines()[1:]),
    "a separator at each row's end": table(lambda i, a, b, c: (a, b, c, "")),
    "prices": table(lambda i, a, b, c: (f"${a}", f"{b}%", c)),
    "a title": "Report 7\n" + table(lambda i, a, b, c: (a, b, c)),
    "latin-1": table(lambda i, a, b, c: (a, b, c), "Größe,b,c").encode("latin-1"),
}
LABELLED = {
    "words": table(lambda i, a, b, c: (a, b, "attack" if i % 9 == 0 else "normal"), "a,b,y"),
    "a name with spaces": table(lambda i, a, b, c: (a, b, int(i % 9 == 0)), "a, b,y "),
}
DOUBTS = {
    "missing words": table(lambda i, a, b, c: ("?" if i == 3 else a, b, c)),
    "an infinite cell": table(lambda i, a, b, c: ("inf" if i == 3 else a, b, c)),
    "one odd code": table(lambda i, a, b, c: ("2-3" if i == 3 else i % 4, b, c)),
    "kinds": table(lambda i, a, b, c: ("red" if i % 3 else "blue", b, c)),
    "names and numbers with commas": table(lambda i, a, b, c: (f"n{i}", b, f'"1,{i + 100}"')),
    "mixed decimal marks": table(lambda i, a, b, c: (f'"{euro(a)}"' if i % 2 else a, b, c)),
    "repeated names": table(lambda i, a, b, c: (a, b, c), "a,b,b"),
    "a name missing": table(lambda i, a, b, c: (a, b, c), "a,,c"),
    "years as names": table(lambda i, a, b, c: (a, b, c), "2019,2020,2021"),
    "Cyrillic": table(lambda i, a, b, c: (a, b, c), "размер,b,c").encode("cp1251"),
    "all of it": table(lambda i, a, b, c: (f"n{i}", "red" if i % 3 else "blue", "" if i == 4 else c)),
}
DOUBTFUL_LABELS = {
    "letters": table(lambda i, a, b, c: (a, b, "M" if i % 3 == 0 else "B"), "a,b,y"),
    "1 and 2": table(lambda i, a, b, c: (a, b, 2 if i % 9 == 0 else 1), "a,b,y"),
    "-1 and 1": table(lambda i, a, b, c: (a, b, -1 if i % 9 == 0 else 1), "a,b,y"),
    "empty and a word": table(lambda i, a, b, c: (a, b, "leak" if i % 9 == 0 else ""), "a,b,y"),
}


def write(work, content):
    (work / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("case", [*TRAINS, *LABELLED])
def test_the_obvious_command_trains(aetool, work, case):
    write(work, {**TRAINS, **LABELLED}[case])
    result = aetool("train", "t.csv", *(["--label", "y"] if case in LABELLED else []), *QUICK)
    assert result.exit_code == 0, result.output
    if case in LABELLED:
        assert json.loads(result.stdout)["rows_trained"] < 50


def remedy(message):
    """Options that an error recommends: all of its `try`, else the first one it names."""
    text = (
        message.partition("try ")[2].splitlines()[0] if ", or try " in message else message[message.index("--") :]
    )
    options = shlex.split(re.split(r" \(|; | or --|, or |\n", text)[0] if ", or try " not in message else text)
    return options if ", or try " in message or "=" in options[0] or options[0] == "--header" else options[:2]


@pytest.mark.parametrize("case", [*DOUBTS, *DOUBTFUL_LABELS])
def test_a_doubt_is_an_error_whose_remedy_can_be_pasted(aetool, work, case):
    write(work, {**DOUBTS, **DOUBTFUL_LABELS}[case])
    command = ["train", "t.csv", *(["--label", "y"] if case in DOUBTFUL_LABELS else []), *QUICK]
    for _ in range(3):  # one remedy may uncover another doubt
        result = aetool(*command)
        if result.exit_code == 0:
            break
        command += remedy(json.loads(result.stdout)["error"])
    assert result.exit_code == 0, (command, result.output)
    assert len(command) > 10


def test_what_is_wrong_with_a_table_is_said_before_torch_is_imported(process, work):
    write(work, DOUBTS["kinds"])
    code = "import sys; sys.modules['torch'] = None"
    result = process("train", "t.csv", code=code)
    assert result.returncode == 1 and "not numbers: column 'a'" in result.stderr


def test_scoring_reads_as_training_did(aetool, work):
    write(work, table(lambda i, a, b, c: ("-999" if i == 3 else euro(a), euro(b), euro(c)), "a;b;c", ";"))
    trained = aetool("train", "t.csv", "--na", "-999", "--impute", "median", *QUICK)
    assert trained.exit_code == 0 and "semicolons between columns, a decimal comma" in trained.stderr, (
        trained.output
    )
    assert aetool("export", "checkpoint", "-o", "bundle").exit_code == 0
    (work / "new.csv").write_text("a;b;c\n20,123;50,456;-999\n", encoding="utf-8")  # alone it could be thousands
    (work / "usual.csv").write_text("a,b,c\n20.123,50.456,\n", encoding="utf-8")
    scores = [json.loads(aetool("score", "bundle", name, "--json").stdout) for name in ("new.csv", "usual.csv")]
    assert scores[0]["data"] == scores[1]["data"] and scores[0]["rows"] == 1


def test_a_change_in_a_column_that_never_changed_is_an_anomaly(aetool, work):
    write(work, table(lambda i, a, b, c: (a, b, 0), "a,b,alarm"))
    assert aetool("train", "t.csv", *QUICK).exit_code == 0
    assert aetool("export", "checkpoint", "-o", "bundle").exit_code == 0
    (work / "new.csv").write_text("a,b,alarm\n20,50,0\n20,50,1\n", encoding="utf-8")
    result = json.loads(aetool("score", "bundle", "new.csv", "--explain", "1", "--json").stdout)["data"]
    assert result["is_anomaly"] == [False, True] and result["why_1"][1] == "alarm"
    assert "never changed in training | `alarm`" in (work / "bundle" / "README.md").read_text(encoding="utf-8")
    assert aetool("train", "t.csv", "--constant", "ignore", *QUICK).exit_code == 0
    assert aetool("export", "checkpoint", "-o", "other").exit_code == 0
    ignored = json.loads(aetool("score", "other", "new.csv", "--json").stdout)["data"]
    assert ignored["score"][1] < result["score"][1] / 10


def test_a_wide_table_of_few_rows_gets_a_small_network_and_memory_is_known_before(aetool, work, monkeypatch):
    wide = np.random.default_rng(0).normal(size=(40, 600))
    np.save(work / "wide.npy", wide)
    result = aetool("train", "wide.npy", "--epochs", "1", "-o", "checkpoint", "--json")
    assert json.loads(result.stdout)["architecture"]["embedding_dim"] == 40
    monkeypatch.setattr("aetool.model._training.available_memory", lambda: 1 << 20)
    refused = aetool("train", "wide.npy", "--epochs", "1", "-o", "checkpoint", "--overwrite")
    assert refused.exit_code == 1 and "training needs about 0.0 GB" in refused.stderr
