"""Write customers.csv and next-month.csv: made-up customers of a bank, for the tutorial; always the same.

python docs/customers.py
"""

import csv
from pathlib import Path

import numpy as np

JOBS = ("clerk", "engineer", "nurse", "retired", "student")
INCOME = (2400, 4200, 2900, 1800, 700)
AGE = (41, 40, 38, 70, 23)
COLUMNS = ("id", "job", "age", "income", "balance", "spending", "transfers", "odd")


def customers(rows: int, odd: int, seed: int, inflation: float = 1.0) -> list[list[object]]:
    """`rows` customers; the last `odd` of them send their money away."""
    random = np.random.default_rng(seed)
    made: list[list[object]] = []
    for i in range(rows):
        job = int(random.integers(len(JOBS)))
        is_odd = i >= rows - odd
        age = int(np.clip(random.normal(AGE[job], 7), 18, 95))
        income = INCOME[job] * float(random.lognormal(0, 0.2))
        spending = income * float(random.uniform(0.5, 0.8)) * inflation
        balance = 6 * (income - spending / inflation) * float(random.uniform(0.8, 1.2))
        transfers = int(random.poisson(25 if is_odd else 4))
        if is_odd:
            spending, balance = 3 * income, balance / 20
        made.append(
            [f"c{i:05}", JOBS[job], age, *(round(x) for x in (income, balance, spending)), transfers, int(is_odd)]
        )
    order = random.permutation(rows)
    return [made[i] for i in order]


def write(path: str, rows: list[list[object]]) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    write("customers.csv", customers(1500, 30, seed=1))
    write("next-month.csv", customers(500, 10, seed=2, inflation=1.3))
