"""Where an axis is marked: round numbers, not too many of them."""

import math

_STEPS = (1.0, 2.0, 5.0, 10.0)


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Powers of ten; between them 2 and 5 where there is room; on a short axis steps as on a ruler."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if high / low >= 8:
        for within in ((1, 2, 5), (1, 3), (1,)):
            ticks = [m * 10.0**p for p in range(first, last + 1) for m in within]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) <= most:
                break
        return ticks[:: math.ceil(len(ticks) / most)]
    return linear_ticks(low, high, most)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * (1 - 1e-9))
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
