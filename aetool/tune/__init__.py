"""The fastest way to run a bundle on this machine that stays within a budget.

`aetool.tune.run.tune` searches; what it found lies beside the bundle, and `aetool.load` uses it.
"""
