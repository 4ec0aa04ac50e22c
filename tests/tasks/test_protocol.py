"""What each task does by itself is what the papers' scripts did: templates, mask, lengths, decoding, answer rule."""

from __future__ import annotations

import re

import pytest

from svft_bench.compose import options
from svft_bench.config.spec import SourceSpec
from tests.tasks.layout import task_spec

GLUE = "mnli sst2 mrpc cola qnli qqp rte stsb wnli".split()  # noqa: SIM905
WORDS = ("Question", "USER", "ASSISTANT", "Instruction", "Response")
UNPINNED = {"flowers102", "xsum", "squad", "squad_v2", "dreambooth"}  # a record names the commit that it read
EIGHT = {
    "boolq": "true_false",
    "piqa": "solution",
    "siqa": "answer",
    "hellaswag": "ending",
    "winogrande": "option",
    "arc_e": "answer",
    "arc_c": "answer",
    "obqa": "answer",
}


def test_the_tasks_of_both_papers_are_there() -> None:
    svft = ["gsm8k", "math", "commonsense", "commonsense_likelihood", "cifar100", "flowers102", "food101", "resisc45"]
    vectorfit = ["cifar10", "mnist", "gtsrb"]
    assert {*svft, *vectorfit, *(f"glue/{name}" for name in GLUE), "digits"} <= {*options("task")}


@pytest.mark.parametrize("name", options("task"))
def test_every_set_of_a_hub_is_pinned_to_a_commit(name: str) -> None:
    spec = task_spec(name)
    sources: list[SourceSpec] = [spec.train, *(item.data for item in spec.evals)]
    sources += [spec.validation] if spec.validation is not None else []
    for source in sources:
        pinned = re.fullmatch(r"[0-9a-f]{40}", source.revision or "") is not None
        assert source.builtin or source.local or source.lines
        assert pinned == (source.hub is not None and name not in UNPINNED)


@pytest.mark.parametrize(("name", "longest"), [("gsm8k", 512), ("math", 2048)])
def test_maths_as_released(name: str, longest: int) -> None:
    spec = task_spec(name)
    prompt, (item,) = spec.prompt, spec.evals
    assert prompt and item.generation
    assert (prompt.train, prompt.evaluation) == ("metamath", "metamath_step_by_step")
    assert (prompt.loss_on, prompt.max_length, prompt.packing) == ("answer", 512, False)
    assert (item.generation.num_beams, item.generation.max_new_tokens) == (1, longest)
    assert {*item.generation.stop} == {*WORDS, *(f"{word}:" for word in WORDS)}
    assert (item.answer, item.metrics) == (name, ("accuracy", "accuracy_strict"))
    assert spec.validation_rows == 0


def test_commonsense_as_released() -> None:
    spec = task_spec("commonsense")
    prompt = spec.prompt
    assert prompt and (prompt.train, prompt.evaluation) == ("commonsense", "commonsense_evaluation")
    assert (prompt.loss_on, prompt.max_length, prompt.packing) == ("sequence", 512, False)
    assert {item.name: item.answer for item in spec.evals} == EIGHT
    for item in spec.evals:
        assert item.generation and (item.generation.num_beams, item.generation.max_new_tokens) == (4, 32)
        assert item.generation.stop == () and item.metrics == ("accuracy", "accuracy_strict")
    assert spec.validation_rows == 120


def test_multiple_choice_by_likelihood_is_two_named_evals_for_each_set() -> None:
    released, likely = (task_spec(name) for name in ("commonsense", "commonsense_likelihood"))
    assert [item.name for item in likely.evals] == [f"{item.name}_likelihood" for item in released.evals]
    assert [item.data for item in likely.evals] == [item.data for item in released.evals]


@pytest.mark.parametrize("name", ["cifar100", "flowers102", "food101", "resisc45"])
def test_vision_draws_ten_and_two_images_of_every_class(name: str) -> None:
    few = task_spec(name).few_shot
    assert few and (few.train_per_class, few.validation_per_class) == (10, 2)


def test_glue_is_scored_by_the_metrics_of_its_papers() -> None:
    found = {name: task_spec(f"glue/{name}").evals[0].metrics[0] for name in GLUE}
    assert found == dict.fromkeys(GLUE, "accuracy") | {"cola": "matthews", "stsb": "pearson"}
