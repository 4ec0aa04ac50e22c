"""Windows overlap and hold every place of their context; an answer's ends, and the best span of all windows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from svft_bench.compose import cells
from svft_bench.config.spec import SpanSpec, TaskSpec
from svft_bench.models.loading import load_processor
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.running.batches.rows import training_rows
from svft_bench.running.batches.windows import Window, answered, best_span, padded, windows
from tests.tasks.layout import task_spec

WORDS = [f"word{number}" for number in range(80)]
CONTEXT = " ".join(WORDS)


def example(context: str = CONTEXT, *, answer: str | None = "word40", **more: Any) -> dict[str, Any]:
    start = None if answer is None else context.index(answer)
    row = {"id": "0", "question": "Which word?", "context": context, "answer": answer, "start": start}
    return row | {"reference": [answer] if answer else []} | more


def task(*, length: int = 64, stride: int = 16, **more: Any) -> TaskSpec:
    span = {"stride": stride, **more}
    return task_spec("squad").model_copy(update={"max_length": length, "span": SpanSpec.model_validate(span)})


@pytest.fixture(scope="module", params=["minilm-l6", "stand-in"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real one of word pieces, and one of single bytes."""
    spec = cells(["model=minilm-l6", "task=squad", "train.lr=1"], any_data=True)[0].spec.model
    if request.param == "stand-in":
        folder = tiny_model_folder(spec, tmp_path_factory.mktemp("tiny"))
        spec = spec.model_copy(update={"path": str(folder)})
    return load_processor(spec)


def cut(row: dict[str, Any], tokenizer: Any, **more: Any) -> list[Window]:
    (found,) = windows([row], task=task(**more), tokenizer=tokenizer)
    return found


