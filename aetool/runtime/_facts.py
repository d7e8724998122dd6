"""The facts about an opened bundle that its session hands out."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import Manifest
from aetool.runtime.graphs import GraphLoader
from aetool.runtime.providers import ProviderName

if TYPE_CHECKING:
    from aetool.runtime.tuning import Tuning


class OpenedBundle:
    """Names, shapes and settings of an opened bundle."""

    _bundle: Bundle
    _opener: GraphLoader
    _precision: str
    _tuning: "Tuning | None"
    _names: tuple[str, ...]
    _categories: dict[str, tuple[str, ...]]

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest, as it was when it was opened."""
        return self._bundle.manifest

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self._bundle.manifest.name

    @property
    def provider(self) -> ProviderName:
        """Execution provider that runs the graphs."""
        return self._opener.provider.name

    @property
    def precision(self) -> str:
        """Precision of the graphs."""
        return self._precision

    @property
    def tuning(self) -> "Tuning | None":
        """Tuning file beside the bundle, with the reason if it is ignored; None if there is none."""
        return self._tuning

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features in order; empty if the model has none."""
        return self._names

    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]:
        """Categories by feature: arrays hold indexes into them, columns by name hold the text."""
        return MappingProxyType(self._categories)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row: (n_features,) for tables."""
        return self._bundle.manifest.input_shape

    @property
    def n_features(self) -> int:
        """Numbers in one row."""
        return math.prod(self.input_shape)

    @property
    def embedding_dim(self) -> int:
        """Numbers in one embedding; 0 if the model has none."""
        return self._bundle.manifest.embedding_dim

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs, for `run`."""
        return self._opener.graphs
