"""The form of an export's graph, chosen as its options say."""

import dataclasses

import numpy as np
import onnx

from deepvit.model.load import LoadedModel
from deepvit.progress import Progress
from deepvit.runtime.artifact.manifest import ChooseForm, TriedForms
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import Crop, model_input

from .. import stages
from ..graph.float32 import graph_preprocessing
from ..options import ExportOptions
from .form import Form, form_by_rules, graph_in, open_choices, search
from .listing import BATCH, Listing
from .timing import Timing
from .typed import unproved_typed_graph


def choose_form(
    loaded: LoadedModel, options: ExportOptions, crops: Crop, progress: Progress
) -> tuple[ExportOptions, TriedForms | None]:
    """Return `options` with the best form asked for, and what was tried; as they are where the rules choose.

    Args:
        loaded: The model.
        options: Of the export; what they ask for is not tried otherwise.
        crops: Images (N, H, W, 3) uint8 to time it on.
        progress: Called with what begins.

    Raises:
        InputError: They leave nothing to choose.
        MissingError: What tries forms is not installed.
        DeviceError: The compiler gave up.
    """
    graph = options.graph
    if graph.choose_form is ChooseForm.RULES:
        return options, None
    progress(stages.choosing_form(graph.choose_form))
    choices = open_choices(graph, loaded.module)
    if not choices:
        raise InputError(
            f"‹choose_form› {graph.choose_form.value}: the other options leave no form to choose; leave out ‹mix›, "
            "‹qkv›, ‹pad_tokens› or ‹pad_head_dim›"
        )

    def graph_of(form: Form) -> onnx.ModelProto:
        return unproved_typed_graph(loaded, dataclasses.replace(options, graph=graph_in(form, graph)))

    batch = graph.batch
    tried: Listing | Timing
    if graph.choose_form is ChooseForm.LISTING:
        tried = Listing(graph_of, min(BATCH, batch.max), is_fixed=batch.min == batch.max)
    else:
        images = model_input(crops, graph_preprocessing(loaded, graph.input_form), loaded.module.in_chans)
        tried = Timing(graph_of, np.resize(images, (batch.opt, *images.shape[1:])))
    best = search(form_by_rules(graph, loaded.module), choices, tried.best_of)
    return dataclasses.replace(options, graph=graph_in(best, graph)), tried.record(best)
