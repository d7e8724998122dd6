"""Latency and throughput: contestants in their own processes take turns; reliable ratios and percentiles.

Read in this order: `grid` (what to measure) with `rows`, `run` (a grid on a bundle), `contestants` (their
processes), `_worker` (inside such a process), `factories` and `_torch_contestant` (what runs there),
`agreement` (outputs compared first), `rounds` (turns) with `_statistics`, `_machine` (peak rates, flops),
`result` (the file), `compare` (two results). `serving` with `_http_load` measures a running server.

`aetool.bench.run` measures a bundle. A comparison of your own uses the modules below it:

    from aetool.bench.agreement import require_agreement
    from aetool.bench.contestants import Contestant, Load, opened
    from aetool.bench.rounds import compared, take_turns

    bundle = {"path": "exported/machines", "graph": "score", "provider": "cpu", "precision": "fp32"}
    contestants = [
        Contestant("aetool", "aetool.bench.factories:bundle", bundle),
        Contestant("mine", "/path/to/mine.py:make", {"size": 3}),   # def make(phase, *, size): ...
    ]
    with opened(contestants) as running:
        for contestant in running:
            print(contestant.name, contestant.load())
            contestant.take(Path("rows.npy"))
        require_agreement(running)
        turns = take_turns(running, Load(batch=64, seconds=0.5), rounds=6)
    print(compared(turns["aetool"], turns["mine"]))

`numpy.save` made rows.npy, (rows, n_features) float32. `Contestant` documents what a factory such as `make`
returns.
"""

__all__ = [
    "agreement",
    "compare",
    "contestants",
    "factories",
    "grid",
    "result",
    "rounds",
    "rows",
    "run",
    "serving",
]
