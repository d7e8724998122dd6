"""Every host names the same first feature for a flagged row; benchmarks/explained.py measures it on more."""

import functools
import json

import explained
import hosts
import numpy as np
import pytest

import aetool
from aetool.bundle.golden import read_golden
from aetool.deploy._c_check import number
from aetool.deploy._deployment import ASSETS, asset
from aetool.deploy.c import c, symbol
from aetool.deploy.node import node
from aetool.deploy.web import web
from aetool.runtime.explain import Explanation

HUGE = 1e25  # finite, but its contribution overflows


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """bundles(name): made when it is first asked for."""
    folder = tmp_path_factory.mktemp("explained")
    return functools.cache(lambda name: explained.make(name, folder))


@pytest.fixture(scope="module")
def flagged(bundles):
    """flagged(name): flagged rows of the bundle, and what Python names first."""

    def find(name):
        rows = explained.flagged_rows(bundles(name), 30)
        return rows, explained.in_python(bundles(name), rows)

    return functools.cache(find)


# Each host on two bundles; the benchmark is every host on every bundle.
PAIRS = [
    *((name, "Node") for name in ("reference", "convolution")),
    *((name, "web page") for name in ("breast-cancer", "categories")),
    *((name, "generated C") for name in ("reference", "convolution")),
]


@pytest.mark.parametrize(("name", "host"), PAIRS)
def test_every_host_names_the_same_first_feature(name, host, bundles, flagged, need):
    for needed in {"web page": ("Node", "Chromium")}.get(host, (host,)):
        need(needed)
    rows, expected = flagged(name)
    assert len(rows) > 20 and len(set(expected)) > 2
    assert explained.HOSTS[host](bundles(name), rows) == expected


def test_the_measured_result_is_that_no_host_differs_on_any_bundle():
    found = json.loads((hosts.ROOT / "benchmarks" / "results" / "explained.json").read_text(encoding="utf-8"))
    assert set(found["results"]) == set(explained.BUNDLES)
    for measured in found["results"].values():
        assert measured["flagged_rows"] >= 100 and set(measured["other_first_feature"].values()) == {0}


@pytest.fixture(scope="module")
def package(bundles, write, need):
    need("Node")

    def made(name):
        folder = write(node(bundles(name)))
        (folder / "node_modules").symlink_to(hosts.NODE_MODULES)
        return folder

    return functools.cache(made)


def in_node(folder, code):
    """What `code` prints as JSON, where `model` is the bundle; NaN and infinity as text."""
    program = (
        'import { load } from "./aetool.mjs";\nconst model = await load();\n'
        "const plain = (key, value) => typeof value === 'number' && !Number.isFinite(value) ? String(value)"
        " : ArrayBuffer.isView(value) ? Array.from(value) : value;\n"
        f"console.log(JSON.stringify(await (async () => {{ {code} }})(), plain));\n"
    )
    (folder / "script.mjs").write_text(program, encoding="utf-8")
    return json.loads(hosts.run("node", "script.mjs", cwd=folder))


def test_explain_in_node_gives_the_numbers_of_python(package, bundles):
    bundle = bundles("breast-cancer")
    rows = read_golden(bundle)["features"][:5].astype(np.float32)
    found = in_node(package("breast-cancer"), f"return model.explain({json.dumps(rows.tolist())});")
    expected = aetool.load(bundle.path, provider="cpu").explain(rows)
    for part in ("contribution", "expected", "found"):
        values = np.array([row[part] for row in found])
        np.testing.assert_allclose(values, getattr(expected, part), rtol=1e-3, atol=1e-5)


def test_reasons_in_node_are_those_of_python(package, bundles):
    bundle = bundles("categories")
    columns = {
        "job": ["nurse", "boss", None],
        "size": [9, 1, 1.1],
        "region": [3, 10, 10],
        "weight": [70, 72, 99.5],
    }
    expected = aetool.load(bundle.path, provider="cpu").reasons(columns, 4)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for form in (rows, [list(row.values()) for row in rows]):
        found = in_node(package("categories"), f"return model.reasons({json.dumps(form)}, 4);")
        for reasons, others in zip(found, expected, strict=True):
            assert [reason["feature"] for reason in reasons] == [reason.feature for reason in others]
            assert [reason["found"] for reason in reasons] == [reason.found for reason in others]
            for reason, other in zip(reasons, others, strict=True):
                assert reason["share"] == pytest.approx(other.share, abs=1e-4)
                number = isinstance(other.expected, float)
                assert reason["expected"] == (
                    pytest.approx(other.expected, rel=1e-3) if number else other.expected
                )