def test_windows_share_a_stride_and_hold_the_whole_context(tokenizer: Any) -> None:
    found = cut(example(), tokenizer)
    assert len(found) > 2 and all(len(window.ids) <= 64 for window in found)
    whole = tokenizer(CONTEXT, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    for one, other in itertools.pairwise(found):
        assert list(one.offsets[-16:]) == list(other.offsets[:16])
    parts = [*found[0].offsets, *(place for window in found[1:] for place in window.offsets[16:])]
    assert parts == [tuple(place) for place in whole["offset_mapping"]]
    assert all([window.ids[at] for at in window.context] for window in found)


def test_the_ends_of_an_answer_are_the_tokens_that_hold_it_in_windows_that_hold_it_whole(tokenizer: Any) -> None:
    row = example()
    start, stop = row["start"], row["start"] + len("word40")
    found = cut(row, tokenizer)
    ends = [window.ends(start, stop) for window in found]
    assert 1 <= sum(at is not None for at in ends) < len(found)
    for window, at in zip(found, ends, strict=True):
        inside = window.offsets[0][0] <= start and stop <= window.offsets[-1][1]
        assert (at is not None) == inside
        if at is not None:
            first, last = (window.offsets[place - window.context.start] for place in at)
            assert CONTEXT[first[0] : last[1]].strip() == "word40"


def test_where_an_answer_is_not_whole_a_window_is_learned_to_have_none(tokenizer: Any) -> None:
    rows = training_rows([example(), example(answer=None)], task=task(), processor=tokenizer)
    assert rows.examples == 2 and len(rows.rows) > 4 and rows.lengths == [len(row["ids"]) for row in rows.rows]
    nowhere = [row for row in rows.rows if row["start"] == row["end"] == 0]
    assert 0 < len(rows.rows) - len(nowhere) < len(rows.rows) / 2
    assert all(row["ids"][0] == tokenizer.cls_token_id for row in nowhere)
    assert rows.skipped == {"training: context longer than 64 tokens, read in several windows": 2}


def test_an_answer_longer_than_what_windows_share_is_counted(tokenizer: Any) -> None:
    answer = " ".join(WORDS[10:70])
    rows = training_rows([example(answer=answer)], task=task(), processor=tokenizer)
    assert rows.skipped["training: answer whole in no window, learned as none"] == 1


def test_a_question_that_leaves_no_room_is_refused_by_its_row(tokenizer: Any) -> None:
    with pytest.raises(
        ValueError, match=r"row 7: its question has \d+ tokens, of task.max_length=64 and task.span.stri"
    ):
        cut(example(question=" ".join(WORDS[:60]), id="7"), tokenizer)


def test_letters_of_several_bytes_keep_their_places(tokenizer: Any) -> None:
    context = "Käse aß Żółć – 北京 war schön. " * 4
    row = example(context, answer="Żółć")
    (at,) = {window.ends(row["start"], row["start"] + 4) for window in cut(row, tokenizer, length=512)}
    (window,) = cut(row, tokenizer, length=512)
    assert at is not None
    first, last = (window.offsets[place - window.context.start] for place in at)
    assert context[first[0] : last[1]].strip() == "Żółć"


def test_a_context_without_a_token_gives_no_span(tokenizer: Any) -> None:
    (window,) = cut(example("", answer=None), tokenizer)
    logits = torch.zeros(len(window.ids))
    found = answered("", [(window, (logits, logits))], span=SpanSpec(stride=16, no_answer=True))
    assert found == {"prediction": "", "span": "", "gap": 0.0, "cut": "span"}


def test_the_padding_changes_no_place(tokenizer: Any) -> None:
    rows = [window.row for window in cut(example(), tokenizer)]
    batch = padded([*rows, {name: value[:9] for name, value in rows[0].items()}], tokenizer)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (len(rows) + 1, 64)
    assert batch["attention_mask"].sum(1).tolist() == [len(row["ids"]) for row in rows] + [9]
    assert batch["input_ids"][-1].tolist() == list(rows[0]["ids"][:9]) + [tokenizer.pad_token_id] * 55


MADE = Window(
    ids=range(12), types=None, context=range(4, 11), offsets=[(3 * i, 3 * i + 2) for i in range(7)], nowhere=0
)


def tried(starts: Sequence[float], ends: Sequence[float], span: SpanSpec) -> tuple[float, tuple[int, int]] | None:
    """Every pair of places in the context, one after the other."""
    places = list(MADE.context)
    best_starts, best_ends = (sorted(places, key=lambda at: -side[at])[: span.n_best] for side in (starts, ends))
    pairs = [
        (starts[i] + ends[j], (MADE.offsets[i - 4][0], MADE.offsets[j - 4][1]))
        for i in best_starts
        for j in best_ends
        if i <= j < i + span.max_answer
    ]
    return max(pairs, default=None)


@pytest.mark.parametrize("seed", range(40))
def test_the_best_span_is_that_of_every_pair_tried(seed: int) -> None:
    draw = random.Random(seed)
    starts, ends = ([draw.gauss(0, 3) for _ in range(12)] for _ in range(2))
    span = SpanSpec(stride=1, n_best=draw.choice([1, 2, 3, 20]), max_answer=draw.choice([1, 2, 4, 30]))
    found = best_span(MADE, torch.tensor(starts).double(), torch.tensor(ends).double(), span=span)
    expected = tried(starts, ends, span)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found[0] == pytest.approx(expected[0]) and found[1] == expected[1]


def test_the_best_window_answers_and_the_least_sure_of_none_is_compared() -> None:
    """0.5 for none in the one, 4 in the other, against spans of 1 and 3."""
    logits = torch.zeros(2, 12)
    logits[0, [0, 5]], logits[1, [0, 7]] = torch.tensor([0.25, 0.5]), torch.tensor([2.0, 1.5])
    looked = [(MADE, (side, side)) for side in logits]
    found = answered("ab cd ef gh ij kl mn", looked, span=SpanSpec(stride=1, no_answer=True))
    assert found == {"prediction": "gh", "span": "gh", "gap": 0.5 - 3.0, "windows": 2}
    assert answered("ab cd ef gh ij kl mn", looked, span=SpanSpec(stride=1)) == {"prediction": "gh", "windows": 2}
