"""`RunSpec`: all that determines one run, validated before anything heavy is imported.

A spec is composed from `conf/` and the command line, checked once here and trusted afterwards. `run_id` hashes what
determines the result; titles, sources and tables of module names describe a run without determining it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Kind = Literal["image_classification", "sequence_classification", "causal_lm"]
Selection = Literal["last", "best_validation", "best_reported"]
ReaderName = Literal[
    "image_label",
    "img_label",
    "img_fine_label",
    "sentence",
    "sentence_pair",
    "question_sentence",
    "question_pair",
    "premise_hypothesis",
    "metamath",
    "gsm8k",
    "math",
    "llm_adapters",
]
PromptName = Literal["metamath", "metamath_step_by_step", "commonsense", "commonsense_evaluation"]
AnswerName = Literal["gsm8k", "math", "true_false", "solution", "answer", "ending", "option"]
MetricName = Literal["accuracy", "accuracy_strict", "f1", "matthews", "pearson", "spearman"]


class Spec(BaseModel):
    """A frozen part of a run's specification; `describes` names the fields that do not determine the result."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    describes: ClassVar[frozenset[str]] = frozenset()

    def identity(self) -> dict[str, Any]:
        """The fields that determine the result, as plain JSON values."""
        values: dict[str, Any] = {}
        for name, value in self:
            if name not in self.describes:
                values[name] = _identity(value)
        return values


