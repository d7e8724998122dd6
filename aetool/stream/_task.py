"""The task of a run: everything that decides an output, apart from the input."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import BundleError, InputError
from aetool.runtime.providers import ProviderName
from aetool.runtime.session import AutoencoderSession, load
from aetool.tables import AS_FOUND, Reading


@dataclass(frozen=True, slots=True)
class Task:
    """Bundle and options; small, and can be sent to another machine that has the bundle at the same path."""

    command: str
    """Command: one of aetool.choices.CALLS."""
    bundle: str
    """Absolute path of the bundle."""
    provider: ProviderName = "auto"
    precision: str = "auto"
    keep: tuple[str, ...] = ()
    """Columns carried through."""
    limits: Limits = DEFAULT_LIMITS
    """Bounds on what is read of the bundle and of each file."""
    reading: Reading = AS_FOUND
    """How text files are read."""
    threshold: float | None = None
    """Highest score that counts as normal; None for the bundle's."""
    results: str | None = None
    """Fingerprint that `describe` must give: another bundle, published at that path in mid-run, is refused."""

    def open(self, intra_op_num_threads: int | None = None) -> AutoencoderSession:
        """Open the bundle.

        Raises:
            BundleError, ProviderError: it cannot be opened here, or is not the one that the run began with.
            InputError: its rows or its results are not tables.
        """
        model = load(
            self.bundle,
            provider=self.provider,
            precision=self.precision,
            intra_op_num_threads=intra_op_num_threads,
            threshold=self.threshold,
            limits=self.limits,
        )
        if self.results not in (None, fingerprint(self.describe(model))):
            raise BundleError(
                f"{self.bundle}: was replaced by another bundle since the run began; start it again "
                "with --overwrite"
            )
        manifest = model.manifest
        shapes = [manifest.input_shape, *([manifest.embedding_shape] if self.command == "encode" else [])]
        if any(shape is not None and len(shape) != 1 for shape in shapes):
            raise InputError(
                f"{self.bundle}: rows of shape {manifest.input_shape}, which no table holds: files that are "
                "streamed are tables; give one NPY file, and a file as --output"
            )
        return model

    def describe(self, model: AutoencoderSession) -> dict[str, Any]:
        """Return, as JSON values, what must be the same for two outputs to belong together."""
        return {
            "command": self.command,
            "bundle": {"name": model.name, "id": model.manifest.id},
            "precision": model.precision,
            "threshold": model.threshold,
            "keep": list(self.keep),
        }


def fingerprint(description: dict[str, Any]) -> str:
    """Return a short digest of what `Task.describe` gives."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
