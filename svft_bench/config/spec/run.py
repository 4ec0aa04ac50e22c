"""All that determines one run, and the names that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, StrictInt, ValidationError, model_validator

from svft_bench.config.spec.base import Count, Spec, digest, plain, sentences
from svft_bench.config.spec.kinds import KINDS, Described, Kind
from svft_bench.config.spec.model import MethodSpec, ModelSpec
from svft_bench.config.spec.task import TaskSpec, has_validation
from svft_bench.config.spec.train import TrainSpec

ScoredOn = Literal["reported", "validation"]

RATES = ("lr", "lr_head", "lr_bias")  # of the training


class LimitSpec(Spec):
    """Fewer rows than the data set has; `None` takes them all."""

    train: StrictInt | None = Field(default=None, gt=0)
    eval: StrictInt | None = Field(default=None, gt=0)


class DecodingSpec(Spec):
    """Which program writes a language model's texts: its kernels are part of the result."""

    backend: Literal["transformers", "vllm"] = "transformers"


class RunSpec(Spec):
    """One cell (model, method, task) at one seed.

    `score_on=validation` scores the rows set aside from training, by the one eval that fits them, and reads no reported
    set: for choosing settings. It is no part of the training, so the chosen cell's own run takes up the trained
    weights, and neither is `eval`.

    `protocol` says which of its sources a published cell follows where they differ; its fields hold the difference.
    """

    model: ModelSpec
    method: MethodSpec
    task: TaskSpec
    train: TrainSpec
    limit: LimitSpec
    score_on: ScoredOn = "reported"
    eval: DecodingSpec = DecodingSpec()
    eval_batch_size: Count
    data: str
    seed: StrictInt = Field(ge=0, lt=2**32)  # what numpy's generator takes
    protocol: Literal["paper", "released", "ours"] = "ours"

    describes = frozenset({"eval_batch_size", "protocol"})
    younger = frozenset({"score_on", "eval"})

    @model_validator(mode="after")
    def _validation_has_one_eval(self) -> RunSpec:
        """Leaves the task the eval that scores its rows set aside, where they are all that is scored."""
        if self.score_on == "reported":
            return self
        return self.model_copy(update={"task": self.task.model_copy(update={"evals": (self.task.chooser,)})})

    @model_validator(mode="after")
    def _model_takes_task(self) -> RunSpec:
        check_kind(self.task.kind, task=self.task.name, kinds=self.model.kinds, model=self.model.name)
        if self.method.trains == "head" and not self.head_modules:
            raise ValueError(
                f"method={self.method.name} trains the head alone, and model={self.model.name} has none for "
                f"task={self.task.name}; every other method trains there"
            )
        if self._kind.head and not self.head_modules:
            raise ValueError(f"model.head_modules is empty: task={self.task.name} trains a head of its own")
        if self._kind.images != (self.model.image is not None):
            told = "says how an image becomes a tensor" if self.model.image else "is null"
            raise ValueError(f"model.image {told}, and task={self.task.name} is {self.task.kind}")
        if self.train.selection == "best_validation" and not has_validation(self.task):
            raise ValueError(f"selection=best_validation needs a validation split, task={self.task.name} has none")
        if self.train.sampling == "group_by_length" and self._kind.images:
            raise ValueError(
                f"train.sampling=group_by_length is for texts, the images of task={self.task.name} are all of one "
                "length; train.sampling=random takes them"
            )
        return self

    @model_validator(mode="after")
    def _labels_are_smoothed_in_a_decoder(self) -> RunSpec:
        if self.train.label_smoothing and not self._kind.two_parts:
            raise ValueError(
                f"train.label_smoothing={self.train.label_smoothing} is for seq2seq_lm tasks, and "
                f"task={self.task.name} is {self.task.kind}; train.label_smoothing=0.0 trains there"
            )
        return self

    @model_validator(mode="after")
    def _few_bits_are_of_a_frozen_language_model(self) -> RunSpec:
        if (bits := self.model.load_in) is None:
            return self
        if not self._kind.few_bits:
            raise ValueError(
                f"model.load_in={bits} is for language models, and task={self.task.name} is {self.task.kind}; "
                "model.load_in=null trains there"
            )
        if self.method.trains != "adapter":
            raise ValueError(
                f"model.load_in={bits}: method={self.method.name} would train the weights themselves, which have to be "
                "whole numbers then; an adapter trains beside them"
            )
        if self.eval.backend == "vllm":
            raise ValueError(
                f"model.load_in={bits} with eval.backend=vllm, which reads merged weights; eval.backend=transformers "
                "writes beside them"
            )
        return self

    @model_validator(mode="after")
    def _the_method_names_modules(self) -> RunSpec:
        modules = self.method.modules
        targets = self.method.adapter.get("target_modules", modules)
        named = [targets] if isinstance(targets, str) else targets
        if (named is None and modules is not None) or (isinstance(named, list | tuple) and not all(named or [""])):
            raise ValueError(f"method.target_modules={targets!r} names no module; method.modules={modules} would")
        return self

    @model_validator(mode="after")
    def _a_rate_of_biases_has_biases(self) -> RunSpec:
        fields = self.method.adapter
        biases = fields.get("train_bias", fields.get("bias", "none") != "none") or self.method.trains == "all"
        if self.train.lr_bias is not None and not (biases and self.model.biases and fields.get("train_sigma", True)):
            raise ValueError(
                f"train.lr_bias={self.train.lr_bias:g} is for biases that train beside other weights, and "
                f"method={self.method.name} trains none so in model={self.model.name}; null takes train.lr"
            )
        return self

    @model_validator(mode="after")
    def _validation_scores_are_clean(self) -> RunSpec:
        if self.score_on == "reported":
            return self
        if not has_validation(self.task):
            raise ValueError(
                f"score_on=validation: task={self.task.name} sets no rows aside; task.validation_rows=N does"
            )
        if self.train.selection == "best_reported":
            raise ValueError("score_on=validation with selection=best_reported would look at the reported set")
        return self

    @model_validator(mode="after")
    def _vllm_writes_texts(self) -> RunSpec:
        if self.eval.backend == "transformers":
            return self
        modes = {item.name: item.generation for item in self.task.evals}
        other = "eval.backend=transformers does"
        if self._kind.two_parts:
            raise ValueError(f"eval.backend=vllm is for causal_lm tasks, and task={self.task.name} is none; {other}")
        if ruled := [name for name, mode in modes.items() if mode and (mode.no_repeat_ngram or mode.min_new_tokens)]:
            raise ValueError(f"eval.backend=vllm takes no no_repeat_ngram or min_new_tokens of {ruled[0]}; {other}")
        if silent := [name for name, generation in modes.items() if generation is None]:
            raise ValueError(f"eval.backend=vllm scores generated text alone, not {', '.join(silent)}; {other}")
        if searched := [name for name, mode in modes.items() if mode and mode.num_beams > 1]:
            raise ValueError(
                f"eval.backend=vllm ranks and ends beams in another way than transformers, as {', '.join(searched)} "
                f"asks for; {other}"
            )
        if (selection := self.train.selection) != "last":
            raise ValueError(f"eval.backend=vllm cannot score in training for train.selection={selection}; {other}")
        return self

    def identity(self) -> dict[str, Any]:
        """The fields that determine the result; what scores rows set aside is one only where these choose an epoch."""
        identity = super().identity()
        if self.train.selection != "best_validation":
            identity["task"].pop("validated_by", None)
        return identity

    @property
    def _kind(self) -> Described:
        return KINDS[self.task.kind]

    @property
    def takes_few_bits(self) -> bool:
        """Whether `model.load_in` could be 8bit or 4bit."""
        return self._kind.few_bits and self.method.trains == "adapter" and self.eval.backend != "vllm"

    @property
    def run_id(self) -> str:
        """Twelve hex digits that name this run: equal specs, equal ids, on any machine."""
        return digest(self.identity())

    @property
    def place(self) -> tuple[str, str, str]:
        """The names of task, model and method, which cells with other fields share: quicker than an identity."""
        return self.task.name, self.model.name, self.method.name

    @property
    def head_modules(self) -> tuple[str, ...]:
        """The modules that train in full beside an adapter: a language model has none of its own."""
        return self.model.head_of(self.task.kind)

    @property
    def cell_id(self) -> str:
        """What repetitions of one measurement share: everything but the seed and where the data came from."""
        identity = self.identity()
        del identity["seed"], identity["data"]
        return digest(identity)

    @property
    def trial_id(self) -> str:
        """What a cell shares with itself at other learning rates."""
        return self._but(*RATES)

    @property
    def tried_id(self) -> str:
        """What a cell shares with itself at other learning rates and sizes of batch."""
        return self._but(*RATES, "batch_size")

    def _but(self, *names: str) -> str:
        identity = self.identity()
        return digest(identity | {"seed": None, "data": None, "train": _without(identity["train"], names)})

    @property
    def adapter_id(self) -> str:
        """What a model and an adapter share on whatever task, by their names and the adapter's own fields."""
        return digest({"model": self.model.name, "method": self.method.name, "adapter": plain(self.method.adapter)})

    @property
    def search_id(self) -> str:
        """What the trials of one search share: everything about the training but its rate, size of batch and seed."""
        task = self.task
        rows = [task.train.identity(), self.limit.train, plain(task.few_shot), task.validation_rows]
        train = _without(self.train.identity(), (*RATES, "batch_size"))
        return digest({"adapter": self.adapter_id, "task": task.name, "rows": rows, "train": train})

    @property
    def train_id(self) -> str:
        """Names the training alone, so that tasks which share it share the trained weights.

        An epoch chosen by an eval set is part of the training, and so is that eval.
        """
        identity = self.identity()
        for scoring in ("score_on", "eval"):
            identity.pop(scoring, None)
        if self.train.selection == "last":
            del identity["task"]["evals"], identity["limit"]["eval"]
            identity["data"] = self.data.split("+")[0]
        elif self.train.selection == "best_validation":
            identity["task"].pop("validated_by", None)
            identity["task"]["evals"] = [self.task.chooser.identity()]
        del identity["task"]["name"]
        return digest(identity)


def _without(train: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in train.items() if key not in names}


def check_kind(kind: Kind, *, task: str, kinds: Sequence[str], model: str) -> None:
    """Refuse a task that is not of a kind that the model does.

    Raises:
        ValueError: it is not.
    """
    if kind not in kinds:
        raise ValueError(
            f"model={model} cannot take task={task}: the task is {kind}, the model does {', '.join(kinds)}"
        )


def parse_spec(values: dict[str, Any]) -> RunSpec:
    """Validate a composed configuration.

    Raises:
        ValueError: names every offending field with its path, its value and what would be valid.
    """
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        raise ValueError(sentences(error)) from None
