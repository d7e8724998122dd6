"""`aetool export --module` and `aetool adopt`, and bundles whose rows are no table, through the command line."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

NETS = """
import torch
from dataclasses import dataclass
from torch import nn

import beside

@dataclass
class Found:
    reconstruction: torch.Tensor
    embedding: torch.Tensor

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 3), nn.Tanh())
        self.decoder = nn.Linear(3, width)
    def forward(self, x):
        z = self.encoder(x)
        return Found(self.decoder(z), z)

class Images(nn.Module):
    "The embedding has axes of its own."
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(2, 3, 2, 2), nn.ConvTranspose2d(3, 2, 2, 2)
    def forward(self, x):
        return self.up(self.down(x))

class NoParts(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(2, 2, 3, padding=1)
    def forward(self, x):
        return torch.tanh(self.body(x))

class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
    def forward(self, x):
        z = self.a(x)
        return z, self.b(z)

class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.log_variance, self.out = nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(2, 4)
    def encode(self, x):
        return self.mean(x), self.log_variance(x)
    def decode(self, z):
        return self.out(z)
    def forward(self, x):
        mean, log_variance = self.encode(x)
        return self.decode(mean + torch.randn_like(mean) * log_variance.exp()), mean, log_variance

class NeedsWidth(Net):
    def __init__(self, width):
        super().__init__(width)

class Classifier(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

def make():
    torch.manual_seed(beside.SEED)
    return Net()

def fails():
    raise RuntimeError("no data here")

made = make()
number = 3
"""


@pytest.fixture
def net(work):
    """The current directory with net.py."""
    (work / "net.py").write_text(NETS, encoding="utf-8")
    (work / "beside.py").write_text("SEED = 3\n", encoding="utf-8")
    return work


@pytest.fixture(scope="session")
def weights():
    torch.manual_seed(11)
    return torch.nn.ModuleDict(
        {"encoder": torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh()), "decoder": torch.nn.Linear(3, 4)}
    ).state_dict()


def rows_of(shape, count=60, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def document_of(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def reconstruct(state, rows):
    rows = torch.from_numpy(rows)
    z = torch.tanh(rows @ state["encoder.0.weight"].T + state["encoder.0.bias"])
    return (z @ state["decoder.weight"].T + state["decoder.bias"]).numpy()


DATA = ("--label", "broken", "--drop", "id")


# export --module


@pytest.mark.parametrize("name", ["Net", "make", "made"])
def test_a_class_a_function_and_a_module_are_exported_with_a_table(aetool, made, net, name):
    result = aetool("export", "--module", f"net.py:{name}", "--data", made / "new.csv", *DATA, "--json")
    document = document_of(result)
    assert document["bundle"] == "exported/net" and document["embedding_shape"] == [3]
    assert document["threshold"]["rows"] == 30  # of 40: labelled anomalies are left out
    assert "--weights" in result.stderr
    scored = document_of(aetool("score", "exported/net", made / "new.csv", "--json"))
    assert scored["rows"] == 40
    assert document_of(aetool("verify", "exported/net", "--data", made / "new.csv", "--json"))["passed"]


def test_the_weights_of_every_format_are_those_exported(aetool, net, weights):
    rows = rows_of((4,))
    np.save("rows.npy", rows)
    save_file(weights, "w.safetensors")
    parallel = {f"module.{name}": value for name, value in weights.items()}
    compiled = {name.replace("encoder.", "encoder._orig_mod."): value for name, value in weights.items()}
    torch.save(weights, "w.pt")
    torch.save({"epoch": 3, "state_dict": parallel}, "parallel.pt")
    torch.save({"model_state_dict": compiled, "optimizer": {"lr": 0.1}}, "compiled.ckpt")
    torch.save({f"_orig_mod.{name}": value for name, value in parallel.items()}, "both.pth")
    torch.save(weights, "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "net": weights}, "nested.pt")
    np.save("expected.npy", reconstruct(weights, rows))
    from aetool.model.foreign.user_code import load_module

    for file in ("w.safetensors", "w.pt", "parallel.pt", "compiled.ckpt", "both.pth", "old.pt", "nested.pt"):
        loaded = load_module("net.py:Net", file).state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in weights.items()), file
    given = ("--weights", "parallel.pt", "--data", "rows.npy", "-o", "b")
    result = aetool("export", "--module", "net.py:Net", *given)
    said = "parallel.pt: used the weights under 'state_dict', without 'module.' in front of their names"
    assert result.exit_code == 0 and " ".join(result.stderr.split()).startswith(said)
    assert aetool("reconstruct", "b", "rows.npy", "-o", "out.npy").exit_code == 0
    np.testing.assert_allclose(np.load("out.npy"), np.load("expected.npy"), atol=1e-6)


def test_options_reach_the_library(aetool, net):
    np.save("rows.npy", rows_of((4,), 200))
    common = ("--data", "rows.npy", "--name", "mine", "--onnxruntime-min", "1.17", "--opset", "17", "--json")
    outputs = ("--outputs", "embedding,reconstruction", "--score", "mae", "--contamination", "0.2")
    assert aetool("export", "--module", "net.py:Square", *outputs, *common, "-o", "square").exit_code == 0
    told = document_of(aetool("info", "square", "--json"))
    assert (told["name"], told["opset"], told["score"]["kind"]) == ("mine", 17, "mae")
    assert told["ir_version"] <= 9 and told["threshold"]["contamination"] == 0.2
    parts = ("--encoder", "down", "--decoder", "up", "--input-shape", "2,4,4", "--threshold", "0.5")
    assert aetool("export", "--module", "net.py:Images", *parts, "-o", "images").exit_code == 0
    told = document_of(aetool("info", "images", "--json"))
    assert told["embedding_shape"] == [3, 2, 2] and told["threshold"]["value"] == 0.5
    assert aetool("export", "--module", "net.py:Vae", "--latent", "mean", *common, "-o", "vae").exit_code == 0


def test_a_checkpoint_is_exported_for_an_old_runtime_too(aetool, made, work):
    given = ("--onnxruntime-min", "1.16", "--opset", "15", "--json")
    assert aetool("export", made / "checkpoint", "-o", "old", *given).exit_code == 0
    told = document_of(aetool("info", "old", "--json"))
    assert told["opset"] == 15 and told["ir_version"] <= 9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "CHECKPOINT or --module"),
        (("checkpoint", "--module", "net.py:Net"), "CHECKPOINT or --module"),
        (("checkpoint", "--weights", "w.pt"), "--weights goes with --module"),
        (("checkpoint", "--input-shape", "4"), "--input-shape goes with --module"),
        (("--module", "net.py:Net"), "--data"),
        (("--module", "net.py:Net", "--data", "x.npy", "--input-shape", "4"), "--data"),
        (("--module", "net.py:Net", "--input-shape", "4", "--label", "y"), "--label needs --data"),
        (("--module", "net.py:Net", "--input-shape", "4", "--contamination", "0.1"), "--contamination needs"),
        (("--module", "net.py:Net", "--input-shape", "4,x"), "list of integers"),
        (("--module", "n.py:N", "--data", "x", "--threshold", "1", "--contamination", "0.1"), "one of them"),
    ],
)
def test_a_wrong_command_line_is_2_and_writes_nothing(aetool, net, arguments, said):
    before = sorted(net.iterdir())
    result = aetool("export", *arguments)
    assert result.exit_code == 2 and said in result.stderr and result.stdout == ""
    assert sorted(net.iterdir()) == before


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("net.py", "FILE.py:CALLABLE is expected"),
        ("net.py:", "FILE.py:CALLABLE is expected"),
        ("nowhere.py:Net", "nowhere.py: cannot be read"),
        ("net.py:Nett", "has no 'Nett'; it has Found, Net, Images"),
        ("net.py:number", "gives int, a torch.nn.Module is expected"),
        ("net.py:NeedsWidth", "missing 1 required positional argument: 'width'"),
        ("net.py:fails", "line 70: fails (RuntimeError: no data here)"),
        ("broken.py:Net", "broken.py, line 3: fails (SyntaxError"),
        ("absent.py:Net", "absent.py, line 2: fails (ModuleNotFoundError: No module named 'no_such_package'"),
        ("exits.py:Net", "exits.py, line 2: fails (SystemExit: 3"),
        ("net.py:Classifier", "none has it"),
        ("net.py:Vae", "--latent mean"),
    ],
)
def test_a_file_that_gives_no_autoencoder_is_one_line(aetool, fails, net, spec, said):
    (net / "broken.py").write_text("import torch\n\nclass Net(:\n")
    (net / "absent.py").write_text("import torch\nimport no_such_package\n")
    (net / "exits.py").write_text("import sys\nsys.exit(3)\n")
    result = aetool("export", "--module", spec, "--input-shape", "4", "-o", "b")
    assert result.exit_code == 1 and said in result.stderr, result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ") and "Traceback" not in result.stderr
    assert not (net / "b").exists()


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("nowhere.pt", "no such file"),
        ("whole.pt", "could run code; if you trust it, save only the weights: torch.save(model.state_dict()"),
        ("evil.pkl", "refused, it holds more than weights"),
        ("text.pt", "text.pt: "),
        ("cut.pt", "not a state dict that torch can read"),
        ("cut.safetensors", "not a valid safetensors file"),
        ("list.pt", "a state dict is expected, found list"),
        ("nested.pt", "alone or under a key, found epoch, loss"),
        ("other.pt", "the file has, beside them, extra"),
        ("few.pt", "lacks decoder.weight"),
        ("wide.pt", "decoder.bias (5,), not (4,)"),
    ],
)
def test_weights_that_cannot_be_trusted_or_do_not_fit_are_refused(fails, net, weights, file, said, capfd):
    from collections import OrderedDict

    (net / "text.pt").write_text("hello")
    (net / "evil.pkl").write_bytes(pickle.dumps({"weight": Evil()}, protocol=2))
    torch.save(torch.nn.Linear(2, 2), "whole.pt")
    torch.save(weights, "w.pt")
    (net / "cut.pt").write_bytes((net / "w.pt").read_bytes()[:900])
    save_file(weights, "w.safetensors")
    (net / "cut.safetensors").write_bytes((net / "w.safetensors").read_bytes()[:-8])
    torch.save([1, 2], "list.pt")
    torch.save({"epoch": 3, "loss": torch.zeros(1)}, "nested.pt")
    torch.save({**weights, "extra": torch.zeros(1)}, "other.pt")
    torch.save(OrderedDict((k, v) for k, v in weights.items() if k != "decoder.weight"), "few.pt")
    torch.save({**weights, "decoder.bias": torch.zeros(5)}, "wide.pt")
    message = fails("export", "--module", "net.py:Net", "--weights", file, "--input-shape", "4", "-o", "b")
    assert said in message and file in message
    assert not (net / "b").exists() and "run\n" not in capfd.readouterr().out


def test_rows_that_cannot_be_used_are_one_line(fails, aetool, made, net):
    export = ("export", "--module", "net.py:Net", "--weights", "w.pt", "-o", "b", "--data")
    np.save("text.npy", np.array(["a"]))
    np.save("cube.npy", rows_of((2, 4, 4)))
    np.savez("two.npz", a=rows_of((2, 4, 4)), b=rows_of((2, 4, 4)))
    np.savez("all.npz", X=rows_of((2, 4, 4), 3), y=np.ones(3))
    rows = rows_of((4,))
    rows[1, 2] = np.nan
    np.save("holes.npy", rows)
    assert "nowhere.npy" in fails(*export, "nowhere.npy")
    assert "text.npy" in fails(*export, "text.npy")
    assert "leave them out" in fails(*export, "cube.npy", "--drop", "id")
    assert "name it X" in fails(*export, "two.npz")
    result = aetool(*export, "all.npz", "--label", "y")
    assert result.exit_code == 1 and "no normal rows" in result.stderr and "--normal 1" in result.stderr
    assert "1 of 60 rows hold missing" in fails(*export, "holes.npy")
    assert "'id'" in fails(*export, made / "new.csv")
    assert not (net / "b").exists()


def test_overwrite_is_needed_and_told_before_any_work(fails, net, monkeypatch):
    monkeypatch.setattr("aetool.export.export_module", None)
    (net / "b").mkdir()
    assert "--overwrite" in fails("export", "--module", "net.py:Net", "--input-shape", "4", "-o", "b")
    np.save("x.npy", np.ones((3, 4)))
    assert "--overwrite" in fails("adopt", "m.onnx", "--data", "x.npy", "-o", "b")


# bundles whose rows are no table


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A directory with rows.npy, rows.npz, and bundles of images: `parts`, and `whole` without an encoder."""
    from click.testing import CliRunner

    from aetool.cli import main

    folder = tmp_path_factory.mktemp("images")
    (folder / "net.py").write_text(NETS, encoding="utf-8")
    (folder / "beside.py").write_text("SEED = 3\n", encoding="utf-8")
    rows = rows_of((2, 4, 4))
    np.save(folder / "rows.npy", rows)
    ids = np.array([f"i{i}" for i in range(60)])
    np.savez(folder / "rows.npz", X=rows, Z=rows, y=np.arange(60) >= 50, id=ids)
    for name, *more in (("Images", "--encoder", "down", "--decoder", "up"), ("NoParts",)):
        spec, place = f"{folder}/net.py:{name}", str(folder / {"Images": "parts", "NoParts": "whole"}[name])
        given = ["--data", str(folder / "rows.npz"), "--label", "y", *more, "-o", place]
        result = CliRunner().invoke(main, ["export", "--module", spec, *given])
        assert result.exit_code == 0, result.output
    return folder


def test_images_are_scored_to_a_table_and_decoded_to_an_array(aetool, images, work):
    import aetool as package

    rows, model = np.load(images / "rows.npy"), package.load(images / "parts")
    data = document_of(aetool("score", images / "parts", images / "rows.npz", "--keep", "id,y", "--json"))["data"]
    np.testing.assert_array_equal(np.float32(data["score"]), model.score(rows))
    assert data["id"][:2] == ["i0", "i1"] and sum(data["y"]) == 10
    assert aetool("score", images / "parts", images / "rows.npy").stdout.startswith("score,is_anomaly\n")
    assert aetool("encode", images / "parts", images / "rows.npy", "-o", "z.npy").exit_code == 0
    np.testing.assert_array_equal(np.load("z.npy"), model.encode(rows))
    kept = ("--keep", "id", "-o", "r.npz")
    assert aetool("reconstruct", images / "parts", images / "rows.npz", *kept).exit_code == 0
    with np.load("r.npz") as found:
        assert sorted(found) == ["id", "reconstruction"]
        np.testing.assert_array_equal(found["reconstruction"], model.reconstruct(rows))


def test_an_array_goes_to_array_files_only(fails, images, work):
    reconstruct = ("reconstruct", images / "parts", images / "rows.npz")
    assert "-o FILE.npy" in fails(*reconstruct)
    assert ".npy or .npz" in fails(*reconstruct, "-o", "r.csv")
    assert ".npz" in fails(*reconstruct, "--keep", "id", "-o", "r.npy")
    np.save("r.npy", np.zeros(1))
    assert "--overwrite" in fails(*reconstruct, "-o", "r.npy")
    assert [path.name for path in work.iterdir()] == ["r.npy"]


def test_without_an_encoder_encode_says_so(aetool, fails, images):
    assert "has no encoder" in fails("encode", images / "whole", images / "rows.npy")
    assert aetool("score", images / "whole", images / "rows.npy").exit_code == 0
    assert aetool("verify", images / "whole", "--data", images / "rows.npy").exit_code == 0


def test_rows_of_another_shape_or_a_table_are_one_line(fails, made, images, work):
    np.save("small.npy", rows_of((2, 3, 3)))
    for command in ("score", "verify", "evaluate"):
        option = ["--data"] if command == "verify" else []
        assert "(rows, 2, 4, 4)" in fails(command, images / "parts", *option, "small.npy")
        assert ".npy or .npz" in fails(command, images / "parts", *option, made / "new.csv")
        assert "no such file" in fails(command, images / "parts", *option, "nowhere.npy")


def test_verify_and_evaluate_take_arrays(aetool, images):
    verified = document_of(aetool("verify", images / "parts", "--data", images / "rows.npy", "--json"))
    assert verified["passed"] and {record["rows"] for record in verified["parity"]} == {"golden", "one by one"}
    told = document_of(aetool("evaluate", images / "parts", images / "rows.npz", "--label", "y", "--json"))
    assert told["rows"] == 60 and told["anomalies"] == 10 and 0 <= told["auroc"] <= 1


def test_info_tells_shapes_score_and_provenance(aetool, images):
    shown = aetool("info", images / "parts", "--all").stdout
    for line in (
        r"input shape      2 x 4 x 4",
        "embedding shape  3 x 2 x 2",
        "module Images",
        "squared difference",
    ):
        assert line in shown
    assert "embedding shape  none" in aetool("info", images / "whole").stdout


def test_a_module_of_plain_rows_without_names_takes_columns_in_their_order(aetool, fails, made, net):
    assert aetool("export", "--module", "net.py:Net", "--input-shape", "4", "-o", "b").exit_code == 0
    given = ("reconstruct", "b", made / "new.csv", "--keep", "id,broken", "--json")
    assert document_of(aetool(*given))["columns"][2:] == [f"reconstruction_{i}" for i in range(4)]
    assert "(rows, 4)" in fails("reconstruct", "b", made / "new.csv", "--keep", "id")


def test_a_damaged_archive_is_named(fails, images, work):
    with zipfile.ZipFile("bad.npz", "w") as archive:
        archive.writestr("X.npy", b"no array")
    assert "bad.npz" in fails("score", images / "parts", "bad.npz")
