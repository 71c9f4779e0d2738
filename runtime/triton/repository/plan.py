"""What a repository will be made of, settled before anything of it is written."""

import dataclasses

from ...artifact import MODEL, Artifact
from ...artifact.manifest import GOLDEN_SQNR_DB, BatchRange, Engine, Level
from ...errors import InputError
from ...files import require_room
from ...files.staging import require_output
from ...kernels.plugin_record import PluginRecord
from ...opening import open_session
from ...ort.arithmetic import Arithmetic
from ...preprocess import Crop, crop_image
from .. import layout
from ..choice import choose_backends, engine_of, plugin_of
from ..layout import Names
from ..options import RepositoryOptions, TritonBackend
from ..serving.golden import Golden


@dataclasses.dataclass(frozen=True)
class RepositoryPlan:
    """A repository that nothing speaks against as far as can be told before it is written."""

    artifact: Artifact
    names: Names
    backends: tuple[TritonBackend, ...]
    served: TritonBackend
    level: Level
    golden: Golden
    options: RepositoryOptions
    golden_crop: Crop
    expected_bytes: int
    plugin: tuple[PluginRecord, bytes] | None  # the library that an engine needs, and what it is

    @property
    def models(self) -> list[str]:
        """The models' names: those that infer, the preprocessing, the classes, the ensemble."""
        names = self.names
        return [*(names.model(each.value) for each in self.backends), names.preprocess, names.classify, names.ensemble]

    @property
    def files(self) -> list[str]:
        """What is written at the top of the repository: a folder for each model, and a few files."""
        needed = [layout.PLUGIN, layout.PLUGIN_RECORD] if self.serves_plugin else []
        return [*self.models, *needed, layout.REQUIREMENTS, layout.GUIDE, layout.PROBE, layout.RECORD]

    @property
    def serves_plugin(self) -> bool:
        """Whether Triton's own TensorRT backend needs it."""
        return self.plugin is not None and self.engine is not None and self.engine.plugin is not None

    @property
    def engine(self) -> Engine | None:
        return engine_of(self.artifact) if TritonBackend.TENSORRT in self.backends else None

    def batch_of(self, backend: TritonBackend) -> BatchRange:
        """Return the batches of a backend: Triton forms them from one image up.

        Raises:
            InputError: The profile of the engine, or the artifact, begins later.
        """
        engine, batch = self.engine, self.artifact.manifest.batch
        if backend is TritonBackend.TENSORRT and engine is not None:
            batch = engine.profile
        if batch.min != 1:
            raise InputError(
                f"the artifact takes batches from {batch.min}; Triton needs 1: export with ‹batch› 1:OPT:MAX"
            )
        return batch


def plan_repository(artifact: Artifact, options: RepositoryOptions) -> RepositoryPlan:
    """Plan the repository of an artifact; nothing is written.

    Raises:
        InputError: The artifact lacks what is asked for, or `options.output` cannot be written.
        MissingError: The disk has no room.
    """
    if any(character.isspace() for character in str(options.output.absolute())):
        raise InputError(f"‹triton› {options.output}: a path with a space hangs Triton's Python backend; name another")
    if artifact.manifest.graph.attention_maps is not None:
        raise InputError(f"{artifact.folder} gives its attention maps; to serve it, export it without ‹attention_maps›")
    names = Names(artifact.manifest.variant if options.name is None else options.name)
    require_output(options.output, marker=layout.RECORD, option="‹triton›")
    require_room(options.output, artifact.manifest.files[MODEL].bytes, "‹triton›")  # at least, before anything is run
    crop = crop_image(options.golden_image, artifact.manifest.preprocess, options.decoding)
    golden = _golden_of(artifact, crop)
    choice = choose_backends(artifact, golden, options.backends)
    backends = choice.backends
    served = options.served or backends[0]
    if served not in backends:
        raise InputError(f"‹serve› {served.value} is not among ‹backends› {','.join(b.value for b in backends)}")
    expected = _expected_bytes(artifact, backends)
    require_room(options.output, expected, "‹triton›")
    plan = RepositoryPlan(
        artifact, names, backends, served, choice.level, golden, options, crop, expected, plugin_of(artifact)
    )
    for backend in backends:
        plan.batch_of(backend)
    return plan


def _expected_bytes(artifact: Artifact, backends: tuple[TritonBackend, ...]) -> int:
    """Return what the files of the artifact take in the repository, which are nearly all of it."""
    files, engine = artifact.manifest.files, engine_of(artifact)
    by_backend = {
        TritonBackend.PYTHON: sum(record.bytes for record in files.values()),
        TritonBackend.ONNXRUNTIME: files[MODEL].bytes,
        TritonBackend.TENSORRT: files[engine.file].bytes if engine is not None else 0,
    }
    return sum(by_backend[backend] for backend in backends)


def _golden_of(artifact: Artifact, crop: Crop) -> Golden:
    """Compute the golden logits, in ONNX Runtime on the CPU as the graph declares, of verified files."""
    manifest = artifact.manifest
    images = manifest.input_from(crop[None])
    session = open_session(artifact.folder / MODEL, arithmetic=Arithmetic.AS_DECLARED)
    try:
        return Golden(images, session.run(images), GOLDEN_SQNR_DB[manifest.precision])
    finally:
        session.close()
