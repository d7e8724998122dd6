"""What a command may read of a bundle holds in the processes that it starts, too."""

import contextlib
import json
import shutil

import numpy as np
import pytest

from aetool import BundleError, Limits
from aetool.bench import factories
from aetool.bench.grid import Grid, plan
from aetool.tune._candidates import default_of

LINKS = Limits(symbolic_links=True)


@pytest.fixture
def linked(bundle, tmp_path):
    """The bundle, of symbolic links."""
    shutil.copytree(bundle, tmp_path / "linked" / "..data")
    for file in bundle.iterdir():
        (tmp_path / "linked" / file.name).symlink_to(f"..data/{file.name}")
    return tmp_path / "linked"


def test_contestants_open_the_bundle_with_the_limits_of_the_command(linked):
    with pytest.raises(BundleError, match="--limit symbolic_links=true"):
        plan(linked, Grid(graphs=("score",)))
    planned = plan(linked, Grid(graphs=("score",)), LINKS)
    for contestant in (
        planned.settings[0].ours(planned.bundle),
        default_of("cpu", linked, LINKS).contestant("score"),
    ):
        arguments = json.loads(json.dumps(contestant.arguments))  # as a process gets them
        opened = factories.bundle(lambda name: contextlib.nullcontext(), **arguments)
        assert len(opened.call(np.ones((3, 30), np.float32))) == 3


def test_with_the_usual_limits_nothing_more_is_recorded(bundle):
    planned = plan(bundle, Grid(graphs=("score",)))
    assert "limits" not in planned.settings[0].ours(planned.bundle).arguments
    assert "limits" not in default_of("cpu", bundle).contestant("score").arguments
