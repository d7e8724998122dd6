"""One configured onnxruntime session for one graph."""

from collections.abc import Callable
from typing import Any

from aetool.errors import BundleError, ProviderError
from aetool.runtime.denormals import flushing, slow_here
from aetool.runtime.ending import call_native
from aetool.runtime.engine import onnxruntime
from aetool.runtime.providers import PROVIDERS, Provider

_SILENT_BUT_ERRORS = 3
_SPIN_US = "100"
"""How long idle threads keep a core, waiting for the next node or row; onnxruntime's default is longer."""


def open_session(model: bytes, provider: Provider, *, intra_op_num_threads: int = 1, where: str) -> Any:
    """An `onnxruntime.InferenceSession` that runs on `provider` or does not come to be.

    Args:
        model: a serialised ONNX model.
        provider: the execution provider that must take the graph.
        intra_op_num_threads: threads inside one run; 1 makes no thread pool.
        where: what to call the model in messages.

    Raises:
        ProviderError: the provider does not work on this machine.
        BundleError: onnxruntime refuses the model.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT_BUT_ERRORS
    options.intra_op_num_threads = intra_op_num_threads
    options.inter_op_num_threads = 1
    create: Callable[..., Any] = ort.InferenceSession
    if intra_op_num_threads > 1:
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
        if slow_here():
            # For the session's own threads. It sets the calling thread too, which `flushing` puts right again.
            options.add_session_config_entry("session.set_denormal_as_zero", "1")
            create = flushing(create)
    strict = provider is not PROVIDERS["cpu"]
    if strict:
        # Without the CPU in the list and with this switch, a node that the provider cannot take is an
        # error; with the defaults it is a warning and a session on the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        # The call itself is guarded, not a list of classes: onnxruntime's errors share no public base.
        session = call_native(create, model, options, [provider.registered])
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        if strict:
            raise ProviderError(
                f"provider {provider.name!r} does not work on this machine: {reason}; use provider='cpu', "
                "or run aetool doctor to see what is missing"
            ) from error
        raise BundleError(f"{where}: onnxruntime {ort.__version__} refuses it: {reason}") from error
    used = session.get_providers()[0]
    if used != provider.registered:
        raise ProviderError(
            f"provider {provider.name!r} was asked for, onnxruntime chose {used}: {provider.registered} does "
            "not work on this machine; use provider='cpu', or run aetool doctor to see what is missing"
        )
    return session
