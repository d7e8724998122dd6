"""The model repository, as Triton's own protobuf reads it."""

import json
import subprocess

import hosts
import numpy as np
import pytest

from aetool.bundle.golden import read_golden
from aetool.deploy.triton import triton

PARSE = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
configs = [text_format.Parse(open(path).read(), ModelConfig()) for path in sys.argv[1:]]
print(json.dumps([json_format.MessageToDict(config, preserving_proto_field_name=True) for config in configs]))
"""


@pytest.fixture(scope="module")
def repository(cancer_bundle, write):
    return write(triton(cancer_bundle))


@pytest.fixture(scope="module")
def configs(repository, need):
    need("Triton")
    paths = sorted(repository.glob("*/config.pbtxt"))
    command = [hosts.TRITON_PYTHON, "-c", PARSE, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {path.parent.name: config for path, config in zip(paths, json.loads(done.stdout), strict=True)}


def test_every_graph_is_a_model_named_like_its_directory(configs, repository, cancer_bundle):
    assert set(configs) == {
        f"breast_cancer_{graph}" for graph in ("encoder", "decoder", "autoencoder", "detector", "explainer")
    }
    for name, config in configs.items():
        assert config["name"] == name and config["backend"] == "onnxruntime"
        model = (repository / name / "1" / "model.onnx").read_bytes()
        assert model == cancer_bundle.graph(name.removeprefix("breast_cancer_"))


def test_shapes_are_those_of_one_row(configs):
    def ports(name, side):
        return {port["name"]: (port["data_type"], port["dims"]) for port in configs[f"breast_cancer_{name}"][side]}

    row, code = {"features": ("TYPE_FP32", ["30"])}, {"embedding": ("TYPE_FP32", ["120"])}
    back = {"reconstruction": ("TYPE_FP32", ["30"])}
    assert ports("encoder", "input") == row and ports("encoder", "output") == code
    assert ports("decoder", "input") == code and ports("decoder", "output") == back
    assert ports("autoencoder", "output") == {**code, **back}
    assert ports("detector", "input") == {**row, "threshold": ("TYPE_FP32", ["1"])}
    _, threshold = configs["breast_cancer_detector"]["input"]
    assert threshold["optional"] and threshold["reshape"] == {}
    assert ports("explainer", "output") == {"contribution": ("TYPE_FP32", ["30"]), **back}
    assert ports("detector", "output") == {"score": ("TYPE_FP32", ["1"]), "is_anomaly": ("TYPE_BOOL", ["1"])}
    for port in configs["breast_cancer_detector"]["output"]:
        assert port["reshape"] == {}  # to no dimensions but the batch


def test_requests_are_batched_bounded_and_warmed_up(configs, repository, cancer_bundle):
    rows = {
        "features": read_golden(cancer_bundle)["features"],
        "embedding": read_golden(cancer_bundle)["embedding"],
    }
    for name, config in configs.items():
        policy = config["dynamic_batching"]["default_queue_policy"]
        assert policy["max_queue_size"] > 0 and int(policy["default_timeout_microseconds"]) > 0
        assert config["instance_group"] == [{"count": 1, "kind": "KIND_CPU"}]
        assert config["parameters"]["intra_op_thread_count"] == {"string_value": "1"}
        assert [warmup["batch_size"] for warmup in config["model_warmup"]] == [1, config["max_batch_size"]]
        for warmup in config["model_warmup"]:
            ((given, source),) = warmup["inputs"].items()
            content = (repository / name / "warmup" / source["input_data_file"]).read_bytes()
            np.testing.assert_array_equal(np.frombuffer(content, "<f4"), rows[given][0].astype("<f4"))
            assert len(content) == 4 * int(source["dims"][0])
