"""What processes draw for their rows of a micro-batch is what one process draws for all of them, mask by mask."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
)

from svft_bench.running.training import chance
from svft_bench.running.training.additive import additive
from svft_bench.running.training.sharing import own
from svft_bench.tuners import SVFTConfig
from svft_bench.tuners.adapted import forwards

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = SMALL | {"vocab_size": 20, "intermediate_size": 16, "max_position_embeddings": 12}
RELATIVE = {"relative_attention": True, "position_buckets": 4, "pos_att_type": ["p2c", "c2p"]}
CPU = torch.device("cpu")
ROWS = 6


def bert(attention: str, **more: Any) -> nn.Module:
    return BertForSequenceClassification(BertConfig(**TEXT, attn_implementation=attention, **more))


def deberta() -> nn.Module:
    """Of which a dropout is of weights, which all rows share: those of relative positions."""
    return DebertaV2ForSequenceClassification(DebertaV2Config(**TEXT, **RELATIVE))


def dinov2() -> nn.Module:
    """Which leaves out blocks of single images."""
    more = {"image_size": 8, "patch_size": 4, "drop_path_rate": 0.5, "mlp_ratio": 2, "hidden_dropout_prob": 0.1}
    return Dinov2ForImageClassification(Dinov2Config(**SMALL, **more))


def inputs_of(model: nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(ROWS) % 2
    if model.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(ROWS, 3, 8, 8, generator=generator).double(), "labels": labels}
    ids = torch.randint(3, 20, (ROWS, 7), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def gradients(model: nn.Module) -> list[torch.Tensor]:
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


def trained(name: str) -> nn.Module:
    makers = {
        "bert, SDPA": lambda: bert("sdpa"),
        "bert, eager": lambda: bert("eager"),
        "deberta": deberta,
        "dinov2": dinov2,
        "bert, checkpointed": lambda: bert("sdpa"),
    }
    torch.manual_seed(0)
    model = makers[name]().double().train()
    if "checkpointed" in name:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


@pytest.mark.parametrize("name", ["bert, SDPA", "bert, eager", "deberta", "dinov2", "bert, checkpointed"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_gradient_of_all_rows_is_the_sum_of_the_parts_for_any_dropout(name: str, size: int) -> None:
    model = trained(name)
    batch = inputs_of(model)
    before = torch.get_rng_state()
    model(**batch).loss.backward()
    after, expected = torch.get_rng_state(), gradients(model)
    torch.set_rng_state(before)
    found = additive(model, batch, told=False, rounded=False)
    assert torch.equal(before, torch.get_rng_state())
    assert found.draws and bool(found.common) == (name == "deberta")
    parts = []
    for rank in range(size):
        torch.set_rng_state(before)
        mine = own(ROWS, rank=rank, size=size)
        with found.drawing((mine, ROWS)):
            loss = model(**{key: value[mine.start : mine.stop] for key, value in batch.items()}).loss
            (loss * len(mine) / ROWS).backward()
        assert torch.equal(after, torch.get_rng_state())
        parts.append(gradients(model))
    for whole, *shares in zip(expected, *parts, strict=True):
        torch.testing.assert_close(sum(shares), whole, rtol=1e-12, atol=1e-14)


def test_what_is_looked_at_before_the_first_step_is_no_forward_of_it() -> None:
    model = get_peft_model(bert("sdpa"), SVFTConfig(target_modules=["query"])).train()
    additive(model, inputs_of(model), told=False, rounded=False)
    assert set(forwards(model).values()) == {0}


class Drawing(nn.Module):
    """A model whose random numbers are drawn by a function of its rows."""

    def __init__(self, draw: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.draw = draw

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> Any:
        loss = (x * self.weight + self.draw(x)).square().mean()
        return type("Output", (), {"loss": loss})


def times(x: torch.Tensor) -> torch.Tensor:
    for _ in range(len(x)):
        torch.rand(len(x))
    return x


@pytest.mark.parametrize(
    ("draw", "why"),
    [
        (lambda x: torch.randperm(len(x)).view(-1, 1), "the generator stands elsewhere"),
        (lambda x: torch.randn_like(x), "aten.randn_like.default draws numbers that cannot be shared by rows"),
        (lambda x: torch.rand(3 * len(x) + 1)[:1], "draws 7 numbers for two rows, and 4 for one"),
        (lambda x: nn.functional.dropout(x.t(), 0.5).t(), r"draws 4 x 2 numbers for two rows, and 4 x 1 for one"),
        (times, "draws more often for two rows than for one"),
    ],
    ids=["a permutation", "noise", "one number more", "rows last", "now and then"],
)
def test_what_cannot_be_drawn_row_by_row_is_refused(draw: Any, why: str) -> None:
    model = Drawing(draw)
    batch = {"x": torch.arange(8.0).view(2, 4), "labels": torch.zeros(2)}
    before = torch.get_rng_state()
    with pytest.raises(chance.NotAsOne, match=why) as caught:
        additive(model, batch, told=False, rounded=False)
    assert "in one process, it runs" in str(caught.value) and "\n" not in str(caught.value)
    assert torch.equal(before, torch.get_rng_state())


def test_weights_dropped_out_while_checkpointing_are_refused() -> None:
    model = trained("deberta")
    model.gradient_checkpointing_enable()
    with pytest.raises(chance.NotAsOne, match=r"with train\.gradient_checkpointing"):
        additive(model, inputs_of(model), told=False, rounded=False)


def test_a_layer_left_out_by_chance_is_noticed_where_places_matter() -> None:
    x = torch.ones(4, 2)
    with (
        pytest.raises(chance.NotAsOne, match="now more and now fewer"),
        chance.Draws((range(2), 4), common=frozenset({0}), length=2),
    ):
        nn.functional.dropout(x, 0.5)


def test_a_mask_has_the_layout_of_what_it_masks() -> None:
    whole = torch.randn(3, 4, 5).transpose(0, 1)  # four rows, whose numbers lie beside each other
    torch.manual_seed(0)
    expected = nn.functional.dropout(whole, 0.5)
    for places in (range(2), range(2, 4)):
        torch.manual_seed(0)
        with chance.Draws((places, 4)):
            found = nn.functional.dropout(whole[places.start : places.stop], 0.5)
            checkpoint(nn.Identity(), found, use_reentrant=False)
        assert torch.equal(found, expected[places.start : places.stop])


def test_all_generators_go_on_where_they_were_kept(tmp_path: Path) -> None:
    def draw() -> tuple[float, ...]:
        return random.random(), float(np.random.rand()), float(np.random.randn()), torch.rand(()).item()

    np.random.randn()
    chance.save(tmp_path, CPU)
    expected = draw()
    draw()
    chance.load(tmp_path, CPU)
    assert draw() == expected
