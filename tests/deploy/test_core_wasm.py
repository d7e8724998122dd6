"""The core as WebAssembly: the bits of the compiled core, in a Node package that needs no other."""

import json
import re
import shutil
import subprocess
import zlib

import hosts
import numpy as np
import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.core import reference
from aetool.core.program import GraphSteps, lay_out_together
from aetool.core.translate import steps_of, translate
from aetool.deploy._core_js import program_file
from aetool.deploy._deployment import ASSETS, admitted_model, in_order, row_of
from aetool.deploy.node import node
from aetool.deploy.web import web, web_page
from aetool.errors import BundleError, ExportError
from aetool.quantize import QuantizeOptions, quantize
from aetool.segments import add_segments

PINNED = ("14.0.6", "Debian LLD 14.0.6")


@pytest.fixture(scope="module")
def package(cancer_bundle, write, need):
    need("Node")
    return write(node(cancer_bundle))


def test_its_own_check_passes_without_any_other_package(package):
    assert json.loads((package / "package.json").read_text(encoding="utf-8"))["dependencies"] == {}
    assert "84 golden rows" in hosts.run("npm", "test", cwd=package)


def test_rows_give_the_bits_that_docs_core_specifies(package, cancer_bundle):
    rows = read_golden(cancer_bundle)["features"].astype(np.float32)
    rows[3, 4], rows[5, 6], rows[7, 8] = np.nan, np.inf, -np.inf
    (package / "rows").write_bytes(rows.tobytes())
    (package / "bits.mjs").write_text(
        'import { readFileSync, writeFileSync } from "node:fs";\nimport { load } from "./aetool.mjs";\n'
        'const model = await load();\nconst bytes = new Uint8Array(readFileSync("rows"));\n'
        "const rows = new Float32Array(bytes.buffer);\n"
        "const { score, is_anomaly } = await model.run('detector', rows);\n"
        "const single = await model.score(rows.slice(0, 30));\n"
        "if (single[0] !== score.data[0]) throw new Error('one row differs from many');\n"
        'writeFileSync("score", new Uint8Array(score.data.buffer));\n'
        'writeFileSync("is_anomaly", is_anomaly.data);\n'
        "const { reconstruction } = await model.run('autoencoder', rows);\n"
        "const explained = await model.run('explainer', rows);\n"
        "for (const [name, { data }] of Object.entries({ reconstruction, ...explained }))\n"
        "  writeFileSync(name, new Uint8Array(data.buffer));\n",
        encoding="utf-8",
    )
    hosts.run("node", "bits.mjs", cwd=package)
    results, steps = steps_of(admitted_model(cancer_bundle, "detector"), (30,))
    values = reference.run(steps, rows)
    expected = {output.name: values[id(step)][:, 0] for output, step in results.items()}
    score = np.frombuffer((package / "score").read_bytes(), np.float32)
    assert np.array_equal(score, expected["score"], equal_nan=True)
    assert (np.frombuffer((package / "is_anomaly").read_bytes(), np.uint8) == expected["is_anomaly"]).all()
    assert np.isnan(score[3]) and expected["is_anomaly"][[3, 5, 7]].all()
    results, steps = steps_of(admitted_model(cancer_bundle, "explainer"), (30,))
    values = reference.run(steps, rows)
    for output, step in results.items():
        found = np.frombuffer((package / output.name).read_bytes(), np.float32).reshape(-1, 30)
        assert np.array_equal(found, values[id(step)], equal_nan=True)


def test_a_damaged_program_is_refused(package, tmp_path, change_packed):
    shutil.copytree(package, tmp_path / "it")

    def damaged(content):
        length = int.from_bytes(content[:4], "little")
        described = json.loads(content[4 : 4 + length])
        at = 4 + length
        for size in described["sizes"]:
            at += -at % 64 + size
        at += -at % 64  # the first graph's steps
        return content[: at + 3] + b"\x7f" + content[at + 4 :]

    change_packed(tmp_path / "it", "model.core", damaged)
    done = subprocess.run(["node", "check.mjs"], cwd=tmp_path / "it", capture_output=True, text=True, check=False)
    assert done.returncode and "the program of this graph is damaged (step 1)" in done.stderr


