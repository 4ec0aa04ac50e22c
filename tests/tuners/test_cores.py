from __future__ import annotations

import pytest
import torch

from svft_bench.tuners import bands
from svft_bench.tuners.bands import Band, WholeBand
from svft_bench.tuners.cores import Diagonal, Full, Pattern, Scattered, core_product
from svft_bench.tuners.svft import patterns


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "TILE", 4)


CORES: list[tuple[Pattern, int]] = [
    (Diagonal(7), 7),
    *((Band(n, d), patterns.band_count(n, d)) for n, d in ((1, 0), (5, 0), (7, 1), (8, 3), (9, 8), (13, 5))),
    (WholeBand(9, 2), patterns.band_count(9, 2)),
    (Full(5), 25),
    (Scattered(6, patterns.random(6, entries=14, seed=2).int()), 14),
    (Scattered(6, patterns.random(6, entries=50, seed=2, replacement=True).int()), 50),
]


@pytest.mark.parametrize(("n", "d"), [(1, 0), (5, 0), (5, 1), (7, 3), (7, 6)])
def test_a_band_is_the_cells_near_the_diagonal_in_order(n: int, d: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    want = ((rows - columns).abs() <= d).flatten().nonzero().squeeze(1)
    band, cpu = Band(n, d), torch.device("cpu")
    assert torch.equal(band.rows(cpu) * n + band.columns(cpu), want)
    assert len(want) == patterns.band_count(n, d)


@pytest.mark.parametrize(("pattern", "k"), CORES)
def test_the_products_of_a_pattern_are_those_of_its_dense_core(pattern: Pattern, k: int) -> None:
    torch.manual_seed(0)
    m, p, g = torch.randn(k).double(), torch.randn(11, pattern.n).double(), torch.randn(11, pattern.n).double()
    dense = pattern.dense(m)
    torch.testing.assert_close(pattern.times(p, m), p @ dense.T)
    torch.testing.assert_close(pattern.transposed_times(g, m), g @ dense)
    torch.testing.assert_close(pattern.fold(m, p.T), dense @ p.T)
    rows, columns = pattern.rows(m.device), pattern.columns(m.device)
    every = torch.arange(pattern.n)
    wanted = (g.T @ p)[every if rows is None else rows, every if columns is None else columns]
    torch.testing.assert_close(pattern.project(g, p), wanted)


@pytest.mark.parametrize(("pattern", "k"), CORES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_what_is_done_for_several_layers_at_once_is_to_the_bit_what_is_done_for_each(
    pattern: Pattern, k: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    m, right = torch.randn(3, k).to(dtype), torch.randn(3, pattern.n, 8).to(dtype)
    # Sixteenths, whose products no order of summation rounds: some libraries sum by where in memory a result stands.
    a, b = ((16 * torch.randn(3, 11, pattern.n)).round().div(16).to(dtype) for _ in range(2))
    for folded, *each in zip(pattern.fold_all(m, right.unbind()), m, right, strict=True):
        assert torch.equal(folded, pattern.fold(*each))
    wanted = [pattern.project(*each) for each in zip(a, b, strict=True)]
    assert torch.equal(pattern.project_all(a.unbind(), b), torch.stack(wanted))


@pytest.mark.parametrize(("pattern", "k"), CORES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_products_agree_within_rounding(pattern: Pattern, k: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    m, p, g = torch.randn(k), torch.randn(40, pattern.n), torch.randn(40, pattern.n)
    exact, rounded = pattern.project(g, p), pattern.project(g.to(dtype), p.to(dtype))
    assert rounded.dtype == torch.float32
    assert torch.linalg.norm(exact - rounded) < 0.02 * torch.linalg.norm(exact)
    product = pattern.times(p.to(dtype), m.to(dtype)).float()
    torch.testing.assert_close(product, pattern.times(p, m), atol=0.2, rtol=0.05)


@pytest.mark.parametrize(("pattern", "k"), CORES)
def test_the_gradients_of_a_core_product_are_exact(pattern: Pattern, k: int) -> None:
    torch.manual_seed(0)
    p = torch.randn(2, 3, pattern.n, dtype=torch.float64, requires_grad=True)
    m = torch.randn(k, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, m: core_product(p, m, pattern), (p, m))


@pytest.mark.parametrize(("pattern", "k"), CORES)
def test_a_folded_core_has_its_gradient_even_where_it_was_first_folded_in_inference_mode(
    pattern: Pattern, k: int
) -> None:
    for cache in (bands._band_rows, bands._band_columns, bands._tile_cells, bands._transposed_tile_cells):
        cache.made.clear()
    m, b = torch.randn(k, dtype=torch.float64), torch.randn(pattern.n, 3, dtype=torch.float64)
    with torch.inference_mode():
        pattern.fold(m, b)
    assert torch.autograd.gradcheck(lambda m: pattern.fold(m, b), m.requires_grad_())
