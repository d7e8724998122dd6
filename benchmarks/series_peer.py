"""A PyOD detector of series on an NPZ file with `train` and `test`; run by series.py, in PyOD's own environment.

python series_peer.py DETECTOR IN.npz OUT.npy      OUT: one score a row of `test`
"""

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from pyod.models.ts_anomaly_transformer import AnomalyTransformer
from pyod.models.ts_kshape import KShape
from pyod.models.ts_lstm import LSTMAD
from pyod.models.ts_matrix_profile import MatrixProfile
from pyod.models.ts_od import TimeSeriesOD
from pyod.models.ts_sand import SAND
from pyod.models.ts_spectral_residual import SpectralResidual

DETECTORS: dict[str, Any] = {
    "LSTMAD": LSTMAD,
    "AnomalyTransformer": AnomalyTransformer,
    "SpectralResidual": SpectralResidual,
    "KShape": KShape,
    "MatrixProfile": MatrixProfile,
    "SAND": SAND,
}
"""All others are detectors of tables, on windows."""


def main() -> None:
    name, source, target = sys.argv[1:]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    np.random.seed(0)
    with np.load(source) as archive:
        train, test = archive["train"], archive["test"]
    detector = DETECTORS[name]() if name in DETECTORS else TimeSeriesOD(name.removeprefix("TimeSeriesOD "))
    begin = time.process_time()
    transductive = name in ("MatrixProfile", "SAND")  # those score what they were fitted on
    detector.fit(test if transductive else train)
    seconds = time.process_time() - begin
    begin = time.process_time()
    scores = detector.decision_scores_ if transductive else detector.decision_function(test)
    np.save(target, np.asarray(scores, np.float64))
    print(json.dumps({"train_s": seconds, "score_s": time.process_time() - begin}))


if __name__ == "__main__":
    main()
