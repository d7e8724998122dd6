"""Which execution provider runs a bundle: asked for means used, or an error."""

from dataclasses import dataclass

from aetool.errors import ProviderError
from aetool.runtime.engine import onnxruntime


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider under aetool's name for it."""

    name: str
    """Word used in aetool: cpu, cuda."""
    registered: str
    """onnxruntime's own name for it."""
    extra: str
    """Extra of aetool that brings it."""


PROVIDERS = {
    "cpu": Provider("cpu", "CPUExecutionProvider", "cpu"),
    "cuda": Provider("cuda", "CUDAExecutionProvider", "cuda"),
}


def candidates(name: str) -> list[Provider]:
    """The providers to try for `name`, best first; one only, unless `name` is "auto".

    Raises:
        ProviderError: `name` is unknown, or the installed onnxruntime does not bring it.
    """
    available = onnxruntime().get_available_providers()
    if name == "auto":
        return [p for p in (PROVIDERS["cuda"], PROVIDERS["cpu"]) if p.registered in available]
    if name not in PROVIDERS:
        raise ProviderError(f"provider {name!r} is unknown; choose auto, {' or '.join(PROVIDERS)}")
    provider = PROVIDERS[name]
    if provider.registered not in available:
        raise ProviderError(
            f"provider {name!r} needs {provider.registered}, the installed onnxruntime has "
            f"{', '.join(available)}; pip install 'aetool[{provider.extra}]' in a fresh environment"
        )
    return [provider]
