from __future__ import annotations

import pytest
import torch

from svft_bench.tuners.svft import patterns


@pytest.mark.parametrize("entries", [1, 10, 60, 144])
def test_random_cells_are_distinct_and_repeatable(entries: int) -> None:
    cells = patterns.random(12, entries=entries, seed=3)
    assert len(set(cells.tolist())) == entries
    assert cells.min() >= 0 and cells.max() < 144
    assert torch.equal(cells, patterns.random(12, entries=entries, seed=3))
    if 1 < entries < 144:
        assert not torch.equal(cells, patterns.random(12, entries=entries, seed=4))


def test_random_draws_are_uniform() -> None:
    counts = torch.zeros(16)
    for seed in range(800):
        counts[patterns.random(4, entries=3, seed=seed)] += 1
    expected = 800 * 3 / 16
    assert float(((counts - expected) ** 2 / expected).sum()) < 35  # chi squared, 15 degrees of freedom


def test_a_draw_with_replacement_repeats_cells() -> None:
    cells = patterns.random(4, entries=40, seed=0, replacement=True)
    assert len(cells) == 40 and len(set(cells.tolist())) < 17


def test_top_k_by_alignment_takes_the_best_aligned_pairs_whatever_their_signs() -> None:
    u = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0))).Q
    vt = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    cells = patterns.top_k(u, vt, entries=4, rule="alignment")
    score = torch.tensor([[abs(float(u[:, i] @ vt[j])) for j in range(6)] for i in range(6)])
    assert set(cells.tolist()) == set(score.flatten().topk(4).indices.tolist())
    flips = torch.tensor([1.0, -1, 1, 1, -1, 1])
    assert torch.equal(cells, patterns.top_k(u * flips, vt * flips[:, None], entries=4, rule="alignment"))


def test_the_released_top_k_compares_rows_or_takes_the_square_factor() -> None:
    u, vt = torch.randn(5, 5), torch.randn(5, 5)
    want = (u @ vt.T).flatten().topk(3).indices.sort().values
    assert torch.equal(patterns.top_k(u, vt, entries=3, rule="released"), want)
    tall = patterns.top_k(torch.randn(9, 5), vt, entries=3, rule="released")
    assert torch.equal(tall, vt.flatten().topk(3).indices.sort().values)
    wide = patterns.top_k(u, torch.randn(5, 9), entries=3, rule="released")
    assert torch.equal(wide, u.flatten().topk(3).indices.sort().values)


def check(shape: tuple[int, int], rank: int | None, **changes: object) -> None:
    options = {"pattern": "banded", "off_diag": 0, "entries": None, "rule": "alignment", "replacement": False}
    patterns.check(shape, rank=rank, **(options | changes))  # type: ignore[arg-type]


def test_a_pattern_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="off_diag=8 does not fit a core of size 8"):
        check((8, 8), None, off_diag=8)
    with pytest.raises(ValueError, match="entries=65 is more than the 64"):
        check((8, 8), None, pattern="random", entries=65)
    with pytest.raises(ValueError, match="needs a square weight, not 8x9"):
        check((8, 9), None, pattern="top_k", entries=4)
    with pytest.raises(ValueError, match="off_diag=4 does not fit a core of size 4"):
        check((8, 8), 4, off_diag=4)
    with pytest.raises(ValueError, match="whole basis of 8 pairs, not rank=4"):
        check((8, 9), 4, pattern="top_k", entries=4, rule="released")
    check((8, 9), None, pattern="top_k", entries=4, rule="released")
    check((8, 8), None, pattern="random", entries=65, replacement=True)
