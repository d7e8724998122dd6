"""A fitted PyOD detector and its bundle give the same scores and the same verdicts."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

import aetool
from aetool.errors import ExportError
from aetool.export import export_pyod

pytest.importorskip("pyod")


@pytest.fixture(scope="module")
def rows():
    return load_breast_cancer().data


def fitted(kind, rows, **settings):
    if kind == "AutoEncoder":
        from pyod.models.auto_encoder import AutoEncoder

        return AutoEncoder(epoch_num=3, verbose=0, **settings).fit(rows)
    if kind == "VAE":
        from pyod.models.vae import VAE

        return VAE(epoch_num=2, verbose=0, latent_dim=3, **settings).fit(rows)
    from pyod.models.ae1svm import AE1SVM

    return AE1SVM(epochs=2, **settings).fit(rows)


@pytest.mark.parametrize("preprocessing", [True, False])
@pytest.mark.parametrize("kind", ["AutoEncoder", "AE1SVM"])
def test_scores_and_verdicts_equal_those_of_pyod(kind, preprocessing, rows, tmp_path):
    detector = fitted(kind, rows, preprocessing=preprocessing)
    export_pyod(detector, rows, tmp_path / "b")
    model = aetool.load(tmp_path / "b")
    single = rows.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(model.score(single), detector.decision_function(single), rtol=1e-5)
    assert np.array_equal(model.detect(rows), detector.predict(rows).astype(bool))


def test_a_vae_goes_by_the_mean_of_its_embedding(rows, tmp_path):
    import torch

    detector = fitted("VAE", rows)
    export_pyod(detector, rows, tmp_path / "b")
    model = aetool.load(tmp_path / "b")
    z = torch.from_numpy(((rows - detector.X_mean) / (detector.X_std + 1e-8)).astype(np.float32))
    with torch.no_grad():
        mean, _ = detector.model.eval().encode(z)
        y = detector.model.decode(mean)
    np.testing.assert_allclose(model.encode(rows), mean.numpy(), rtol=1e-4, atol=1e-5)
    expected = torch.linalg.vector_norm((z - y).double(), dim=1).numpy()
    np.testing.assert_allclose(model.score(rows), expected, rtol=1e-5)


def test_the_detector_is_left_as_it_was(rows, tmp_path):
    detector = fitted("AutoEncoder", rows)
    detector.model.train()
    export_pyod(detector, rows, tmp_path / "b")
    assert detector.model.training


def test_what_is_not_fitted_or_no_autoencoder_is_refused(rows, tmp_path):
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.knn import KNN

    for detector in (AutoEncoder(verbose=0), KNN().fit(rows), object()):
        with pytest.raises(ExportError, match="AutoEncoder, VAE, AE1SVM"):
            export_pyod(detector, rows, tmp_path / "b")


def test_what_was_read_of_a_detector_exports_as_the_detector(rows, tmp_path):
    from aetool.model import from_pyod

    detector = fitted("AutoEncoder", rows)
    export_pyod(from_pyod(detector), rows, tmp_path / "read")
    export_pyod(detector, rows, tmp_path / "b")
    assert np.array_equal(aetool.load(tmp_path / "read").score(rows), aetool.load(tmp_path / "b").score(rows))
