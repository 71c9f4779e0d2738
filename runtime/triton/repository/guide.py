"""README.md of a repository: how to serve it, and what clients send and get."""

from ...artifact.manifest import Engine
from .. import layout
from ..flags import ENVIRONMENT, HOST_CODE, server_flags
from ..options import TritonBackend
from ..releases import release_for
from .plan import RepositoryPlan

NEEDS = {
    TritonBackend.TENSORRT: "Triton's TensorRT backend and the GPU that the plan was built for",
    TritonBackend.ONNXRUNTIME: "Triton's ONNX Runtime backend",
    TritonBackend.PYTHON: "Triton's Python backend",
}

PROBING = f"""
## Whether it serves

Triton calls a Python model ready whose process has died, and fails its requests from then on; nothing restarts it.
`python3 {layout.PROBE}` asks the running server for the golden image's classes, and every process of the preprocessing:
exit status 0, or 1 and a line. Restart the server where it fails; the manifests for Kubernetes that
`‹deepvit› package ARTIFACT ‹triton› DIR ‹kubernetes› DIR` writes do.

`python3 {layout.PROBE} http://127.0.0.1:8000 10` names the server and the seconds that all of it may take.
"""
ASSIGNMENTS = " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())


def _rules(engine: Engine | None, folder: str) -> str:
    """Return the server's flags in lines of a shell, two a line."""
    flags = server_flags(engine, folder)
    return " \\\n      ".join(" ".join(flags[at : at + 2]) for at in range(0, len(flags), 2))


def _plugin(plan: RepositoryPlan) -> str:
    """Return the paragraph about the library that the server loads for the engine; nothing where it needs none."""
    if plan.plugin is None or not plan.serves_plugin:
        return ""
    return f"""
The plan needs `{layout.PLUGIN}`, the plugin of fused re-attention, whose SHA-256 is
{plan.plugin[0].sha256}. The server opens what `plugins=` names
without looking at it: `‹deepvit› package ‹triton› "$PWD" ‹check›` tells before whether it is what was written.
`LD_PRELOAD` would open it before TensorRT is there to be told of its layer.
"""


def _engine(engine: Engine | None) -> str:
    """Return the paragraph that says which server loads the plan; nothing where there is none."""
    if engine is None:
        return ""
    later = (
        f"; version-compatible, it loads in later ones too, by host code within it, which `{HOST_CODE}` lets run"
        if engine.version_compatible
        else ""
    )
    return f"\nThe plan: {release_for(engine.version)}{later}.\n"


def _container(served: TritonBackend, rules: str) -> str:
    """Return the line that serves this folder in NVIDIA's container, to this machine alone."""
    gpus = "--gpus all " if served is TritonBackend.TENSORRT else ""
    return f"""    docker run --rm {gpus}--shm-size 1g --publish 127.0.0.1:8000:8000 --publish 127.0.0.1:8001:8001 \\
      --env {ASSIGNMENTS} --env PIP_BREAK_SYSTEM_PACKAGES=1 --volume "$PWD:/models:ro" \\
      nvcr.io/nvidia/tritonserver:YY.MM-py3 sh -c 'pip install -r /models/{layout.REQUIREMENTS} &&
      exec tritonserver --model-repository=/models {rules}'"""


def guide(plan: RepositoryPlan) -> str:
    """Return the text of README.md."""
    names, manifest, engine, served = plan.names, plan.artifact.manifest, plan.engine, plan.served
    models = "\n".join(f"| `{names.model(backend.value)}` | {NEEDS[backend]} |" for backend in plan.backends)
    random = "\n**The weights are random: the answers mean nothing.**\n" if manifest.has_random_weights else ""
    server, megapixels = _engine(engine), plan.options.max_megapixels
    return f"""# {names.ensemble}: {manifest.variant} in {manifest.precision.value.upper()} for Triton Inference Server
{random}
    {ASSIGNMENTS} tritonserver --model-repository="$PWD" \\
      --http-address=127.0.0.1 --grpc-address=127.0.0.1 --metrics-address=127.0.0.1 \\
      {_rules(engine, '"$PWD"')}

Only this machine can reach it, clients cannot load or unload models, and nothing is guessed that config.pbtxt does not
say. The first setting keeps glibc from raising its threshold with every large image, without which the server's memory
grows under load. A path with a space in it hangs Triton's Python backend. The Python models need what
`{layout.REQUIREMENTS}` lists in the Python that is first on PATH: `pip install -r {layout.REQUIREMENTS}`.
{server}{_plugin(plan)}
In NVIDIA's container, which nobody has tried with this repository{"; its release is the one above" if server else ""}:

{_container(served, _rules(engine, "/models"))}

| model | needs |
|---|---|
{models}
| `{names.preprocess}`, `{names.classify}` | {NEEDS[TritonBackend.PYTHON]} |
| `{names.ensemble}` | the three that it is made of; it serves with `{names.model(served.value)}` |

A model whose backend this server lacks does not come up; delete its folder, or leave it out when packaging with
`‹backends›`. `{names.model("python")}` comes up only if it gives the golden image's logits. Whatever model serves the
ensemble, `{names.classify}` asks it for them before its first answer, and refuses every request where they are others.
{PROBING}
## `{names.ensemble}`

| | tensor | type, shape | |
|---|---|---|---|
| in | `{layout.IMAGE}` | UINT8 (B, N) | bytes of JPEG or PNG files; zeros behind the shorter ones |
| out | `{layout.CLASSES}` | INT32 (B, {min(layout.CLASSES_SHOWN, manifest.classes)}) | most probable first |
| out | `{layout.PROBABILITIES}` | FP32, as `{layout.CLASSES}` | softmax |
| out | `{layout.LOGITS}` | FP32 (B, {manifest.classes}) | ask for it with class_count to get names |
| out | `{layout.STATUS}` | INT32 (B, 1) | 0, or 4: the image cannot be decoded or is too large; its classes are −1 |

Images of more than {megapixels} million pixels are not decoded: `{layout.MAX_MEGAPIXELS}` in `{names.preprocess}`.
A request none of whose images can be decoded is an error, and so are logits that are not finite.

    import numpy as np, tritonclient.http as http
    client = http.InferenceServerClient("127.0.0.1:8000")
    image = http.InferInput("{layout.IMAGE}", [1, len(data := open("photo.jpg", "rb").read())], "UINT8")
    image.set_data_from_numpy(np.frombuffer(data, np.uint8)[None])
    print(client.infer("{names.ensemble}", [image]).as_numpy("{layout.CLASSES}"))

`‹deepvit› package ‹triton› "$PWD" ‹check›` tells whether this folder is still what was written.
"""
