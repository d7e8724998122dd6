"""Exports one after another, in one process, in half of their time."""

import functools
from typing import Any


@functools.cache
def keep_tables() -> None:
    """Let torch's exporter keep the tables that it makes anew, and alike, for each export: half of its time."""
    from torch._export import utils
    from torch.export import exported_program
    from torch.onnx._internal.exporter import _decomp, _registration

    registry = _registration.ONNXRegistry
    registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))  # type: ignore[method-assign]
    utils._materialize_cpp_cia_ops = functools.cache(utils._materialize_cpp_cia_ops)
    table_of = functools.cache(lambda operators: _decomp_table(set(operators)))
    _decomp_table = _decomp.create_onnx_friendly_decomposition_table
    _decomp.create_onnx_friendly_decomposition_table = lambda operators: dict(table_of(frozenset(operators)))
    override = exported_program._override_composite_implicit_decomp
    overrides = functools.cache(lambda operators: _Overrides(override, dict(operators)))
    exported_program._override_composite_implicit_decomp = lambda given: overrides(frozenset(given.items()))


class _Overrides:
    """What torch registers on a thousand operators for the time of an export, made once and then put in place."""

    def __init__(self, override: Any, operators: dict[Any, Any]) -> None:
        from torch._subclasses.fake_impls import op_implementations_dict

        self.fakes = op_implementations_dict
        with override(operators):
            self.kernels = {operator: operator.py_kernels.copy() for operator in operators}
            self.made = {operator: self.fakes[operator] for operator in operators if operator in self.fakes}

    def __enter__(self) -> None:
        self.before = {operator: operator.py_kernels for operator in self.kernels}
        self._put({operator: kernels.copy() for operator, kernels in self.kernels.items()})
        self.fakes.update(self.made)

    def __exit__(self, *_: object) -> None:
        self._put(self.before)
        for operator in self.kernels:
            self.fakes.pop(operator, None)

    def _put(self, kernels: dict[Any, Any]) -> None:
        for operator, those in kernels.items():
            operator.py_kernels = those
            operator._dispatch_cache.clear()
