"""The generated C: what compiles, what it answers, what it needs, what is refused."""

import os
import shutil
import subprocess

import hosts
import numpy as np
import onnx
import pytest
from onnx import helper

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.deploy._deployment import Deployment
from aetool.deploy.c import VERBS, c, symbol
from aetool.errors import ExportError, InputError
from aetool.segments import add_segments

LONG = os.environ.get("AETOOL_LONG") == "1"


@pytest.fixture(scope="module")
def built(cancer_bundle, write, need):
    need("generated C")
    folder = write(c(cancer_bundle, ("encoder", "detector")))
    hosts.build_c(folder, cancer_bundle)
    return folder


@pytest.fixture(scope="module")
def segmented(cancer_bundle, tmp_path_factory):
    path = shutil.copytree(cancer_bundle.path, tmp_path_factory.mktemp("c") / "segmented")
    return add_segments(path, read_golden(cancer_bundle)["features"].astype(np.float32), clusters=3).bundle


def changed(bundle, graph, change, **fields):
    """The bundle with one graph changed, in memory."""

    class Changed(Bundle):
        def graph(self, name, precision="fp32"):
            content = super().graph(name, precision)
            if name != graph:
                return content
            model = onnx.load_from_string(content)
            change(model)
            return model.SerializeToString()

    return Changed(bundle.path, bundle.manifest._replace(**fields))


