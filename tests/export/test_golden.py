"""golden.npz holds what the weights say in float64, computed here by hand."""

from pathlib import Path

import numpy as np

from aetool.bundle.bundle import Bundle
from aetool.model import TrainedAutoencoder


def squares_to_prototypes(trained: TrainedAutoencoder, z: np.ndarray) -> np.ndarray:
    assert trained.prototypes is not None
    rows, weight = trained.prototypes
    apart = (z[:, None] - rows.astype(np.float64)) ** 2
    found: np.ndarray = weight * apart[np.arange(len(z)), apart.sum(axis=2).argmin(axis=1)]
    return found


def test_golden_outputs_by_hand(trained: TrainedAutoencoder, bundle: Path) -> None:
    golden = dict(np.load(bundle / "golden.npz", allow_pickle=False))
    weights = {name: value.double().numpy() for name, value in trained.network.state_dict().items()}
    mean, scale = (np.float64(part) for part in (trained.statistics.mean, trained.statistics.scale))

    z = (golden["features"].astype(np.float64) - mean) / scale
    hidden = z @ weights["encoder.0.weight"].T + weights["encoder.0.bias"]
    embedding = np.where(hidden > 0, hidden, 0.01 * hidden)
    y = embedding @ weights["decoder.0.weight"].T + weights["decoder.0.bias"]
    score = ((z - y) ** 2 + squares_to_prototypes(trained, z)).mean(axis=1)

    assert golden["features"].dtype == np.float32
    assert golden["embedding"].dtype == golden["reconstruction"].dtype == golden["score"].dtype == np.float64
    np.testing.assert_allclose(golden["embedding"], embedding, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(golden["reconstruction"], y * scale + mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(golden["score"], score, rtol=1e-10)
    threshold = Bundle.open(bundle).manifest.threshold["value"]
    np.testing.assert_array_equal(golden["is_anomaly"], score > threshold)


def test_golden_rows_are_real_and_of_both_verdicts(trained: TrainedAutoencoder, bundle: Path) -> None:
    golden = dict(np.load(bundle / "golden.npz", allow_pickle=False))
    np.testing.assert_array_equal(golden["features"], trained.held_out.features)
    assert 0 < golden["is_anomaly"].sum() < len(golden["is_anomaly"])


def test_statistics_scale_to_zero_mean_and_unit_spread(trained: TrainedAutoencoder) -> None:
    # Held-out rows, whose scaling was learnt from others: near, not at, 0 and 1.
    z = (trained.held_out.features - trained.statistics.mean) / trained.statistics.scale
    assert np.abs(np.median(z, axis=0)).max() < 2
    assert 0.3 < z.std() < 5
