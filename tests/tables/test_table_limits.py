"""What a table would take is bounded before memory is taken: bombs of every format, and the option that helps."""

import gzip
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_files import npy, npy_header, npz, refusal

from aetool import InputError, Limits
from aetool.bundle.npz import read_members
from aetool.tables import TableFile, read_array, read_rows, read_table
from aetool.tables.streaming import read_batches

HIGHEST_MB = 400
"""Of a process that refuses a bomb, pyarrow and all; the bombs below are of 2 GB and more."""

READ = """
import json, re, sys
from pathlib import Path
from aetool import InputError, Limits
from aetool.tables import read_table
path, limits = sys.argv[1:]
try:
    read_table(path, keep=["t"] if path.endswith("t.parquet") else (), limits=Limits(**json.loads(limits)))
except InputError as error:
    print(error)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024, file=sys.stderr)
"""


def gzipped(size, unit=b"0,0,0,0\n" * (1 << 17)):
    """A .csv.gz whose rows have `size` bytes in all, made without them."""
    member = gzip.compress(unit, 9)
    return gzip.compress(b"a,b,c,d\n") + member * (size // len(unit))


def zipped(members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method, compresslevel=9) as archive:
        for name, content in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                for part in content:
                    member.write(part)
    return stream.getvalue()


def zeros(count):
    """An array of zeros as .npy, in parts."""
    yield npy_header((count // 8, 8), b"")
    for _ in range(0, count * 8, 1 << 24):
        yield bytes(1 << 24)


def overlapping(names=64, unpacked=1 << 27):
    """Many members that share one compressed block, as "better zip bombs" do: the directory lists it often."""
    whole = zipped({"X.npy": zeros(unpacked // 8)})
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        (entry,) = archive.infolist()
        start = archive.start_dir
    record = whole[start : whole.rindex(b"PK\x05\x06")]
    directory = b"".join(record.replace(b"X.npy", f"{i:05d}".encode()[:1] + b".npy", 1) for i in range(names))
    del entry
    end = bytearray(whole[whole.rindex(b"PK\x05\x06") :])
    end[8:12] = names.to_bytes(2, "little") * 2
    end[12:16] = len(directory).to_bytes(4, "little")
    return whole[:start] + directory + bytes(end)


def zip_of_names(count):
    """A zip file that is a directory of empty members alone."""
    one = zipped({"X.npy": [b""]}, zipfile.ZIP_STORED)
    start, end = one.index(b"PK\x01\x02"), one.index(b"PK\x05\x06")
    directory, last = one[start:end] * count, bytearray(one[end:])
    last[12:16] = len(directory).to_bytes(4, "little")
    return one[:start] + directory + bytes(last)


def parquet(table, **options):
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def repeating_rows(rows=40_000_000):
    """Rows that take nothing in the file: one value, said to repeat."""
    return parquet(pa.table({"t": np.zeros(rows), "a": np.zeros(rows)}))


def repeating_text(rows=40_000, length=900_000, **options):
    """A long text, spelled once in the file's dictionary and meant by every row."""
    text = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["x" * length]))
    return parquet(pa.table({"a": np.zeros(rows), "t": text}), compression="zstd", **options)


def wide_parquet(columns=1_001):
    return parquet(pa.table({f"c{i}": pa.array([1], pa.int8()) for i in range(columns)}))


BOMBS = {
    "CSV of a million columns": ("t.csv", lambda: b",".join(b"c%d" % i for i in range(10**6)) + b"\n", "columns"),
    "CSV of empty names": ("t.csv", lambda: b"," * 10**6 + b"\n", "columns"),
    "CSV of a cell": ("t.csv", lambda: b"a,b\n1," + b"9" * (64 << 20) + b"\n", "cell_bytes"),
    "CSV of a quoted cell": ("t.csv", lambda: b'a,b\n1,"' + b"9," * (1 << 20) + b'"\n', "cell_bytes"),
    "CSV of a name": ("t.csv", lambda: b"a" * (64 << 20) + b",b\n1,2\n", "cell_bytes"),
    "CSV of no line": ("t.csv", lambda: b" " * (64 << 20), "cell_bytes"),
    "csv.gz of 2 GB": ("t.csv.gz", lambda: gzipped(2 << 30), "compression_ratio"),
    "csv.gz of one cell": ("t.csv.gz", lambda: gzipped(2 << 30, bytes(1 << 20)), "cell_bytes"),
    "NPZ of 400 MB": ("t.npz", lambda: zipped({"X.npy": zeros(50 << 20)}), "compression_ratio"),
    "NPZ of members that overlap": ("t.npz", overlapping, "compression_ratio"),
    "NPZ of many arrays": ("t.npz", lambda: zipped({f"{i}.npy": [b""] for i in range(1_001)}, 0), "columns"),
    "NPZ of names": ("t.npz", lambda: zip_of_names(1_000_000), "columns"),
    "NPZ packed by bzip2": (
        "t.npz",
        lambda: zipped({"X.npy": zeros(1 << 21)}, zipfile.ZIP_BZIP2),
        "numpy does not",
    ),
    "NPY of a wide row": ("t.npy", lambda: npy(np.zeros((1, 200_000), np.int8)), "columns"),
    "NPY of rows that are not there": ("t.npy", lambda: npy_header((10**12, 10)), "80,000,000,000,000 bytes"),
    "Parquet of rows that repeat": ("t.parquet", repeating_rows, "table_bytes"),
    "Parquet of text that repeats": ("t.parquet", lambda: repeating_text(store_schema=False), "table_bytes"),
    "Parquet of categories that repeat": ("t.parquet", repeating_text, "table_bytes"),
    "Parquet of columns": ("w.parquet", wide_parquet, "columns"),
}
TIGHTER = {
    "Parquet of rows that repeat": {"table_bytes": 512 << 20},
    "NPZ of many arrays": {"columns": 1_000},
    "Parquet of columns": {"columns": 1_000},
}


@pytest.mark.parametrize(("bomb", "name", "make", "words"), [(k, *v) for k, v in BOMBS.items()], ids=BOMBS)
def test_a_bomb_is_refused_by_the_limit_it_breaks_without_its_memory(save, bomb, name, make, words):
    path = save(make(), name)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), json.dumps(TIGHTER.get(bomb, {}))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith(f"{path}: ") and words in done.stdout, done.stdout
    if words in Limits._fields:
        assert f"allow more with --limit {words}=NUMBER, in Python limits=Limits({words}=...)" in done.stdout
    print(bomb, done.stderr)
    assert int(done.stderr.split()[-1]) < HIGHEST_MB


def test_files_below_the_limits_are_read_as_ever(save):
    """Tables of zeros, which pack better than any bomb, long text that is short enough, wide tables."""
    assert len(read_table(save(gzipped(8 << 20), "t.csv.gz"))) == 1 << 20
    wide = "a,t,b\n1," + "x" * (1 << 19) + ",2\n"
    assert len(read_table(save(wide.encode()), keep=["t"]).kept["t"][0]) == 1 << 19
    assert read_table(save(npy(np.zeros((2, 50_000))), "t.npy")).values.shape == (2, 50_000)
    assert read_table(save(zipped({"X.npy": zeros(1 << 20)}), "t.npz")).values.shape == (1 << 17, 8)
    text = read_table(save(repeating_text(rows=100, length=10), "t.parquet"), keep=["t"]).kept["t"]
    assert text.tolist() == ["x" * 10] * 100


def test_the_limits_of_the_caller_hold_for_every_way_in(save):
    csv, cube = save(b"a,b,c\n1,2,3\n"), save(npz(X=np.zeros((10, 3, 4))), "t.npz")
    narrow, small = Limits(columns=2), Limits(table_bytes=100)
    for call in (read_table, read_rows, TableFile):
        assert "--limit columns=NUMBER" in refusal(InputError, csv, call=call, limits=narrow)
    for call in (read_array, read_rows):
        assert "--limit table_bytes=NUMBER" in refusal(InputError, cube, call=call, limits=small)
    assert read_table(csv, limits=Limits(columns=3)).values.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_what_is_streamed_is_bounded_too(save, name):
    content = b",".join(b"c%d" % i for i in range(1_001)) + b"\n" + b",".join([b"1"] * 1_001)
    path = save(gzip.compress(content) if name.endswith(".gz") else content, name)
    with pytest.raises(InputError, match=r"1,001 columns or more, more than 1,000 allowed; if you trust the file"):
        list(read_batches(lambda: pa.OSFile(str(path)), str(path), limits=Limits(columns=1_000)))
    endless = save(gzipped(1 << 30, bytes(1 << 20)), "endless.csv.gz")
    with pytest.raises(InputError, match=r"endless\.csv\.gz"):  # a row must fit into a block
        list(read_batches(lambda: pa.OSFile(str(endless)), str(endless)))


def test_text_of_a_streamed_parquet_file_comes_in_parts_and_its_cells_are_bounded(save):
    path = save(repeating_text(rows=300, store_schema=False), "t.parquet")

    def batches(**limits):
        return read_batches(lambda: pa.OSFile(str(path)), str(path), only=["a"], keep=["t"], **limits)

    found = list(batches())
    assert sum(len(batch.values) for batch in found) == 300 and len(found) >= 4
    assert all(batch.kept["t"].nbytes < 80 << 20 and batch.kept["t"].type == pa.string() for batch in found)
    assert {text for batch in found for text in batch.kept["t"].to_pylist()} == {"x" * 900_000}
    with pytest.raises(InputError, match="--limit cell_bytes=NUMBER"):
        list(batches(limits=Limits(cell_bytes=1 << 16)))


def test_a_member_never_gives_more_than_it_promised(save):
    """What members promise is what is checked: one that lies about its size is cut there, which its CRC tells."""
    whole = bytearray(zipped({"X.npy": zeros(1 << 20)}))
    place = whole.rindex(b"PK\x01\x02")
    whole[place + 24 : place + 28] = (1000).to_bytes(4, "little")  # its size, unpacked, in the directory
    with (
        zipfile.ZipFile(io.BytesIO(bytes(whole))) as archive,
        pytest.raises(zipfile.BadZipFile),
    ):
        list(read_members(archive, "t.npz", Limits(), "table_bytes"))
