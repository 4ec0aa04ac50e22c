"""Pictures that a model makes of texts: whom or what they are to show, and how they are drawn and compared."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StrictFloat, model_validator

from svft_bench.config.spec.base import Count, Spec, Text
from svft_bench.config.spec.kinds import KINDS, Kind, ReaderName
from svft_bench.config.spec.metric import COMPARED, DRAWN_METRICS, NOISE_METRICS, MetricName

SCORER = re.compile(r"[^@]+(@[0-9a-f]{40})?")  # a folder, or OWNER/NAME of the hub, perhaps with a commit
Word = Annotated[Text, Field(min_length=1)]


class PriorSpec(Spec):
    """Prior preservation: the model also learns, with this weight, from pictures that it drew before it was trained.

    They are of the subject's noun alone, drawn as in an eval; each picture of the subject has one of them beside it.
    """

    pictures: Count
    weight: StrictFloat = Field(default=1.0, gt=0)
    steps: Count = 50
    guidance: StrictFloat = Field(default=7.5, ge=0)


class SubjectSpec(Spec):
    """What few pictures show, a `noun` that an `identifier` tells from all others: `a photo of {}` of `sks dog`."""

    identifier: Word
    noun: Word
    prompt: Word
    prior: PriorSpec | None = None

    def own(self, template: str) -> str:
        """A text about the subject."""
        return template.replace("{}", f"{self.identifier} {self.noun}")

    def any(self, template: str) -> str:
        """The same about any of its kind."""
        return template.replace("{}", self.noun)

    @model_validator(mode="after")
    def _the_prompt_has_a_place(self) -> SubjectSpec:
        if self.prompt.count("{}") != 1:
            raise ValueError(f"prompt={self.prompt!r}: expected a text with {{}} once, where the subject stands")
        return self


class DrawingSpec(Spec):
    """How a picture is drawn: steps of the pipeline's own scheduler, and the scale of classifier-free guidance.

    `clip` and `dino` are the models that compare pictures, each a folder or OWNER/NAME of the hub, perhaps @COMMIT.
    """

    steps: Count
    guidance: StrictFloat = Field(ge=0)
    clip: Word | None = None
    dino: Word | None = None

    @model_validator(mode="after")
    def _models_are_names(self) -> DrawingSpec:
        for name in ("clip", "dino"):
            if (value := getattr(self, name)) is not None and not SCORER.fullmatch(value):
                raise ValueError(f"{name}={value!r} is no folder and no OWNER/NAME@COMMIT of 40 hex digits")
        return self

    def needed(self, metrics: tuple[MetricName, ...]) -> dict[str, str | None]:
        """The models that these metrics compare by."""
        return {model: getattr(self, model) for metric in metrics if (model := COMPARED.get(metric)) is not None}


def check_pictures(
    name: str, *, drawing: DrawingSpec | None, reader: ReaderName, metrics: tuple[MetricName, ...]
) -> None:
    """Refuse an eval that draws without lines to draw by, or compares by a model that it does not name.

    Raises:
        ValueError: it does.
    """
    drawn, noise = {*metrics} & {*DRAWN_METRICS}, {*metrics} & {*NOISE_METRICS}
    asked = drawing is not None
    if asked != (reader == "line") or asked != bool(drawn) or (drawn and noise):
        raise ValueError(
            f"eval {name}: drawing, reader=line and metrics={' or '.join(DRAWN_METRICS)} belong together, without "
            f"{' or '.join(NOISE_METRICS)}, which is of pictures that are there"
        )
    unnamed = [] if drawing is None else [key for key, value in drawing.needed(metrics).items() if value is None]
    if unnamed:
        raise ValueError(
            f"eval {name}: metrics={', '.join(metrics)} compares by a model, and drawing.{unnamed[0]} names none"
        )


def check_draws(kind: Kind, name: str, *, metrics: tuple[MetricName, ...]) -> None:
    """Refuse metrics of pictures for other tasks than those whose model draws, and others for these.

    Raises:
        ValueError: they are.
    """
    valid = (*NOISE_METRICS, *DRAWN_METRICS)
    if KINDS[kind].draws != bool({*metrics} & {*valid}):
        raise ValueError(
            f"eval {name}: metrics={', '.join(metrics)} and a task of {kind}; of pictures that are drawn are "
            f"{', '.join(valid)}"
        )
