"""What an evaluation can be asked for; nothing here loads PyTorch. Options check themselves."""

import dataclasses
import pathlib
import re
from typing import Annotated, ClassVar

from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help, Without
from deepvit.runtime.preprocess import FILES, DecodePolicy
from deepvit.runtime.trt.visible import gpus_within_visible

from ..options import SessionOptions, WeightOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How the pass is made; none of it but the batch size can change the result.

    Attributes:
        batch_size: Images per run, and per block.
        workers: Decoding processes; see `decode_images`.
        journal: File that holds what was found so far, for a run that is interrupted; in memory where None.
        reference_logits: File that keeps the reference's logits; in memory where None.
        crops: Folder that keeps decoded crops; they are not kept where None.
    """

    heading: ClassVar[str] = "How it runs"

    batch_size: Annotated[int, Help("Images per run.", min=1, max=4096)] = 32
    workers: Annotated[
        int | None, Help("Processes that decode images; as many as cores if not given.", min=0, max=256)
    ] = None
    journal: pathlib.Path | None = None
    reference_logits: pathlib.Path | None = None
    crops: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keeping:
    """What of an evaluation is kept beyond it.

    Attributes:
        resume: Whether to go on where an earlier run of the same evaluation ended.
        crops: Whether decoded crops are kept.
    """

    heading: ClassVar[str] = "How it runs"

    resume: Annotated[bool, Help("Go on where the same evaluation was interrupted.")] = False
    crops: Annotated[
        bool, Help("Keep decoded crops for the next evaluation; 7.5 GB for ImageNet.", name="cache_crops")
    ] = False


def gpus_from_text(text: str) -> tuple[str, ...]:
    """Parse 0,1.

    Raises:
        InputError: Not different GPUs.
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise InputError(f"‹gpus› {text}: expected different GPUs, as in 0,1")
    return names


CLUSTER = re.compile(r"local|auto|(ray://)?[^/:\s]+:[0-9]+|(ray://)?\[[0-9a-fA-F:]+\]:[0-9]+")


def cluster_from_text(text: str) -> str:
    """Parse where a Ray cluster is.

    Raises:
        InputError: No address.
    """
    if CLUSTER.fullmatch(text) is None:
        raise InputError(f"‹ray› {text}: expected local (this machine), auto (the cluster it is in) or HOST:PORT")
    return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shards:
    """How many processes of this machine, and which GPU each sees, or the actors of a Ray cluster.

    Attributes:
        processes: So many.
        gpus: One process on each; empty where they share what there is.
        ray: Address of a cluster; see `cluster_from_text`. None where there is none.
        actors: Of the cluster that hold the model; chosen where None.
    """

    heading: ClassVar[str] = "How it runs"

    processes: Annotated[int, Help("Processes that share the images.", min=1, max=64)] = 1
    gpus: Annotated[
        tuple[str, ...],
        Help(
            "Run one process on each of these GPUs, as in 0,1: counted within CUDA_VISIBLE_DEVICES.",
            parse=gpus_from_text,
        ),
    ] = ()
    ray: Annotated[
        str | None,
        Help(
            "Run on Ray: the cluster that this machine is in (auto) or HOST:PORT; this machine if none is said.",
            parse=cluster_from_text,
        ),
    ] = None
    actors: Annotated[
        int | None,
        Help("Ray actors that hold the model; one for each GPU, or else each node, if not given.", min=1, max=10_000),
    ] = None

    def __post_init__(self) -> None:
        assert self.processes >= 1
        gpus_within_visible(self.gpus)
        if self.gpus and self.processes not in (1, len(self.gpus)):
            raise InputError(
                f"‹processes› {self.processes} with {len(self.gpus)} GPUs; leave it out: one process runs on each"
            )
        if self.ray is not None and (self.gpus or self.processes > 1):
            raise InputError("‹processes› and ‹gpus› are of one machine; with ‹ray› give ‹actors›, or leave them out")
        if self.ray is None and self.actors is not None:
            raise InputError("‹actors› are of a Ray cluster; give ‹ray›, or ‹processes› for this machine")

    @property
    def is_alone(self) -> bool:
        """Whether the process that was started runs all by itself, with the model that it has opened."""
        return self.processes == 1 and not self.gpus and self.ray is None

    @property
    def count(self) -> int:
        """How many processes: one for each GPU that is named."""
        return len(self.gpus) or self.processes


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What shall be evaluated on what; picklable, so that other processes open the same.

    Attributes:
        models: As the user names them; see `open_model`.
        dataset: Labelled images.
        limit: So many images, spread over the dataset; all where None.
        decoding: Which of them are decoded.
        options: How the pass is made.
        reference: none, pytorch, or another model.
        keeping: What is kept beyond the run.
        real_labels: The file of ReaL labels, where they are wanted.
        shards: How many processes.
        weights: For PyTorch.
        sessions: How sessions are opened.
        preprocess_as: The variant whose preprocessing a file without a manifest takes.
    """

    heading: ClassVar[str] = "Images"

    models: Annotated[
        tuple[str, ...],
        Help("Artifact folders, their model.onnx or plan, or variants (PyTorch); one pass.", is_argument=True),
    ]
    dataset: Annotated[str, Help("Labelled images: val/<synset>/*.JPEG, or what timm reads.", name="imagenet")]
    limit: Annotated[int | None, Help("Evaluate so many images, spread over the dataset; all if not given.", min=1)] = (
        None
    )
    decoding: DecodePolicy = FILES
    options: EvaluationOptions = dataclasses.field(default_factory=EvaluationOptions)
    reference: Annotated[str, Help("What to agree with: none, pytorch, or an artifact.", heading="Reference")] = "none"
    keeping: Keeping = dataclasses.field(default_factory=Keeping)
    real_labels: Annotated[pathlib.Path | None, Help("File real.json of the ReaL labels, for ImageNet's val.")] = None
    shards: Shards = dataclasses.field(default_factory=Shards)
    weights: Annotated[WeightOptions, Without("num_classes")] = dataclasses.field(default_factory=WeightOptions)
    sessions: Annotated[SessionOptions, Without("threads")] = dataclasses.field(default_factory=SessionOptions)
    preprocess_as: Annotated[
        str | None, Help("Variant whose preprocessing a file without a manifest takes.", name="variant")
    ] = None

    def __post_init__(self) -> None:
        if self.shards.ray is not None and self.keeping.crops:
            raise InputError("‹cache_crops› keeps them on this machine; leave it out with ‹ray›")
