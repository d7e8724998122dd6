"""Text tables as people have them: what is certain is read and told, what is in doubt names its option."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_files import refusal

from aetool.errors import InputError
from aetool.tables import Reading, Trains, read_table, table_from_columns, write_table
from aetool.tables.hints import hints

ROWS = [(20.5, 5.25, 100.125), (21.75, 4.5, 98.5), (19.25, 5.5, 101.0), (20.0, 5.0, 99.75)]


def lines(separator=",", header="a{0}b{0}c", decimal=".", end="\n"):
    rows = [separator.join(f"{value:.3f}".replace(".", decimal) for value in row) for row in ROWS]
    return end.join([header.format(separator), *rows]) + end


LAYOUTS = {
    "semicolons and decimal commas": (
        lines(";", decimal=","),
        "read with semicolons between columns, a decimal comma",
    ),
    "tabs": (lines("\t"), "read with tabs between columns"),
    "bars": (lines("|"), "read with bars between columns"),
    "runs of spaces": (lines("   ").replace("\n2", "\n  2"), "read with spaces between columns"),
    "spaces below a name with a sign, as numpy writes": ("# " + lines(" "), "read with spaces between columns"),
    "commas below a name with a sign": ("# " + lines(), None),
    "commas and spaces": (lines(", "), None),
    "quoted decimal commas": (
        '"' + lines('","', decimal=",").strip().replace("\n", '"\n"').replace('0"', '"') + '"\n',
        "read with a decimal comma",
    ),
    "old line ends": (lines(";", end="\r"), "read with semicolons between columns"),
    "Excel's first line": ("sep=;\n" + lines(";"), "read with semicolons between columns"),
    "a title above": ("Measured by X\nLine 7\n\n" + lines(), "the first 2 lines, above the table, left out"),
    "units below the header": (lines().replace("c\n", "c\n°C,bar,A\n"), "the line below the header, °C, bar, A"),
    "a rule below the header": (lines(" ").replace("\n", "\n--- --- ---\n", 1), "read with spaces"),
    "a separator at each end": (lines().replace("\n", ",\n"), None),
    "a separator at each row's end": (lines().replace("\n", ",\n").replace("c,\n", "c\n"), None),
    "empty rows at the end": (lines() + ",,\n,,\n", "2 empty rows at the end left out"),
    "spaces around names": (lines(header=" a{0}b {0} c "), None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_found_and_told(save, layout):
    content, note = LAYOUTS[layout]
    table = read_table(save(content.encode(), "t.txt"))
    assert table.names == ("a", "b", "c")
    np.testing.assert_array_equal(table.values, ROWS)
    assert " ".join(table.notes).startswith(note) if note else table.notes == ()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.data", "t.dat", "t.log", "table"])
def test_text_is_a_table_whatever_its_ending(save, name):
    np.testing.assert_array_equal(read_table(save(lines(";").encode(), name)).values, ROWS)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-be", "utf-8-sig", "utf-32"])
def test_an_encoding_is_found(save, encoding):
    table = read_table(save(lines(header="Größe{0}Temp °C{0}c").encode(encoding)))
    assert table.names == ("Größe", "Temp °C", "c")
    np.testing.assert_array_equal(table.values, ROWS)


def test_an_encoding_in_doubt_shows_what_the_cell_would_be(save):
    message = refusal(InputError, save("温度,b\n1,2\n3,4\n".encode("shift_jis")))
    assert (
        "--encoding shift_jis (Japanese: '温度')" in message
        and "as in --encoding cp1251 (Cyrillic: '‰·“x') or" in message
    )


def test_names_of_rows_that_have_no_name_are_left_out(save):
    text = '"a" "b"\n' + "".join(f'"row {i}" {i}.5 {i}\n' for i in range(5))  # as R writes it
    table = read_table(save(text.encode(), "t.txt"))
    assert table.names == ("a", "b") and table.left_out == {"column 1": "no name, names of rows"}
    index = read_table(save(b",a,b\n0,1,2\n1,3,4\n"))
    assert index.names == ("a", "b") and index.left_out == {"column 1": "no name, row numbers"}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"5.1,3.5,Iris\n4.9,3.0,Iris\n4.7,3.2,Virginica\n", ("column_1", "column_2")),
        (b"5.1,3.5\n4.9,3.0\n", ("column_1", "column_2")),
        (b"0,1\n4.9,3.0\n", ("0", "1")),  # as pandas counts columns
        (b"id,2019,2020\n1,3,4\n2,5,6\n", ("id", "2019", "2020")),
        (b"red,round\nblue,long\n", None),
    ],
)
def test_a_header_is_told_from_a_row(save, content, names):
    options = {"drop": ["column_3"]} if b"Iris" in content else {}
    if names is None:
        assert "'red' (text), 'round' (text)" in refusal(InputError, save(content))
        return
    table = read_table(save(content), **options)
    assert table.names == names
    assert bool(table.notes) == (names[0] == "column_1") and table.named == (names[0] != "column_1")


def test_numbers_that_may_be_names_are_a_doubt(save):
    path = save(b"2019,2020,2021\n1.5,2.5,3.5\n2,3,4\n")
    assert "may be names or a row: say which with --header or --no-header" in refusal(InputError, path)
    assert read_table(path, reading=Reading(header=True)).names == ("2019", "2020", "2021")
    assert len(read_table(path, reading=Reading(header=False))) == 3
    for spectra in (b"400,401.5,403\n1.5,2.5,3.5\n2,3,4\n", b"land,2019,2020\nPeru,1.5,2.5\nMali,3,4\n"):
        assert "say which with --header or --no-header" in refusal(InputError, save(spectra))
    assert read_table(save(b"M,5,7,b\nF,6,9,c\nM,4,8,b\n"), drop=["column_1", "column_4"]).values[0].tolist() == [
        5,
        7,
    ]


def test_names_above_rows_of_more_cells_are_no_title(save):
    path = save(b"temp,press,rpm\n57,95,981,52,1165\n64,09,1038,26,1457\n60,11,1001,18,1200\n")
    message = refusal(InputError, path)
    assert (
        "3 names, temp, press, rpm, above rows of 5 cells, 57, 95, 981, ...: put numbers with decimal" in message
    )
    assert "--no-header" in message and len(read_table(path, reading=Reading(header=False))) == 3


def test_names_below_names_of_groups_are_the_header(save):
    for first in ("Motor,Motor,Pump", ",Motor,"):
        table = read_table(save(f"{first}\ntemp,press,rpm\n1.5,2,3\n2.5,3,4\n3.5,5,6\n".encode()))
        assert table.names == ("temp", "press", "rpm") and len(table) == 3
        assert f"the line above the names, {', '.join(first.split(','))}, left out" in table.notes[0]


@pytest.mark.parametrize(("mark", "shown"), [(".", "1002"), (",", "1.002")])
def test_a_mark_that_may_group_digits_is_a_doubt_beside_small_whole_numbers(save, mark, shown):
    path = save(f"a;b\n5;996\n6;999\n7;1{mark}002\n8;1{mark}005\n".encode())
    message = refusal(InputError, path)
    assert f"column 2: '1{mark}002' may be" in message and f"{shown} (--decimal ,)" in message
    grouped = read_table(path, reading=Reading(decimal="." if mark == "," else ","))
    assert grouped.values[:, 1].tolist() == [996, 999, 1002, 1005]
    alone = read_table(save(f"a;b\n5;1{mark}002\n6;1{mark}005\n".encode()))
    assert alone.values[:, 1].tolist() == [1.002, 1.005]
    assert any(f"column 2: '1{mark}002' may be" in note for note in alone.notes)


def test_the_decimal_comma_of_training_holds_for_other_separators_too(save):
    like = Reading(sep=";", decimal=",")
    path = save(b"a\tb\n10.000\t7.000\n10.001\t7.021\n", "t.tsv")
    assert read_table(path, only=["a", "b"], like=like).values.tolist() == [[10000, 7000], [10001, 7021]]


FOOTERS = {
    "totals": ("Total,62.5,9\n", "the last row, Total, 62.5, 9, left out (totals)"),
    "totals above empty rows": ("Summe:,62.5,9\n,,\n", "the last row, Summe:, 62.5, 9, left out (totals)"),
    "words": ("\nExported by X\n", "the last line, Exported by X, left out (below the table)"),
    "a rule and a count of rows": ("------\n(4 rows)\n\n", "the last 2 lines, ------, left out (below the table)"),
    "DOS's end of a file": ("\x1a", None),
    "the names again": ("a,b,c\n5,6,7\n", "the names stand again in 1 rows, left out"),
}


@pytest.mark.parametrize("footer", FOOTERS)
def test_what_ends_a_table_is_no_row(save, footer):
    text, note = FOOTERS[footer]
    table = read_table(save(("a,b,c\n" + "".join(f"{i},{i}.5,{i}\n" for i in range(4)) + text).encode()))
    assert table.values[:4].tolist() == [[i, i + 0.5, i] for i in range(4)]
    assert len(table) == (5 if "again" in footer else 4) and (note in table.notes if note else not table.notes)


def test_a_last_row_cut_short_is_no_footer(save):
    assert "row 3: 1 columns found" in refusal(InputError, save(b"name,x\nBern,1\nBonn,2\nBer"))
    twice = read_table(save(b"name,x\nTotal,1\nb,2\nTotal,3\n"), drop=["name"])
    assert twice.values.tolist() == [[1], [2], [3]]


def test_the_rules_around_a_table_are_no_rows(save):
    rule = "+-----+-----+\n"
    text = f"{rule}| a   | b   |\n{rule}| 1,5 | 2,5 |\n| 3,5 | 4,5 |\n{rule}2 rows in set\n"
    assert read_table(save(text.encode(), "t.txt")).values.tolist() == [[1.5, 2.5], [3.5, 4.5]]


def test_whole_numbers_that_begin_with_0_are_told_as_codes(save):
    path = save(b"zip,x\n01067,1\n80331,2\n10115,3\n")
    assert read_table(path).notes == ("zip: '01067' read as a number; if these are codes: --categorical zip",)
    assert read_table(path, categorical=["zip"]).notes == ()
    assert read_table(path, drop=["zip"]).notes == ()


NUMBERS = {
    "thousands": (["1,234.50", "12,000.00", "999.25"], [1234.5, 12000, 999.25]),
    "German thousands": (["1.234,50", "12.000,00", "999,25"], [1234.5, 12000, 999.25]),
    "Swiss thousands": (["1'234.50", "12'000.00", "9.25"], [1234.5, 12000, 9.25]),
    "French thousands": (["1 234,50", "12\u202f000,00", "9,25"], [1234.5, 12000, 9.25]),
    "millions": (["1,234,567", "2,000", "5"], [1234567, 2000, 5]),
    "currency": (["$5", "$1,000.00", "-$3.50"], [5, 1000, -3.5]),
    "currency behind": (["5 €", "6,50 €", "-1 €"], [5, 6.5, -1]),
    "percent": (["7%", "12.5%", "0%"], [7, 12.5, 0]),
    "units": (["5 kg", "6.5kg", "7 kg"], [5, 6.5, 7]),
    "accounting": (["(5.00)", "3.00", "1.00"], [-5, 3, 1]),
    "signs behind": (["5-", "3", "1"], [-5, 3, 1]),
    "a real minus": (["\u22125.5", "3", "1"], [-5.5, 3, 1]),
    "powers": (["1,5E+3", "2E-1", "1"], [1500, 0.2, 1]),
    "words for missing values": (["?", "-", "1.5"], [np.nan, np.nan, 1.5]),
    "words of databases": (["\\N", "(null)", "1.5"], [np.nan, np.nan, 1.5]),
    "errors of a spreadsheet": (["#DIV/0!", "#N/A", "1.5"], [np.nan, np.nan, 1.5]),
    "yes and no": (["Yes", "no", "?"], [1, 0, np.nan]),
    "wahr und falsch": (["WAHR", "FALSCH", "WAHR"], [1, 0, 1]),
}


@pytest.mark.parametrize("notation", NUMBERS)
def test_a_notation_of_numbers_is_read_alike_from_files_and_from_memory(save, notation):
    cells, values = NUMBERS[notation]
    text = "x\ty\n" + "".join(f"{cell}\t{i}\n" for i, cell in enumerate(cells))
    for table in (
        read_table(save(text.encode(), "t.tsv")),
        table_from_columns({"x": cells, "y": [0, 1, 2]}),
        table_from_columns(pd.DataFrame({"x": cells, "y": [0, 1, 2]})),
        table_from_columns(pl.DataFrame({"x": cells, "y": [0, 1, 2]})),
        table_from_columns(pa.table({"x": cells, "y": [0, 1, 2]})),
        table_from_columns([{"x": cell, "y": i} for i, cell in enumerate(cells)]),
    ):
        np.testing.assert_array_equal(table.values, np.stack([values, [0, 1, 2]], axis=1))


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["59.17", "(806.5)"], "x: '(806.5)' read as -806.5"),
        (["59.17", "806.5-"], "x: '806.5-' read as -806.5"),
        (["5", "\u22126"], "x: '\u22126' read as -6"),
        (["9,5", "188.439,21"], "x: '188.439,21' read as 188439.21"),
    ],
)
def test_a_reading_is_told_with_the_cell_that_is_most_unlike_a_number(cells, note):
    assert table_from_columns({"x": cells, "y": [0, 1]}).notes == (note,)


def test_what_a_masked_array_hides_is_missing():
    table = table_from_columns(np.ma.array([[1.0, 2], [3, -999]], mask=[[0, 0], [0, 1]]))
    np.testing.assert_array_equal(table.values, [[1, 2], [3, np.nan]])


def test_no_remedy_leaves_every_column_out(save):
    lines = "@relation x\n@data\n" + "".join(f"n{i}\n" for i in range(30))
    message = refusal(InputError, save(lines.encode()))
    assert "--drop" not in message and "no column would be left" in message


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["12.5", "12,31", "1"], "'12.5' and '12,31' have different decimal marks"),
        (["7%", "0.07", "1%"], "'7%' and '0.07' have different units"),
        (["1,234", "987", "5"], "'1,234' may be 1234 (--decimal .) or 1.234 (--decimal ,)"),
        (["5", "2-3", "7"], "row 2, column 'x': '2-3' is not a number"),
    ],
)
def test_a_doubt_about_numbers_shows_the_cells_and_an_option(cells, words):
    message = refusal(InputError, {"x": cells, "y": [1, 2, 3]}, call=table_from_columns)
    assert words in message and "--" in message.split(words)[1]


def test_a_decimal_mark_that_other_columns_show_leaves_no_doubt(save):
    table = read_table(save(b'a,b\n"1,234",5.5\n"2,345",6.5\n'))
    assert table.values.tolist() == [[1234, 5.5], [2345, 6.5]]
    forced = read_table(save(b'a,b\n"1,234",5\n"2,345",6\n'), reading=Reading(decimal=","))
    assert forced.values.tolist() == [[1.234, 5], [2.345, 6]]


def test_sentinels_are_missing_where_asked_and_hinted_at(save):
    cells = [-999 if i % 9 == 0 else 20 + i % 7 for i in range(60)]
    path = save(("t,u\n" + "".join(f"{cell},{i % 5}.5\n" for i, cell in enumerate(cells))).encode())
    assert any(
        "t: -999 in 7 rows" in hint and "--na=-999 --impute median" in hint for hint in hints(read_table(path))
    )
    table = read_table(path, reading=Reading(na=("-999",)))
    assert np.isnan(table.values[:, 0]).sum() == 7 and not any("-999" in hint for hint in hints(table))
    assert read_table(path, only=["t", "u"], like=table.reading).missing() == {"t": 7}


def test_ids_and_clocks_are_hinted_at():
    columns = {"id": np.arange(50) + 1000, "t": np.arange(50) * 0.5, "x": np.sin(np.arange(50))}
    assert any("id, t:" in hint and "--drop id,t" in hint for hint in hints(table_from_columns(columns)))
    times = {"seen": 1.7e9 + np.arange(50) % 7 * 86400.0, "x": np.sin(np.arange(50))}  # in no order
    assert any("--drop seen" in hint for hint in hints(table_from_columns(times)))


DATES = {
    "ISO": "2024-01-{:02d} 10:00:00",
    "with a zone": "2024-01-{:02d}T10:00:00+02:00",
    "German": "{:02d}.01.2024 10:00",
    "American": "01/{:02d}/2024 2:00 PM",
    "in words": "{:02d} Jan 2024",
    "times": "10:{:02d}:00",
}


@pytest.mark.parametrize("form", DATES)
def test_dates_and_times_are_never_features(save, form):
    cells = [DATES[form].format(day) for day in range(1, 9)]
    path = save(("when,x\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells))).encode())
    table = read_table(path)
    assert table.names == ("x",) and table.left_out == {"when": "dates or times"}
    assert table_from_columns({"when": cells, "x": range(8)}).names == ("x",)
    assert "cannot be a feature" in refusal(InputError, path, columns=["when", "x"])


def test_times_of_parquet_and_pandas_are_left_out(tmp_path):
    times = [datetime.datetime(2024, 1, day) for day in range(1, 5)]
    frame = pd.DataFrame({"when": times, "x": [1.0, 2, 3, 4]})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet")
    for table in (
        read_table(tmp_path / "t.parquet"),
        table_from_columns(frame),
        table_from_columns(pl.from_pandas(frame)),
    ):
        assert table.names == ("x",) and table.left_out == {"when": "dates or times"}


LABELS = {
    "normal and attack": (["normal", "attack"], {}, [False, True]),
    "ok and faults": (["OK", "leak", "worn"], {}, [False, True, True]),
    "no and yes": (["no", "yes"], {}, [False, True]),
    "0 and others": (["0", "1", "3"], {}, [False, True, True]),
    "a boolean": (["false", "true"], {}, [False, True]),
    "KDD's": (["normal.", "smurf."], {}, [False, True]),
    "said to be normal": (["B", "M"], {"normal": "B"}, [False, True]),
    "said to be anomalies": (["", "leak"], {"anomaly": ("leak",)}, [False, True]),
    "1 is normal": (["1", "0"], {"normal": ("1",)}, [False, True]),
    "-1 is an anomaly": (["1", "-1"], {"anomaly": "-1"}, [False, True]),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_in_words_and_numbers(save, case):
    cells, reading, expected = LABELS[case]
    text = "x,y\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    assert read_table(save(text.encode()), label="y", reading=Reading(**reading)).labels.tolist() == expected
    frame = pd.DataFrame({"x": range(len(cells)), "y": cells})
    assert table_from_columns(frame, label="y", reading=Reading(**reading)).labels.tolist() == expected


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["B", "B", "M"], "holds 'B' (2 rows), 'M' (1 rows); say which are normal with --normal B"),
        (["1", "1", "2"], "--normal 1, or say which are anomalies with --anomaly 2"),
        (["1", "1", "-1"], "scikit-learn marks anomalies with -1"),
        (["", "", "leak"], "--anomaly leak"),
    ],
)
def test_labels_in_doubt_show_their_values_and_the_options(cells, words):
    assert words in refusal(InputError, {"x": [1, 2, 3], "y": cells}, call=table_from_columns, label="y")


def test_labels_that_mark_most_rows_are_questioned(save):
    table = read_table(save(b"x,y\n1,1\n2,1\n3,1\n4,0\n"), label="y")
    assert any("75% of the rows are marked as anomalies" in note and "--normal 1" in note for note in table.notes)
    assert read_table(save(b"x,y\n1,1\n2,1\n3,1\n4,0\n"), label="y", reading=Reading(normal="1")).notes == ()


def test_the_reading_of_training_decides_what_is_in_doubt_later(save):
    trained = read_table(save(lines(";", decimal=",").encode()), reading=Reading(na=("-1",)))
    like = Reading.of({"reading": trained.reading.to_dict()})
    assert (like.sep, like.decimal, like.na) == (";", ",", ("-1",))
    later = read_table(save(b"a;b;c\n1,234;-1;5\n"), only=["a", "b", "c"], like=like)
    np.testing.assert_array_equal(later.values, [[1.234, np.nan, 5]])
    again = read_table(save(b"a,b,c\n1.5,2,3\n"), only=["a", "b", "c"], like=like)  # the file shows another
    assert again.values.tolist() == [[1.5, 2, 3]]


@pytest.mark.parametrize(
    "odd", [None, 7, {"sep": "too long"}, {"na": 5, "decimal": []}, {"header": "x", "sep": 3}]
)
def test_an_odd_hint_in_a_bundle_counts_for_nothing(odd):
    assert isinstance(Reading.of({"reading": odd}), Reading)


def test_all_that_is_wrong_is_told_at_once_with_one_remedy(save):
    text = "name,kind,size,x\n" + "".join(
        f"n{i},{'ab'[i % 2]},{'oops' if i == 3 else i},{'' if i == 5 else i}\n" for i in range(30)
    )
    with pytest.raises(InputError) as raised:
        read_table(save(text.encode()), trains=Trains())
    first, *rest = str(raised.value).splitlines()
    assert first.endswith("4 problems: fix the file, or try --drop size,name --categorical kind --impute median")
    assert len(rest) == 4 and any("missing values in x (1)" in line for line in rest)


def test_only_columns_in_use_need_good_names(save):
    path = save(b"a,b,b,,\n1,2,3,4,x\n5,6,7,8,y\n")
    assert "repeated column names 'b'" in refusal(InputError, path)
    assert read_table(path, columns=["a"]).values.tolist() == [[1], [5]]
    assert read_table(path, drop=["b", ""]).values.tolist() == [[1], [5]]


def test_names_with_spaces_are_matched_without_them_on_both_sides(save):
    path = save(b' Timestamp ,x,"Label "\n5,1,0\n6,2,1\n')
    assert read_table(path, drop=[" Timestamp"], label="Label ").names == ("x",)
    frame = pd.DataFrame({" x ": [1.0, 2.0], "y": [3.0, 4.0]})
    assert table_from_columns(frame, drop=["y "]).names == ("x",)
    assert read_table(save(b"x\n1\n2\n"), only=[" x "]).names == (" x ",)  # a model of an older aetool


def test_arrays_are_taken_as_they_are():
    table = table_from_columns(np.arange(6.0).reshape(3, 2))
    assert table.names == ("X_0", "X_1") and not table.named
    with pytest.raises(InputError, match="shape"):
        table_from_columns(np.zeros(3))
    with pytest.raises(InputError, match=r"call \.collect\(\) first"):
        table_from_columns(pl.DataFrame({"a": [1]}).lazy())
    with pytest.raises(InputError, match="repeated column names 'a'"):
        table_from_columns(pd.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "npz"])
def test_every_format_reads_labels_and_missing_words_alike(tmp_path, ending):
    columns = {"x": np.array(["5%", "?", "7%"]), "y": np.array(["ok", "ok", "worn"])}
    write_table(tmp_path / f"t.{ending}", columns)
    table = read_table(tmp_path / f"t.{ending}", label="y")
    np.testing.assert_array_equal(table.values, [[5], [np.nan], [7]])
    assert table.labels.tolist() == [False, False, True]


def test_spaces_within_cells_of_a_table_of_tabs_are_no_separators(save):
    table = read_table(save(b"size\tregion\n12 000\t3\n13 000\t4\n", "t.tsv"))
    assert table.values.tolist() == [[12000, 3], [13000, 4]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_encodings_and_empty_rows_cost_no_number(save, encoding):
    spaces = read_table(save(lines(" ").encode(encoding), "t.txt"))
    np.testing.assert_array_equal(spaces.values, ROWS)
    ended = read_table(save((lines(";") + ";;\n;;\n").encode(encoding)))
    np.testing.assert_array_equal(ended.values, ROWS)


@pytest.mark.parametrize(
    "form",
    [
        "Jan {:04d}",
        "2024-W{:02d}",
        "Mon Jan {:2d} 10:00:00 2024",
        "Jan {:2d} 10:00:00",
        "[{:02d}/Oct/2024:13:55:36 +0200]",
        "2024年01月{:02d}日",
    ],
)
def test_dates_of_logs_and_other_places_are_left_out(form):
    cells = [form.format(day if "04d" not in form else 2000 + day) for day in range(1, 13)]
    assert table_from_columns({"when": cells, "x": range(12)}).left_out == {"when": "dates or times"}


def test_unix_times_and_indexes_of_pandas_are_no_features(save):
    text = "Unnamed: 0,timestamp,x,uptime\n" + "".join(
        f"{i},{1_700_000_000 + 7 * i},{i % 3},{i}\n" for i in range(9)
    )
    table = read_table(save(text.encode()))
    assert table.names == ("x", "uptime")
    assert table.left_out == {"column 1": "no name, row numbers", "timestamp": "dates or times"}


def test_lines_of_a_data_logger_below_the_names_are_left_out(save):
    text = '"TOA5","station","CR1000"\n"TS","a","b"\n"TS","V","C"\n"","Avg","Smp"\n'
    rows = "".join(f'"2024-01-01 00:{i:02}:00",{i}.5,{i}\n' for i in range(8))
    table = read_table(save((text + rows).encode(), "t.dat"))
    assert table.names == ("a", "b") and len(table) == 8 and "2 lines below the header" in " ".join(table.notes)


def test_of_two_cells_that_a_model_needs_as_numbers_the_odd_one_is_named(save):
    path = save(b"a;b\n1,5;5,0\n2,5;oops\n")
    assert "row 2, column 'b': 'oops' is not a number" in refusal(InputError, path, only=["a", "b"])


@pytest.mark.parametrize("content", [b"1,2,3\n", b"1,2,3\n4,5,6\n"])
def test_a_model_of_a_table_without_a_header_takes_the_first_line_for_a_row(save, content):
    names = ["column_1", "column_2", "column_3"]
    table = read_table(save(content), only=names, like=Reading(header=False))
    assert table.values[0].tolist() == [1, 2, 3]
