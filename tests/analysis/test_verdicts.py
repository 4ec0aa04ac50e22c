"""What is said of our score beside a printed one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from svft_bench.analysis.references import Reference, load_reference
from svft_bench.analysis.tables.selecting import overrides_of
from svft_bench.analysis.tables.value import Table
from svft_bench.analysis.tables.verdict import Comparison, settled
from svft_bench.compose import cells
from svft_bench.records import RunRecord
from tests.analysis.papers import facts, gsm8k, made, runs, seeds
from tests.made_records import made_record


def test_close_scores_over_seeds_reproduce(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408]))
    assert gsm8k(found) == "reproduced"
    assert gsm8k(found, "difference").startswith("+0.06 ±")
    assert facts(found)["math.verdict"] == "not attempted"


def baseline(table: Reference, *, off: float = 0.0) -> list[RunRecord]:
    """Three seeds of LoRA's row, so many points off print."""
    row = next(row for row in table.rows if (row.model, row.ours, row.settings) == ("gemma-2b", "lora", {"r": 1}))
    asked = cells([*overrides_of(row, table.columns[0].of[0]), "seed=0,1,2"], any_data=True)
    scores = [(row.scores["gsm8k"] + off + shift) / 100 for shift in (-0.1, 0.0, 0.1)]
    return [made_record(cell, score=score, items=1319) for cell, score in zip(asked, scores, strict=True)]


def verdict(table: Table) -> tuple[object, str]:
    """That on the row of SVFT plain, and why."""
    row = next(row for row in table.rows if row.facts.get("runs") and row.facts["method"] == "svft_plain")
    return row.facts["gsm8k.verdict"], " ".join(note for note in table.notes if note.startswith("svft_plain"))


def test_a_steady_gap_below_print_is_worse_only_where_a_baseline_reproduces(table1: Reference) -> None:
    low = runs([0.350, 0.352, 0.351])
    assert verdict(made(table1, [*low, *baseline(table1)]))[0] == "worse than printed"
    for others in ([], baseline(table1, off=-6.0)):
        found, why = verdict(made(table1, [*low, *others]))
        assert found == "inconclusive" and "5.2 points below print, but no baseline of this table and column" in why


def test_worse_needs_three_seeds_below_print(table1: Reference) -> None:
    found, why = verdict(made(table1, [*runs([0.350, 0.352]), *baseline(table1)]))
    assert found == "inconclusive" and "5.2 points below print, at 2 of 3 fresh seeds" in why
    scattered = settled(
        Comparison(-5.2, 4.0, "worse than printed", ""), fresh=[30.0, 35.0, 41.0], printed=40.34, baseline=True
    )
    assert scattered.verdict == "inconclusive" and "not at every fresh seed" in scattered.reason


def test_a_seed_that_chose_the_rate_is_no_fresh_one(table1: Reference) -> None:
    tried = [made_record(one, score=0.5, items=1319) for one in seeds(1, "train.lr=1e-9", "train.selection=last")]
    chosen = [one.model_copy(update={"selected": {"by": "best_validation", "epoch": 1}}) for one in tried]
    low = [one.model_copy(update={"selected": {"by": "best_validation", "epoch": 1}}) for one in runs([0.35] * 3)]
    assert verdict(made(table1, [*low, *baseline(table1)]))[0] == "worse than printed"
    found, why = verdict(made(table1, [*low, *chosen, *baseline(table1)]))
    assert found == "inconclusive" and "at 2 of 3 fresh seeds" in why


def test_a_steady_gap_above_print_is_better(table1: Reference) -> None:
    assert gsm8k(made(table1, runs([0.450, 0.452, 0.451]))) == "better than printed"


def test_another_rate_is_a_close_protocol_with_the_switch_named(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408], "train.lr=1e-4"))
    assert gsm8k(found) == "reproduced (close)" and facts(found)["gsm8k.protocol"] == "close"
    assert any("protocol close: train.lr (" in note for note in found.notes)


def test_other_rows_are_a_proxy_and_never_a_verdict(table1: Reference) -> None:
    found = made(table1, runs([0.10, 0.10, 0.10], "limit.train=100"))
    assert gsm8k(found) == "inconclusive (proxy)" and facts(found)["gsm8k.protocol"] == "proxy"
    assert any("a proxy: " in note and "limit.train" in note for note in found.notes)


def test_scattered_seeds_decide_nothing(table1: Reference) -> None:
    assert gsm8k(made(table1, runs([0.35, 0.40, 0.45]))) == "inconclusive"


