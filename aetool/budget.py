"""What a faster or smaller variant of a model may cost: stated by the user, held by the tool."""

import math
from dataclasses import dataclass

from aetool.errors import InputError
from aetool.fidelity import Fidelity


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits; None for none."""

    max_auroc_drop: float | None = 0.002
    """Of the area under the ROC curve; needs labels to be judged."""
    max_flips: float | None = 0.005
    """Share of rows whose decision may differ."""
    min_speedup: float | None = None
    """Over the model as it is, rows a second; 1 is no slower."""

    def __post_init__(self) -> None:
        for name, largest in (("max_auroc_drop", 1.0), ("max_flips", 1.0), ("min_speedup", math.inf)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0 <= value <= largest):
                limit = "0 to 1" if largest == 1 else "0 or more"
                raise InputError(
                    f"{name}: expected {limit}, found {value!r}; give another --{name.replace('_', '-')}"
                )

    def exceeded(self, found: Fidelity, speedup: float | None = None) -> list[str]:
        """What lies outside, in words: "flips 0.80 % above 0.50 %"; empty where all is within."""
        reasons = []
        if (
            self.max_auroc_drop is not None
            and found.auroc_drop is not None
            and not found.auroc_drop <= self.max_auroc_drop
        ):
            reasons.append(f"AUROC drop {found.auroc_drop:.4f} above {self.max_auroc_drop:g}")
        if self.max_flips is not None and not found.flips <= self.max_flips:
            reasons.append(f"flips {found.flips:.2%} above {self.max_flips:.2%}")
        if self.min_speedup is not None and speedup is not None and not speedup >= self.min_speedup:
            reasons.append(f"speedup {speedup:.2f} below {self.min_speedup:g}")
        return reasons
