"""A fitted PyOD detector and its bundle give the same scores and the same verdicts."""

import numpy as np
import pytest
import torch

import aetool
from aetool.errors import ExportError, InputError, VerificationError
from aetool.export import ExportOptions, export_pyod
from aetool.export.threshold import keep_decisions
from aetool.model.foreign import pyod as reading

pytest.importorskip("pyod")


def made(count=150, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 5)) @ rng.normal(size=(5, 5))


ROWS = made()
ROWS_OF = {
    "plain": ROWS,
    "far from zero": ROWS + 1e5,
    "with a constant column": np.where(np.arange(5) == 3, 7.7, ROWS),  # 7.7 is no float32
    "integers": (ROWS * 100).astype(np.int16),
}


def autoencoder(rows=ROWS, **settings):
    from pyod.models.auto_encoder import AutoEncoder

    settings = {"hidden_neuron_list": [8, 3], "epoch_num": 1, "batch_size": 64, "verbose": 0} | settings
    return AutoEncoder(**settings).fit(rows)


def ae1svm(rows=ROWS, **settings):
    from pyod.models.ae1svm import AE1SVM

    return AE1SVM(hidden_neurons=[8, 3], epochs=1, batch_size=64, **settings).fit(rows)


def exported(detector, rows, path, **options):
    return aetool.load(export_pyod(detector, rows, path, options=ExportOptions(**options)).bundle.path)


CASES = {
    "AutoEncoder": (autoencoder, "plain", {}),
    "AutoEncoder with a constant column": (autoencoder, "with a constant column", {}),
    "AutoEncoder of integers as they are": (autoencoder, "integers", {"preprocessing": False}),
    "AutoEncoder of one layer, no batch norm": (
        autoencoder,
        "plain",
        {"hidden_neuron_list": [2], "batch_norm": False, "contamination": 0.33},
    ),
    "AE1SVM": (ae1svm, "plain", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_scores_and_verdicts_equal_those_of_pyod(case, tmp_path):
    fit, rows, settings = CASES[case]
    rows = ROWS_OF[rows]
    detector = fit(rows, **settings)
    model = exported(detector, rows, tmp_path / "b")
    np.testing.assert_allclose(model.score(rows), detector.decision_function(rows), rtol=1e-5)
    assert np.array_equal(model.detect(rows), detector.predict(rows).astype(bool))
    assert model.manifest.threshold["contamination"] == detector.contamination


def test_far_from_zero_scores_equal_those_of_the_rows_as_float32_holds_them(tmp_path):
    rows = ROWS_OF["far from zero"]
    detector = autoencoder(rows)
    model = exported(detector, rows, tmp_path / "b")
    held = rows.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(model.score(rows), detector.decision_function(held), rtol=1e-5)


def test_a_vae_goes_by_the_mean_of_its_embedding(tmp_path):
    detector = vae()
    model = exported(detector, ROWS, tmp_path / "b")
    z = torch.from_numpy(((ROWS - detector.X_mean) / (detector.X_std + 1e-8)).astype(np.float32))
    with torch.no_grad():
        mean, _ = detector.model.eval().encode(z)
        y = detector.model.decode(mean)
    np.testing.assert_allclose(model.encode(ROWS), mean.numpy(), rtol=1e-4, atol=1e-5)
    expected = torch.linalg.vector_norm((z - y).double(), dim=1).numpy()
    np.testing.assert_allclose(model.score(ROWS), expected, rtol=1e-5)


def vae(rows=ROWS, **settings):
    from pyod.models.vae import VAE

    settings = {"epoch_num": 1, "batch_size": 64, "verbose": 0, "latent_dim": 3} | settings
    return VAE(encoder_neuron_list=[8], decoder_neuron_list=[8], **settings).fit(rows)


@pytest.mark.parametrize(("count", "contamination"), [(60, 0.1), (150, 0.05), (150, 0.5)])
def test_the_threshold_is_the_float32_nearest_to_that_of_the_detector(count, contamination, tmp_path):
    """Not the middle of the gap that it lies in, which is wide where the rows are few."""
    rows = made(count)
    detector = autoencoder(rows, contamination=contamination, batch_size=16)
    model = exported(detector, rows, tmp_path / "b")
    assert model.threshold == float(np.float32(detector.threshold_))
    fresh = made(2000, seed=5)
    assert np.array_equal(model.detect(fresh), detector.predict(fresh).astype(bool))


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        ([1, 2, 3, 4], 2.5, 2.5),
        ([1, 2, 3, 4], 2.0, 2.0 * (1 + 1e-5)),  # a row at the threshold is normal, rounded or not
        ([1, 2, 3, 4], 3 - 1e-9, 3 * (1 - 1e-5)),
        ([1, 2, 2 + 1e-6, 4], 2.0, 2 + 5e-7),  # no room for a margin: the middle
        ([1, 2], 2.0, 2.0 * (1 + 1e-5)),
        ([1, 2], 7.7, 7.7),
        ([1, 2], 0.25, 0.25),
    ],
)
def test_a_threshold_moves_only_where_a_score_touches_it(scores, threshold, expected):
    found = keep_decisions(np.array(scores, float), threshold)
    assert found == float(np.float32(expected))


