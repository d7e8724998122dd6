"""From how many rows on the GPU is chosen, with clocks that the test turns."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aetool.runtime.gpu.graph import BATCHES, MOST_BYTES, crossover

fresh = itertools.count()


class Machine:
    """A CPU and a GPU that take as long as they say."""

    def __init__(self, cpu_s, gpu_s):
        self.now, self.calls = 100.0, []
        self.cpu, self.gpu = self.contestant("cpu", cpu_s), self.contestant("gpu", gpu_s)

    def contestant(self, name, seconds):
        def run(rows):
            self.calls.append((name, len(rows)))
            self.now += seconds(len(rows))

        return run

    def crossover(self, key=None, shape=(4,), **options):
        key = f"test {next(fresh)}" if key is None else key
        return crossover(key, shape, self.cpu, self.gpu, clock=lambda: self.now, **options)


@pytest.mark.parametrize(
    ("cpu_s", "gpu_s", "rows"),
    [
        (lambda n: 1e-6 * n, lambda n: 50e-6 + 1e-8 * n, 64),
        (lambda n: 1e-6 * n, lambda n: 500e-6 + 1e-8 * n, 1024),
        (lambda n: 1e-3 * n, lambda n: 1e-4, 1),
        (lambda n: 1e-6, lambda n: 1e-4, None),
        (lambda n: 1e-4, lambda n: 1e-4, None),
        (lambda n: 1e-7 * n, lambda n: 1e-7 * n * (0.5 if n in (16, 1024, 4096) else 2), 1024),  # 16: a chance hit
        (lambda n: 1e-7 * n, lambda n: 1e-7 * n * (0.5 if n == BATCHES[-1] else 2), BATCHES[-1]),
    ],
)
def test_the_gpu_is_chosen_from_where_it_wins_twice_in_a_row(cpu_s, gpu_s, rows):
    assert Machine(cpu_s, gpu_s).crossover() == rows


def test_it_ends_in_time_with_what_it_knows():
    slow = Machine(lambda n: 0.1 * n, lambda n: 0.2 * n)
    assert slow.crossover(budget_s=2.0) is None
    assert slow.now - 100 <= 2.0 + 0.3 + 0.2 * 16  # the first runs, and the call that met the end
    assert max(rows for _, rows in slow.calls) <= 16


def test_what_a_gpus_first_run_costs_is_not_counted():
    first = itertools.count()
    machine = Machine(lambda n: 1e-6 * n, lambda n: 30.0 if next(first) == 0 else 50e-6)
    assert machine.crossover(budget_s=1.0) == 64


def test_it_is_measured_once_per_graph():
    machine = Machine(lambda n: 1e-6 * n, lambda n: 50e-6)
    assert machine.crossover(key="one graph") == 64
    calls = len(machine.calls)
    assert machine.crossover(key="one graph") == 64
    assert len(machine.calls) == calls
    machine.crossover(key="another graph")
    assert len(machine.calls) > calls


def test_threads_wait_for_one_measurement():
    machine = Machine(lambda n: 1e-6 * n, lambda n: 50e-6)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: machine.crossover(key="shared graph"), range(8))) == {64}
    assert machine.calls.count(("cpu", 1)) == 6  # warmed up once, five times measured


def test_an_error_is_not_an_answer():
    machine = Machine(lambda n: 1 / 0, lambda n: 1e-6)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            machine.crossover(key="broken graph")


def test_huge_rows_do_not_fill_the_memory():
    seen = []
    machine = Machine(lambda n: 1e-6, lambda n: 1e-3)
    real = machine.cpu
    machine.cpu = lambda rows: (seen.append(rows), real(rows))
    machine.crossover(shape=(256, 256))
    assert max(rows.nbytes for rows in seen) <= MOST_BYTES
    assert all(rows.dtype == np.float32 and np.isfinite(rows).all() for rows in seen)
