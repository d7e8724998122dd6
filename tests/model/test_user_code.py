"""Modules in packages, and weights as trainers write them, are found; what is another module's is refused."""

import argparse
import sys

import pytest
import torch
from torch import nn

from aetool.errors import ExportError, InputError
from aetool.model.foreign.user_code import load_module, load_weights

PACKAGE = {
    "pkg/__init__.py": "WIDTH = 4\n",
    "pkg/layers.py": "from torch import nn\nclass Layer(nn.Linear): pass\n",
    "pkg/models/__init__.py": "",
    "pkg/models/beside.py": "SEED = 3\n",
    "pkg/models/ae.py": "import torch\nfrom torch import nn\nfrom .. import WIDTH\nfrom ..layers import Layer\n"
    "from .beside import SEED\nclass AE(nn.Sequential):\n    def __init__(self):\n"
    "        torch.manual_seed(SEED)\n        super().__init__(Layer(WIDTH, 2), Layer(2, WIDTH))\n"
    "def make(): return AE()\n",
    "pkg/models/plain.py": "from pkg.layers import Layer\nimport beside\n"
    "def make(): return Layer(2, beside.SEED)\n",
    "loose/inner/net.py": "from ..helper import Net\n",
    "loose/helper.py": "from torch import nn\nclass Net(nn.Linear):\n"
    "    def __init__(self): super().__init__(2, 2)\n",
    "pkg/models/broken.py": "from .beside import SEED\n\nraise RuntimeError('here')\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("pkg", "loose", "beside"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("pkg/models/ae.py:AE", "AE"),
        ("./pkg/models/ae.py:make", "AE"),
        ("pkg.models.ae:make", "AE"),
        ("pkg.models.ae:AE", "AE"),
        ("pkg/models/plain.py:make", "Layer"),
        ("pkg.models.plain:make", "Layer"),
        ("loose/inner/net.py:Net", "Net"),
        ("loose.inner.net:Net", "Net"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_module_of_a_package_is_found_by_file_and_by_name(spec, kind, absolute, package):
    if absolute and ".py:" in spec:
        spec = f"{package}/{spec}"
    before, path = sorted(package.rglob("*")), list(sys.path)
    assert type(load_module(spec)).__name__ == kind
    assert sorted(package.rglob("*")) == before and sys.path == path  # no cache is left, nor a place to look


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("pkg.models.absent:AE", "no pkg/models/absent.py in the current directory; FILE.py:CALLABLE is expected"),
        ("pkg.models.ae:EA", "pkg.models.ae: has no 'EA'; it has AE, make"),
        ("pkg/models/absent.py:AE", "cannot be read"),
        ("pkg/models/broken.py:AE", "broken.py, line 3: fails (RuntimeError: here)"),
        ("pkg.models.broken:AE", "broken.py, line 3: fails (RuntimeError: here)"),
    ],
)
def test_what_a_package_lacks_is_named(spec, said, package):
    with pytest.raises((InputError, ExportError)) as caught:
        load_module(spec)
    assert said in str(caught.value)


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 3), nn.BatchNorm1d(3))
        self.decoder = nn.Linear(3, width)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()


def state(seed=0):
    torch.manual_seed(seed)
    return Net().state_dict()


def prefixed(prefix, **others):
    return {**{f"{prefix}{name}": value for name, value in state().items()}, **others}


def without_counter():
    return {name: value for name, value in state().items() if not name.endswith("num_batches_tracked")}


def lightning():
    loops = {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": 3}}}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5",
        "state_dict": prefixed("model.", **{"loss.weight": torch.ones(2)}),
        "loops": loops,
        "optimizer_states": [{"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}],
        "hyper_parameters": {"args": argparse.Namespace(width=4), "loss": nn.MSELoss()},
    }


FILES = {
    "lightning": (
        lightning,
        "under 'state_dict', without 'model.' in front of their names, not loss.weight beside",
    ),
    "model": (lambda: {"model": state(), "step": 7}, "the weights under 'model'"),
    "net": (lambda: {"net": state(), "acc": 0.5}, "the weights under 'net'"),
    "any key": (lambda: {"my_nice_ae": state(), "optimizer": {"lr": 1}}, "the weights under 'my_nice_ae'"),
    "deeper": (lambda: {"states": {"model": state(), "opt": {"m": torch.ones(1)}}}, "under 'states.model'"),
    "parallel": (lambda: prefixed("module."), "without 'module.'"),
    "both": (lambda: {"model": prefixed("module.model.")}, "under 'model', without 'module.model.'"),
    "any prefix": (lambda: prefixed("backbone."), "without 'backbone.'"),
    "no counter": (without_counter, "without num_batches_tracked"),
    "average beside": (lambda: {"ema": state(1), "model": state()}, "under 'model', not those under 'ema'"),
    "average beside by prefix": (
        lambda: {**{f"ema_model.{k}": v for k, v in state(1).items()}, **prefixed("model.")},
        "without 'model.' in front of their names, not ema_model.encoder.0.weight",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_weights_are_found_as_trainers_write_them_and_it_is_said(case, tmp_path):
    make, said = FILES[case]
    torch.save(make(), tmp_path / "w.ckpt")
    module, told = Net(), []
    load_weights(module, tmp_path / "w.ckpt", told.append)
    assert all(torch.equal(module.state_dict()[name], value) for name, value in state().items())
    assert len(told) == 1 and said in told[0]


def test_weights_of_the_inner_module_are_given_to_one_that_wraps_it(tmp_path):
    torch.save(state(), tmp_path / "w.pt")
    module, told = Wrapped(), []
    load_weights(module, tmp_path / "w.pt", told.append)
    assert torch.equal(module.net.decoder.weight, state()["decoder.weight"])
    assert "with 'net.' in front" in told[0]


def test_a_plain_state_dict_needs_no_word(tmp_path):
    torch.save(state(), tmp_path / "w.pt")
    told = []
    load_weights(Net(), tmp_path / "w.pt", told.append)
    assert told == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {**state(), "more": torch.ones(1)}}, "under 'model', has, beside them, more"),
        ({"state_dict": {"encoder.0.weight": torch.ones(3, 4)}}, "lacks encoder.0.bias"),
        ({"model": Net(5).state_dict()}, "encoder.0.weight (3, 5), not (3, 4)"),
        ({"epoch": 3}, "a state dict of tensors is expected, alone or under a key, found epoch"),
    ],
)
def test_weights_of_another_module_are_refused_by_name(content, said, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ExportError) as caught:
        load_weights(Net(), tmp_path / "w.pt")
    assert said in str(caught.value)


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_code_that_a_file_names_is_not_run(tmp_path, capfd):
    torch.save({"model": state(), "hyper_parameters": Evil()}, tmp_path / "w.pt")
    load_weights(Net(), tmp_path / "w.pt")
    assert "ran" not in capfd.readouterr().out