def test_a_vae_has_the_threshold_that_its_own_rule_makes_of_the_scores_of_the_bundle(tmp_path):
    detector = vae(contamination=0.2)
    model = exported(detector, ROWS, tmp_path / "b")
    scores = model.score(ROWS).astype(np.float64)
    assert model.threshold == pytest.approx(np.percentile(scores, 80), rel=1e-5)
    assert model.detect(ROWS).sum() == 30
    card = (tmp_path / "b" / "README.md").read_text()
    assert (
        "0.8 quantile of the given rows; VAE samples its scores and threshold_, flags 20.00% of 150 rows" in card
    )


def test_a_threshold_that_was_not_made_of_a_contamination_is_kept(tmp_path):
    """As PyThresh makes it."""
    detector = autoencoder()
    detector.contamination, detector.threshold_ = object(), 2.25
    model = exported(detector, ROWS, tmp_path / "b")
    assert (model.threshold, "contamination" in model.manifest.threshold) == (2.25, False)


def test_a_detector_of_another_library_is_refused_with_the_way_to_export_its_network(tmp_path):
    class Deep:
        net = torch.nn.Linear(5, 5)

    with pytest.raises(ExportError, match=r"export_module\(detector.net"):
        export_pyod(Deep(), ROWS, tmp_path / "b")


def test_the_detector_is_left_as_it_was(tmp_path):
    detector = autoencoder()
    detector.model.train()
    modes = [part.training for part in detector.model.modules()]
    before = {name: value.clone() for name, value in detector.model.state_dict().items()}
    model = exported(detector, ROWS, tmp_path / "b", threshold=2.5)
    assert model.threshold == 2.5  # stands above the detector's
    assert [part.training for part in detector.model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in detector.model.state_dict().items())


def test_a_detector_that_is_read_wrongly_is_not_published(tmp_path, monkeypatch):
    """As when a later PyOD standardises otherwise."""
    detector = autoencoder()
    read = reading._standardisation
    monkeypatch.setattr(reading, "_standardisation", lambda given: (read(given)[0], read(given)[1] * 1.01))
    with pytest.raises(VerificationError, match=r"decision_function gives .* the exported model"):
        export_pyod(detector, ROWS, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_width_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected shape \(rows, 5\), found \(150, 4\)"):
        export_pyod(autoencoder(), ROWS[:, :4], tmp_path / "b")


def test_what_is_not_fitted_or_no_autoencoder_is_refused(tmp_path):
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.knn import KNN

    for detector in (AutoEncoder(verbose=0), KNN().fit(ROWS), object()):
        with pytest.raises(ExportError, match="AutoEncoder, VAE, AE1SVM"):
            export_pyod(detector, ROWS, tmp_path / "b")
