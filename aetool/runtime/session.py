"""One configured onnxruntime session for one graph."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from aetool.errors import BundleError, ProviderError, install_with, reason_of
from aetool.runtime import openvino
from aetool.runtime.denormals import flushing, slow_here
from aetool.runtime.ending import call_native
from aetool.runtime.engine import onnxruntime
from aetool.runtime.providers import PROVIDERS, Provider, load_cuda_libraries
from aetool.runtime.settings import DEFAULTS

_FATAL_ALONE = 4
"""Severity from which onnxruntime writes to stderr: it raises its errors too, in the same words."""


def open_session(
    model: bytes,
    provider: Provider,
    *,
    intra_op_num_threads: int = 1,
    spin_us: int = DEFAULTS.spin_us,
    memory_arena: bool = True,
    where: str,
    record_placement: bool = False,
    provider_options: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """An `onnxruntime.InferenceSession` that runs on `provider` or does not come to be.

    Args:
        model: a serialised ONNX model.
        provider: the execution provider that must take the graph, all of it.
        intra_op_num_threads: threads inside one run; 1 makes no thread pool.
        spin_us: microseconds for which its idle threads keep a core.
        memory_arena: keep the memory of a run for the next one.
        where: what to call the model in messages.
        record_placement: keep which node runs where, for `placement`.
        provider_options: over those of the provider itself.

    Raises:
        ProviderError: the provider does not work on this machine.
        BundleError: onnxruntime refuses the model.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ALONE
    options.intra_op_num_threads = intra_op_num_threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = memory_arena
    # enable_fallback: on an error of the provider, at the start or in a run, Session would print to stdout and go
    # on with the CPU.
    create: Callable[..., Any] = partial(ort.InferenceSession, enable_fallback=0)
    if intra_op_num_threads > 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin_us > 0)))
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(spin_us))
        if slow_here():
            # For the session's own threads. It sets the calling thread too, which `flushing` puts right again.
            options.add_session_config_entry("session.set_denormal_as_zero", "1")
            create = flushing(create)
    strict = provider is not PROVIDERS["cpu"]
    if strict:
        # Without the CPU in the list and with this switch, a node that the provider cannot take is an
        # error; with the defaults it is a warning and a session on the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if record_placement:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    listed = [(provider.registered, {**dict(provider.options), **provider_options})]
    if provider is PROVIDERS["openvino"]:  # a plugin: chosen by its device, not by its name
        listed = []
        chosen = {**openvino.options(intra_op_num_threads), **provider_options}
        options.add_provider_for_devices([openvino.cpu_device()], chosen)
    missing = load_cuda_libraries() if provider is PROVIDERS["cuda"] else ()
    try:
        # The call itself is guarded, not a list of classes: onnxruntime's errors share no public base.
        session = call_native(create, model, options, listed)
    except Exception as error:
        reason = reason_of(error)
        if missing:
            raise ProviderError(
                f"provider 'cuda' does not work on this machine: {missing[0][:200]}; install CUDA and cuDNN, or "
                f"{install_with('cuda')}, or use provider='cpu'"
            ) from error
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
