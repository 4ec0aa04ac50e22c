from __future__ import annotations

import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svft_bench.tuners import SVFTConfig, svd, svd_cache
from svft_bench.tuners.layer import SingularLayer
from tests.tuners.layers import One


def weight(seed: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(24, 16, generator=torch.Generator().manual_seed(seed)).to(dtype)


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_flipped_bit_is_noticed(tmp_path: Path, dtype: torch.dtype) -> None:
    w = weight(dtype=dtype)
    first = svd.decompose(w, dtype=dtype, cache=tmp_path)
    path = only(tmp_path)
    data = path.read_bytes()
    taken = []
    for bit in range(0, 8 * len(data), 7):  # every byte and every place in a byte
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.unlink()
        path.write_bytes(changed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again = svd.decompose(w, dtype=dtype, cache=tmp_path)
        assert all(torch.equal(one, other) for one, other in zip(again, first, strict=True))
        if not any(
            str(path) in str(warning.message) and "computed again" in str(warning.message) for warning in caught
        ):
            taken.append(bit)
    assert taken == [] and path.read_bytes() == data


def test_a_sum_does_not_move_the_factors_in_memory(tmp_path: Path) -> None:
    for w in (weight(), torch.randn(130, 70), torch.randn(9, 1000)):
        factors = svd.decompose(w, cache=tmp_path)
        save_file(factors._asdict(), tmp_path / "plain")
        plain = load_file(tmp_path / "plain")
        assert [plain[name].data_ptr() % 64 for name in factors._fields] == [part.data_ptr() % 64 for part in factors]


def test_16_bit_factors_take_half_the_room_and_are_those_that_a_run_uses(tmp_path: Path) -> None:
    w = weight(dtype=torch.bfloat16)
    whole = svd.decompose(w, cache=tmp_path / "whole")
    for _ in range(2):
        half = svd.decompose(w, dtype=torch.bfloat16, cache=tmp_path / "half")
        assert torch.equal(half.u, whole.u.bfloat16()) and torch.equal(half.vt, whole.vt.bfloat16())
        assert torch.equal(half.s, whole.s) and half.s.dtype == torch.float32
    sizes = [only(tmp_path / name).stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.62 * sizes[1]


def test_runs_of_two_dtypes_share_what_they_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = weight(dtype=torch.bfloat16)
    svd.decompose(w, dtype=torch.bfloat16, cache=tmp_path)
    exact = svd.decompose(w, dtype=torch.float32, cache=tmp_path)
    assert exact.u.dtype == torch.float32 and torch.equal(exact.u, svd.factor(w).u)
    other = weight(2, torch.bfloat16)
    svd.decompose(other, cache=tmp_path)
    monkeypatch.setattr(svd, "factor", lambda *_, **__: pytest.fail("computed again"))
    assert svd.decompose(other, dtype=torch.float16, cache=tmp_path).u.dtype == torch.float16


@pytest.mark.parametrize(
    ("options", "size"),
    [({}, 2), ({"basis_dtype": "float32"}, 4), ({"pattern": "top_k", "off_diag": 1}, 4)],
    ids=["auto", "float32", "top_k"],
)
def test_a_layer_stores_what_it_uses(
    options: dict[str, object], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import get_peft_model

    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path))
    config = SVFTConfig(target_modules=["linear"], **options)  # type: ignore[arg-type]
    model = get_peft_model(One((12, 12), bias=False, dtype=torch.bfloat16), config)
    layer = model.base_model.model.linear
    assert isinstance(layer, SingularLayer)
    stored = load_file(only(tmp_path / "svd"))
    assert stored["u"].dtype.itemsize == size
    assert torch.equal(stored["u"].to(layer.basis("default").dtype), layer.basis("default").u)  # type: ignore[arg-type]


def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    svd.decompose(weight(1), cache=tmp_path)
    size = only(tmp_path).stat().st_size
    svd.decompose(weight(2), cache=tmp_path)
    for age, entry in enumerate(svd_cache.entries(tmp_path)):
        os.utime(entry.path, (1000 + age, 1000 + age))
    svd.decompose(weight(1), cache=tmp_path)  # used again
    monkeypatch.setenv("SVFT_BENCH_SVD_CACHE_GB", str(2.5 * size / 1e9))
    svd.decompose(weight(3), cache=tmp_path)
    monkeypatch.setattr(svd, "factor", lambda *_, **__: pytest.fail("computed again"))
    for seed in (1, 3):
        svd.decompose(weight(seed), cache=tmp_path)
    assert len(svd_cache.entries(tmp_path)) == 2


def _sums(folder: Path) -> list[float]:
    return [float(svd.decompose(weight(seed % 5), cache=folder).u.abs().sum()) for seed in range(40)]


def test_processes_share_a_cache_that_is_too_small_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [float(svd.factor(weight(seed % 5)).u.abs().sum()) for seed in range(40)]
    monkeypatch.setenv("SVFT_BENCH_SVD_CACHE_GB", "0.000007")  # two files of five
    with warnings.catch_warnings(), ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        warnings.simplefilter("error")
        assert all(sums == expected for sums in pool.map(_sums, [tmp_path] * 4))
    assert 1 <= len(list(tmp_path.iterdir())) <= 5


@pytest.mark.parametrize("named", ["-1", "much", "nan", "inf", "1e305"])
def test_a_size_that_is_none_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVFT_BENCH_SVD_CACHE_GB", named)
    with pytest.raises(ValueError, match=f"SVFT_BENCH_SVD_CACHE_GB={named} is not a size"):
        svd_cache.folder()


def test_a_home_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SVFT_BENCH_CACHE", "~/made")
    assert svd_cache.folder() == tmp_path / "made" / "svd"


def test_no_room_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVFT_BENCH_SVD_CACHE_GB", "0")
    assert svd.cache_folder() is None


def test_what_a_killed_process_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    old = [tmp_path / name for name in (".x.safetensors.1.partial", ".tmpAbC123")]
    young = [tmp_path / name for name in (".y.safetensors.2.partial", ".tmpDeF456")]
    for path in (*old, *young):
        path.write_bytes(b"half")
    for path in old:
        os.utime(path, (time.time() - 2 * svd_cache.STALE,) * 2)
    svd.decompose(weight(), cache=tmp_path)
    assert not any(path.exists() for path in old) and all(path.exists() for path in young)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_honour_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        svd.decompose(weight(), cache=tmp_path)
    finally:
        os.umask(before)
    assert only(tmp_path).stat().st_mode & 0o777 == 0o666 & ~umask
