"""timm's own validation loop beside `eval`: its dataset, its transforms, its loader, its accuracy; our module."""

from typing import Any

import timm
import timm.data
import timm.utils
import torch

from .forms import Graphs
from .subject import BATCH, Subject, say


def measure_timm_loop(subject: Subject, _graphs: Graphs) -> dict[str, Any]:
    """Return how many of all held-out images each has right, and on how many they answer the same."""
    row, module = subject.loaded.variant, subject.loaded.module.eval()
    dataset = timm.data.create_dataset("", root=subject.dataset, split="validation")
    loader = timm.data.create_loader(
        dataset,
        input_size=(module.in_chans, module.img_size, module.img_size),
        batch_size=BATCH,
        use_prefetcher=False,
        interpolation=row.interpolation,
        mean=row.mean,
        std=row.std,
        crop_pct=row.crop_pct,
        num_workers=0,
    )
    say(f"timm's loop, {len(dataset)} images")
    right, answers = timm.utils.AverageMeter(), []
    with torch.inference_mode():
        for images, labels in loader:
            logits = module(images)
            right.update(timm.utils.accuracy(logits, labels)[0].item() * len(labels) / 100, 1)
            answers.append(logits.argmax(1))
    theirs, ours = torch.cat(answers).numpy(), subject.scores
    is_all = len(theirs) == ours.images
    return {
        "timm": timm.__version__,
        "images": len(theirs),
        "right_by_timm": round(right.sum),
        "right": int(ours.is_right.sum()),
        "same_answers": int((theirs == ours.answers).sum()) if is_all else None,
    }
