"""The real CUDA layer; what needs a GPU skips without one."""

import gc
import threading

import numpy as np
import pytest

from sameo_model.runtime.backends import cuda, cuda_driver
from sameo_model.runtime.backends.base import BackendUnavailableError


def no_engine(data, stream):
    raise NotImplementedError("this test loads no engine")


def test_without_a_driver_the_reason_and_remedy_are_named(monkeypatch):
    monkeypatch.setattr(cuda_driver, "DRIVER_LIBRARY", "libnone.so.1")
    assert "there is no NVIDIA driver" in cuda.unavailable_reason()
    with pytest.raises(
        BackendUnavailableError, match="in a container also the option '--gpus all'"
    ):
        cuda.open_gpu(no_engine)


def test_without_pycuda_the_reason_and_remedy_are_named(monkeypatch):
    # Any library stands for the driver: it is only loaded.
    monkeypatch.setattr(cuda_driver, "DRIVER_LIBRARY", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cuda.unavailable_reason() == (
        "the Python package pycuda is missing; run 'pip install pycuda'"
    )


@pytest.fixture
def gpu():
    pytest.importorskip("pycuda", reason="pycuda is not installed")
    gpu = cuda.open_gpu(no_engine)
    yield gpu
    gpu.close()


@pytest.mark.gpu
def test_bytes_survive_the_way_to_the_gpu_and_back(gpu):
    with gpu.current():
        source, target = gpu.pin(1000), gpu.pin(1000)
        first, second = gpu.allocate(1000), gpu.allocate(1000)
        source.array[:] = np.arange(1000) % 251
        gpu.upload(first, source, 1000)
        gpu.copy(second, first, 1000)
        gpu.download(target, second, 1000)
        gpu.synchronise()
        np.testing.assert_array_equal(source.array, target.array)
        for block in (first, second):
            gpu.free(block)
        for block in (source, target):
            gpu.unpin(block)


@pytest.mark.gpu
def test_recorded_copies_run_again(gpu):
    with gpu.current():
        source, target, block = gpu.pin(16), gpu.pin(16), gpu.allocate(16)

        def work():
            gpu.upload(block, source, 16)
            gpu.download(target, block, 16)

        launch = gpu.record(work)
        for value in (1, 2):
            source.array[:] = value
            launch()
            gpu.synchronise()
            assert set(target.array.tolist()) == {value}


@pytest.mark.gpu
def test_no_context_stays_current_and_other_threads_may_come(gpu):
    import pycuda.driver

    assert pycuda.driver.Context.get_current() is None
    results = []

    def work():
        with gpu.current():
            block = gpu.allocate(64)
            gpu.free(block)
        results.append(pycuda.driver.Context.get_current())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [None]


@pytest.mark.gpu
def test_more_memory_than_there_is_raises_memory_error(gpu):
    with gpu.current(), pytest.raises(MemoryError, match="bytes left"):
        gpu.allocate(1 << 50)


@pytest.mark.gpu
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_gpu_is_closed_from_any_thread_and_opens_again(elsewhere):
    pytest.importorskip("pycuda", reason="pycuda is not installed")
    gpu = cuda.open_gpu(no_engine)
    with gpu.current():
        gpu.allocate(64)
    if elsewhere:
        thread = threading.Thread(target=gpu.close)
        thread.start()
        thread.join()
    else:
        gpu.close()
    gpu.close()
    gc.collect()
    again = cuda.open_gpu(no_engine)
    with again.current():
        again.synchronise()
    again.close()


@pytest.mark.gpu
def test_the_primary_context_is_the_one_that_pytorch_uses(gpu):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch has no CUDA")
    values = torch.arange(16, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    with gpu.current():
        target = gpu.pin(16)
        gpu.download(target, cuda.DeviceBlock(values.data_ptr(), 16), 16)
        gpu.synchronise()
    assert target.array.tolist() == list(range(16))
