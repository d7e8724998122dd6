"""Result files as `aetool bench` writes them, of measurements that never were."""

import math
import random
import statistics

CONTESTANTS = {  # microseconds a call, nanoseconds a row
    "aetool": (7.8, 1050),
    "raw-onnxruntime": (10.9, 1480),
    "torch": (31.0, 2900),
    "torch-compile": (24.0, 1400),
    "openvino": (52.0, 1150),
}
BATCHES = (1, 8, 64, 512, 4096, 65536)


def percentile(ordered, share, least):
    """As the bench: none without enough samples."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if len(ordered) >= least else None


def histogram(times, bins=60):
    low, high = math.log(min(times) * 0.999), math.log(max(times) * 1.001)
    edges = [math.exp(low + (high - low) * i / bins) for i in range(bins + 1)]
    counts = [0] * bins
    for time in times:
        counts[min(int((math.log(time) - low) / (high - low) * bins), bins - 1)] += 1
    return {"edges_s": edges, "counts": counts}


def measurement(contestant="aetool", graph="encode", batch=1, scenario="single-stream", samples=700, **changes):
    """One entry of `results`; the same arguments give the same numbers."""
    chance = random.Random(f"{contestant}{graph}{batch}{scenario}")
    call, row = CONTESTANTS.get(contestant, (20.0, 700))
    weight = {"encode": 1.0, "reconstruct": 1.7, "score": 1.9}.get(graph, 1.0)
    centre = (call * 1e-6 + row * 1e-9 * batch) * weight
    if scenario == "multi-stream":
        centre *= 1.6
    times = []
    for _ in range(samples):
        time = centre * chance.lognormvariate(0, 0.03)
        if scenario == "server":
            time += centre * chance.expovariate(0.9)
        if chance.random() < 0.08:
            time *= 1.2 + chance.random() * 0.2
        if chance.random() < 0.004:
            time += chance.random() * 2e-4
        times.append(time)
    times.sort()
    rate = batch / statistics.mean(times)
    rounds = [
        {"p50_s": times[len(times) // 2] * chance.gauss(1, 0.012), "rows_per_s": rate * chance.gauss(1, 0.012)}
        for _ in range(7)
    ]
    made = {
        "contestant": contestant,
        "graph": graph,
        "provider": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch": batch,
        "scenario": scenario,
        "placement": {"CPUExecutionProvider": 7} if "onnx" in contestant or contestant == "aetool" else None,
        "import_s": {"torch": 1.9, "torch-compile": 1.9, "openvino": 0.31}.get(contestant, 0.14),
        "session_creation_s": {"torch-compile": 6.2}.get(contestant, 0.004),
        "first_run_s": call * 4e-6,
        "resident_after_load_bytes": {"torch": 310, "torch-compile": 420}.get(contestant, 71) * 2**20,
        "peak_memory_bytes": {"torch": 330, "torch-compile": 510}.get(contestant, 74) * 2**20 + batch * 5000,
        "samples": samples,
        "warm_up_samples": 50,
        "latency_s": {
            "mean": statistics.mean(times),
            "min": times[0],
            "max": times[-1],
            "p50": times[len(times) // 2],
            "p90": percentile(times, 0.9, 64),
            "p99": percentile(times, 0.99, 662),
            "p99.9": percentile(times, 0.999, 6636),
        },
        "histogram": histogram(times),
        "throughput_rows_per_s": 0.8 / centre if scenario == "server" else rate,
        "arrivals_per_s": 0.8 / centre if scenario == "server" else None,
        "rounds": rounds,
        "stability": {"windows_s": [centre] * 10, "spread": 0.021, "stable": True},
        "share_of_peak": rate * 2 * 264192 / 210e9,
        "profile": None,
    }
    return {**made, **changes}


def ratio(results, graph, batch, scenario, to="raw-onnxruntime"):
    """One entry of `ratios`."""
    ours, theirs = (
        next(
            found
            for found in results
            if (found["contestant"], found["graph"], found["batch"], found["scenario"])
            == (name, graph, batch, scenario)
        )
        for name in ("aetool", to)
    )
    rounds = [a["p50_s"] / b["p50_s"] for a, b in zip(ours["rounds"], theirs["rounds"], strict=True)]
    tails = [found["latency_s"]["p99"] for found in (ours, theirs)]
    return {
        "graph": graph,
        "provider": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch": batch,
        "scenario": scenario,
        "of": "aetool",
        "to": to,
        "p50": statistics.median(rounds),
        "p99": None if None in tails else tails[0] / tails[1],
        "throughput": ours["throughput_rows_per_s"] / theirs["throughput_rows_per_s"],
        "spread": [min(rounds), max(rounds)],
    }


def document(results, ratios=()):
    """A whole file."""
    sha = "3f" * 32
    return {
        "kind": "aetool.bench",
        "format_version": 1,
        "created": "2026-11-24T15:30:00+00:00",
        "command": ["aetool", "bench", "exported/cardio model", "--rounds", "7", "-o", "bench.json"],
        "machine": {
            "cpu": "Intel Xeon Processor (Sapphire Rapids)",
            "cpu_flags": ["avx2", "avx512f", "amx_bf16", "amx_int8"],
            "cores": 2,
            "affinity": [0, 1],
            "memory_bytes": 16 * 2**30,
            "quota_cores": None,
            "system": "Linux 6.8",
            "python": "3.12.3",
            "packages": {"onnxruntime": "1.31.1", "torch": "2.13.0"},
            "commit": "b57f987",
        },
        "ceiling": {"matmul_gflops": {"1": 190.0, "2": 349.0}, "copy_gb_per_s": 25.0},
        "bundle": {
            "name": "cardio",
            "id": "3f3f3f3f",
            "features": 640,
            "embedding": 8,
            "files": {
                name: {"sha256": sha, "bytes": 540_000 * work, "multiply_adds_per_row": 132_096 * work}
                for name, work in (("encode", 1), ("reconstruct", 2), ("score", 2))
            },
        },
        "parameters": {"seed": 7, "rounds": 7, "seconds": 2.0, "rows": "golden.npz of the bundle, 256 rows"},
        "agreement": [
            {
                "contestant": name,
                "graph": "encode",
                "output": "embedding",
                "max_scaled": 3.1e-7,
                "rows": "256 golden rows",
            }
            for name in dict.fromkeys(found["contestant"] for found in results)
        ],
        "results": list(results),
        "ratios": list(ratios),
    }


def large():
    """Five contestants, all scenarios, batches from one row to 65,536; some unstable, some with few samples."""
    results = []
    for graph in ("encode", "reconstruct", "score"):
        for name in CONTESTANTS:
            for batch in BATCHES if graph != "score" else BATCHES[:2]:
                samples = 7000 if batch == 1 else 700 if batch < 4096 else 100 if batch < 65536 else 40
                results.append(measurement(name, graph, batch, samples=samples))
            results.append(measurement(name, graph, 65536, "offline", samples=30))
    for scenario in ("multi-stream", "server"):
        results += [measurement(name, "score", 1, scenario) for name in CONTESTANTS]
    profile = [
        ("/encoder/0/Gemm", "Gemm", 4.1),
        ("/encoder/1/Relu", "LeakyRelu", 1.2),
        ("/encoder/2/Gemm", "Gemm", 1.9),
    ]
    results[0]["profile"] = [{"node": node, "op": op, "us": us} for node, op, us in profile]
    drift = [time * 1e-6 for time in (98, 99, 101, 99, 104, 108, 112, 111, 119, 118)]
    results[9]["stability"] = {"windows_s": drift, "spread": 0.21, "stable": False}
    results[10]["threads"] = None
    cases = dict.fromkeys((found["graph"], found["batch"], found["scenario"]) for found in results)
    made = document(results, [ratio(results, *case) for case in cases])
    made["ratios"][2] |= {"p50": 1.0, "spread": [0.98, 1.03]}
    made["ratios"][5] |= {"p50": 1.12, "spread": [1.08, 1.15]}
    return made