def test_reasons_without_names_have_positions(package):
    found = in_node(package("convolution"), "return model.reasons(new Float32Array(512), 2);")
    assert len(found) == 2 and all(len(reason["feature"].split(",")) == 3 for row in found for reason in row)


@pytest.mark.parametrize(
    ("rows", "message"),
    [("[[1]], 3", "30 values in a row expected, found 1"), ("[Array(30).fill(1)], 0", "count: 1")],
)
def test_reasons_that_cannot_be_given_are_told(package, rows, message):
    code = f"return model.reasons({rows}).then(() => 'none', (error) => error.message);"
    assert message in in_node(package("breast-cancer"), code)


RANKED = [
    ({3: HUGE}, [3]),
    ({3: np.nan, 5: HUGE}, [3, 5]),
    ({7: np.inf}, [7]),
    ({7: -np.inf, 2: np.nan}, [2, 7]),
    ({4: HUGE, 9: -100 * HUGE, 1: 10 * HUGE}, [9, 1, 4]),
]
"""Values put into a row -> the features that come first, in order."""


def odd_rows(bundle):
    rows = np.repeat(read_golden(bundle)["features"][:1].astype(np.float32), len(RANKED), axis=0)
    for row, (values, _) in zip(rows, RANKED, strict=True):
        row[list(values)] = list(values.values())
    return rows


def test_what_is_no_number_comes_first_then_what_overflows_in_node(package, bundles):
    bundle = bundles("breast-cancer")
    (package("breast-cancer") / "rows").write_bytes(odd_rows(bundle).tobytes())
    found = in_node(
        package("breast-cancer"),
        'const { readFileSync } = await import("node:fs");\n'
        'return model.reasons(new Float32Array(new Uint8Array(readFileSync("rows")).buffer), 3);',
    )
    names = bundle.manifest.feature_names
    for reasons, (_, places) in zip(found, RANKED, strict=True):
        assert [reason["feature"] for reason in reasons][: len(places)] == [names[place] for place in places]


def test_what_is_no_number_comes_first_then_what_overflows_in_c(bundles, write, need):
    need("generated C")
    bundle = bundles("breast-cancer")
    name = symbol(bundle)
    folder = write(c(bundle, ("explainer",)))
    (folder / "rows").write_bytes(odd_rows(bundle).tobytes())
    (folder / "ranks.c").write_text(
        f"""#include <stdio.h>
#include "{name}.h"
int main(void) {{
    static float row[30], contribution[30], expected[30];
    while (fread(row, sizeof row, 1, stdin) == 1) {{
        int32_t positions[40];
        {name}_explain(row, contribution, expected);
        {name}_rank(row, contribution, expected, positions, 40);
        for (int i = 0; i < 30; ++i) printf("%d ", (int)positions[i]);
        printf("%s\\n", {name}_feature_names[positions[0]]);
    }}
    return 0;
}}
""",
        encoding="utf-8",
    )
    hosts.run("gcc", *hosts.STRICT_C, "-o", "ranks", "ranks.c", *hosts.c_sources(folder), "-lm", cwd=folder)
    lines = hosts.run("sh", "-c", "./ranks < rows", cwd=folder).splitlines()
    for line, (_, places) in zip(lines, RANKED, strict=True):
        *positions, label = line.split(" ", 30)
        assert sorted(map(int, positions)) == list(range(30))  # each once
        assert list(map(int, positions))[: len(places)] == places
        assert label == bundle.manifest.feature_names[places[0]]


