"""`--shadow`: a challenger scores the same rows, and only /metrics shows it."""

import re
import subprocess
import sys
import time

import numpy as np
import pytest

from aetool.decisions import Goal, calibrate
from aetool.serve._metrics import Metrics
from aetool.serve._shadow import Shadow


@pytest.fixture(scope="module")
def challenger(exported, tmp_path_factory):
    """The same model with a lower threshold."""
    path = tmp_path_factory.mktemp("shadow") / "challenger"
    calibrate(exported, goal=Goal(threshold=0.1), output=path)
    return path


def figures(page):
    return {name: float(value) for name, value in re.findall(r"^(aetool_shadow_\S+) (\S+)$", page.decode(), re.M)}


def test_disagreements_are_counted_and_answers_are_those_of_the_champion(
    start, exported, challenger, model, rows, infer_body
):
    with start(f"cancer={exported}", "--shadow", challenger) as server:
        for _ in range(3):
            _, _, document = server.call("POST", "/v2/models/cancer/infer", infer_body(rows))
            found = next(each["data"] for each in document["outputs"] if each["name"] == "is_anomaly")
            assert found == model.detect(rows).tolist()
        names = {"bundle": "cancer"}
        wanted = f'aetool_shadow_rows_total{{bundle="{names["bundle"]}"}}'
        deadline = time.monotonic() + 30
        while (seen := figures(server.call("GET", "/metrics")[2])).get(wanted) != 3 * len(rows):
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)
    score = model.score(rows)
    between = int(np.sum((score > np.float32(0.1)) & (score <= model.threshold)))
    assert between > 5
    assert seen['aetool_shadow_disagreements_total{bundle="cancer",shadow="anomaly"}'] == 3 * between
    assert seen['aetool_shadow_disagreements_total{bundle="cancer",shadow="normal"}'] == 0
    assert seen['aetool_shadow_shed_rows_total{bundle="cancer"}'] == 0


class Opened:
    """What Shadow needs of a Ready, without a server."""

    def __init__(self, model):
        self.session = self.inline = model


class Slow:
    """An executor that computes nothing yet."""

    def __init__(self):
        self.work = []

    def submit(self, function, *arguments):
        self.work.append((function, arguments))


def test_the_shadow_is_left_out_under_load_and_goes_on_afterwards(model, rows):
    metrics, executor = Metrics(), Slow()
    shadow = Shadow("cancer", Opened(model), executor, metrics)
    busy = False
    run = shadow.watching(lambda data: model.run("detector", data), Opened(model), lambda: busy)
    run(rows)
    busy = True
    run(rows)
    busy = False
    many = np.resize(rows, (8192 - len(rows) + 1, rows.shape[1]))
    run(many)
    assert len(executor.work) == 1
    assert figures(metrics.page())['aetool_shadow_shed_rows_total{bundle="cancer"}'] == len(rows) + len(many)
    function, arguments = executor.work[0]
    function(*arguments)
    run(many)
    assert len(executor.work) == 2
    assert figures(metrics.page())['aetool_shadow_rows_total{bundle="cancer"}'] == len(rows)


def test_a_shadow_that_fails_leaves_the_champion_alone(model, rows, capsys):
    class Broken:
        manifest = model.manifest

        def run(self, *_):
            raise RuntimeError("broken")

    executor, metrics = Slow(), Metrics()
    shadow = Shadow("cancer", Opened(Broken()), executor, metrics)
    run = shadow.watching(lambda data: model.run("detector", data), Opened(model), lambda: False)
    assert np.array_equal(run(rows)["is_anomaly"], model.detect(rows))
    function, arguments = executor.work[0]
    function(*arguments)
    assert figures(metrics.page())['aetool_shadow_rows_total{bundle="cancer"}'] == 0


def test_a_shadow_needs_the_name_of_a_served_bundle(exported, challenger):
    given = ["serve", f"a={exported}", f"b={exported}", "--shadow", str(challenger)]
    run = subprocess.run([sys.executable, "-m", "aetool", *given], capture_output=True, text=True, check=False)
    assert run.returncode == 2 and "NAME=BUNDLE, with a served name: a, b" in run.stderr
