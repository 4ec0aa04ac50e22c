"""The task of a run: where its rows are, how they become examples, and how predictions on them are scored."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, StrictInt, field_validator, model_validator

from svft_bench.config.spec.base import LARGEST, Count, Name, PathOfNames, Spec, Text
from svft_bench.config.spec.kinds import KINDS, Kind, ReaderName
from svft_bench.config.spec.metric import OPTION_METRICS, TEXT_METRICS, TOKEN_METRICS, MetricName
from svft_bench.config.spec.picture import DrawingSpec, SubjectSpec, check_draws, check_pictures
from svft_bench.config.spec.prompt import GenerationSpec, PromptSpec
from svft_bench.config.spec.source import SourceSpec
from svft_bench.config.spec.span import SpanSpec
from svft_bench.config.wording import plural

AnswerName = Literal[
    "gsm8k",
    "math",
    "true_false",
    "solution",
    "answer",
    "ending",
    "option",
    "any_option",
    "exact",
    "last_number",
    "pattern",
]
BUILTIN_LABELS = {"digits": 10}
OPTION_READERS: tuple[ReaderName, ...] = ("llm_adapters_options", "columns")
OWN_ANSWERS: tuple[AnswerName, ...] = ("exact", "last_number", "pattern")
# Readers whose reference is a whole text.
SOLUTION_READERS: tuple[ReaderName, ...] = ("gsm8k_solution", "math_solution", "metamath_solution")


class FewShotSpec(Spec):
    """A balanced draw: this many rows of every class for training and for validation."""

    train_per_class: Count
    validation_per_class: StrictInt = Field(ge=0, le=LARGEST)


class EvalSpec(Spec):
    """One scored data set; the first metric is the one a table shows.

    A language model's prediction is the text it generates, or with `likelihood` the likeliest of the options that the
    question names: of all continuations with one in place of `{}`, the one of the highest probability. By
    `token_accuracy` it is how many tokens of a reference solution would have been written next, all before them given.
    `log_likelihood` is in nats, the negative log-likelihood with its sign turned, so that more is better as for every
    metric: of a token of the reference solution, or of the right one among the options. A text that an encoder and a
    decoder generate is held beside the reference as a whole, by `rouge1` to `bleu`.

    A model that draws predicts the noise in pictures, or with `drawing` a picture for every line.
    """

    younger = frozenset({"likelihood", "pattern", "options", "drawing"})

    name: Name
    data: SourceSpec
    reader: ReaderName
    metrics: tuple[MetricName, ...] = Field(min_length=1)
    generation: GenerationSpec | None = None
    answer: AnswerName | None = None
    likelihood: str | None = None
    pattern: str | None = None
    options: tuple[str, ...] = ()
    drawing: DrawingSpec | None = None

    @model_validator(mode="after")
    def _pictures_are_of_lines(self) -> EvalSpec:
        check_pictures(self.name, drawing=self.drawing, reader=self.reader, metrics=self.metrics)
        return self

    @model_validator(mode="after")
    def _an_own_answer_is_whole(self) -> EvalSpec:
        if (self.answer == "pattern") != (self.pattern is not None):
            raise ValueError(f"eval {self.name}: answer=pattern and pattern belong together, one of them is missing")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"eval {self.name}: pattern={self.pattern!r} is no regular expression: {error}") from None
        if self.answer in OWN_ANSWERS and self.metrics != ("accuracy",):
            raise ValueError(f"eval {self.name}: answer={self.answer} is one rule, so metrics=[accuracy]")
        if self.options and (self.likelihood is None or len(set(self.options)) < max(2, len(self.options))):
            raise ValueError(f"eval {self.name}: options are two or more different texts, for likelihood")
        return self

    @model_validator(mode="after")
    def _metrics_fit_the_answer(self) -> EvalSpec:
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"eval {self.name}: metrics={', '.join(self.metrics)} names one twice")
        if self.by_overlap:
            if not {*self.metrics} <= {*TEXT_METRICS} or self.answer is not None or self.generation is None:
                raise ValueError(
                    f"eval {self.name}: {', '.join(TEXT_METRICS)} are of generated texts as they are, without answer "
                    "or other metrics"
                )
            return self
        graded = {"accuracy", "accuracy_strict"}
        wrong = [name for name in self.metrics if (name in graded) != (self.answer is not None) and name != "accuracy"]
        if wrong:
            takes = ", ".join(sorted(graded)) if self.answer else "accuracy, f1, matthews, pearson, spearman"
            raise ValueError(f"metrics={', '.join(wrong)} cannot be scored with answer={self.answer}; valid: {takes}")
        if (self.answer is None) != (self.generation is None):
            raise ValueError(
                f"eval {self.name}: answer and generation belong together, one of them is missing; "
                f"{', '.join(TEXT_METRICS)} take generation alone"
            )
        return self

    @model_validator(mode="after")
    def _tokens_are_of_a_solution(self) -> EvalSpec:
        whole = self.reader in SOLUTION_READERS
        alone = {*self.metrics} <= {*TOKEN_METRICS} and self.generation is None and self.likelihood is None
        if self.by_token != whole or (whole and not alone):
            readers = " or ".join(SOLUTION_READERS)
            raise ValueError(
                f"eval {self.name}: metrics={' or '.join(TOKEN_METRICS)} and reader={readers} belong together, without "
                "other metrics, generation or likelihood"
            )
        return self

    @property
    def by_overlap(self) -> bool:
        """Whether a whole text is compared with the reference."""
        return not {*TEXT_METRICS}.isdisjoint(self.metrics)

    @property
    def by_token(self) -> bool:
        """Whether tokens of a given text are foreseen, in place of an answer that is found."""
        return "token_accuracy" in self.metrics or ("log_likelihood" in self.metrics and self.likelihood is None)

    @model_validator(mode="after")
    def _options_have_a_place(self) -> EvalSpec:
        if self.likelihood is None:
            return self
        if self.likelihood.count("{}") != 1 or self.likelihood.strip("{}").count("{"):
            raise ValueError(f"likelihood={self.likelihood!r}: expected a text with {{}} once, where the option stands")
        if self.generation is not None or not {*self.metrics} <= {*OPTION_METRICS} or self.reader not in OPTION_READERS:
            raise ValueError(
                f"eval {self.name}: likelihood takes no generation, metrics={' or '.join(OPTION_METRICS)} and "
                f"reader={' or '.join(OPTION_READERS)}"
            )
        return self


class TaskSpec(Spec):
    """One training set and the eval sets scored after it.

    Rows set aside from training are scored as the first eval is, or by `validated_by` where that would not fit them.
    `columns` says which columns of `reader=columns` are text, label, image, reference or answers; `classes` are the
    names of labels in the order of their numbers. An encoder reads `prefix` and a text of up to `max_length` tokens, a
    decoder learns to write one of up to `max_target_length`.
    """

    describes = frozenset({"title", "source"})
    younger = frozenset({"validated_by", "columns", "classes", "max_target_length", "prefix", "span", "subject"})

    name: PathOfNames
    title: Text
    source: Text
    version: Count
    kind: Kind
    reader: ReaderName
    labels: Count | None = None
    columns: dict[str, Text] = Field(default={})
    classes: tuple[str, ...] = ()
    train: SourceSpec
    validation: SourceSpec | None = None
    validation_rows: StrictInt = Field(default=0, ge=0)
    few_shot: FewShotSpec | None = None
    max_length: Count | None = None
    max_target_length: Count | None = None
    prefix: str = ""
    prompt: PromptSpec | None = None
    span: SpanSpec | None = None
    subject: SubjectSpec | None = None
    validated_by: EvalSpec | None = None
    evals: tuple[EvalSpec, ...] = Field(min_length=1)

    def _readers(self) -> list[tuple[str, ReaderName]]:
        return [("reader", self.reader), *((f"evals.{item.name}.reader", item.reader) for item in self.evals)]

    @model_validator(mode="after")
    def _classes_are_counted_right(self) -> TaskSpec:
        """Metrics for so many classes, and as many classes as the rows are known to have."""
        if len({item.name for item in self.evals}) < len(self.evals):
            raise ValueError(f"evals: two are called {' and '.join(item.name for item in self.evals)}")
        if self.labels is None or not KINDS[self.kind].labelled:
            return self
        known = BUILTIN_LABELS.get(self.train.builtin or "", self.labels)
        if self.labels != known:
            raise ValueError(f"labels={self.labels}: {self.train.builtin} has {known} classes")
        valid = _metrics_of(self.labels)
        for item in (*self.evals, self.chooser):
            if wrong := [name for name in item.metrics if name not in valid]:
                raise ValueError(
                    f"evals.{item.name}.metrics={', '.join(wrong)} says nothing of labels={self.labels}; valid: "
                    f"{', '.join(valid)}"
                )
        return self

    @model_validator(mode="after")
    def _rows_are_left_to_train_on(self) -> TaskSpec:
        if (rows := self.train.examples) is not None and self.validation_rows >= rows:
            raise ValueError(f"validation_rows={self.validation_rows} leaves nothing of {plural(rows, 'row')}")
        if self.few_shot is None and any(item.data.split == "rest" and item.data.builtin for item in self.evals):
            raise ValueError("split=rest is what few_shot leaves over, and few_shot is null")
        if self.few_shot is not None and self.validation_rows:
            raise ValueError(
                f"validation_rows={self.validation_rows}: with few_shot, use few_shot.validation_per_class"
            )
        if self.few_shot is not None and (not KINDS[self.kind].labelled or self.labels == 1):
            of = " or ".join(kind for kind, described in KINDS.items() if described.labelled)
            told = f"kind={self.kind} with labels={self.labels}; {of} with 2 labels or more has them"
            raise ValueError(f"few_shot draws rows of each class, and task {self.name} has none: it is {told}")
        return self

    @model_validator(mode="after")
    def _columns_are_named(self) -> TaskSpec:
        own = any(reader == "columns" for _, reader in self._readers())
        if own != bool(self.columns):
            raise ValueError("reader=columns and columns={...} belong together, one of them is missing")
        needed, more = KINDS[self.kind].columns, KINDS[self.kind].perhaps
        if own and not needed <= self.columns.keys() <= needed | more:
            raise ValueError(
                f"columns={', '.join(self.columns)}: a task of {self.kind} names {', '.join(sorted(needed))}"
                + (f", perhaps {', '.join(sorted(more))}" if more else "")
            )
        if own and self.prompt is not None and self.prompt.template is None:
            raise ValueError("reader=columns needs prompt.template and prompt.response")
        if self.classes and (not own or len({*self.classes}) != self.labels or self.labels < 2):
            raise ValueError(f"classes: {len({*self.classes})} names for reader=columns with labels={self.labels}")
        return self

    @property
    def outputs(self) -> int:
        """Numbers that a head of the task gives."""
        return self.labels or KINDS[self.kind].outputs or 0

    @property
    def chooser(self) -> EvalSpec:
        """What scores the rows set aside."""
        return self.validated_by or self.evals[0]

    @field_validator("evals", mode="before")
    @classmethod
    def _named(cls, evals: Any) -> Any:
        """A mapping from name to eval, as a task's file writes it, so that an override can name what it changes."""
        if not isinstance(evals, dict):
            return evals
        if wrong := [name for name, item in evals.items() if not isinstance(item, dict)]:
            raise ValueError(f"{wrong[0]}={evals[wrong[0]]!r} is no eval: it has data, reader and metrics")
        return [{"name": name, **item} for name, item in evals.items()]

    @model_validator(mode="after")
    def _parts_fit_the_kind(self) -> TaskSpec:
        described = KINDS[self.kind]
        missing = [name for name in described.needs if getattr(self, name) is None]
        if missing:
            raise ValueError(f"task {self.name} is {self.kind} and needs {' and '.join(missing)}")
        if not described.two_parts and (self.max_target_length is not None or self.prefix):
            raise ValueError(f"max_target_length and prefix are for an encoder with a decoder, this is {self.kind}")
        for item in (*self.evals, self.chooser):
            if item.by_overlap != described.two_parts:
                raise ValueError(
                    f"eval {item.name}: {', '.join(TEXT_METRICS)} of generated texts are what seq2seq_lm tasks are "
                    f"scored by, and only they; this one is {self.kind} with metrics={', '.join(item.metrics)}"
                )
            text = item.generation is not None or item.likelihood is not None or item.by_token
            if text != described.writes:
                raise ValueError(
                    f"eval {item.name}: generation or likelihood is for causal_lm tasks (or metrics="
                    f"[token_accuracy]), this one is {self.kind}"
                )
            check_draws(self.kind, item.name, metrics=item.metrics)
        if self.span is not None:
            metrics = {item.name: item.metrics for item in (*self.evals, self.chooser)}
            self.span.check(task=self.name, kind=self.kind, max_length=self.max_length or LARGEST, metrics=metrics)
        for place, reader in self._readers():
            if reader not in described.readers:
                raise ValueError(f"{place}={reader} reads no rows for {self.kind}")
        return self


def _metrics_of(labels: int) -> tuple[MetricName, ...]:
    """What can be said of predictions of so many classes; one label is a number that is regressed."""
    if labels == 1:
        return ("pearson", "spearman")
    return ("accuracy", "f1", "matthews") if labels == 2 else ("accuracy",)


def has_validation(task: TaskSpec) -> bool:
    """Whether the task sets rows aside that choose an epoch."""
    drawn = task.few_shot is not None and task.few_shot.validation_per_class > 0
    return drawn or task.validation is not None or task.validation_rows > 0
