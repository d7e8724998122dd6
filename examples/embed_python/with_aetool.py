"""An app that scores a CSV file: aetool, onnxruntime and numpy are all it needs.

python examples/embed_python/with_aetool.py ROWS.csv
"""

import csv
import sys
from pathlib import Path

import aetool

BUNDLE = Path(__file__).parents[2] / "exported" / "breast-cancer"


def main(path: str) -> None:
    """Print row number, score and verdict of every row."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with aetool.load(BUNDLE) as model:
        names = model.manifest.feature_names
        columns = {name: [float(row[name]) for row in rows] for name in names}  # matched by name, raw units
        for i, (score, is_anomaly) in enumerate(zip(model.score(columns), model.detect(columns), strict=True), 1):
            print(i, f"{score:.6g}", "anomaly" if is_anomaly else "normal")


if __name__ == "__main__":
    main(sys.argv[1])
