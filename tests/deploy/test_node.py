"""The npm package in a real Node: its own check, its answers, and cells read as aetool reads them."""

import json
import shutil
import subprocess
from pathlib import Path

import hosts
import numpy as np
import pytest

import aetool
from aetool.bundle.golden import read_golden
from aetool.deploy.node import ONNXRUNTIME_NODE, node
from aetool.deploy.web import VERSION
from aetool.runtime.categories import to_indexes
from aetool.segments import add_segments

ROOT = Path(__file__).parents[2]
CATEGORIES = ("1", "0", "true", "false", "1.5", "nurse", "smith, or so")
CELLS = [
    "1",
    " 1.0",
    1,
    1.0,
    True,
    "True",
    "FALSE",
    "-0",
    "0.",
    "01",
    "1.50",
    1.5,
    "nurse ",
    "Nurse",
    "",
    "NA",
    "null",
    "x",
]


@pytest.fixture(scope="module")
def package(cancer_bundle, write, need):
    need("Node")
    folder = write(node(cancer_bundle))
    (folder / "node_modules").symlink_to(hosts.NODE_MODULES)
    return folder


def script(folder, code):
    """What `code`, a module beside the package's, prints as JSON."""
    (folder / "script.mjs").write_text(code, encoding="utf-8")
    return json.loads(hosts.run("node", "script.mjs", cwd=folder))


def test_its_own_check_passes(package):
    assert "84 golden rows" in hosts.run("npm", "test", cwd=package)


def test_golden_rows_may_be_compressed(package, cancer_bundle, tmp_path):
    golden = dict(read_golden(cancer_bundle))
    np.savez_compressed(tmp_path / "small.npz", **golden)
    np.savez(tmp_path / "large.npz", **golden)
    code = f"""import {{ readFileSync }} from "node:fs";
        import {{ readArrays }} from "./golden.mjs";
        const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value, String) : value);
        const found = [];
        for (const name of ["small", "large"]) {{
          found.push(await readArrays(readFileSync(`{tmp_path}/${{name}}.npz`)));
        }}
        console.log(JSON.stringify(found, plain));"""
    small, large = script(package, code)
    assert small == large and set(small) == set(golden)
    assert small["score"]["data"] == [repr(x).removesuffix(".0") for x in golden["score"].tolist()]


@pytest.mark.parametrize("change", [-1, 1])
def test_a_compressed_array_of_another_length_than_told_is_refused(package, tmp_path, change):
    np.savez_compressed(tmp_path / "a.npz", score=np.zeros(100_000))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.rfind(b"PK\x01\x02") + 24
    size = int.from_bytes(content[at : at + 4], "little")
    content[at : at + 4] = (size + change).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content)
    code = f"""import {{ readFileSync }} from "node:fs";
        import {{ readArrays }} from "./golden.mjs";
        const read = readArrays(readFileSync("{tmp_path}/a.npz"));
        const told = await read.then(() => "read", (error) => error.message);
        console.log(JSON.stringify(told));"""
    assert script(package, code) == "golden.npz: score.npy is not as long as the archive tells"


