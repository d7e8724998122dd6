"""Measuring: contestants in processes of their own take turns; ratios and percentiles that can be defended.

`aetool.bench.run` measures a bundle. A comparison of one's own needs the engine below it:

    from aetool.bench.agreement import require_agreement
    from aetool.bench.contestants import Contestant, Load, opened
    from aetool.bench.rounds import compared, take_turns

    bundle = {"path": "exported/machines", "graph": "score", "provider": "cpu", "precision": "fp32"}
    contestants = [
        Contestant("aetool", "aetool.bench.factories:bundle", bundle),
        Contestant("mine", "/path/to/mine.py:make", {"size": 3}),   # def make(phase, *, size): ...
    ]
    with opened(contestants) as running:
        for one in running:
            print(one.name, one.load())
            one.take(Path("rows.npy"))
        require_agreement(running)
        turns = take_turns(running, Load(batch=64, seconds=0.5), rounds=6)
    print(compared(turns["aetool"], turns["mine"]))

`numpy.save` made rows.npy, (rows, n_features) float32. What a factory such as `make` must give: see `Contestant`.
"""
