"""What a classification can be asked for; nothing here loads a library. Options check themselves."""

import dataclasses
from typing import Annotated, ClassVar

from deepvit.measure.evaluate.options import Shards
from deepvit.measure.options import SessionOptions, WeightOptions
from deepvit.runtime.options import Help, Without
from deepvit.runtime.preprocess import FILES, DecodePolicy

DEFAULT_TOP, DEFAULT_BATCH = 5, 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What is wanted of each image."""

    heading: ClassVar[str] = "Output"

    top: Annotated[int, Help("Tell so many classes of each image, the most probable first.", min=1, max=1000)] = (
        DEFAULT_TOP
    )
    logits: Annotated[bool, Help("Write the logits too.")] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationRequest:
    """What shall be classified by what; picklable, so that other processes open the same.

    Attributes:
        model: As the user names it; see `open_model`.
        images: As the user names them; see `deepvit.classify.sources.expansion.files_of`.
        column: Which column of a table has the images; told by its type where None.
        limit: So many images, the first; all where None.
        decoding: Which of them are decoded.
        answer: What is wanted of each.
        batch_size: Images per run, and per block.
        workers: Decoding processes.
        resume: Whether to go on where an earlier run of the same ended.
        shards: How many processes.
        weights: For PyTorch.
        sessions: How sessions are opened.
        preprocess_as: The variant whose preprocessing a file without a manifest takes.
    """

    heading: ClassVar[str] = "Images"

    model: Annotated[str, Help("Artifact folder, its model.onnx or plan, or a variant (PyTorch).", is_argument=True)]
    images: Annotated[
        tuple[str, ...],
        Help(
            "File, folder, 'pattern/**/*.jpg', list.txt (- is stdin), shard.tar, table.parquet, or an address "
            "(s3://bucket/photos); can be given several times."
        ),
    ]
    column: Annotated[str | None, Help("Column of a table that has the images; told by its type if not given.")] = None
    limit: Annotated[int | None, Help("Classify the first so many images; all if not given.", min=1)] = None
    decoding: DecodePolicy = FILES
    answer: Answer = dataclasses.field(default_factory=Answer)
    batch_size: Annotated[int, Help("Images per run.", min=1, max=4096, heading="How it runs")] = DEFAULT_BATCH
    workers: Annotated[
        int | None,
        Help("Processes that decode images; as many as cores if not given.", min=0, max=256, heading="How it runs"),
    ] = None
    resume: Annotated[bool, Help("Go on where the same classification was interrupted.", heading="How it runs")] = False
    shards: Shards = dataclasses.field(default_factory=Shards)
    weights: Annotated[WeightOptions, Without("num_classes")] = dataclasses.field(default_factory=WeightOptions)
    sessions: Annotated[SessionOptions, Without("threads")] = dataclasses.field(default_factory=SessionOptions)
    preprocess_as: Annotated[
        str | None, Help("Variant whose preprocessing a file without a manifest takes.", name="variant")
    ] = None
