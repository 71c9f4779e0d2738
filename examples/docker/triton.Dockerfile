# NVIDIA's Triton with a repository that `python cli.py package ARTIFACT --triton repository` wrote.
# Not built by us: there is neither a Docker daemon nor that image where this is made.
#
#   docker build --file examples/docker/triton.Dockerfile --build-arg TRITON=25.10-py3 --tag deepvit-triton repository
#   docker run --rm --gpus all --publish 127.0.0.1:8000:8000 --publish 127.0.0.1:8001:8001 deepvit-triton
#
# A plan loads only in the TensorRT that wrote it: the repository's README.md says which image has that, and which further
# flags the server needs for a version-compatible one, or one of fused re-attention.
ARG TRITON
FROM nvcr.io/nvidia/tritonserver:${TRITON}

COPY . /models
RUN PIP_BREAK_SYSTEM_PACKAGES=1 pip install --no-cache-dir --requirement /models/requirements.txt

ENV MALLOC_MMAP_THRESHOLD_=131072
HEALTHCHECK --interval=30s --timeout=15s --start-period=10m CMD ["python3", "/models/probe.py"]
CMD ["tritonserver", "--model-repository=/models", "--model-control-mode=none", "--disable-auto-complete-config", \
     "--exit-on-error=false", "--strict-readiness=true"]
