"""A checkpoint comes back exactly, or is refused with the file's name."""

import dataclasses
import json
import pickletools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetool.bundle.files import sha256
from aetool.errors import CheckpointError, InputError, OutputError
from aetool.model import TrainedAutoencoder, load_checkpoint, save_checkpoint

FILES = [
    "checkpoint.json",
    "prototypes.safetensors",
    "weights.safetensors",
    "statistics.safetensors",
    "held_out.safetensors",
    "state.safetensors",
]


@pytest.fixture(scope="module")
def saved(trained: TrainedAutoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "saved"
    save_checkpoint(trained, path)
    return path


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    description = json.loads((path / "checkpoint.json").read_bytes())
    changed = change(description)
    (path / "checkpoint.json").write_text(json.dumps(description if changed is None else changed))


def test_round_trip_is_exact(trained: TrainedAutoencoder, saved: Path) -> None:
    found = load_checkpoint(saved)
    for name in ("names", "training", "history", "provenance"):
        assert getattr(found, name) == getattr(trained, name), name
    assert found.network.config == trained.network.config
    assert not found.network.training
    for ours, theirs in ((found.network.state_dict(), trained.network.state_dict()), (found.state, trained.state)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for part in ("statistics", "held_out"):
        for name, value in dataclasses.asdict(getattr(trained, part)).items():
            np.testing.assert_array_equal(getattr(getattr(found, part), name), value)
    rows = trained.held_out.features
    np.testing.assert_array_equal(found.score(rows), trained.score(rows))


def test_saving_twice_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    save_checkpoint(load_checkpoint(saved), tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


def test_loading_leaves_torch_as_it_was(saved: Path) -> None:
    before = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        network = load_checkpoint(saved).network
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_nothing_in_it_is_pickle(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    for path in saved.iterdir():
        content = path.read_bytes()
        if path.suffix == ".json":
            json.loads(content)
        else:
            json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # safetensors: a JSON header
        with pytest.raises(ValueError, match="opcode"):
            list(pickletools.genops(content))


def test_existing_output_is_kept(trained: TrainedAutoencoder, copy: Path) -> None:
    before = {name: (copy / name).read_bytes() for name in FILES}
    with pytest.raises(OutputError, match="exists already"):
        save_checkpoint(trained, copy)
    assert {name: (copy / name).read_bytes() for name in FILES} == before


def test_nothing_there_or_a_file_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="expected, found nothing"):
        load_checkpoint(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="expected, found a file"):
        load_checkpoint(tmp_path / "file")


@pytest.mark.parametrize("name", FILES)
def test_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: missing"):
        load_checkpoint(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_file(copy: Path, name: str, share: float) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(copy)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_flipped_bit(copy: Path, name: str, place: float) -> None:
    content = bytearray((copy / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: was changed"):
        load_checkpoint(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip", b"\x80\x04N.", b"[1, 2]", b"null", b"\xff" * 64, b"[" * 99999]
)
def test_foreign_file(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    if name != FILES[0]:  # even where somebody made the digest fit
        rewrite(copy, lambda description: description["files"].__setitem__(name, sha256(content)))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(copy)
    assert "\n" not in str(caught.value)


def test_link_is_not_followed(copy: Path, saved: Path) -> None:
    (copy / FILES[1]).unlink()
    (copy / FILES[1]).symlink_to(saved / FILES[1])
    with pytest.raises(CheckpointError, match=FILES[1]):
        load_checkpoint(copy)


def test_newer_format(copy: Path) -> None:
    rewrite(copy, lambda description: description.update(format="aetool-checkpoint/2"))
    with pytest.raises(
        CheckpointError, match="format 'aetool-checkpoint/1' expected, found 'aetool-checkpoint/2'"
    ):
        load_checkpoint(copy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embedding_dim", 13),
        ("batch_norm", True),
        ("hidden_dims", [5]),
        ("n_features", 10**9),
        ("activation", "no"),
    ],
)
def test_description_of_another_network(copy: Path, field: str, value: Any) -> None:
    rewrite(copy, lambda description: description["architecture"].__setitem__(field, value))
    with pytest.raises(CheckpointError):
        load_checkpoint(copy)


@pytest.mark.parametrize(
    ("name", "key", "tensor"),
    [
        ("weights", "encoder.0.weight", torch.zeros(12, 30, dtype=torch.float64)),
        ("weights", "foreign", torch.zeros(1)),
        ("statistics", "mean", torch.zeros(29)),
        ("statistics", "mean", torch.full((30,), torch.nan)),
        ("statistics", "scale", torch.zeros(30)),
        ("statistics", "scale", torch.ones(30, dtype=torch.int32)),
        ("statistics", "foreign", torch.zeros(30)),
        ("held_out", "features", torch.zeros(4, 29)),
        ("held_out", "features", torch.zeros(0, 30)),
        ("held_out", "scores", torch.tensor([2.0, 1.0], dtype=torch.float64)),
        ("held_out", "scores", torch.tensor([1.0])),
    ],
)
def test_tensors_that_do_not_fit(copy: Path, name: str, key: str, tensor: torch.Tensor) -> None:
    from safetensors.torch import load, save

    file = f"{name}.safetensors"
    content = save({**load((copy / file).read_bytes()), key: tensor})
    (copy / file).write_bytes(content)
    rewrite(copy, lambda description: description["files"].__setitem__(file, sha256(content)))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(copy)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just(10**400)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_of_the_description_is_read_or_refused(copy: Path, data: st.DataObject) -> None:
    original = (copy / "checkpoint.json").read_bytes()
    description = json.loads(original)
    place: Any = description
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    if data.draw(st.booleans()) and isinstance(place, dict):
        del place[key]
    else:
        place[key] = data.draw(JSON)
    try:
        (copy / "checkpoint.json").write_text(json.dumps(description))
        found = load_checkpoint(copy)
        assert len(found.names) == 30
        found.score(found.held_out.features[:2])
    except CheckpointError as error:
        assert "\n" not in str(error)
    finally:
        (copy / "checkpoint.json").write_bytes(original)


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 29)), np.zeros(30), np.zeros((2, 30), dtype="U3"), [["a"] * 30], np.zeros((1, 2, 30))]
)
def test_scoring_refuses_other_rows(trained: TrainedAutoencoder, rows: Any) -> None:
    with pytest.raises(InputError, match=r"rows: numbers of shape \(rows, 30\) expected"):
        trained.score(rows)


def test_no_rows_give_no_scores(trained: TrainedAutoencoder) -> None:
    assert trained.score(np.empty((0, 30))).shape == (0,)
    assert trained.reconstruct(np.empty((0, 30))).shape == (0, 30)
