"""Checks: are two results the same, and are they good?

Read in this order: `parity` (differences of two computations of the same outputs), `verify` (a bundle against its
golden vectors), `first_run` (foreign graphs in a process of their own), `fidelity` (a variant against its model,
and the budget), `evaluation` (scores against labels), `findings` (events of a log against labels), `drift` (new
rows against the baseline), `compression` (embeddings sent instead of rows), `binomial` (how sure one can be of a
share), `doctor` (this machine). Other rooms import these modules; loading all of them here would slow the start.
"""

__all__ = [
    "binomial",
    "compression",
    "doctor",
    "drift",
    "evaluation",
    "fidelity",
    "findings",
    "first_run",
    "parity",
    "verify",
]
