"""A fitted PyOD detector and its bundle give the same scores and the same verdicts."""

import numpy as np
import pytest
import torch

import aetool
from aetool.errors import ExportError, InputError, VerificationError
from aetool.export import ExportOptions, export_pyod
from aetool.model import pyod_detector as reading

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
    from pyod.models.vae import VAE

    detector = VAE(
        encoder_neuron_list=[8], decoder_neuron_list=[8], latent_dim=3, epoch_num=1, batch_size=64, verbose=0
    ).fit(ROWS)
    model = exported(detector, ROWS, tmp_path / "b")
    z = torch.from_numpy(((ROWS - detector.X_mean) / (detector.X_std + 1e-8)).astype(np.float32))
    with torch.no_grad():
        mean, _ = detector.model.eval().encode(z)
        y = detector.model.decode(mean)
    np.testing.assert_allclose(model.encode(ROWS), mean.numpy(), rtol=1e-4, atol=1e-5)
    expected = torch.linalg.vector_norm((z - y).double(), dim=1).numpy()
    np.testing.assert_allclose(model.score(ROWS), expected, rtol=1e-5)


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
    with pytest.raises(VerificationError, match=r"decision_function gives .* what was read of it"):
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
