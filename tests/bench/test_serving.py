"""A running server measured from outside: the search for the highest rate, and what is refused."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from aetool.bench import serving
from aetool.bench._http_load import address_of
from aetool.bench.result import Latency, document_of
from aetool.bench.serving import LoadTrial, ServingPlan, highest_rate, measure
from aetool.cli import main
from aetool.errors import BenchmarkError, InputError

EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"


@pytest.fixture(scope="module")
def url():
    process = subprocess.Popen(
        [sys.executable, "-m", "aetool", "serve", f"cancer={EXPORTED}", "--port", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with contextlib.closing(process.stderr):
        yield json.loads(process.stderr.readline())["url"]
        process.terminate()
        process.wait(timeout=30)


def trial(rate, p99, failed=0):
    latency = Latency(mean=p99, min=p99, max=p99, p50=p99, p90=p99, p99=p99, p99_9=None)
    return LoadTrial(rate, 1000, failed, rate, latency, None, 0.0)


@pytest.mark.parametrize("limit", [11.0, 300.0, 777.0])
def test_the_highest_rate_is_found_within_a_twentieth(limit):
    tried = []

    def attempt(rate):
        tried.append(rate)
        return trial(rate, 0.001 if rate <= limit else 0.1)

    found = highest_rate(attempt, 0.01, 800.0)
    assert limit / serving.CLOSE_ENOUGH <= found <= limit and len(tried) < 15


def test_where_no_rate_will_do_there_is_none():
    assert highest_rate(lambda rate: trial(rate, 0.1), 0.01, 800.0) is None


def test_a_rate_at_which_requests_are_refused_is_too_much():
    found = highest_rate(lambda rate: trial(rate, 0.001, failed=int(rate > 100)), 0.01, 800.0)
    assert 95 <= found <= 100


def test_a_server_is_measured(url):
    result = measure(ServingPlan(EXPORTED, url, "cancer", seconds=0.2, connections=8))
    (measured,) = result.trials
    assert measured.answered >= 662 and measured.failed == 0 and measured.latency_s.p99 > 0
    assert result.server["provider"] == "cpu" and result.closed_loop_per_s > measured.arrivals_per_s
    assert json.loads(json.dumps(document_of(result)))["kind"] == "aetool.bench.serve"


def test_the_command_writes_what_it_shows(url, tmp_path):
    path = tmp_path / "result.json"
    words = [
        "bench",
        "serve",
        EXPORTED,
        "--url",
        url,
        "--model",
        "cancer",
        "--rate",
        2000,
        "--seconds",
        0.2,
        "-o",
        path,
    ]
    shown = CliRunner().invoke(main, list(map(str, words)))
    assert shown.exit_code == 0, shown.output
    assert "arrivals/s" in shown.stdout and "closed loop" in shown.stdout
    assert json.loads(path.read_text())["trials"][0]["arrivals_per_s"] == 2000


def test_another_bundle_and_another_model_are_refused(url, bundle):
    with pytest.raises(BenchmarkError, match="give the bundle that is served"):
        measure(ServingPlan(bundle, url, "cancer"))
    with pytest.raises(BenchmarkError, match="status 404"):
        measure(ServingPlan(EXPORTED, url, "nobody"))


def test_a_server_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(serving, "READY_S", 0.3)
    with pytest.raises(BenchmarkError, match="is it running"):
        measure(ServingPlan(EXPORTED, "http://127.0.0.1:9", "cancer"))


def test_plans_that_mean_nothing_are_refused():
    plan = ServingPlan(EXPORTED, "http://127.0.0.1:8000", "cancer")
    for change in (
        {"rate": 0},
        {"seconds": -1},
        {"connections": 0},
        {"p99_s": float("inf")},
        {"rate": 1, "p99_s": 1},
    ):
        with pytest.raises(InputError):
            replace(plan, **change)


@pytest.mark.parametrize("text", ["here", "https://here", "http://", "http://here/path", "http://here:x"])
def test_a_url_that_is_no_servers_is_refused(text):
    with pytest.raises(InputError, match="http://HOST:PORT"):
        address_of(text)
