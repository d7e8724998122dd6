"""Segments: those of scikit-learn on every row, in a bundle that stays sound."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_info

import aetool
from aetool import segments
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import sha256
from aetool.bundle.golden import read_golden
from aetool.checks.verify import verify_bundle, verify_rows
from aetool.errors import BundleError, InputError, OutputError, VerificationError
from aetool.export import ModuleOptions, export_module
from aetool.segments import _adding as adding
from aetool.segments import _clustering as clustering
from aetool.segments import _graph as graph
from aetool.segments import add_segments


def fitted(embedding, clusters, seed=0):
    """The same segments, by scikit-learn alone: (rows, ...) -> KMeans and z in float64."""
    z = embedding.reshape(len(embedding), -1).astype(np.float64)
    z = np.clip((z - z.mean(axis=0)) / z.std(axis=0), -3, 3)
    return KMeans(clusters, n_init=10, random_state=seed).fit(z), z


def test_the_groups_are_found_the_largest_first(segmented, groups):
    found = aetool.load(segmented.bundle.path).segment(groups[0])
    assert adjusted_rand_score(groups[1], found) > 0.95
    assert np.bincount(found)[0] == np.bincount(found).max()
    assert [entry["rows"] for entry in segmented.bundle.manifest.segments["segments"]] == np.bincount(
        found
    ).tolist()


def test_every_row_is_where_scikit_learn_puts_it(segmented, groups):
    model = aetool.load(segmented.bundle.path)
    means, z = fitted(model.encode(groups[0]), 3)
    order = np.argsort(-np.bincount(means.labels_), kind="stable")
    found = model.run("segmenter", groups[0])
    np.testing.assert_array_equal(order[found["segment"]], means.predict(z))
    np.testing.assert_allclose(found["distance"], means.transform(z)[:, order], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found["distance"].argmin(axis=1), found["segment"])
    assert found["segment"].dtype == np.int64 and found["distance"].shape == (300, 3)
    assert all(record.passed and not record.flipped for record in segmented.parity)


def test_one_row_many_rows_and_an_array_of_ones_own(segmented, groups):
    model = aetool.load(segmented.bundle.path)
    whole = model.segment(groups[0])
    assert [int(model.segment(row)) for row in groups[0][:5]] == whole[:5].tolist()
    np.testing.assert_array_equal(model.segment(np.tile(groups[0], (50, 1))), np.tile(whole, 50))
    out = np.empty(300, np.int64)
    assert model.segment(groups[0], out=out) is out
    np.testing.assert_array_equal(out, whole)


def test_a_row_that_is_no_number_is_in_no_segment(segmented, groups):
    rows = groups[0][:6].copy()
    rows[1, 0], rows[2, 1], rows[3, 2] = np.nan, np.inf, -np.inf
    found = aetool.load(segmented.bundle.path).run("segmenter", rows)
    assert (found["segment"] == -1).tolist() == [False, True, True, True, False, False]
    assert np.isnan(found["distance"][1:4]).all() and np.isfinite(found["distance"][[0, 4, 5]]).all()


def test_rows_without_a_number_are_left_out_of_learning(plain, groups):
    rows = np.concatenate([groups[0], np.full((7, 4), np.nan, np.float32)])
    made = add_segments(plain, rows, clusters=3).bundle.manifest.segments
    assert (made["rows"], made["rows_without_segment"]) == (307, 7)
    assert sum(entry["rows"] for entry in made["segments"]) == 300


def test_auto_finds_as_many_as_there_are(plain, groups):
    made = add_segments(plain, groups[0]).bundle.manifest.segments
    assert made["clusters"] == 3
    assert max(made["silhouettes"], key=made["silhouettes"].get) == "3" and len(made["silhouettes"]) == 9
    assert made["stability"]["adjusted_rand_index"] > 0.9


def test_the_same_seed_gives_the_same_bytes(grouped_bundle, groups, tmp_path):
    for name in "ab":
        shutil.copytree(grouped_bundle, tmp_path / name)
        add_segments(tmp_path / name, groups[0], clusters=3, seed=4)
    first, second = (Bundle.open_whole(tmp_path / name).manifest for name in "ab")
    assert first == second


def test_all_else_in_the_bundle_stays_and_verifies(segmented, grouped_bundle, groups):
    before, after = Bundle.open_whole(grouped_bundle), Bundle.open_whole(segmented.bundle.path)
    assert set(after.manifest.files) - set(before.manifest.files) == {"segmenter.onnx"}
    for name in set(before.manifest.files) - {"golden.npz", "bom.cdx.json"}:
        assert after.read(name) == before.read(name)
    same = {"variants": None, "files": None, "segments": None}
    assert after.manifest._replace(**same) == before.manifest._replace(**same)
    records = verify_bundle(segmented.bundle.path) + verify_rows(segmented.bundle.path, groups[0])
    assert all(record.passed for record in records)
    assert {record.output for record in records if record.graph == "segmenter"} == {"segment", "distance"}


def test_the_graph_stands_alone_and_knows_its_bundle(segmented, groups):
    path = segmented.bundle.path / "segmenter.onnx"
    stated = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert stated["bundle"] == segmented.bundle.manifest.id
    assert (stated["graph"], stated["segments"]) == ("segmenter", "3")
    alone = onnxruntime.InferenceSession(path).run(["segment"], {"features": groups[0]})[0]
    np.testing.assert_array_equal(alone, aetool.load(segmented.bundle.path).segment(groups[0]))


def test_verify_finds_a_centre_that_was_moved(segmented, tmp_path, groups):
    path = shutil.copytree(segmented.bundle.path, tmp_path / "moved")
    model = onnx.load(path / "segmenter.onnx")
    centres = next(t for t in model.graph.initializer if t.name == "segments/squared centres")
    centres.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(centres)[::-1] * 3, centres.name))
    content = model.SerializeToString()
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["segmenter.onnx"] = {"sha256": sha256(content), "size": len(content)}
    (path / "segmenter.onnx").write_bytes(content)
    (path / "manifest.json").write_text(json.dumps(manifest))
    failed = {record.output for record in verify_bundle(path) if not record.passed}
    assert failed == {"segment", "distance"}


@pytest.mark.parametrize("name", ["segment", "distance"])
@pytest.mark.parametrize("values", [None, np.zeros(300), np.zeros((2, 2))])
def test_golden_vectors_without_segments_are_refused(segmented, tmp_path, name, values):
    path = shutil.copytree(segmented.bundle.path, tmp_path / "broken")
    golden = read_golden(Bundle.open(path))
    del golden[name]
    np.savez(path / "golden.npz", **golden, **({} if values is None else {name: values}))
    content = (path / "golden.npz").read_bytes()
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = {"sha256": sha256(content), "size": len(content)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=name):
        verify_bundle(path)


def test_a_graph_that_differs_is_not_published(plain, groups, monkeypatch):
    def wrong(encoder, made):
        return graph.segmenter(encoder, dataclasses.replace(made, mean=made.mean + 2 * made.scale))

    before = Bundle.open_whole(plain).manifest
    monkeypatch.setattr(adding, "segmenter", wrong)
    with pytest.raises(VerificationError, match=r"does not give what scikit-learn does.*nothing was changed"):
        add_segments(plain, groups[0], clusters=3)
    assert Bundle.open_whole(plain).manifest == before


def test_segments_are_replaced_only_when_asked(segmented, groups, tmp_path):
    path = shutil.copytree(segmented.bundle.path, tmp_path / "again")
    with pytest.raises(OutputError, match="has segments already; pass --overwrite"):
        add_segments(path, groups[0], clusters=4)
    made = add_segments(path, groups[0], clusters=4, overwrite=True)
    assert aetool.load(path).run("segmenter", groups[0])["distance"].shape == (300, 4)
    assert all(record.passed for record in verify_bundle(path)) and made.bundle.manifest.segments["clusters"] == 4


@pytest.mark.parametrize(
    ("rows", "clusters", "message"),
    [
        (slice(0, 300), 1, "expected 2 to 1,000, or auto, found 1"),
        (slice(0, 300), 5000, "expected 2 to 1,000"),
        (slice(0, 3), 3, "3 segments need more than 3 different embeddings, found 3"),
        (slice(0, 0), None, "2 segments need more than 2 different embeddings, found 0"),
        ([0] * 50, None, "found 1"),
    ],
)
def test_what_cannot_be_segmented_is_refused(plain, groups, rows, clusters, message):
    with pytest.raises(InputError, match=message):
        add_segments(plain, groups[0][rows], clusters=clusters)


def test_another_precision_gets_its_own(plain, groups):
    """Made of its own encoder, which lies in its own folder."""
    bundle = Bundle.open(plain)
    content = json.loads((plain / "manifest.json").read_text())
    (plain / "half").mkdir()
    variant = json.loads(json.dumps(content["variants"]["fp32"]))
    for name, file in variant["files"].items():
        (plain / "half" / file).write_bytes(bundle.read(file))
        content["files"][f"half/{file}"] = content["files"][file]
        variant["files"][name] = f"half/{file}"
    content["variants"]["half"] = variant
    (plain / "manifest.json").write_text(json.dumps(content))
    made = add_segments(plain, groups[0], clusters=3).bundle.manifest
    assert made.variants["half"].files["segmenter"] == "half/segmenter.onnx"
    assert made.segments["same_as_fp32"] == {"fp32": 1.0, "half": 1.0}
    found = aetool.load(plain, precision="half").segment(groups[0])
    np.testing.assert_array_equal(found, aetool.load(plain).segment(groups[0]))


class Convolutional:
    """Made where torch is imported anyway."""

    def __new__(cls):
        from torch import nn

        class Images(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = nn.Conv2d(1, 3, 3, stride=2, padding=1)
                self.decoder = nn.ConvTranspose2d(3, 1, 2, stride=2)

            def forward(self, x):
                return self.decoder(self.encoder(x))

        return Images()


def test_images_have_segments_without_traits(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 1, 8, 8)).astype(np.float32)
    rows[40:] += 3
    export_module(Convolutional(), tmp_path / "images", rows=rows)
    made = add_segments(tmp_path / "images", rows, clusters=2).bundle.manifest.segments
    assert [entry["traits"] for entry in made["segments"]] == [[], []]
    found = aetool.load(tmp_path / "images").segment(rows)
    assert adjusted_rand_score(np.arange(80) < 40, found) > 0.9


def test_a_model_without_an_embedding_is_refused(tmp_path):
    from torch import nn

    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    export_module(nn.Linear(4, 4), tmp_path / "none", rows=rows, reading=ModuleOptions())
    with pytest.raises(InputError, match="gives no embedding"):
        add_segments(tmp_path / "none", rows)


def test_no_pytorch_is_needed(segmented, groups, tmp_path):
    path = shutil.copytree(segmented.bundle.path, tmp_path / "bundle")
    np.save(tmp_path / "rows.npy", groups[0])
    code = (
        "import sys\nimport numpy as np\nfrom aetool.segments import add_segments\n"
        f"add_segments({str(path)!r}, np.load({str(tmp_path / 'rows.npy')!r}), clusters=2, overwrite=True)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_gives_what_it_names():
    assert all(hasattr(segments, name) for name in segments.__all__)
    assert clustering.LIMIT == 3


def test_k_means_runs_on_one_thread_and_gives_the_others_back(monkeypatch):
    def threads():
        return {
            pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"
        }

    class Watched(KMeans):
        def fit(self, *given):
            seen.update(threads().values())
            return super().fit(*given)

    seen, before = set(), threads()
    monkeypatch.setattr(clustering, "KMeans", Watched)
    clustering.fit(np.random.default_rng(0).normal(size=(100, 4)), 3, 0)
    assert seen == {1}
    assert threads() == before


def test_segments_are_learnt_from_columns_by_name_as_from_their_rows(plain, segmented, groups):
    columns = {"id": ["a"] * 300, **{f"c{i}": groups[0][:, i] for i in (2, 0, 3, 1)}}
    made = add_segments(plain, columns, clusters=3, source="groups.csv").bundle.manifest
    assert made.segments == segmented.bundle.manifest.segments
