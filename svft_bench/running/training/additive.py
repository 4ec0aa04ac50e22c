"""Whether a training step can be shared by rows: whether losses add up, and draws are the rows' own; by two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from svft_bench.running import ranks
from svft_bench.running.training import chance
from svft_bench.tuners.adapted import uncounted

# How far the loss of two rows together may be from the two alone, which models take in float32 even of float64; in
# bfloat16 rounding alone is more.
TOGETHER = (  # what makes parts of a batch train another model
    "the loss of this model's rows together is not that of each alone (a balance of experts, AdaLoRA's penalty, a "
    "batch norm)"
)
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5}


@dataclass(frozen=True)
class Additive:
    """How a model's loss adds up, and what one forward pass draws.

    `divides`: the loss is a sum over the number of targets that the model is told, else a mean. Of the `draws` numbers
    that are drawn, those at the places of `common` belong to all rows.
    """

    divides: bool
    draws: int
    common: frozenset[int]

    def drawing(self, part: chance.Part) -> chance.Draws:
        """While it lasts, what these rows draw is theirs of what all rows draw."""
        return chance.Draws(part, common=self.common, length=self.draws)


def additive(model: Any, inputs: dict[str, Any], *, told: bool, rounded: bool) -> Additive:
    """What the first row of this batch, and the same one backwards, say together and each for itself.

    `told`: the model is told the number of targets. `rounded`: by bfloat16. The generator is left as it was.

    Raises:
        ValueError: the loss of rows together is not made of their own, or what they draw is not.
    """
    two = {name: torch.cat([v[:1], v[:1]]) if isinstance(v, torch.Tensor) else v for name, v in inputs.items()}
    for name in two.keys() & {"input_ids", "pixel_values"}:  # so that the rows differ
        two[name] = torch.cat([two[name][:1], two[name][:1].flip(-1)])
    halves = [{n: v[i : i + 1] if isinstance(v, torch.Tensor) else v for n, v in two.items()} for i in (0, 1)]
    device = next(model.parameters()).device
    before = chance.state(device)

    def loss(batch: dict[str, Any], draws: chance.Draws, number: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        chance.set_state(before, device)
        with torch.no_grad(), uncounted(), draws:
            found: torch.Tensor = model(**batch, **({"num_items_in_batch": torch.tensor(number)} if told else {})).loss
        return found.double(), chance.state(device)

    of_one, of_two = chance.Draws(), chance.Draws()
    try:
        both, after = loss(two, of_two)
        halved, _ = loss(two, chance.Draws(), 2)
        loss(halves[0], of_one)
        common = chance.of_all_rows(of_one.seen, of_two.seen)
        found = Additive(False, len(of_two.seen), common)
        apart = [loss(half, found.drawing((range(i, i + 1), 2))) for i, half in enumerate(halves)]
        if any(not torch.equal(after, own) for _, own in apart):
            raise chance.NotAsOne("the generator stands elsewhere after two rows than after each of them")
        if common and any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
            raise chance.NotAsOne("with train.gradient_checkpointing, numbers that all rows share cannot be told apart")
    finally:
        chance.set_state(before, device)
    read = bool(both.isfinite())  # not where the row is another process's
    divides = ranks.highest(int(read and told and not torch.equal(both, halved))) == 1
    total, of_rows = both * (1 if divides else 2), apart[0][0] + apart[1][0]
    if read and abs(of_rows - total) > _rounding(model, rounded=rounded) * abs(of_rows):
        raise ValueError(f"{TOGETHER}, so that WORLD_SIZE={ranks.size()} would train another; one process trains it")
    return Additive(divides, len(of_two.seen), common)


def sums(model: Any, inputs: dict[str, Any]) -> bool | None:
    """Whether the loss is a sum over the number of targets that the model is told, with nothing beside it.

    A mean, whatever the model is told, is no such loss, nor is a sum with a penalty. None where it is zero, which tells
    nothing. The generator is left as it was.
    """
    device = next(model.parameters()).device
    before = chance.state(device)
    losses = []
    with torch.no_grad(), uncounted():
        for number in (1, 2):
            chance.set_state(before, device)
            losses.append(model(**inputs, num_items_in_batch=torch.tensor(number)).loss)
    chance.set_state(before, device)
    return bool(losses[0] == 2 * losses[1]) if losses[0] != 0 else None


def _rounding(model: Any, *, rounded: bool) -> float:
    """How far two ways to the same loss may be apart; `rounded`: by bfloat16."""
    return 1e-2 if rounded else max(TOLERANCE.get(part.dtype, 1e-2) for part in model.parameters())