def test_the_golden_rows_come_out_under_cmake(segmented, write, need, tmp_path):
    need("generated C")
    need("CMake")
    folder = write(c(segmented, tuple(VERBS)))
    for command in (
        ["cmake", "-S", str(folder), "-B", str(tmp_path)],
        ["cmake", "--build", str(tmp_path)],
        ["ctest", "--test-dir", str(tmp_path), "--output-on-failure"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_segments_are_those_of_the_runtime(segmented, write, need):
    need("generated C")
    folder = write(c(segmented, ("segmenter",)))
    hosts.build_c(folder, segmented)
    rows = read_golden(segmented)["features"].astype(np.float32)
    rows[0, 3] = np.nan
    found = hosts.run_c(folder, segmented, "segmenter", rows)
    expected = aetool.load(segmented.path).run("segmenter", rows)
    assert found["segment"].tolist() == expected["segment"].tolist() and found["segment"][0] == -1
    np.testing.assert_allclose(found["distance"], expected["distance"], rtol=1e-5)


def test_the_check_finds_a_changed_weight(cancer_bundle, write, need):
    need("generated C")

    def spoil(model):
        weight = next(w for w in model.graph.initializer if w.name.endswith("residual_weight"))
        values = onnx.numpy_helper.to_array(weight).copy()
        values[0, 0] += 0.01
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))

    folder = write(c(changed(cancer_bundle, "detector", spoil), ("detector",)))
    sources = ["check.c", *hosts.c_sources(folder)]
    hosts.run("gcc", *hosts.STRICT_C, "-o", "check", *sources, "-lm", cwd=folder)
    done = subprocess.run([folder / "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "FAILED" in done.stdout


def test_the_example_scores_rows_of_text(cancer_bundle, built):
    sources = ["main.c", *hosts.c_sources(built)]
    hosts.run("gcc", *hosts.STRICT_C, "-o", "main", *sources, "-lm", cwd=built)
    golden = read_golden(cancer_bundle)
    text = "".join(",".join(map(repr, map(float, row))) + "\n" for row in golden["features"][:5])
    done = subprocess.run([built / "main"], input=text, capture_output=True, text=True, check=True)
    scores = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert scores == pytest.approx(golden["score"][:5], rel=1e-4)


def test_p_values_are_those_of_python(cancer_bundle, built):
    name = symbol(cancer_bundle)
    (built / "p.c").write_text(
        f'#include <stdio.h>\n#include "{name}.h"\n'
        "int main(void) {\n    float score;\n"
        f'    while (scanf("%f", &score) == 1) printf("%.9g\\n", (double){name}_p_value(score));\n'
        "    return 0;\n}\n"
    )
    hosts.run("gcc", *hosts.STRICT_C, "-o", "p", "p.c", *hosts.c_sources(built), "-lm", cwd=built)
    with aetool.load(cancer_bundle.path, provider="cpu") as model:
        score = np.sort(model.score(read_golden(cancer_bundle)["features"]))
        score = np.concatenate([score, score[-1] * np.float32([2, 1e3, 1e30]), np.float32([np.inf, np.nan, 0])])
        expected = model.calibrated(score)["p_value"]
    text = " ".join(map(repr, map(float, score)))
    done = subprocess.run([built / "p"], input=text, capture_output=True, text=True, check=True)
    np.testing.assert_allclose([float(line) for line in done.stdout.split()], expected, rtol=1e-5)
    assert np.all(expected > 0) and len(np.unique(expected)) > 20


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_row_that_is_not_finite_is_never_normal(cancer_bundle, built, value):
    rows = read_golden(cancer_bundle)["features"][:30].astype(np.float32)
    np.fill_diagonal(rows, value)  # each column once
    assert hosts.run_c(built, cancer_bundle, "detector", rows)["is_anomaly"].all()


def test_flash_and_stack_are_weights_and_the_largest_activations(cancer_bundle, built):
    told = c(cancer_bundle).figures["detector"]
    found = hosts.c_figures(built, cancer_bundle, "detector")
    assert found["static_ram"] == 0
    assert found["flash"] <= 1.1 * told["weights_bytes"]
    assert (
        found["stack"] <= told["largest_live_bytes"] + 128
    )  # the calls; benchmarks/chips.py has those of the core
    assert told["largest_live_bytes"] <= told["activations_bytes"] <= 1.1 * told["largest_live_bytes"]


@pytest.fixture(scope="module")
def named(cancer_bundle, write, need):
    """named(name): the C of one detector under another name; only names differ, so it is generated once."""
    need("generated C")
    made = c(cancer_bundle, ("detector",))

    def renamed(name):
        there, wanted = symbol(cancer_bundle), symbol(changed(cancer_bundle, "", None, name=name))
        return Deployment(
            {
                path.replace(there, wanted): content.replace(there.encode(), wanted.encode()).replace(
                    there.upper().encode(), wanted.upper().encode()
                )
                for path, content in made.files.items()
            },
            "",
        )

    return lambda name: write(renamed(name))


def compiled(compiler, *arguments, cwd):
    """What the compiler says; empty where it takes the files without a warning."""
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False, cwd=cwd)
    return done.stdout + done.stderr if done.returncode else done.stderr


DEBUG = ("-DCMAKE_BUILD_TYPE=Debug",)  # a name is right or wrong before anything is optimised
NAMES = ["math", "int", "x" * 300, "größe", *(["test", "golden", "stdio", "all", "2"] if LONG else [])]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_means_something_elsewhere_builds(named, name, tmp_path):
    folder = named(name)
    assert max(len(path.name) for path in folder.iterdir()) < 100
    for command in (
        ["cmake", "-S", str(folder), "-B", str(tmp_path), "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror", *DEBUG],
        ["cmake", "--build", str(tmp_path)],
        ["ctest", "--test-dir", str(tmp_path), "--output-on-failure"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("options", [("-std=c99", "-pedantic"), ("-std=gnu17", "-Wshadow"), ("-O0",)])
def test_both_compilers_take_every_file_without_a_warning(built, need, compiler, options):
    need(compiler if compiler == "clang" else "generated C")
    sources = sorted(path.name for path in built.glob("*.c") if path.name != "all.c")
    for source in sources:
        assert (
            compiled(compiler, "-Wall", "-Wextra", "-Werror", *options, "-c", source, "-o", "x.o", cwd=built) == ""
        )


def test_the_files_of_all_graphs_can_be_compiled_as_one(built):
    one = "".join(f'#include "{path.name}"\n' for path in sorted(built.glob("aetool_*.c")))
    (built / "one.c").write_text(one, encoding="utf-8")
    assert compiled("gcc", *hosts.STRICT_C, "-c", "one.c", "-o", "one.o", cwd=built) == ""
    (built / "one.c").unlink()


def test_every_symbol_that_a_linker_sees_begins_with_the_name(built):
    for path in built.glob("aetool_*.o"):
        symbols = hosts.run("nm", "--defined-only", "--extern-only", path.name, cwd=built).split("\n")
        found = {line.split()[-1] for line in symbols if line and " .L" not in line}
        assert found and all(name.startswith("aetool_breast_cancer_") for name in found), found


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("option", ["-ffast-math", "-Ofast", "-ffinite-math-only"])
def test_options_that_make_a_nan_row_normal_are_a_compile_error(built, need, compiler, option):
    need(compiler if compiler == "clang" else "generated C")
    for source in ["check.c", *(path.name for path in built.glob("aetool_*.c"))]:
        command = [compiler, option, "-c", source, "-o", "x.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=built)
        assert done.returncode != 0 and "a row with NAN would count as normal" in done.stderr


def test_the_check_finds_a_build_that_takes_nan_for_normal(cancer_bundle, write, need):
    need("generated C")
    folder = write(c(cancer_bundle, ("detector",)))
    source = folder / "aetool_breast_cancer_detector.c"
    text, call, rest = source.read_text(encoding="utf-8").partition("(bool *)is_anomaly);\n")
    spoilt = text + call + "    if (isnan(score[0])) is_anomaly[0] = false;\n" + rest
    source.write_text(spoilt, encoding="utf-8")
    hosts.run("gcc", "-o", "check", "check.c", *hosts.c_sources(folder), "-lm", cwd=folder)
    done = subprocess.run([folder / "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "3 decisions flipped: FAILED" in done.stdout


FIRMWARE = """cmake_minimum_required(VERSION 3.16)
project(firmware C)
add_compile_options(-Wall -Wextra -Werror)
add_executable(test firmware.c)
add_executable(golden firmware.c)
add_custom_target(check)
add_custom_target(example)
add_subdirectory(one)
add_subdirectory(two)
foreach(program test golden)
  target_link_libraries(${program} PRIVATE aetool_one aetool_two)
endforeach()
get_property(targets DIRECTORY one PROPERTY BUILDSYSTEM_TARGETS)
file(WRITE ${CMAKE_BINARY_DIR}/targets.txt "${targets}")
"""
PROGRAM = """#include "aetool_one.h"
#include "aetool_two.h"
int main(void) {
    static float row[30], score[1];
    static bool one[1], two[1];
    aetool_one_detect(row, score, one);
    aetool_two_detect(row, score, two);
    return one[0] != two[0];
}
"""


def test_two_models_become_part_of_a_firmware_build(named, need, tmp_path):
    need("CMake")
    for name in ("one", "two"):
        shutil.copytree(named(name), tmp_path / name)
    (tmp_path / "CMakeLists.txt").write_text(FIRMWARE, encoding="utf-8")
    (tmp_path / "firmware.c").write_text(PROGRAM, encoding="utf-8")
    hosts.run("cmake", "-S", ".", "-B", "build", cwd=tmp_path)
    hosts.run("cmake", "--build", "build", cwd=tmp_path)
    hosts.run("build/test", cwd=tmp_path)
    assert (tmp_path / "build" / "targets.txt").read_text(encoding="utf-8") == "aetool_one"
    assert "No tests" in subprocess.run(
        ["ctest", "--test-dir", "build"], cwd=tmp_path, capture_output=True, text=True, check=False
    ).stderr  # fmt: skip


LINES = [
    (lambda row: row[:-1], "line 2: 30 numbers expected, found 29"),
    (lambda row: [*row, "1"], "line 2: 30 numbers expected, found 31"),
    (lambda row: [*row[:-1], ""], "line 2: 30 numbers expected, found something else"),
    (lambda row: [*row[:-1], "x"], "line 2: 30 numbers expected, found something else"),
    (lambda row: [*row[:-1], "1a"], "line 2: 30 numbers expected, found something else"),
]


@pytest.fixture(scope="module")
def example(built):
    sources = ["main.c", *hosts.c_sources(built)]
    hosts.run("gcc", *hosts.STRICT_C, "-o", "main", *sources, "-lm", cwd=built)
    return built / "main"


@pytest.mark.parametrize(("change", "message"), LINES)
def test_the_example_names_a_line_that_is_no_row_and_reads_no_further(example, cancer_bundle, change, message):
    row = list(map(str, read_golden(cancer_bundle)["features"][0].tolist()))
    text = "".join(",".join(line) + "\n" for line in (row, change(row), row))
    done = subprocess.run([example], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == message + "\n" and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_example_takes_spaces_empty_lines_and_values_that_are_none(example, cancer_bundle, ends):
    row = list(map(str, read_golden(cancer_bundle)["features"][0].tolist()))
    lines = [", ".join(row), "", "  ".join(row), ",".join(["nan", *row[1:]]), ",".join(["inf", *row[1:]])]
    done = subprocess.run([example], input=ends.join(lines), capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    assert found[0] == found[1] and [is_anomaly for _, is_anomaly in found] == ["0", "0", "1", "1"]


def test_a_graph_that_the_bundle_lacks_is_named(cancer_bundle):
    with pytest.raises(InputError, match=r"has no graph other for C; it has encoder, decoder"):
        c(cancer_bundle, ("other",))


def leaky_relu_as(operator, domain="", **attributes):
    """A change of the detector: its one LeakyRelu is another operator."""

    def replace(model):
        (node,) = (node for node in model.graph.node if node.op_type == "LeakyRelu")
        made = helper.make_node(operator, node.input, node.output, domain=domain, **attributes)
        node.CopyFrom(made)
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 3))

    return replace


def test_an_operator_that_has_no_c_is_named(cancer_bundle):
    change = leaky_relu_as("Normalizer", "ai.onnx.ml", norm="MAX")
    with pytest.raises(ExportError, match=r"no C can be generated for detector: .*Normalizer.*use another target"):
        c(changed(cancer_bundle, "detector", change), ("detector",))


def test_an_attribute_of_text_that_no_operator_takes_is_refused(cancer_bundle):
    change = leaky_relu_as("Gelu", approximate="*/ int x; /*")
    with pytest.raises(
        ExportError, match="detector: no C can be generated: the attribute approximate of an operator"
    ):
        c(changed(cancer_bundle, "detector", change), ("detector",))


def test_the_functions_are_a_detector_and_an_explainer_unless_asked_otherwise(cancer_bundle):
    assert list(c(cancer_bundle).figures) == ["detector", "explainer"]
