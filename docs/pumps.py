"""Write pumps.csv: a made-up log of three pumps over a day, for "From a raw log to events"; always the same.

python docs/pumps.py
"""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

PUMPS = ("P1", "P2", "P3")
COLUMNS = ("time", "machine", "state", "flow", "pressure", "current", "vibration")
STEP = timedelta(seconds=30)
ROWS = 2880
"""A day."""
FAULTS = (("P2", 2300, 2360, "clogged"), ("P3", 2560, 2620, "bearing worn"))
"""Pump, first row, the one after the last, and what the shift wrote down."""


def log() -> list[list[object]]:
    """Rows of all pumps, in the order of their time; P1 was off from noon on for an hour, and logged nothing."""
    random = np.random.default_rng(4)
    rows: list[list[object]] = []
    speed = dict.fromkeys(PUMPS, 1.0)
    for place in range(ROWS):
        for number, pump in enumerate(PUMPS):
            if pump == "P1" and 1440 <= place < 1560:
                continue
            demand = 1 + 0.25 * np.sin(2 * np.pi * (place + 40 * number) / 240)
            speed[pump] += 0.3 * (demand - speed[pump])
            flow, state = 20 * speed[pump], "ok"
            pressure, current = 3 + 0.8 * speed[pump] ** 2, 8 + 2 * speed[pump]
            vibration = 0.5 + 0.2 * speed[pump]
            for name, first, stop, kind in FAULTS:
                if pump == name and first <= place < stop:
                    state = kind
                    if kind == "clogged":
                        flow, pressure = 0.75 * flow, 1.15 * pressure
                    else:
                        vibration, current = vibration + 0.3, current + 0.6
            noise = random.normal(0, 1, 4) * (0.3, 0.04, 0.08, 0.02)
            values = np.array([flow, pressure, current, vibration]) + noise
            time = datetime(2026, 3, 1) + place * STEP
            rows.append([time.isoformat(" "), pump, state, *(f"{value:.3f}" for value in values)])
    return rows


if __name__ == "__main__":
    with Path("pumps.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *log()])
