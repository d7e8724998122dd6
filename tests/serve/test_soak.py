"""Many clients at once: nobody gets another's answer, none is lost, and what is too much is refused at once."""

import asyncio
import json

import numpy as np
import pytest
from single_rows import requests_for

from aetool.bench._http_load import OK, address_of, closed_loop, open_loop, request_bytes


@pytest.fixture(scope="module")
def distinct(rows):
    """6,000 rows, no two alike."""
    spread = np.random.default_rng(3).normal(1, 0.05, (6000, 30))
    return (np.resize(rows, spread.shape) * spread).astype(np.float32)


@pytest.mark.parametrize("output", ["score", "reconstruction"])
def test_each_of_thousands_of_rows_gets_its_own_answer(server, model, distinct, output):
    answers = {}
    load = closed_loop(
        address_of(server.url),
        requests_for(server, distinct, output),
        connections=64,
        count=len(distinct),
        check=answers.__setitem__,
    )
    seen = asyncio.run(load)
    assert seen.statuses == {OK: len(distinct)} and len(answers) == len(distinct)
    expected = model.run("autoencoder" if output == "reconstruction" else "detector", distinct)[output]
    assert len(np.unique(expected, axis=0)) == len(distinct)
    size = expected[0].nbytes
    found = np.stack([np.frombuffer(answers[i][-size:], "<f4") for i in range(len(distinct))])
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-4, atol=1e-5)


def test_concurrent_requests_were_computed_together(server):
    _, _, page = server.call("GET", "/metrics")
    figures = dict(line.rsplit(" ", 1) for line in page.decode().splitlines() if not line.startswith("#"))
    batches = float(figures['aetool_batch_rows_count{bundle="cancer"}'])
    rows = float(figures['aetool_batch_rows_sum{bundle="cancer"}'])
    assert rows >= 12_000 and rows / batches > 2
    assert float(figures['aetool_requests_total{model="cancer",status="200"}']) >= 12_000
    assert float(figures["aetool_waiting_rows"]) == 0


def test_requests_that_come_too_fast_are_refused_and_told_when_to_come_again(start, exported, distinct):
    """More clients than rows may wait: the rest gets 503, everybody an answer."""
    with start(f"cancer={exported}", "--max-queue", "8", "--max-connections", "80") as busy:
        address = address_of(busy.url)
        tensor = {"name": "features", "datatype": "FP32", "shape": [10, 30]}
        described = {
            "inputs": [{**tensor, "data": distinct[:10].ravel().tolist()}],
            "outputs": [{"name": "score"}],
        }
        many = json.dumps(described).encode()
        requests = [request_bytes(address, "POST", "/v2/models/cancer/infer", many)]
        seen = asyncio.run(closed_loop(address, requests, connections=64, count=2000))
        assert set(seen.statuses) == {OK, 503} and sum(seen.statuses.values()) == 2000
        assert busy.call("GET", "/v2/health/ready")[0] == 200


def test_clients_that_retry_at_once_get_their_own_answer_or_503(start, exported, model, distinct):
    """The same head again and again on a connection, refused or not: no body is taken for another."""
    answers = {}
    with start(f"cancer={exported}", "--max-queue", "4") as busy:
        load = closed_loop(
            address_of(busy.url),
            requests_for(busy, distinct),
            connections=64,
            count=6000,
            check=answers.__setitem__,
        )
        seen = asyncio.run(load)
        page = busy.call("GET", "/metrics")[2].decode()
    assert set(seen.statuses) == {OK, 503} and sum(seen.statuses.values()) == 6000
    for status, count in seen.statuses.items():
        assert f'aetool_requests_total{{model="cancer",status="{status}"}} {float(count)}' in page
    assert len(answers) == seen.statuses[OK]
    expected = model.score(distinct)[list(answers)]
    found = np.array([np.frombuffer(answer[-4:], "<f4")[0] for answer in answers.values()])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_connections_beyond_the_limit_end_those_that_have_waited_longest(start, exported):
    with start(f"cancer={exported}", "--max-connections", "4") as busy:
        address = address_of(busy.url)
        live = [request_bytes(address, "GET", "/v2/health/live")]
        seen = asyncio.run(closed_loop(address, live, connections=8, count=400))
        lost = sum(count for status, count in seen.statuses.items() if status != OK)
        assert seen.statuses[OK] >= 390 and lost <= 4
        _, _, page = busy.call("GET", "/metrics")
        assert b'aetool_connections_refused_total{reason="connections"}' in page


def test_an_open_loop_is_answered_in_full(server, distinct):
    load = open_loop(
        address_of(server.url),
        requests_for(server, distinct[:500]),
        connections=16,
        arrivals_per_s=500,
        count=500,
    )
    seen = asyncio.run(load)
    assert seen.statuses == {OK: 500} and (seen.latencies_s > 0).all()
    assert 0.5 < seen.seconds < 20


def test_an_arrival_of_the_open_loop_is_of_any_client():
    asked = []

    async def run():
        async def answer(reader, writer):
            number = len(asked)
            asked.append([])
            while await reader.read(1 << 16):
                asked[number].append(sum(map(len, asked)))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        address = address_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        request = request_bytes(address, "GET", "/")
        async with server:
            return await open_loop(address, [request], connections=8, arrivals_per_s=4000, count=800, spin_s=0.0)

    seen = asyncio.run(run())
    assert seen.statuses == {OK: 800} and len(asked) == 8
    between = np.concatenate([np.diff(times) for times in asked])
    assert np.count_nonzero(between == 1) > 20  # of one client twice in a row: never, where they take turns
