"""The recipe of docs/spark.md, on a Spark of this machine."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "spark.md"


def recipe():
    """What the page's code defines."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    found: dict = {}
    exec(compile(code, PAGE.name, "exec"), found)
    return found


def test_its_scores_are_those_of_the_bundle(bundle, model, rows, as_table, monkeypatch):
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    values = rows(500)
    spark = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        frame = spark.createDataFrame(as_table(values).to_pandas())
        found = recipe()["add_scores"](frame, str(bundle)).select("id", "score").toPandas().sort_values("id")
    finally:
        spark.stop()
    assert np.allclose(found["score"], model.score(values), rtol=1e-5)
