"""What is compared, opened: the reference, and the rungs of each model's ladder."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Iterator, Sequence

from deepvit.runtime.artifact import MANIFEST, MODEL
from deepvit.runtime.errors import PYTORCH, InputError, MissingError
from deepvit.runtime.opening import PLAN_SUFFIXES, artifact_of, engine_here, identity_of

from ..models import OpenedModel, is_variant, load_weights_of, open_model, open_torch
from ..options import SessionOptions, WeightOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rung:
    """One way to run a model: its graph, or its engine, which is held against the graph."""

    stage: str
    model: OpenedModel
    is_engine: bool = False


def open_reference_for(
    reference: str | None, models: Sequence[str], sessions: SessionOptions, weights: WeightOptions
) -> OpenedModel:
    """Open what the models are compared with.

    Args:
        reference: pytorch, a path, or None: PyTorch where its weights are at hand, else the first of several models.
        models: As the user names them.
        sessions: How sessions are opened.
        weights: Where PyTorch weights come from.

    Raises:
        InputError: Nothing to compare with.
        MissingError: PyTorch, which would be the reference, is not installed.
    """
    if reference not in (None, "pytorch"):
        return open_model(str(reference), sessions, weights)
    if is_variant(models[0]):
        return open_model(models[0], sessions, weights)
    path = pathlib.Path(models[0])
    identity = identity_of(path)
    if identity is None:
        raise InputError(f"{path} has no {MANIFEST} that names its weights; give ‹reference› an artifact of them")
    if identity.has_random_weights or not weights.are_random:
        try:
            return open_torch(load_weights_of(identity, weights))
        except MissingError as error:
            raise MissingError(f"{error}; or compare with another artifact: ‹reference› PATH") from error
    if reference is None and len(models) > 1:
        return open_model(models[0], sessions, weights)
    if importlib.util.find_spec("torch") is None:
        raise MissingError(
            f"compare {path} with what? PyTorch is not installed: pip install {PYTORCH}; or compare with another "
            "artifact: ‹reference› PATH"
        )
    raise InputError(
        f"compare {path} with what? Give its weights by ‹checkpoint› FILE or ‹pretrained›, or ‹reference› another "
        "artifact"
    )


def rungs_of(name: str, sessions: SessionOptions, weights: WeightOptions) -> Iterator[Rung]:
    path = pathlib.Path(name)
    if not path.is_dir():
        model = open_model(name, sessions, weights)
        kind = "engine" if path.suffix in PLAN_SUFFIXES else "model"
        yield Rung(stage=f"{kind}-{_precision_text(model)}", model=model)
        return
    graph = open_model(str(path / MODEL), sessions, weights)
    yield Rung(stage=f"onnx-{_precision_text(graph)}", model=graph)
    plan = (
        engine_here(artifact_of(path), allow_host_code=sessions.allow_host_code) if sessions.provider is None else None
    )
    if plan is not None:
        yield Rung(stage=f"engine {plan}", model=open_model(str(path / plan), sessions, weights), is_engine=True)


def _precision_text(model: OpenedModel) -> str:
    return "unknown" if model.precision is None else model.precision.value
