"""The stand-in's kernel and what is called of CUDA, as far as a machine without a GPU can tell."""

import ast
import concurrent.futures
import ctypes
import pathlib
import re
import subprocess

import numpy as np
import pytest
from cuda.bindings import driver, nvrtc, runtime

from benchmarks.gpu_check import kernel, places
from benchmarks.gpu_check.fakes import FakeGpu
from benchmarks.gpu_check.reattention import cubins, sanitized
from benchmarks.gpu_check.stand_in import expected, images_of

MODULES = {"driver": driver, "nvrtc": nvrtc, "runtime": runtime}


@pytest.mark.parametrize("capability", ["7.5", "8.9", "9.0", "12.0"])
def test_nvrtc_compiles_the_kernel(capability):
    code = kernel.compiled(capability)
    assert code.startswith(b"\x7fELF") and kernel.NAME in code


ON_A_CPU = """
struct { int x; } blockIdx, threadIdx, blockDim;
#define __global__
#define __syncthreads()
%s
extern "C" void run(int batch, int threads, const float* images, float* logits, float* scratch, int values, int classes) {
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < batch; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) residue_sums(images, logits, scratch, values, classes, 0);
}
"""


@pytest.mark.parametrize(("side", "classes"), [(32, 5), (32, 1000), (16, 7)])
def test_the_kernel_s_sums_are_the_ones_that_are_expected(tmp_path, side, classes):
    """Compiled for the CPU, a thread after the other; its clock stands still."""
    clock = re.compile(rb'asm volatile\("mov\.u64 %0, %%globaltimer;" : "=l"\((begin|now)\)\);')
    assert len(clock.findall(kernel.SOURCE)) == 2
    source = clock.sub(rb"\1 = 0;", kernel.SOURCE).decode()
    (tmp_path / "kernel.cpp").write_text(ON_A_CPU % source)
    library = tmp_path / "kernel.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-O1", "-o", library, tmp_path / "kernel.cpp"], check=True)
    images = images_of(6, 1, side)
    logits, scratch = (np.full((6, classes), np.nan, np.float32) for _ in range(2))
    addresses = [ctypes.c_void_p(each.ctypes.data) for each in (images, logits, scratch)]
    ctypes.CDLL(str(library)).run(6, kernel.THREADS, *addresses, images[0].size, classes)
    assert np.array_equal(logits, expected(images, classes))


def test_a_kernel_that_does_not_compile_says_why(monkeypatch):
    monkeypatch.setattr(kernel, "SOURCE", kernel.SOURCE.replace(b"float sum", b"flaot sum"))
    with pytest.raises(RuntimeError, match="flaot"):
        kernel.compiled("9.0")


def test_the_kernel_is_launched_with_its_own_parameters(monkeypatch):
    """What `cuLaunchKernel` would read through the pointers that it is given."""
    seen = []

    def launch(function, *arguments):
        grid, block, (shared, stream, parameters, extra) = arguments[:3], arguments[3:6], arguments[6:]
        pointers = (ctypes.c_void_p * 6).from_address(parameters)
        kinds = (*3 * (ctypes.c_uint64,), ctypes.c_int, ctypes.c_int, ctypes.c_uint64)
        seen.append((grid, block, shared, stream, extra, [k.from_address(p).value for k, p in zip(kinds, pointers)]))
        return (driver.CUresult.CUDA_SUCCESS,)

    monkeypatch.setattr(kernel.driver, "cuLaunchKernel", launch)
    made = kernel.Kernel.__new__(kernel.Kernel)
    made._function = "the function"
    made.launch(5, 32, 1 << 40, 2 << 40, 3 << 40, (150_528, 1000), 3_000_000)
    assert seen == [
        ((32, 1, 1), (kernel.THREADS, 1, 1), 0, 5, 0, [1 << 40, 2 << 40, 3 << 40, 150_528, 1000, 3_000_000])
    ]


