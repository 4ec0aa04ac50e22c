"""Pictures that a model draws, compared with those of its subject, and noise that it finds in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel

from svft_bench.config.spec import EvalSpec, TaskSpec
from svft_bench.models.scorers import Scorer, scorer
from svft_bench.running.batches.encoding import noisy
from svft_bench.tasks import Example
from svft_bench.tasks.pictures import as_text, histogram

AT_A_TIME = 4  # pictures of the prior that are drawn together


def unexplained(model: Any, batch: Sequence[Example], studio: Any) -> list[dict[str, float]]:
    """Mean square of what is wrong in the prediction of each picture's noise, and of what was to be predicted."""
    unet = _unet(model)
    inputs = {name: tensor[:, 0].to(unet.device) for name, tensor in noisy(batch, studio).items()}
    target = inputs.pop("target").float()
    found = unet(**inputs).sample.float()
    pairs = zip((found - target).square().flatten(1).mean(1), target.square().flatten(1).mean(1), strict=True)
    return [{"prediction": float(wrong), "reference": float(whole)} for wrong, whole in pairs]


def drawn(model: Any, batch: Sequence[Example], evaluation: EvalSpec, studio: Any) -> list[dict[str, Any]]:
    """A picture for each prompt as text, with what it is compared with and by the eval's models."""
    drawing = evaluation.drawing
    assert drawing is not None
    unet = _unet(model)
    pictures = studio.drawn(
        unet,
        [example["prompt"] for example in batch],
        seeds=[example["seed"] for example in batch],
        steps=drawing.steps,
        guidance=drawing.guidance,
    )
    needed = drawing.needed(evaluation.metrics).items()
    scorers = {name: scorer(name, str(path), unet.device) for name, path in needed}
    return [
        {
            "prediction": as_text(picture),
            "reference": example["prompt"],
            "subject": [histogram(other) for other in example["subject"]],
            **_compared(picture, example, scorers),
        }
        for picture, example in zip(pictures, batch, strict=True)
    ]


def draw_prior(task: TaskSpec, model: Any, studio: Any) -> None:
    """Pictures of any of the subject's kind by a model that has learnt nothing yet, if they are to be learnt too."""
    subject = task.subject
    if subject is None or subject.prior is None:
        return
    asked = subject.prior
    prompts = [subject.any(subject.prompt)] * asked.pictures
    for start in range(0, asked.pictures, AT_A_TIME):
        seeds = range(asked.pictures)[start : start + AT_A_TIME]
        chosen = prompts[start : start + AT_A_TIME]
        studio.prior += studio.drawn(model, chosen, seeds=seeds, steps=asked.steps, guidance=asked.guidance)


def _compared(picture: Any, example: Example, scorers: dict[str, Scorer]) -> dict[str, float]:
    """Mean cosine between a picture and those of the subject, and between it and its prompt without the identifier."""
    found: dict[str, float] = {}
    for name, one in scorers.items():
        own = one.seen([picture])
        found["clip_i" if name == "clip" else name] = float((own @ one.seen(example["subject"]).T).mean())
        if name == "clip":
            found["clip_t"] = float((own @ one.read([example["plain"]]).T).mean())
    return found


def _unet(model: Any) -> Any:
    """The UNet, adapted in place, which a pipeline takes as its own."""
    unet: torch.nn.Module = model.get_base_model() if isinstance(model, PeftModel) else model
    return unet