def test_a_category_that_is_unknown_stays_so_on_the_page(bundles, write, need, tmp_path):
    need("Chromium")
    (tmp_path / "rows.csv").write_text("job,size,region,weight\nboss,1,10.0,70\nNA,2,3,71\n", encoding="utf-8")
    folder = write(web(bundles("categories")))
    with hosts.browser() as chromium, hosts.served(folder) as url:
        page = chromium.new_page()
        page.goto(url)
        page.wait_for_selector("#check-mark.good")
        page.set_input_files("#csv", tmp_path / "rows.csv")
        shown = []
        for row in ("Row 1", "Row 2"):
            page.click(f"#file-rows button:text-is('{row}')")
            lists = page.locator("#feature-rows select")
            shown.append([lists.nth(i).input_value() for i in range(2)])
            assert page.locator("option.unknown").all_inner_texts() == (
                ["boss (unknown)"] if row == "Row 1" else []
            )
    assert shown == [["boss", "10"], ["", "3"]]


INF, NAN = float("inf"), float("nan")
EXPLANATIONS = [
    ([3, 1, 2], [0, 0, 0], [1, 1, 1], [0, 2, 1]),
    ([1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 2]),
    ([1e30, INF, 5], [0, 0, 0], [9, 2, 3], [1, 0, 2]),  # the one that overflows, however near
    ([INF, INF, 5], [0, 0, 0], [2, 1e20, 3], [1, 0, 2]),
    ([INF, INF, INF], [1e25, NAN, INF], [1e25, 3, -4], [2, 1, 0]),  # what is expected may be anything
    ([NAN, NAN, NAN], [NAN, NAN, NAN], [5, NAN, INF], [1, 2, 0]),
    ([7, 0, 8], [1, 1, 1], [0, NAN, 0], [2, 0, 1]),  # a missing value that spoils nothing, such as a category
]
"""Contribution, expected, found -> the order of the three features."""


@pytest.mark.parametrize("made", [made for made in EXPLANATIONS if INF not in made[0]])
def test_made_explanations_are_ranked_in_python(made):
    *parts, order = made
    explanation = Explanation(*(np.array([part], dtype=np.float32) for part in parts))
    assert explanation.largest(3).tolist() == [order]


def test_made_explanations_are_ranked_in_javascript(package):
    code = (
        'const { largest } = await import("./explanation.mjs");\n'
        "const numbers = (row) => Float32Array.from(row, (text) => Number(text.replace('inf', 'Infinity')));\n"
        f"return {json.dumps([[[str(x) for x in part] for part in parts] for *parts, _ in EXPLANATIONS])}"
        ".map((parts) => parts.map(numbers))"
        ".map(([contribution, expected, found]) => largest({ contribution, expected, found }, 3));"
    )
    assert in_node(package("breast-cancer"), code) == [order for *_, order in EXPLANATIONS]


def test_made_explanations_are_ranked_in_c(need, tmp_path):
    need("generated C")
    source = "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n#include <stdio.h>\n"
    source += asset("c_files/rank.c", name="m", width="3").decode() + "int main(void) {\n    int32_t p[3];\n"
    for contribution, expected, found, _ in EXPLANATIONS:
        parts = [", ".join(map(number, part)) for part in (found, contribution, expected)]
        literals = [f"(const float[]){{{part}}}" for part in parts]
        source += f'    m_rank({", ".join(literals)}, p, 3);\n    printf("%d %d %d\\n", p[0], p[1], p[2]);\n'
    (tmp_path / "ranks.c").write_text(source + "    return 0;\n}\n", encoding="utf-8")
    hosts.run("gcc", "-std=c99", "-o", "ranks", "ranks.c", "-lm", cwd=tmp_path)
    found = [list(map(int, line.split())) for line in hosts.run("./ranks", cwd=tmp_path).splitlines()]
    assert found == [order for *_, order in EXPLANATIONS]


def test_the_assets_of_javascript_are_all_deployed(package):
    there = {path.name for path in package("breast-cancer").iterdir()}
    of_pages = {
        "aetool.core.mjs",
        "aetool.web.mjs",
        "aetool.single.mjs",
        "aetool.node.mjs",
        "images.mjs",
        "live.mjs",
        "open.mjs",
        "page.mjs",
        "worker.mjs",
    }
    assert {path.name for path in (ASSETS / "javascript").glob("*.mjs")} - of_pages <= there