def called(source):
    """module.name of CUDA's Python packages in a source, and names that are asked for as strings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in MODULES:
            yield node.value.id, node.attr
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_asked":
            yield "runtime", node.args[0].value


@pytest.mark.parametrize(
    "module", [kernel, places, cubins, sanitized], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_every_name_of_cuda_exists(module):
    names = set(called(pathlib.Path(module.__file__).read_text()))
    assert len(names) >= 5
    assert {each for each in names if not hasattr(MODULES[each[0]], each[1])} == set()


def test_a_name_that_does_not_exist_is_seen():
    assert set(called("runtime.cudaMalock(1)\n_asked('cudaMemGetInfos')")) == {
        ("runtime", "cudaMalock"), ("runtime", "cudaMemGetInfos"),
    }  # fmt: skip


def test_the_fake_place_has_what_the_real_one_has():
    public = {name for name in dir(places.Gpu()) if not name.startswith("_")}
    assert {name for name in dir(FakeGpu()) if not name.startswith("_")} - {"compute"} == public
    assert {name for name in (*vars(places.Place), *places.Place.__annotations__) if not name.startswith("_")} == public


@pytest.fixture
def answers(monkeypatch):
    """CUDA's runtime answers a call as it is told."""

    def tell(call, *values, error="cudaSuccess"):
        monkeypatch.setattr(runtime, call, lambda *arguments: (getattr(runtime.cudaError_t, error), *values))

    return tell


def test_the_real_place_reads_what_cuda_answers(answers):
    place, status = places.Gpu(), runtime.cudaStreamCaptureStatus
    answers("cudaMemGetInfo", 5, 10)
    assert place.free_bytes() == 5
    for value, is_capturing in (
        (status.cudaStreamCaptureStatusNone, False),
        (status.cudaStreamCaptureStatusActive, True),
    ):
        answers("cudaStreamIsCapturing", value)
        assert place.is_capturing(1) is is_capturing
    for kind, is_pinned in (("cudaMemoryTypeHost", True), ("cudaMemoryTypeUnregistered", False)):
        attributes = runtime.cudaPointerAttributes()
        attributes.type = getattr(runtime.cudaMemoryType, kind)
        answers("cudaPointerGetAttributes", attributes)
        assert place.is_pinned(1) is is_pinned
    answers("cudaPeekAtLastError", error="cudaErrorStreamCaptureInvalidated")
    assert place.last_error() == "cudaErrorStreamCaptureInvalidated"


def test_what_cuda_refuses_is_told(answers):
    answers("cudaMemGetInfo", None, None, error="cudaErrorNoDevice")
    with pytest.raises(RuntimeError, match="cudaMemGetInfo: cudaErrorNoDevice"):
        places.Gpu().free_bytes()
    with pytest.raises(RuntimeError, match="CUDA_ERROR_NO_DEVICE"):
        kernel.given((driver.CUresult.CUDA_ERROR_NO_DEVICE, None))


def test_a_capture_that_takes_an_allocation_leaves_none_behind(answers, monkeypatch):
    freed = []
    monkeypatch.setattr(
        runtime, "cudaFree", lambda address: freed.append(address) or (runtime.cudaError_t.cudaSuccess,)
    )
    answers("cudaMalloc", 7)
    places.Gpu().spoil_capture(1)
    answers("cudaMalloc", None, error="cudaErrorStreamCaptureUnsupported")
    places.Gpu().spoil_capture(1)
    assert freed == [7]


def test_the_kernel_is_compiled_once_whoever_runs_first(monkeypatch):
    made = []

    class Counting:
        def __init__(self, compute_capability):
            made.append(compute_capability)

        def launch(self, *arguments):
            pass

    monkeypatch.setattr(kernel, "Kernel", Counting)
    place = places.Gpu()
    monkeypatch.setattr(place, "cuda", FakeGpu().cuda)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: place.launch(1, 1, (1, 2, 3), (4, 5), 0), range(64)))
    assert made == ["8.9"]