def _identity(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.identity()
    if isinstance(value, dict):
        return {key: _identity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(item) for item in value]
    return value


class ImageSpec(Spec):
    """How an image becomes a tensor: resized to `size` x `size` pixels, then normalised per channel."""

    size: int = Field(gt=0)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"]
    backend: Literal["pil"]


class ModelSpec(Spec):
    """A pre-trained model: where its weights come from, how they load, what its layers are called."""

    describes = frozenset(
        {"title", "architecture", "kinds", "targets", "layers", "matrices", "biases", "parameters", "patch"}
    )

    name: str
    title: str
    architecture: str
    source: Literal["hub", "carrier"]
    path: str
    revision: str | None
    kinds: tuple[Kind, ...]
    dtype: Literal["float32", "bfloat16", "float16"]
    attention: Literal["sdpa", "eager"]
    padding_side: Literal["left", "right"] | None
    pad_token: str | None
    image: ImageSpec | None
    head_modules: tuple[str, ...]
    targets: dict[str, str | tuple[str, ...]]
    layers: int = Field(gt=0)
    matrices: dict[str, tuple[int, int]]
    biases: bool
    parameters: int = Field(gt=0)
    patch: int | None = None


class MethodSpec(Spec):
    """What the papers compare; every further field belongs to the PEFT config that `peft_type` names."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    describes = frozenset({"title"})

    name: str
    title: str
    peft_type: str | None
    trains: Literal["adapter", "head", "all"]
    modules: str | None

    @property
    def adapter(self) -> dict[str, Any]:
        """The fields of the adapter's own config."""
        return dict(self.model_extra or {})

    def identity(self) -> dict[str, Any]:
        """As for every part, with the adapter's fields beside the declared ones."""
        return super().identity() | {key: _identity(value) for key, value in self.adapter.items()}

    @model_validator(mode="after")
    def _an_adapter_has_a_type(self) -> MethodSpec:
        if (self.trains == "adapter") != (self.peft_type is not None):
            raise ValueError(f"trains={self.trains} with peft_type={self.peft_type}: only an adapter has a peft_type")
        return self


class SourceSpec(Spec):
    """One split of one data set: on the hub, as files below the data root, or built into a library."""

    describes = frozenset({"title", "rows", "local"})

    title: str
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    split: str
    local: str | None = None
    builtin: Literal["digits"] | None = None
    rows: int | None = None


class FewShotSpec(Spec):
    """A balanced draw: this many images of every class for training and for validation."""

    train_per_class: int = Field(gt=0)
    validation_per_class: int = Field(ge=0)


class PromptSpec(Spec):
    """How a question becomes tokens, and which tokens carry the loss."""

    train: PromptName
    evaluation: PromptName
    loss_on: Literal["answer", "sequence"]
    max_length: int = Field(gt=0)


class GenerationSpec(Spec):
    """Decoding of one eval; always without sampling."""

    max_new_tokens: int = Field(gt=0)
    num_beams: int = Field(default=1, gt=0)
    stop: tuple[str, ...] = ()


class EvalSpec(Spec):
    """One scored data set; the first metric is the one a table shows."""

    name: str
    data: SourceSpec
    reader: ReaderName
    metrics: tuple[MetricName, ...] = Field(min_length=1)
    generation: GenerationSpec | None = None
    answer: AnswerName | None = None

    @model_validator(mode="after")
    def _metrics_fit_the_answer(self) -> EvalSpec:
        graded = {"accuracy", "accuracy_strict"}
        wrong = [name for name in self.metrics if (name in graded) != (self.answer is not None) and name != "accuracy"]
        if wrong:
            takes = ", ".join(sorted(graded)) if self.answer else "accuracy, f1, matthews, pearson, spearman"
            raise ValueError(f"metrics={', '.join(wrong)} cannot be scored with answer={self.answer}; valid: {takes}")
        if (self.answer is None) != (self.generation is None):
            raise ValueError(f"eval {self.name}: answer and generation belong together, one of them is missing")
        return self


class TaskSpec(Spec):
    """One training set and the eval sets scored after it."""

    describes = frozenset({"title", "source"})

    name: str
    title: str
    source: str
    version: int = Field(gt=0)
    kind: Kind
    reader: ReaderName
    labels: int | None = None
    train: SourceSpec
    validation: SourceSpec | None = None
    validation_rows: int = Field(default=0, ge=0)
    few_shot: FewShotSpec | None = None
    max_length: int | None = None
    prompt: PromptSpec | None = None
    evals: tuple[EvalSpec, ...] = Field(min_length=1)

    @field_validator("evals", mode="before")
    @classmethod
    def _named(cls, evals: Any) -> Any:
        """A mapping from name to eval, as a task's file writes it, so that an override can name what it changes."""
        return [{"name": name, **item} for name, item in evals.items()] if isinstance(evals, dict) else evals

    @model_validator(mode="after")
    def _parts_fit_the_kind(self) -> TaskSpec:
        needed: dict[Kind, tuple[str, ...]] = {
            "image_classification": ("labels",),
            "sequence_classification": ("labels", "max_length"),
            "causal_lm": ("prompt",),
        }
        missing = [name for name in needed[self.kind] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"task {self.name} is {self.kind} and needs {' and '.join(missing)}")
        for item in self.evals:
            if (item.generation is not None) != (self.kind == "causal_lm"):
                raise ValueError(f"eval {item.name}: generation is for causal_lm tasks, this one is {self.kind}")
        if self.few_shot is not None and self.validation_rows:
            raise ValueError(
                f"validation_rows={self.validation_rows}: with few_shot, use few_shot.validation_per_class"
            )
        return self


class TrainSpec(Spec):
    """The optimisation: AdamW with one group for the head and one for everything else."""

    describes = frozenset({"source"})

    lr: float = Field(gt=0)
    lr_head: float | None = Field(default=None, gt=0)
    epochs: int = Field(gt=0)
    max_steps: int | None = Field(default=None, ge=0)
    batch_size: int = Field(gt=0)
    gradient_accumulation: int = Field(default=1, gt=0)
    weight_decay: float = Field(ge=0)
    betas: tuple[float, float]
    eps: float = Field(gt=0)
    schedule: Literal["linear", "cosine", "constant"]
    warmup_ratio: float = Field(ge=0, lt=1)
    warmup_steps: int | None = Field(default=None, ge=0)
    max_grad_norm: float = Field(gt=0)
    precision: Literal["float32", "bfloat16"]
    gradient_checkpointing: bool
    selection: Selection
    source: str


class LimitSpec(Spec):
    """Fewer rows than the data set has; `None` takes them all."""

    train: int | None = Field(default=None, gt=0)
    eval: int | None = Field(default=None, gt=0)


class RunSpec(Spec):
    """One cell (model, method, task) at one seed."""

    model: ModelSpec
    method: MethodSpec
    task: TaskSpec
    train: TrainSpec
    limit: LimitSpec
    eval_batch_size: int = Field(gt=0)
    data: str
    seed: int = Field(ge=0)

    describes = frozenset({"eval_batch_size"})

    @model_validator(mode="after")
    def _model_takes_task(self) -> RunSpec:
        if self.task.kind not in self.model.kinds:
            raise ValueError(
                f"model={self.model.name} cannot take task={self.task.name}: the task is {self.task.kind}, "
                f"the model does {', '.join(self.model.kinds)}"
            )
        if self.train.selection == "best_validation" and not has_validation(self.task):
            raise ValueError(f"selection=best_validation needs a validation split, task={self.task.name} has none")
        return self

    @property
    def run_id(self) -> str:
        """Twelve hex digits that name this run: equal specs, equal ids, on any machine."""
        return _digest(self.identity())

    @property
    def cell_id(self) -> str:
        """What repetitions of one measurement share: everything but the seed and where the data came from."""
        identity = self.identity()
        del identity["seed"], identity["data"]
        return _digest(identity)

    @property
    def train_id(self) -> str:
        """Names the training alone, so that tasks which share it share the trained weights."""
        identity = self.identity()
        identity["task"] = {key: identity["task"][key] for key in identity["task"] if key not in ("name", "evals")}
        identity["limit"].pop("eval")
        return _digest(identity)


def has_validation(task: TaskSpec) -> bool:
    """Whether the task sets rows aside that choose an epoch."""
    drawn = task.few_shot is not None and task.few_shot.validation_per_class > 0
    return drawn or task.validation is not None or task.validation_rows > 0


def parse_spec(values: dict[str, Any]) -> RunSpec:
    """Validate a composed configuration.

    Raises:
        ValueError: names every offending field with its path, its value and what would be valid.
    """
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        raise ValueError(sentences(error)) from None


def sentences(error: ValidationError) -> str:
    """Every offending field with its path, its value and what would be valid, in one line."""
    return "; ".join(_sentence(item) for item in error.errors())


def _sentence(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path}={item['input']!r}: {message}"


def _digest(identity: dict[str, Any]) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
