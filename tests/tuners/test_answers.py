from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from svft_bench.tuners import answers
from svft_bench.tuners.answers import answer

SHAPES = [(64, 64), (96, 260), (33, 31), (1, 3)]


def weight_of(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(64, 64), (96, 260), (4, 8), (256, 24)])
def test_the_last_bit_of_any_entry_in_16_bits_shows(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = weight_of(shape, dtype)
    before, bits = answer(weight), weight.view(torch.int16).view(-1)
    for place in range(0, weight.numel(), 11):
        bits[place] ^= 1
        assert not torch.equal(answer(weight), before)
        bits[place] ^= 1
    assert torch.equal(answer(weight), before)


WRITES: dict[str, Callable[[Tensor], object]] = {
    "two rows swapped": lambda w: w.copy_(w[torch.arange(len(w)).roll(len(w) // 2)]),
    "columns reversed": lambda w: w.copy_(w.flip(1)),
    "negated": lambda w: w.neg_(),
    "doubled": lambda w: w.mul_(2),
    "one not a number": lambda w: w[0, 0].fill_(torch.nan),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(64, 64), (96, 260), (33, 31)])
@pytest.mark.parametrize("write", WRITES)
def test_what_is_moved_or_scaled_shows(write: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = weight_of(shape, dtype)
    before = answer(weight)
    WRITES[write](weight)
    assert not torch.equal(answer(weight), before)


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_without_whole_words_answer_too(shape: tuple[int, int]) -> None:
    weight = weight_of(shape, torch.bfloat16)
    for view in (weight, weight.T, weight[:, 1:], weight[1:]):
        assert torch.equal(answer(view), answer(view))


def test_an_answer_is_small_beside_a_weight_and_a_bias_is_its_own() -> None:
    weight = weight_of((768, 768), torch.bfloat16)
    assert 8 * len(answer(weight)) < weight.numel() * 2 / 50
    bias = weight[0].float()
    assert torch.equal(answer(bias), bias) and answer(bias).data_ptr() != bias.data_ptr()


@pytest.mark.parametrize("shape", [(256, 256), (768, 768), (2048, 2048), (3072, 768), (256, 2048), (16384, 2048)])
def test_hardly_a_word_is_read_twice_and_neighbouring_rows_count_in_other_sums(shape: tuple[int, int]) -> None:
    words, row = shape[0] * shape[1] // 4, shape[1] // 4
    stride = answers._stride(words)
    assert words % stride < stride / 10
    assert all(place * row % stride for place in range(1, min(shape[0], stride)))
