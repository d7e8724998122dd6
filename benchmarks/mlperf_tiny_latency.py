"""MLPerf Tiny's autoencoder by its single-stream rules: 10 warm-ups, 5 windows of 10 s or more, the median.

    python benchmarks/mlperf_tiny_latency.py

The figure of a window is its inferences per second, and of a run the median of its windows (MLPerf Tiny, arXiv
2106.07597, section 4.4). The model is the benchmark's, the machine is not one of its microcontrollers. A row is
reconstructed, as the benchmark's model does; bare onnxruntime takes its windows in turn.
"""

import statistics
import tempfile
from pathlib import Path

import numpy as np
from common import parser, save
from competing import contestants_on
from models import make

from aetool.bench.agreement import require_agreement
from aetool.bench.contestants import Load, opened, wait_until_idle

WARM_UPS, WINDOWS, WINDOW_S = 10, 5, 10.0


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--window", type=float, default=WINDOW_S, help="seconds")
    options = arguments.parse_args()
    windows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = make("tiny", Path(folder))
        np.save(rows := Path(folder) / "rows.npy", model.rows)
        with opened(contestants_on(model, "reconstruct", ["raw-onnxruntime"])) as running:
            for one in running:
                one.load()
                one.take(rows)
            require_agreement(running, graph="reconstruct", features=model.rows)
            for window in range(WINDOWS):
                for one in running:
                    wait_until_idle(running)
                    one.warm(Load(seconds=0.0, calls=WARM_UPS))
                    turn = one.turn(Load(seconds=options.window), seed=window)
                    windows.setdefault(one.name, []).append(turn.rows_per_s)
    medians = {name: statistics.median(found) for name, found in windows.items()}
    for name, found in medians.items():
        print(f"{name:16} {found:,.0f} inferences/s, {1e6 / found:.1f} us each")
    ratio = medians["raw-onnxruntime"] / medians["aetool"]
    print(f"time ratio {ratio:.3f}")
    save(
        "mlperf_tiny_latency",
        vars(options),
        {"inferences_per_s": medians, "windows": windows, "time_ratio": ratio},
    )


if __name__ == "__main__":
    main()
