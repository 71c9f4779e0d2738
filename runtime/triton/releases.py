"""Which Triton can load a plan: a plan loads only in the TensorRT that wrote it, and every Triton carries one."""

# TensorRT → containers, by NVIDIA's release compatibility matrix
# (docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/introduction/compatibility.html).
CONTAINERS = {
    "10.13.3.9": "25.11-trtllm-python-py3 and 25.12-trtllm-python-py3",
    "10.11.0.33": "25.08-trtllm-python-py3 to 25.10-trtllm-python-py3",
}


def release_for(tensorrt: str) -> str:
    """Return in words which Triton container loads a plan of this TensorRT version."""
    releases = CONTAINERS.get(tensorrt)
    if releases is not None:
        return f"nvcr.io/nvidia/tritonserver:{releases} carry TensorRT {tensorrt}"
    return (
        f"the release whose container carries TensorRT {tensorrt}: that of the TensorRT container with the same tag; "
        "`docker run --rm nvcr.io/nvidia/tritonserver:YY.MM-py3 sh -c 'echo $TRT_VERSION'` tells"
    )
