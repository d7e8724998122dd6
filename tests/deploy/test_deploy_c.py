"""The generated C: what compiles, what it answers, what it needs, what is refused."""

import shutil
import subprocess

import hosts
import numpy as np
import onnx
import pytest
from onnx import helper

import aetool
from aetool.bundle import Bundle
from aetool.deploy.c import VERBS, c
from aetool.errors import ExportError, InputError
from aetool.manifest import Feature
from aetool.segments import add_segments
from aetool.selftest import read_golden


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

    folder = write(c(changed(cancer_bundle, "detector", spoil)))
    sources = ["check.c", "breast_cancer_detector.c"]
    hosts.run("gcc", *hosts.STRICT_C, "-o", "check", *sources, "-lm", cwd=folder)
    done = subprocess.run([folder / "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "FAILED" in done.stdout


def test_the_example_scores_rows_of_text(cancer_bundle, built):
    sources = ["main.c", "breast_cancer_detector.o"]
    hosts.run("gcc", *hosts.STRICT_C, "-o", "main", *sources, "-lm", cwd=built)
    golden = read_golden(cancer_bundle)
    text = "".join(",".join(map(repr, map(float, row))) + "\n" for row in golden["features"][:5])
    done = subprocess.run([built / "main"], input=text, capture_output=True, text=True, check=True)
    scores = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert scores == pytest.approx(golden["score"][:5], rel=1e-4)


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
    assert found["stack"] <= 1.1 * told["largest_live_bytes"]
    assert told["largest_live_bytes"] <= told["activations_bytes"] <= 1.1 * told["largest_live_bytes"]


def test_names_that_people_wrote_cannot_become_code(cancer_bundle, write, need):
    need("generated C")
    names = ["*/ int x[", "??/", "a\nb", "\\", "größe"]
    features = tuple(
        Feature(names[i] if i < len(names) else feature.name)
        for i, feature in enumerate(cancer_bundle.manifest.features)
    )

    def rename(model):
        model.doc_string = model.graph.doc_string = "*/ #error"
        model.metadata_props.add(key="feature_names", value="*/ #error")

    folder = write(c(changed(cancer_bundle, "detector", rename, features=features, name="*/ 1; größe")))
    assert (folder / "model_1_gr_e.h").exists()
    hosts.run("gcc", *hosts.STRICT_C, "-c", "model_1_gr_e_detector.c", "check.c", "main.c", cwd=folder)


def test_a_graph_that_the_bundle_lacks_is_named(cancer_bundle):
    with pytest.raises(InputError, match=r"has no graph other for C; it has encoder, decoder"):
        c(cancer_bundle, ("other",))


def test_an_operator_that_has_no_c_is_named(cancer_bundle):
    def replace(model):
        model.opset_import.append(helper.make_opsetid("other", 1))
        model.graph.node[0].op_type, model.graph.node[0].domain = "Sing", "other"

    with pytest.raises(ExportError, match=r"no C can be generated for detector: .*Sing.*use another target"):
        c(changed(cancer_bundle, "detector", replace))
