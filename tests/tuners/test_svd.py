from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from svft_bench.tuners import svd
from svft_bench.tuners.basis import fingerprint_of, same_basis, truncate

SHAPES = [(24, 24), (40, 16), (16, 40), (1, 5), (5, 1)]


def weight(shape: tuple[int, int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_factors_reproduce_the_weight(shape: tuple[int, int], precision: svd.Precision) -> None:
    w = weight(shape)
    u, s, vt = svd.decompose(w, precision=precision)
    eye = torch.eye(min(shape))
    torch.testing.assert_close(u @ torch.diag(s) @ vt, w, atol=1e-5, rtol=0)
    torch.testing.assert_close(u.T @ u, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(vt @ vt.T, eye, atol=1e-5, rtol=0)
    assert bool((s[:-1] >= s[1:]).all())


def test_float64_is_more_accurate_than_float32() -> None:
    w = weight((96, 64))

    def error(precision: svd.Precision) -> float:
        u, s, vt = (part.double() for part in svd.decompose(w, precision=precision))
        return float(torch.linalg.norm(u @ torch.diag(s) @ vt - w) / torch.linalg.norm(w))

    assert error("float64") < 3e-7 < 3 * error("float32")
    assert error("float64") < 0.5 * error("float32")


def test_a_device_whose_float32_is_too_coarse_factors_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    w = torch.randn(40, 24)
    exact = svd.decompose(w, precision="float64")
    monkeypatch.setattr(svd, "ALWAYS_FLOAT64_ON", {"cpu"})
    for found, wanted in zip(svd.decompose(w), exact, strict=True):
        assert torch.equal(found, wanted)


def test_a_nearly_singular_weight_is_factored_soundly_in_float64() -> None:
    w = weight((48, 32))
    w[:, 1] = w[:, 0]
    factors = svd.decompose(w, precision="float64")
    assert svd.is_sound(factors, w)


def test_signs_are_canonical_whatever_the_signs_were() -> None:
    u, s, vt = svd.decompose(weight((24, 24)))
    flips = torch.where(torch.arange(24) % 3 == 0, -1.0, 1.0)
    for part, want in zip(svd.canonical(svd.Factors(u * flips, s, vt * flips[:, None])), (u, s, vt), strict=True):
        assert torch.equal(part, want)


def test_a_transposed_weight_has_the_transposed_factors_up_to_sign() -> None:
    w = weight((16, 40))
    assert torch.equal(svd.decompose(w).s, svd.decompose(w.T.contiguous()).s)


def test_a_float64_weight_keeps_float64() -> None:
    w = weight((12, 8), torch.float64)
    factors = svd.decompose(w)
    assert factors.u.dtype == torch.float64
    torch.testing.assert_close(factors.u @ torch.diag(factors.s) @ factors.vt, w, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_second_call_reads_the_first_ones_file(
    tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = weight((24, 16), dtype)
    first = svd.decompose(w, cache=tmp_path)
    monkeypatch.setattr(svd, "factor", lambda *_, **__: pytest.fail("computed again"))
    for part, want in zip(svd.decompose(w, cache=tmp_path), first, strict=True):
        assert torch.equal(part, want)


def test_a_first_call_leaves_the_factors_where_later_ones_find_them(tmp_path: Path) -> None:
    first, second = (svd.decompose(weight((30, 20)), cache=tmp_path) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.data_ptr() % 64 == other.data_ptr() % 64


def test_weights_and_precisions_do_not_share_a_file(tmp_path: Path) -> None:
    w = weight((8, 8))
    for other in (w, w + 1, w.T.contiguous(), w.bfloat16()):
        svd.decompose(other, cache=tmp_path)
    svd.decompose(w, cache=tmp_path, precision="float64")
    assert len(list(tmp_path.iterdir())) == 5


def test_what_other_threads_left_in_the_cache_does_not_change_the_factors(tmp_path: Path) -> None:
    w, threads = weight((384, 384)), torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for part, want in zip(svd.decompose(w, cache=tmp_path), svd.factor(w), strict=True):
                assert torch.equal(part, want)
    finally:
        torch.set_num_threads(threads)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty", "other"])
def test_a_damaged_file_is_noticed_and_rebuilt(tmp_path: Path, damage: str) -> None:
    w = weight((24, 16))
    first = svd.decompose(w, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    if damage == "other":
        svd.decompose(w * 2, cache=tmp_path / "elsewhere")
        data = next((tmp_path / "elsewhere").iterdir()).read_bytes()
    path.unlink()  # the old file may still be mapped
    damaged = {"truncated": data[: len(data) // 2], "noise": data[:-400] + b"\x7f" * 400, "empty": b"", "other": data}
    path.write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match="computed again"):
        again = svd.decompose(w, cache=tmp_path)
    assert torch.equal(again.u, first.u)
    assert svd.decompose(w, cache=tmp_path) is not None


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="cannot be written"):
        factors = svd.decompose(weight((8, 8)), cache=tmp_path / "file")
    assert factors.u.shape == (8, 8)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(svd, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        svd.decompose(weight((8, 8)), cache=tmp_path)
    assert not list(tmp_path.iterdir())


def _decompose_here(folder: Path) -> list[float]:
    return svd.decompose(weight((64, 48)), cache=folder).s.tolist()


def test_processes_can_fill_one_cache_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        results = list(pool.map(_decompose_here, [tmp_path] * 4))
    assert all(result == results[0] for result in results)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_environment_moves_and_removes_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path))
    assert svd.cache_folder() == tmp_path / "svd"
    monkeypatch.setenv("SVFT_BENCH_CACHE", "")
    assert svd.cache_folder() is None
    monkeypatch.delenv("SVFT_BENCH_CACHE")
    assert svd.cache_folder() == Path.home() / ".cache" / "svft-bench" / "svd"


def test_a_fingerprint_survives_rounding_but_not_a_flip_a_swap_or_another_weight() -> None:
    w = weight((64, 48))
    f = svd.decompose(w)
    own = fingerprint_of(f)
    assert same_basis(own, fingerprint_of(svd.decompose(w, precision="float64")), size=48)
    assert same_basis(own, fingerprint_of(svd.Factors(f.u.bfloat16(), f.s, f.vt.bfloat16())), size=48)
    flip = torch.ones(48)
    flip[5] = -1
    swap = torch.arange(48)
    swap[[3, 4]] = swap[[4, 3]]
    for other in (
        svd.Factors(f.u * flip, f.s, f.vt * flip[:, None]),
        svd.Factors(f.u[:, swap], f.s, f.vt[swap]),
        svd.Factors(f.u, f.s * torch.linspace(0.9, 1.1, 48), f.vt),
        svd.decompose(w.flip(0)),
    ):
        assert not same_basis(own, fingerprint_of(other), size=48)


def test_a_truncated_basis_holds_no_more_than_its_pairs() -> None:
    for part in truncate(svd.decompose(weight((30, 20))), rank=6):
        assert part.untyped_storage().nbytes() == part.nbytes


def test_a_truncated_basis_is_filled_with_orthonormal_pairs() -> None:
    f = svd.decompose(weight((30, 20)))
    filled = truncate(f, rank=6, fill_seed=3)
    eye = torch.eye(20)
    torch.testing.assert_close(filled.u.T @ filled.u, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(filled.vt @ filled.vt.T, eye, atol=1e-5, rtol=0)
    assert torch.equal(filled.u[:, :6], f.u[:, :6])
    assert not filled.s[6:].any()
    assert torch.equal(truncate(f, rank=6, fill_seed=3).u, filled.u)


@pytest.mark.parametrize("shape", [(32, 1), (1, 32)])
def test_a_weight_of_one_column_or_row_goes_through_the_cache(shape: tuple[int, int], tmp_path: Path) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for lying in (weight, weight.T.contiguous().T):
        first, again = (svd.decompose(lying, precision="float32", cache=tmp_path) for _ in range(2))
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