def test_onnxruntime_is_taken_where_it_is_asked_for_or_the_core_lacks_something(cancer_bundle, tmp_path):
    assert "core.wasm" not in node(cancer_bundle, "onnxruntime").files
    path = shutil.copytree(cancer_bundle.path, tmp_path / "segmented")
    rows = read_golden(cancer_bundle)["features"].astype(np.float32)
    segmented = add_segments(path, rows, clusters=3).bundle
    made = node(segmented)
    assert "core.wasm" not in made.files and made.figures["engine"] == "ONNX Runtime"
    with pytest.raises(ExportError, match="lacks an operator of a graph; use --engine onnxruntime"):
        node(segmented, "core")


_FIELDS_AT_THE_FIRST_SCORE = """
new MutationObserver((_, observer) => {
    if (!document.getElementById("verdict-score")?.textContent) return;
    window.fields = document.querySelectorAll("#feature-rows tr").length;
    observer.disconnect();
}).observe(document, { childList: true, subtree: true });
"""


@pytest.mark.parametrize("single", [True, False], ids=["one file", "directory"])
def test_the_page_computes_on_the_core_alone_and_says_so(cancer_bundle, write, need, tmp_path, single):
    need("Chromium")
    if single:
        (tmp_path / "page.html").write_bytes(web_page(cancer_bundle).files["index.html"])
        assert (tmp_path / "page.html").stat().st_size < 200_000
    folder = tmp_path if single else write(web(cancer_bundle))
    with hosts.browser() as chromium, hosts.served(folder) as url:
        page = chromium.new_page(viewport={"width": 375, "height": 700})
        wrong, asked = [], []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script(_FIELDS_AT_THE_FIRST_SCORE)
        page.goto((tmp_path / "page.html").as_uri() if single else url)
        page.wait_for_selector("#check-mark:is(.good, .bad)")
        assert re.search(r"\d\d golden rows", page.inner_text("#check-text")) and wrong == []
        assert "Runs on aetool's core." in page.inner_text("footer")
        assert re.fullmatch(
            r"p = [\d.]+: about \d+ % of normal rows score this high\.", page.inner_text("#verdict-p")
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        page.click("#abnormal")
        page.wait_for_selector(".is-anomaly")
        assert page.inner_text("#verdict-p") == "p < 0.000001: no known normal row scores this high."
        assert page.evaluate("[fields, document.querySelectorAll('#feature-rows tr').length]") == [0, 30]
        if not single:
            assert not [one for one in asked if "onnxruntime" in one or one.endswith(".onnx")]
            rows = read_golden(cancer_bundle)["features"].astype(np.float32)
            code = (
                "(rows) => import('./aetool.mjs').then(({ load }) => load())"
                ".then((model) => model.pValue(rows)).then((found) => Array.from(found))"
            )
            with aetool.load(cancer_bundle.path, provider="native") as model:
                assert np.allclose(page.evaluate(code, rows.tolist()), model.p_value(rows), rtol=1e-4, atol=0)


def test_the_program_of_one_file_is_packed_too_and_an_old_browser_is_told(cancer_bundle, need, tmp_path):
    content = web_page(cancer_bundle).files["index.html"]
    assert b"function showVerdict" not in content and len(content) < 125_000
    need("Chromium")
    (tmp_path / "page.html").write_bytes(content)
    with hosts.browser() as chromium:
        page = chromium.new_page()
        page.add_init_script("delete globalThis.DecompressionStream")
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("#check-text:has-text('needs a browser of 2023 or later')")


def test_weights_of_all_graphs_lie_once(cancer_bundle):
    """The explainer has all of them; and a matrix that is another one, scaled, is nearly nothing when packed."""
    programs = lay_out_together(
        {
            graph: GraphSteps(*steps_of(admitted_model(cancer_bundle, graph), row), row)
            for graph, row in ((graph, row_of(cancer_bundle, graph)) for graph in in_order(cancer_bundle))
        }
    )
    alone = translate(admitted_model(cancer_bundle, "explainer"), (30,)).floats
    floats = {id(program.floats): program.floats for program in programs.values()}
    assert len(floats) == 1 and len(programs["encoder"].floats) < len(alone) + 128
    assert len(zlib.compress(program_file(programs), 9)) < 0.75 * alone.nbytes  # two matrices of three


def test_bfloat16_is_a_precision_of_its_own_and_comes_out_bit_for_bit(cancer_bundle, write, need, tmp_path):
    need("Node")
    path = shutil.copytree(cancer_bundle.path, tmp_path / "bundle")
    rows = read_golden(cancer_bundle)["features"].astype(np.float32)
    with pytest.raises(BundleError, match="no precision 'bf16'"):
        node(cancer_bundle, precision="bf16")
    quantize(path, rows, precision="bf16", options=QuantizeOptions(rounds=1, seconds=0.01))
    bundle = Bundle.open(path)
    assert web_page(bundle, precision="bf16").size < web_page(bundle).size - 10_000
    package = write(node(bundle, precision="bf16"))
    (package / "rows").write_bytes(rows.tobytes())
    (package / "bits.mjs").write_text(
        'import { readFileSync, writeFileSync } from "node:fs";\nimport { load } from "./aetool.mjs";\n'
        'const model = await load();\nconst bytes = new Uint8Array(readFileSync("rows"));\n'
        "const rows = new Float32Array(bytes.buffer);\n"
        "for (const [name, { data }] of Object.entries(await model.run('explainer', rows)))\n"
        "  writeFileSync(name, new Uint8Array(data.buffer));\nconsole.log(model.precision, model.threshold);\n",
        encoding="utf-8",
    )
    precision, threshold = hosts.run("node", "bits.mjs", cwd=package).split()
    assert (precision, np.float32(threshold)) == ("bf16", np.float32(bundle.variant("bf16").threshold))
    results, steps = steps_of(admitted_model(bundle, "explainer", "bf16"), (30,))
    values = reference.run(steps, rows)
    for output, step in results.items():
        found = np.frombuffer((package / output.name).read_bytes(), np.float32).reshape(-1, 30)
        assert np.array_equal(found, values[id(step)])
    assert "passed" in hosts.run("npm", "test", cwd=package)


def test_a_bundler_takes_the_module_as_it_is(cancer_bundle, write, need):
    need("esbuild")
    folder = write(web(cancer_bundle))
    (folder / "app.js").write_text(
        'import { load } from "./aetool.mjs";\n'
        "load().then((model) => model.check()).then(({ passed }) => console.log(`passed: ${passed}`));\n",
        encoding="utf-8",
    )
    bundler = str(hosts.NODE_MODULES / ".bin" / "esbuild")
    hosts.run(
        bundler, "app.js", "--bundle", "--minify", "--outfile=alone/app.js", "--log-level=warning", cwd=folder
    )
    assert hosts.run("node", "app.js", cwd=folder / "alone") == "passed: true\n"


def test_a_table_is_read_in_the_background_with_progress(cancer_bundle, need, tmp_path):
    need("Chromium")
    (tmp_path / "page.html").write_bytes(web_page(cancer_bundle).files["index.html"])
    header, *rows = (hosts.ROOT / "exported" / "samples.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "many.csv").write_text("\n".join([header, *rows * 100]), encoding="utf-8")
    with hosts.browser() as chromium:
        page = chromium.new_page()
        wrong, workers = [], []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("worker", lambda worker: workers.append(worker.url))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("#check-mark.good")
        policy = page.get_attribute("meta[http-equiv='Content-Security-Policy']", "content")
        assert "'unsafe-inline'" not in policy and "'unsafe-eval'" not in policy
        page.evaluate(
            "() => { window.shares = new Set(); const bar = document.getElementById('progress-bar');"
            "new MutationObserver(() => shares.add(bar.value)).observe(bar, { attributes: true }); }"
        )
        page.set_input_files("#csv", tmp_path / "many.csv")
        page.wait_for_selector("#file-rows tr")
        assert f"of {len(rows) * 100} rows" in page.inner_text("#file-title")
        shares = page.evaluate("[...shares]")
        assert len(shares) > 4 and shares == sorted(shares) and shares[-1] == 1
        assert len(workers) == 1 and not page.is_visible("#progress-bar") and wrong == []
        assert page.locator("#file-rows tr").count() == 200


def test_the_module_is_what_the_c_compiles_to(tmp_path):
    """With the compiler that the Makefile names: others give other bytes."""
    for program, version in zip(("clang", "wasm-ld"), PINNED, strict=True):
        if shutil.which(program) is None or version not in hosts.run(program, "--version", cwd=tmp_path):
            pytest.skip(f"{program} {version} is not installed")
    hosts.run("make", "wasm", f"WASM={tmp_path}/core.wasm", cwd=hosts.ROOT)
    assert (tmp_path / "core.wasm").read_bytes() == (ASSETS / "javascript" / "core.wasm").read_bytes()


def test_the_module_asks_for_nothing_from_outside(need, tmp_path):
    need("Node")
    code = (
        "const module = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));"
        "console.log(JSON.stringify(WebAssembly.Module.imports(module)))"
    )
    assert json.loads(hosts.run("node", "-e", code, str(ASSETS / "javascript" / "core.wasm"), cwd=tmp_path)) == []
