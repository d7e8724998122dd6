"""A checkpoint, a bundle and tables to write from."""

import pytest
from click.testing import CliRunner
from commands import Runner

from aetool.cli import main


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """A directory with train.csv, new.csv, checkpoint and bundle: nobody writes into it."""
    import numpy as np

    folder = tmp_path_factory.mktemp("sources")
    random = np.random.default_rng(0)
    for name, rows in (("train.csv", 300), ("new.csv", 40)):
        values = random.normal(size=(rows, 2)) @ random.normal(size=(2, 5))
        lines = [f"{i},{','.join(map(str, row))},{int(i % 10 == 0)}\n" for i, row in enumerate(values)]
        (folder / name).write_text("id,a,b,c,d,e,broken\n" + "".join(lines))
    for arguments in (
        ["train", "train.csv", "--label", "broken", "--drop", "id", "--epochs", "5", "-o", "checkpoint"],
        ["export", "checkpoint", "-o", "bundle"],
    ):
        given = [
            str(folder / word) if (folder / word).exists() or word in ("checkpoint", "bundle") else word
            for word in arguments
        ]
        result = CliRunner().invoke(main, given)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def runner():
    """A process that runs commands apart."""
    with Runner() as running:
        yield running


@pytest.fixture(scope="session")
def convolutional(tmp_path_factory):
    """A bundle of images, whose graphs hold other operators than those of tables."""
    from networks import Convolutional

    from aetool.export import export_module

    path = tmp_path_factory.mktemp("made") / "images"
    export_module(Convolutional(), path, input_shape=(1, 8, 8))
    return path
