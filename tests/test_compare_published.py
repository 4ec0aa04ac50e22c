"""A fresh run says whether it gave the published numbers."""

from __future__ import annotations

from scripts.compare_published import differences
from svft_bench.compose import cells
from tests.made_records import made_record


def test_a_score_that_is_not_the_published_one_is_named_with_both() -> None:
    published, other = (made_record(cell, score=0.5, items=4) for cell in cells(["method=lora,head"]))
    fresh = published.model_copy(update={"scores": {"digits": {"accuracy": 0.75}}})
    assert differences([published], [published, other]) == []
    assert differences([fresh], [published, other]) == ["LoRA, digits, seed 0: accuracy 75.0 here, 50.0 published"]
    assert differences([other], [published]) == ["head only, digits, seed 0: not published"]
