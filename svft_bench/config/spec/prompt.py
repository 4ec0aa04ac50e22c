"""How a language model is asked: the prompt, the tokens that carry the loss, and how its text is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from svft_bench.config.spec.base import LARGEST, Count, Spec
from svft_bench.config.spec.template import fields

PromptName = Literal["own", "metamath", "metamath_step_by_step", "commonsense", "commonsense_evaluation"]


class PromptSpec(Spec):
    """How a question becomes tokens, and which tokens carry the loss.

    `padding_side` is that of training; without one the model's own is taken. Evaluation always pads on the left, where
    batched generation has to. With `packing` a row of training holds as many whole examples as fit.

    A prompt of one's own is `template`, and what is to be learnt after it `response`, both with names of columns in
    braces; `chat_template` puts a prompt into the model's own form for a turn of a user.
    """

    younger = frozenset({"padding_side", "packing", "template", "response", "chat_template"})

    train: PromptName = "own"
    evaluation: PromptName = "own"
    template: str | None = None
    response: str | None = None
    chat_template: StrictBool = False
    loss_on: Literal["answer", "sequence"]
    max_length: Count
    padding_side: Literal["left", "right"] | None = None
    packing: StrictBool = False

    @model_validator(mode="after")
    def _an_own_prompt_is_whole(self) -> PromptSpec:
        own = {self.train == "own", self.evaluation == "own", self.template is not None, self.response is not None}
        if len(own) > 1:
            raise ValueError(
                "template and response, as in 'Q: {question}' and ' {answer}', take the place of train and "
                "evaluation; of the two, one is missing or one is too much"
            )
        if self.template is not None and self.response is not None:
            if not fields(self.template) or not fields(self.response):
                raise ValueError("template and response each name a column in braces, as in 'Q: {question}'")
            if self.template.endswith(" ") and not self.chat_template:
                raise ValueError("template ends in a blank, which tokens have in front: let response begin with it")
        return self


class GenerationSpec(Spec):
    """Decoding of one eval; always without sampling.

    `length_penalty` is the power of a beam's length by which its log-probability is divided, so that more of it favours
    longer texts; with `early_stopping` a search ends at as many ended beams as there are, else where no open one could
    become better. Of `no_repeat_ngram` tokens in a row (0: any) no text has the same twice.
    """

    younger = frozenset({"length_penalty", "no_repeat_ngram", "min_new_tokens", "early_stopping"})

    max_new_tokens: Count
    num_beams: Count = 1
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    length_penalty: StrictFloat = Field(default=1.0, ge=-100, le=100)
    no_repeat_ngram: StrictInt = Field(default=0, ge=0, le=LARGEST)
    min_new_tokens: StrictInt = Field(default=0, ge=0, le=LARGEST)
    early_stopping: StrictBool = False

    @model_validator(mode="after")
    def _a_search_has_beams(self) -> GenerationSpec:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens={self.min_new_tokens} is more than max_new_tokens={self.max_new_tokens}")
        if self.num_beams == 1 and (self.length_penalty != 1.0 or self.early_stopping):
            raise ValueError("length_penalty and early_stopping are of a search among beams, and num_beams=1 is none")
        return self
