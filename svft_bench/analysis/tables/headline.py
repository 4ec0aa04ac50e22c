"""One table over the experiments at a matched budget: methods by tasks, with how forgiving a method is of its rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from svft_bench.analysis.estimates import duration
from svft_bench.analysis.tables.experiment import score_text
from svft_bench.analysis.tables.results import CellResult, Score, shown_name
from svft_bench.analysis.tables.searched import named, place, spent, usable_ranges
from svft_bench.analysis.tables.steps import step_of
from svft_bench.analysis.tables.value import Column, Row, Table

# What is compared, one cell at all its seeds, with a column for every eval; and the searches behind the rates.
MATCHED = ("small_vision", "small_text", "small_glue", "small_cola_methods", "small_seeds")
BUDGETS = ("small_budget", "small_budget_sst2")  # score against budget, of the picture that README begins with
LOSSES = ("small_loss",)  # log-likelihood of text, in nats, by language models
SEARCHES = ("small_vision_rates", "small_text_rates", "small_glue_rates", "small_cola_methods_rates")
SOURCES = (*MATCHED, *BUDGETS, *LOSSES, *SEARCHES)


def headline_table(
    results: Sequence[CellResult],
    searches: Sequence[CellResult],
    *,
    answers: Sequence[str] = (),
    steps: Mapping[str, float] | None = None,
) -> Table:
    """A row for each method and its places, a column for each eval; ranges and trials, and steps against LoRA's.

    `results` are those of the experiments, `searches` those of the trials of rates, `steps` as `paired_steps` has them.
    """
    cells = [result for result in results if result.records]
    evals = list(dict.fromkeys((place(one), item.name) for one in cells for item in one.spec.task.evals))
    ranges = usable_ranges(searches)
    rows = []
    for name in dict.fromkeys(map(named, cells)):
        of_method = [one for one in cells if named(one) == name]
        own = {(place(one), item.name): one for one in of_method for item in one.spec.task.evals}
        found = {at: usable for (method, at), usable in ranges.items() if method == name}
        step = step_of(of_method[0].spec.method.name, steps or {})
        trials = spent([one for one in searches if named(one) == name])
        texts = [_cell(own[eval_], eval_[1]) if eval_ in own else "" for eval_ in evals]
        spread = ", ".join(f"{usable} {at[1].removeprefix('glue/')}" for at, usable in found.items())
        costs = (
            f"{trials.trials} in {duration(trials.seconds)}" if trials.trials else "",
            "" if step is None else f"{step:.1f}",
        )
        facts: dict[str, object] = {"method": name[0], "modules": name[1], "step_against_lora": step}
        for at, eval_ in own:
            score = own[at, eval_].score(eval_)
            facts[f"{eval_}.mean"] = None if score is None else score.mean
        facts |= {f"{at[1]}.usable_decades": usable.decades for at, usable in found.items()}
        facts |= {"trials": trials.trials, "trial_seconds": trials.seconds}
        rows.append(Row((name[0], name[1], *texts, spread, *costs), facts))
    titles = [shown_name(eval_, [one for one in cells if place(one) == at]) for at, eval_ in evals]
    columns = (
        *(Column("method", "left"), Column("modules", "left")),
        *(Column(title) for title in titles),
        *(Column("usable range", "left"), Column("trials", "left"), Column("step / LoRA's")),
    )
    title = "Methods at a matched budget"
    return Table("headline", title, columns, tuple(rows), (*answers, *NOTES), answers=len(answers))


NOTES = (
    f"Columns from {', '.join(f'[{name}](tables/{name}.md)' for name in MATCHED)}.",
    "Score with its 95 % interval over seeds and items, then at how many seeds the method learns: beats a constant "
    "answer by more than its noise.",
    "Usable range: decades of rate within one standard error of the best on the validation rows of its search, "
    "≥ where they reach an end of the grid; none where no rate correlates with the labels by two of these errors.",
    "More than noise, in the answers: p below 0.05, corrected over every comparison that one of them counts (Holm).",
    "Trials: of rates, over all tasks, and the time of their training, by the clock on machines that did other work.",
    "Step: time of a training step over that of LoRA of rank 8 on the same layers, every linear one of two blocks of "
    "ViT-B in float32, timed in turns on a CPU ([bench](tables/bench.md)); no time of the runs above is in it.",
)


def _cell(result: CellResult, evaluation: str) -> str:
    score: Score | None = result.score(evaluation)
    if score is None:
        return "undefined (constant answers)"
    learning = result.learning.get(evaluation)
    learned = f", {sum(learning.learns)}/{len(learning.learns)}" if learning else ""
    return f"{score_text(score)}{learned}"
