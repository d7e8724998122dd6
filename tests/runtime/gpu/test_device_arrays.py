"""Arrays on a device in and out by DLPack, staged chunks: with the CPU in a GPU's place."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aetool import InputError
from aetool.runtime.gpu import _arrays as arrays
from aetool.runtime.gpu._arrays import CPU, CUDA, DeviceArray, is_device_array, run_on_device
from aetool.runtime.gpu.pinned import Staging, pinned_memory
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS, cuda_devices

GRAPHS = ["encoder", "autoencoder", "detector"]


@pytest.fixture(scope="module", params=GRAPHS)
def session(request, exported):
    return open_session((exported / f"{request.param}.onnx").read_bytes(), PROVIDERS["cpu"], where=request.param)


@pytest.fixture(scope="module")
def detector(exported):
    return open_session((exported / "detector.onnx").read_bytes(), PROVIDERS["cpu"], where="detector")


@pytest.fixture
def writable(rows):
    return rows.copy()


def expected(session, rows):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: rows}), strict=True))


def equal(found, wanted):
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        array = found[name].numpy() if isinstance(found[name], DeviceArray) else found[name]
        assert array.dtype == values.dtype and array.shape == values.shape
        np.testing.assert_allclose(array, values, rtol=1e-5, atol=1e-6)


# DLPack


def test_what_speaks_dlpack_is_run_where_it_is(session, writable):
    equal(run_on_device(session, writable, (30,), device=CPU), expected(session, writable))


def test_no_rows_give_no_results(session, writable):
    found = run_on_device(session, writable[:0], (30,), device=CPU)
    assert {array.shape[0] for array in found.values()} == {0}


def test_results_are_taken_over_without_a_copy_and_outlive_everything(exported, writable):
    opened = open_session((exported / "detector.onnx").read_bytes(), PROVIDERS["cpu"], where="detector")
    wanted = expected(opened, writable)
    found = run_on_device(opened, writable, (30,), device=CPU)
    scores, decisions = np.from_dlpack(found["score"]), np.from_dlpack(found["is_anomaly"])
    assert np.shares_memory(scores, np.from_dlpack(found["score"]))
    del found, opened
    gc.collect()
    np.testing.assert_allclose(scores, wanted["score"], rtol=1e-5)
    assert decisions.dtype == np.bool_
    np.testing.assert_array_equal(decisions, wanted["is_anomaly"])
    assert (~decisions).dtype == np.bool_


def test_a_device_array_says_what_it_is(detector, writable):
    scores = run_on_device(detector, writable, (30,), device=CPU)["score"]
    assert (scores.shape, scores.dtype, scores.device) == ((84,), np.float32, CPU)
    assert repr(scores) == "<DeviceArray float32 (84,) on cpu:0>"
    copy = scores.numpy()
    copy[:] = -1
    assert (scores.numpy() != -1).all()


def test_a_device_array_is_not_copied_nor_moved(detector, writable):
    scores = run_on_device(detector, writable, (30,), device=CPU)["score"]
    assert scores.__dlpack__(stream=None, max_version=(1, 1), dl_device=CPU, copy=False) is not None
    for asked in ({"copy": True}, {"dl_device": CUDA}):
        with pytest.raises(BufferError, match="is not copied"):
            scores.__dlpack__(**asked)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.astype(np.float64), r"found tensor\(double\); convert it to float32"),
        (lambda x: x.astype(np.float16), r"found tensor\(float16\); convert it to float32"),
        (lambda x: x[:, :29].copy(), r"found shape \(84, 29\)"),
        (lambda x: x[0].copy(), r"found shape \(30,\); give rows of that shape, also a single one"),
        (lambda x: x[None].copy(), r"found shape \(1, 84, 30\)"),
        (lambda x: x[:, ::2], "cannot be shared as it is; make it float32, contiguous and free of gradients"),
        (np.asfortranarray, "cannot be shared as it is"),
        (lambda x: x > 0, "ndarray of bool that cannot be shared as it is|found tensor"),
        (lambda x: x.astype(">f4"), "ndarray of >f4 that cannot be shared as it is"),
    ],
)
def test_what_the_graph_does_not_take_is_refused_and_never_converted(detector, writable, change, told):
    with pytest.raises(InputError, match=told) as caught:
        run_on_device(detector, change(writable), (30,), device=CPU)
    message = str(caught.value)
    assert message.startswith("features: expected float32 of shape (rows, 30) on cpu:0, ")
    assert message.isprintable() and "onnxruntime_src" not in message


def test_an_array_elsewhere_is_refused(detector, writable):
    with pytest.raises(InputError, match="on cuda:0, found an array on cpu:0; move it to cuda:0"):
        run_on_device(detector, writable, (30,), device=CUDA)


class OnCuda:
    def __init__(self, index):
        self.index = index

    def __dlpack_device__(self):
        return 2, self.index

    def __dlpack__(self):
        raise AssertionError("taken")


def test_only_what_is_on_a_gpu_goes_the_gpus_way(detector, writable):
    assert not is_device_array(writable) and not is_device_array([1.0]) and not is_device_array(None)
    assert is_device_array(OnCuda(0)) and is_device_array(OnCuda(1))
    with pytest.raises(InputError, match="found an array on cuda:1; move it to cuda:0"):
        run_on_device(detector, OnCuda(1), (30,))


def test_torch_tensors_in_and_out_without_a_copy(session, writable, monkeypatch):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(writable)
    bound = []
    real = arrays.onnxruntime().IOBinding.bind_ortvalue_input

    def bind(self, name, value):
        bound.append(value.data_ptr())
        real(self, name, value)

    monkeypatch.setattr(arrays.onnxruntime().IOBinding, "bind_ortvalue_input", bind)
    found = run_on_device(session, tensor, (30,), device=CPU)
    assert bound == [tensor.data_ptr()]
    for name, values in expected(session, writable).items():
        taken = torch.from_dlpack(found[name])
        assert taken.dtype == (torch.bool if values.dtype == bool else torch.float32)
        assert taken.data_ptr() == torch.from_dlpack(found[name]).data_ptr()
        np.testing.assert_allclose(taken.numpy(), values, rtol=1e-5, atol=1e-6)


def test_torch_tensors_that_cannot_be_shared_are_refused(detector, writable):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(writable)
    for bad in (tensor.clone().requires_grad_(), tensor.T.contiguous().T, tensor.to_sparse(), tensor.double()):
        with pytest.raises(InputError, match="features: expected float32"):
            run_on_device(detector, bad, (30,), device=CPU)


# Staging


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250, 2000])
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_staged_rows_give_what_one_run_gives(session, many, count, lanes):
    widest = max(values[:1].nbytes for values in (many, *expected(session, many[:1]).values()))
    staging = Staging(session, device="cpu", chunk_bytes=100 * widest, lanes=lanes)
    assert staging.chunk_rows == 100
    equal(staging.run(many[:count]), expected(session, many[:count]))


def test_what_a_lane_had_before_does_not_come_back(detector, many):
    staging = Staging(detector, device="cpu", chunk_bytes=12_000, lanes=2)
    broken = np.full_like(many[:500], np.nan)
    assert staging.run(broken)["is_anomaly"].all()
    equal(staging.run(many[:150]), expected(detector, many[:150]))


def test_threads_may_share_the_lanes(detector, many):
    staging = Staging(detector, device="cpu", chunk_bytes=12_000, lanes=2)
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda shift: (shift, staging.run(np.roll(many, shift, 0))), range(12)):
            equal(found[1], expected(detector, np.roll(many, found[0], 0)))


def test_a_lane_is_given_back_after_an_error(detector, many):
    staging = Staging(detector, device="cpu", chunk_bytes=12_000, lanes=2)
    for _ in range(5):
        with pytest.raises(ValueError, match="broadcast"):
            staging.run(many[:300, :7])
    equal(staging.run(many), expected(detector, many))


def test_lanes_work_side_by_side(detector, many, monkeypatch):
    """Two chunks are under way at once: each waits for the other."""
    staging = Staging(detector, device="cpu", chunk_bytes=12_000, lanes=2)
    barrier = threading.Barrier(2, timeout=30)
    real = detector.run_with_iobinding

    def run(binding):
        barrier.wait()
        real(binding)

    monkeypatch.setattr(detector, "run_with_iobinding", run)
    equal(staging.run(many[: 4 * staging.chunk_rows]), expected(detector, many[: 4 * staging.chunk_rows]))


def test_page_locked_memory_is_offered_or_not():
    assert cuda_devices() or pinned_memory() is None