@pytest.mark.parametrize("engine", ["core", "onnxruntime"])
def test_its_own_check_finds_a_changed_threshold(cancer_bundle, write, need, change_packed, engine):
    need("Node")
    folder = write(node(cancer_bundle, engine))
    (folder / "node_modules").symlink_to(hosts.NODE_MODULES)
    threshold = np.float32(cancer_bundle.manifest.variants["fp32"].threshold)

    def changed(content):
        assert content.count(threshold.tobytes()) == 1
        return content.replace(threshold.tobytes(), np.float32(1e9).tobytes())

    def changed_program(content):
        length = int.from_bytes(content[:4], "little")
        start, size = -(-(4 + length) // 64) * 64, json.loads(content[4 : 4 + length])["sizes"][0]
        planes = np.frombuffer(content[start : start + size], np.uint8).reshape(4, -1)  # all first bytes first
        floats = changed(planes.T.tobytes())
        planes = np.frombuffer(floats, np.uint8).reshape(-1, 4).T
        return content[:start] + planes.tobytes() + content[start + size :]

    if engine == "core":
        change_packed(folder, "model.core", changed_program)
    else:
        graph = folder / "model" / "detector.onnx"
        graph.write_bytes(changed(graph.read_bytes()))
    done = subprocess.run(["node", "check.mjs"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "FAILED" in done.stdout


def test_a_csv_is_scored_from_the_command_line(package, cancer_bundle):
    import aetool

    lines = hosts.run("node", "score.mjs", str(ROOT / "exported" / "samples.csv"), cwd=package).splitlines()
    rows = np.loadtxt(ROOT / "exported" / "samples.csv", delimiter=",", skiprows=1)[:, 1:31]
    assert lines[0] == "row,score,is_anomaly"
    scores = [float(line.split(",")[1]) for line in lines[1:]]
    assert scores == pytest.approx(aetool.load(cancer_bundle.path, provider="cpu").score(rows).tolist(), rel=1e-4)


def test_a_file_that_is_no_table_of_the_model_is_an_error_of_the_command_line(package, tmp_path):
    text = (ROOT / "exported" / "samples.csv").read_text(encoding="utf-8")
    header, row, *_ = text.splitlines()
    for content, message in (
        (text.replace(" ", "_"), "this looks like another table than the model was trained on"),
        (f"{header}\n{row},1\n", "row 1: 33 columns found, 32 expected as in the header"),
        ("", "the file is empty"),
    ):
        (tmp_path / "rows.csv").write_text(content, encoding="utf-8")
        command = ["node", "score.mjs", tmp_path / "rows.csv"]
        done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "") and f"rows.csv: {message}" in done.stderr
    (tmp_path / "rows.csv").write_text(header, encoding="utf-8")
    assert hosts.run("node", "score.mjs", str(tmp_path / "rows.csv"), cwd=package) == "row,score,is_anomaly\n"


def test_rows_come_in_three_forms_and_many_at_once(package, cancer_bundle):
    golden = read_golden(cancer_bundle)
    found = script(
        package,
        """import { load } from "./aetool.mjs";
        const model = await load();
        const { features } = await model.golden();
        const list = Array.from(features.data.slice(0, 30));
        const named = Object.fromEntries(model.features.map(({ name }, i) => [name, list[i]]));
        const flat = new Float32Array(30 * 2500);
        for (let i = 0; i < flat.length; i += 1) flat[i] = features.data[i % features.data.length];
        const many = await model.score(flat);
        const [a, b] = await model.score([list, named]);
        console.log(JSON.stringify({
          a, b, one: many[0], again: many[84 * 20], count: many.length,
          shape: [(await model.encode([list])).length, (await model.encode([list]))[0].length],
          expected: Array.from((await model.reconstruct([list]))[0]),
        }));""",
    )
    assert found["a"] == found["b"]
    assert [found["a"], found["one"], found["again"]] == pytest.approx([golden["score"][0]] * 3, rel=1e-4)
    assert found["count"] == 2500 and found["shape"] == [1, 120]
    assert found["expected"] == pytest.approx(golden["reconstruction"][0].tolist(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[[1, 2]]", "30 values in a row expected, found 2"),
        ("new Float32Array(31)", "rows of 30 values expected, found 31 values"),
        ("[]", "rows expected"),
        ("[7]", "rows expected"),
        ("[{ 'mean radius': 1 }]", "the row has no column mean texture"),
        ("[Array(30).fill('a')]", 'mean radius: a number expected, found \\"a\\"'),
        ("[Array(30).fill([7])]", "mean radius: a number or text expected, found [7]"),
        ("[Array(30).fill({ a: 1 })]", 'mean radius: a number or text expected, found {\\"a\\":1}'),
        ("[Array(30).fill(new Date(0))]", "mean radius: a number or text expected"),
    ],
)
def test_rows_that_cannot_be_are_told(package, rows, message):
    found = script(
        package,
        f"""import {{ load }} from "./aetool.mjs";
        const model = await load();
        const told = await model.score({rows}).then(() => "none", (error) => error.message);
        console.log(JSON.stringify(told));""",
    )
    assert message.replace("\\", "") in found


def test_cells_of_categories_are_read_as_in_python(package):
    found = script(
        package,
        f"""import {{ cellToNumber }} from "./categories.mjs";
        const known = new Map({json.dumps(CATEGORIES)}.map((text, i) => [text, i]));
        console.log(JSON.stringify({json.dumps(CELLS)}.map((cell) => String(cellToNumber(cell, known, "x")))));""",
    )
    expected = to_indexes(np.array(CELLS, dtype=object), CATEGORIES, "x")
    np.testing.assert_array_equal([float(text) for text in found], expected)


@pytest.mark.parametrize(
    ("separator", "text", "lines"),
    [
        (",", 'a,b\n"1, 2","3 ""x"""\r\n4,5\n', [["a", "b"], ["1, 2", '3 "x"'], ["4", "5"]]),
        (";", 'a;b\n"l1\nl2";2', [["a", "b"], ["l1\nl2", "2"]]),
        ("\t", "a\tb\n\n1\t\n", [["a", "b"], ["1", ""]]),
    ],
)
def test_csv_is_read_as_people_write_it(package, separator, text, lines):
    call = f"parseCsv({json.dumps(text)}, {json.dumps(separator)})"
    code = f'import {{ parseCsv }} from "./csv.mjs"; console.log(JSON.stringify({call}));'
    assert script(package, code) == lines


def test_the_versions_are_those_that_the_tests_install():
    pinned = json.loads((Path(__file__).parent / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert pinned.pop("esbuild")
    assert pinned == {"onnxruntime-node": ONNXRUNTIME_NODE, "onnxruntime-web": VERSION}


def test_segments_are_those_of_the_runtime(cancer_bundle, write, need, tmp_path):
    need("Node")
    path = shutil.copytree(cancer_bundle.path, tmp_path / "segmented")
    rows = read_golden(cancer_bundle)["features"]
    segmented = add_segments(path, rows, clusters=3).bundle
    folder = write(node(segmented))
    (folder / "node_modules").symlink_to(hosts.NODE_MODULES)
    assert "84 golden rows" in hosts.run("npm", "test", cwd=folder)
    code = f"""
        import {{ load }} from "./aetool.mjs";
        const model = await load();
        console.log(JSON.stringify(await model.segment({json.dumps(rows.tolist())})));
    """
    assert script(folder, code) == aetool.load(path).segment(rows).tolist()


def test_a_threshold_of_the_callers_own_decides_as_in_python(package, cancer_bundle):
    code = """import { load } from "./aetool.mjs";
        const model = await load();
        const { data } = (await model.golden()).features;
        const rows = Float32Array.from([...data, ...new Array(model.width).fill(NaN)]);
        const found = [await model.detect(rows)];
        for (const threshold of [0.05, 0.3, 1, Infinity]) found.push(await model.detect(rows, { threshold }));
        model.threshold = 0.3;
        found.push(await model.detect(rows), model.threshold);
        const refused = await model.detect(rows, { threshold: NaN }).then(() => "", (error) => error.message);
        console.log(JSON.stringify([found, refused]));"""
    found, refused = script(package, code)
    rows = read_golden(cancer_bundle)["features"].astype(np.float32)
    rows = np.concatenate([rows, np.full((1, rows.shape[1]), np.nan, np.float32)])
    with aetool.load(cancer_bundle.path, provider="cpu") as model:
        assert found.pop(0) == model.detect(rows).tolist()
        for threshold in (0.05, 0.3, 1, np.inf, 0.3):
            model.threshold = threshold
            assert found.pop(0) == model.detect(rows).tolist()
    assert found == [np.float32(0.3)] and refused == "threshold: a number expected, found NaN"


@pytest.mark.parametrize("engine", ["core", "onnxruntime"])
def test_p_values_are_those_of_python(engine, cancer_bundle, write):
    package = write(node(cancer_bundle, engine))
    (package / "node_modules").symlink_to(hosts.NODE_MODULES)
    code = """import { load } from "./aetool.mjs";
        const model = await load();
        const rows = Float32Array.from((await model.golden()).features.data);
        const far = rows.map((value) => 3 * value);
        const none = new Float32Array(model.features.length).fill(NaN);
        const found = [await model.pValue(rows), await model.pValue(far), await model.pValue(none)];
        console.log(JSON.stringify(found.map((values) => Array.from(values)).flat()));"""
    rows = read_golden(cancer_bundle)["features"].astype(np.float32)
    # Golden rows are calibration rows, so that one bit of a score decides their rank.
    provider = "native" if engine == "core" else "cpu"
    with aetool.load(cancer_bundle.path, provider=provider) as model:
        expected = model.p_value(np.concatenate([rows, 3 * rows, np.full((1, rows.shape[1]), np.nan)]))
    assert len(np.unique(expected)) > 20 and expected.min() < 1e-4
    np.testing.assert_allclose(script(package, code), expected, rtol=1e-4)


def test_nothing_is_written_to_stderr(package):
    (package / "quiet.mjs").write_text('import { load } from "./aetool.mjs"; await (await load()).check();')
    done = subprocess.run(["node", "quiet.mjs"], cwd=package, capture_output=True, text=True, check=True)
    assert done.stderr == ""
