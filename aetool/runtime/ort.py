"""onnxruntime sessions: configuration, translation of errors, placement of nodes."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from aetool.errors import AetoolError, BundleError, ProviderError, install_with, reason_of
from aetool.onnx_check.edit import without_default_inputs
from aetool.runtime import providers
from aetool.runtime._native_calls import call_native, flushing, slow_here
from aetool.runtime.providers import PROVIDERS, Provider, load_cuda_libraries, onnxruntime
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
    """Open an `onnxruntime.InferenceSession` that runs on `provider`, or raise.

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
    # On x86 without VNNI, pairs of 8-bit products would saturate; this does nothing elsewhere.
    options.add_session_config_entry("session.x64quantprecision", "1")
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
        chosen = {**providers.openvino_options(intra_op_num_threads), **provider_options}
        options.add_provider_for_devices([providers.openvino_device()], chosen)
        model = without_default_inputs(model)
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
            f"provider {provider.name!r} was requested, onnxruntime used {used}: {provider.registered} does "
            "not work on this machine; use provider='cpu', or run aetool doctor to see what is missing"
        )
    return session


# A run that failed: what to raise, by who failed.

MEMORY = ("bad allocation", "bad_alloc", "failed to allocate memory", "out of memory", "cannot allocate memory")
"""Messages of onnxruntime, in lower case, where the machine refuses memory."""


def require_memory(error: BaseException, what: str) -> None:
    """Raise MemoryError if an error of onnxruntime says that memory was refused; `what` needed it.

    Raises:
        MemoryError: memory was refused; the message names `what`.
    """
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY):
        raise MemoryError(
            f"{what} need more memory than there is; give fewer or smaller rows, or more memory"
        ) from error


def run_failed(error: Exception, session: Any, where: str, shape: tuple[int, ...]) -> AetoolError:
    """Return the error for one of onnxruntime: on the CPU the graph is to blame, elsewhere perhaps the device.

    Args:
        error: the error that onnxruntime raised.
        session: the session that ran.
        where: the graph's file, for messages.
        shape: shape of the rows.
    """
    used = session.get_providers()[0]
    what = f"{where}: onnxruntime failed on rows of shape {tuple(shape)} ({reason_of(error)})"
    if used == PROVIDERS["cpu"].registered:
        return BundleError(f"{what}; run aetool verify on the bundle")
    return ProviderError(f"{what} in {used}; use provider='cpu', or fewer rows at a time, and run aetool doctor")


# Which execution provider takes each node of a graph: onnxruntime's own record, not a guess.


class NodePlacement(NamedTuple):
    """One node of a graph, as onnxruntime assigned it; nodes that it folds away, such as constants, have none."""

    name: str
    operator: str
    """ONNX operator, with its domain where that is not ONNX's own."""
    provider: str
    """onnxruntime's name of the execution provider."""


def placement(model: bytes, provider: Provider, where: str) -> list[NodePlacement]:
    """Return where each node of `model` runs, from a session made for the purpose, since recording costs time.

    Raises:
        ProviderError: the provider does not work here or does not take every node; or onnxruntime is too old.
        BundleError: onnxruntime refuses the model.
    """
    session = open_session(model, provider, where=where, record_placement=True)
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise ProviderError(
            f"{where}: which provider takes each node needs onnxruntime 1.24.1 or newer, found "
            f"{onnxruntime().__version__}; upgrade it"
        )
    return [
        NodePlacement(node.name, f"{node.domain}.{node.op_type}" if node.domain else node.op_type, part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
