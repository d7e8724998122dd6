"""Bundles of groups that are known: made data, trained on for a moment."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aetool.export import export_checkpoint
from aetool.model import AutoencoderConfig, TrainingConfig, train
from aetool.segments import _clustering as clustering
from aetool.segments import add_segments

GROUPS = np.array([[0, 0, 0, 0], [9, 0, 9, 0], [0, 9, 0, 9]], float)
SIZES = (150, 100, 50)


@pytest.fixture(scope="session", autouse=True)
def few_refits():
    """Groups so far apart need no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustering, "_REFITS", 2)
        patch.setattr(clustering, "_STARTS", 2)
        yield


@pytest.fixture(scope="session")
def groups():
    """(300, 4) rows, and the group of each: three of them, the largest first."""
    group = np.repeat(np.arange(3), SIZES)
    random = np.random.default_rng(3)
    order = random.permutation(len(group))
    return (GROUPS[group] + random.normal(size=(300, 4)))[order].astype(np.float32), group[order]


@pytest.fixture(scope="session")
def grouped_bundle(groups, make_table, tmp_path_factory):
    """Without segments; not to be changed."""
    trained = train(make_table(groups[0]), TrainingConfig(epochs=40, batch_size=32), AutoencoderConfig(4, 6))
    path = tmp_path_factory.mktemp("groups") / "bundle"
    export_checkpoint(trained, path)
    return path


@pytest.fixture
def plain(grouped_bundle, tmp_path):
    """A copy without segments."""
    return Path(shutil.copytree(grouped_bundle, tmp_path / "plain"))


@pytest.fixture(scope="session")
def segmented(grouped_bundle, groups, tmp_path_factory):
    """A copy with three segments; not to be changed."""
    path = Path(shutil.copytree(grouped_bundle, tmp_path_factory.mktemp("segmented") / "bundle"))
    return add_segments(path, groups[0], clusters=3, source="groups.csv")
