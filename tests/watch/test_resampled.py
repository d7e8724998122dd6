"""A model of equal distances in time: `watch` makes them as `aetool score` does of the same log."""

import csv
import io
import json
import shutil

import numpy as np
from click.testing import CliRunner
from processes import run_watch
from series_bundles import waves

from aetool.cli import main


def test_samples_at_any_times_become_those_of_the_log(series, tmp_path):
    bundle = shutil.copytree(series, tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["series"] |= {"every": 0.5, "gap": 3.0, "stride": 1}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    random = np.random.default_rng(0)
    times = np.cumsum(random.choice([0.1, 0.3, 1.2, 9.0], 300, p=[0.6, 0.3, 0.08, 0.02])).round(3)
    lines = ["time,machine,c0,c1,c2"]
    for time, sample in zip(times, waves(300, 3), strict=True):
        lines.append(f"{time},{'ab'[int(time) // 20 % 2]},{','.join(map(str, sample))}")
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    done = CliRunner().invoke(main, ["score", str(bundle), str(tmp_path / "log.csv"), "--provider", "native"])
    expected = {group: [] for group in "ab"}
    for row in csv.DictReader(io.StringIO(done.stdout)):
        expected[row["group"]].append(float(row["score"]))
    found, _ = run_watch(bundle, "\n".join(lines) + "\n", "--scores")
    for group, scores in expected.items():
        mine = [each["score"] for each in found if each["kind"] == "score" and each["group"] == group]
        assert len(scores) > 20 and len(scores) - len(mine) <= 1  # the last interval is not over yet
        np.testing.assert_allclose(mine, scores[: len(mine)], rtol=1e-5)