def test_one_seed_decides_nothing(table1: Reference) -> None:
    found = made(table1, runs([0.4034]))
    assert gsm8k(found) == "inconclusive"
    assert any("one seed" in note for note in found.notes)


def test_one_seed_forty_points_away_is_better_or_waits_for_two_more(table1: Reference) -> None:
    found = made(table1, runs([0.83]))
    assert gsm8k(found) == "better than printed"
    assert any("more than 20 points apart" in note for note in found.notes)
    found = made(table1, runs([0.03]))
    assert gsm8k(found) == "inconclusive"
    assert any("37.3 points below print, at 1 of 3 fresh seeds" in note for note in found.notes)


@pytest.mark.parametrize("scores", [[0.3995, 0.3995], [0.3995]])
def test_tied_seeds_are_no_certainty(table1: Reference, scores: Sequence[float]) -> None:
    """The paper prints 40.34, 0.4 points above: an item of 1,319 is worth 0.08, and t(1) is 12.7."""
    assert gsm8k(made(table1, runs(scores))) in ("reproduced", "inconclusive")


def test_tied_seeds_have_the_spread_of_the_other_rows(table1: Reference) -> None:
    other = ["model=gemma-2b", "method=svft_random", "task=gsm8k", "method.off_diag=16", "method.modules=qkvudog"]
    asked = cells([*other, "seed=0,1,2"], any_data=True)
    scattered = [
        made_record(cell, score=score, items=1319) for cell, score in zip(asked, (0.49, 0.50, 0.51), strict=True)
    ]
    found = made(table1, [*runs([0.3995, 0.3995]), *scattered])
    noise = {str(row.facts["method"]): row.facts["gsm8k.noise"] for row in found.rows if row.facts.get("runs")}
    t = 3.1824  # of the three degrees of freedom of both rows; s² = (2 · 1 + 1 · 0) / 3
    assert noise["svft_plain"] == pytest.approx(t * (2 / 3) ** 0.5 * (1 + 1 / 2) ** 0.5, rel=1e-3)
    assert noise["svft_random"] == pytest.approx(t * (2 / 3) ** 0.5 * (1 + 1 / 3) ** 0.5, rel=1e-3)
    assert "Chance alone would put about 0.1 of the 2 with a ± beyond it." in found.notes


def test_the_interval_of_two_seeds_has_the_spread_of_the_whole_column(table1: Reference) -> None:
    """Two seeds eight points apart have t(1) = 12.7 alone; beside three seeds of another row, t(3) = 3.2."""
    other = ["model=gemma-2b", "method=svft_random", "task=gsm8k", "method.off_diag=16", "method.modules=qkvudog"]
    asked = cells([*other, "seed=0,1,2"], any_data=True)
    steady = [made_record(one, score=score, items=1319) for one, score in zip(asked, (0.49, 0.50, 0.51), strict=True)]
    alone, beside = (facts(made(table1, [*runs([0.36, 0.44]), *more])) for more in ([], steady))
    arm, less = (found["gsm8k.high"] - found["gsm8k.ours"] for found in (alone, beside))
    assert arm > 30 and less < 8


def test_a_printed_mean_of_five_is_less_uncertain_than_one_run() -> None:
    table = load_reference("svft_table3_glue_deberta")
    asked = cells(["model=deberta-v3-base", "method=lora", "task=glue/sst2", "method.r=8", "seed=0,1,2"], any_data=True)
    records = [made_record(cell, score=score, items=872) for cell, score in zip(asked, (0.94, 0.95, 0.96), strict=True)]
    found = made(table, records)
    assert facts(found)["sst2.noise"] == pytest.approx(4.3027 * (1 / 5 + 1 / 3) ** 0.5, rel=1e-3)
    assert any(note.startswith("Mean of 5 seeds in print: full_ft") for note in found.notes)


def test_a_mean_of_five_is_said_of_what_adalora_printed_and_of_nothing_else() -> None:
    printed = {row.scores["sst2"] for row in load_reference("adalora_table1_glue").rows}
    assert load_reference("adalora_table1_glue").seeds == 5
    for name in ("svft_table3_glue_deberta", "vf_sst2_pareto"):
        for row in load_reference(name).rows:
            assert row.seeds in (None, 5)
            assert row.seeds is None or (row.copied and row.scores["sst2"] in printed)


def test_a_sample_of_the_test_set_decides_nothing(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408], items=100))
    assert gsm8k(found) == "inconclusive (proxy)"
    assert any("100 items; the paper's GSM8K has 1,319" in note for note in found.notes)
