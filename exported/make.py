"""Make the bundle and the table beside this file: the README's runtime example, and what the tests run.

    python exported/make.py

scikit-learn's breast-cancer table (UCI Breast Cancer Wisconsin, diagnostic): learnt from the first half of
the benign tumours; `samples.csv` holds rows that were not learnt from, with the diagnosis in `malignant`.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

from aetool import model
from aetool.export import ExportOptions, export_checkpoint
from aetool.tables import table_from_columns, write_table

FOLDER = Path(__file__).parent


def main() -> None:
    data = load_breast_cancer()
    malignant = data.target == 0
    benign = np.flatnonzero(~malignant)
    learn = benign[: len(benign) // 2]
    columns = dict(zip(map(str, data.feature_names), data.data.T, strict=True))
    # Labelled malignant rows are not learnt from; they become golden vectors, so that both verdicts occur.
    rows = np.concatenate([learn, np.flatnonzero(malignant)[-40:]])
    given = {name: column[rows] for name, column in columns.items()} | {"malignant": malignant[rows]}
    table = table_from_columns(given, label="malignant", source="breast-cancer")
    trained = model.train(table)
    export_checkpoint(trained, FOLDER / "breast-cancer", ExportOptions(overwrite=True))
    shown = np.concatenate([benign[-60:], np.flatnonzero(malignant)[:40]])
    samples = {"id": shown, **{name: column[shown] for name, column in columns.items()}}
    samples["malignant"] = malignant[shown].astype(np.int64)
    write_table(FOLDER / "samples.csv", samples, overwrite=True)


if __name__ == "__main__":
    main()
