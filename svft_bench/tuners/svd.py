"""W = U diag(s) Vᵀ with canonical signs, factored once and then memory-mapped from a content-addressed cache."""

from __future__ import annotations

import hashlib
import logging
import warnings
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import svd_cache

Precision = Literal["float32", "float64"]

# Part of every cache key: raise it whenever the factors of the same weight may come out different.
METHOD = "tall-canonical-1"
# Likewise of the name, but for what a file looks like.
LAYOUT = "checked-2"
# Largest error of an orthogonality or reconstruction probe; sound factors stay two orders of magnitude below it.
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-8}

# Where the float32 routine is so inaccurate that float64 has to follow it; alone, that is also seven times faster there
# (results/bench/svd-cuda-vit-b-t1.json).
ALWAYS_FLOAT64_ON = {"cuda"}

# The field of a cached file that says what was written.
CHECK = "check"

logger = logging.getLogger(__name__)


class Factors(NamedTuple):
    """The thin factors of a (d1, d2) weight with n = min(d1, d2): `u` (d1, n), `s` (n,) descending, `vt` (n, d2)."""

    u: Tensor
    s: Tensor
    vt: Tensor


def on_meta(weight: Tensor) -> Factors:
    """The factors of a weight that has a shape but no values."""
    n = min(weight.shape)
    return Factors(*(torch.empty(size, device="meta") for size in ((weight.shape[0], n), (n,), (n, weight.shape[1]))))


def cache_folder() -> Path | None:
    """Where factors are kept; None where they are not to be."""
    return svd_cache.folder()


def decompose(
    weight: Tensor, *, precision: Precision = "float32", dtype: torch.dtype | None = None, cache: Path | None = None
) -> Factors:
    """The canonical thin SVD of `weight`, read from the folder `cache` where it is there and written to it otherwise.

    The factors are float32, or float64 for a float64 weight; a GPU computes in float64 whatever `precision` says. A
    caller who will use u and vt in a 16-bit `dtype` only gets them so, and half as much is stored. A cached file in
    which a single bit has changed is named and rebuilt; a folder that cannot be written costs a warning, never the run.
    """
    weight = weight.detach()
    if weight.device.type in ALWAYS_FLOAT64_ON and weight.dtype != torch.float64:
        precision = "float64"
    narrow = dtype if dtype is not None and dtype.itemsize == 2 else None
    if cache is None:
        return _rounded(factor(weight, precision=precision), narrow)
    key = _key(weight, precision)
    whole = cache / f"{key}.safetensors"
    path = whole if narrow is None else cache / f"{key}-{str(narrow).removeprefix('torch.')}.safetensors"
    for known in dict.fromkeys([path, whole]):
        if (cached := _read(known, device=weight.device)) is not None:
            return _rounded(cached, narrow)
    factors = _rounded(factor(weight, precision=precision), narrow)
    _write(path, factors)
    # As every later run will have them: where a factor lies in memory decides the last bits of its products.
    return _read(path, device=weight.device) or factors


def _rounded(factors: Factors, dtype: torch.dtype | None) -> Factors:
    return factors if dtype is None else Factors(factors.u.to(dtype), factors.s, factors.vt.to(dtype))


def factor(weight: Tensor, *, precision: Precision = "float32") -> Factors:
    """The canonical thin SVD of `weight`, computed.

    LAPACK is several times faster on the tall orientation, so a wide weight is factored as its transpose.
    `precision="float64"` computes in float64 and rounds once, about ten times more accurate than float32 throughout.
    """
    out = torch.float64 if weight.dtype == torch.float64 else torch.float32
    wide = weight.shape[0] < weight.shape[1]
    tall = weight.T if wide else weight
    if precision == "float64" and out == torch.float32:
        factors = _gram_svd(tall.double())
    else:
        factors = Factors(*torch.linalg.svd(tall.to(out), full_matrices=False))
    if not (precision == "float64" or is_sound(factors, tall.to(out))):
        logger.info("the float32 SVD of a %s weight was inaccurate; repeated in float64", tuple(weight.shape))
        factors = Factors(*torch.linalg.svd(tall.double(), full_matrices=False))
    u, s, vt = factors
    factors = canonical(Factors(vt.T, s, u.T) if wide else factors)
    return Factors(*(part.to(out).contiguous() for part in factors))


def canonical(factors: Factors) -> Factors:
    """Flip every pair (u_i, v_i) so that the entry of u_i that is largest in magnitude is positive."""
    u, s, vt = factors
    rows = u.abs().argmax(dim=0, keepdim=True)
    signs = torch.where(u.gather(0, rows).squeeze(0) < 0, -1.0, 1.0).to(u.dtype)
    return Factors(u * signs, s, vt * signs[:, None])


def is_sound(factors: Factors, weight: Tensor, *, tolerance: float | None = None) -> bool:
    """Whether u and v are orthonormal and u diag(s) vt is `weight`, probed along a few fixed directions."""
    u, s, vt = (part.to(weight.dtype) for part in factors)
    limit = TOLERANCE[weight.dtype] if tolerance is None else tolerance
    inner = waves(s.shape[0], 8).to(weight)
    outer = waves(weight.shape[1], 8).to(weight)
    pairs = [
        (u.T @ (u @ inner), inner),
        (vt @ (vt.T @ inner), inner),
        (u @ (s[:, None] * (vt @ outer)), weight @ outer),
    ]
    # Written so that a NaN fails.
    return all(bool(torch.linalg.norm(got - want) <= limit * torch.linalg.norm(want)) for got, want in pairs)


def waves(length: int, count: int) -> Tensor:
    """`count` fixed probe directions of `length` float64 entries each, (length, count).

    Cosines with incommensurate frequencies: spread like random vectors, but equal on every platform and release.
    """
    primes = torch.tensor(
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53][:count], dtype=torch.float64, device="cpu"
    )
    position = torch.arange(1, length + 1, dtype=torch.float64, device="cpu")[:, None]
    # Squared positions make the phase a chirp, so two directions never beat against each other.
    return torch.cos(2 * torch.pi * torch.frac(position * position * primes.sqrt())) * 2**0.5


def _gram_svd(tall: Tensor) -> Factors:
    """SVD through the small Gram matrix, re-orthogonalised; LAPACK's own where the Gram matrix is too coarse."""
    _, vectors = torch.linalg.eigh(tall.T @ tall)
    vt = vectors.flip(1).T
    u, r = torch.linalg.qr(tall @ vt.T)
    diagonal = r.diagonal()
    factors = Factors(u * torch.where(diagonal < 0, -1.0, 1.0), diagonal.abs(), vt)
    if bool((factors.s[1:] <= factors.s[:-1]).all()) and is_sound(factors, tall, tolerance=1e-7):
        return factors
    return Factors(*torch.linalg.svd(tall, full_matrices=False))


def _key(weight: Tensor, precision: Precision) -> str:
    words = f"{METHOD} {LAYOUT} {_origin(weight)} {precision} {weight.dtype} {tuple(weight.shape)} "
    digest = hashlib.sha256(words.encode())
    digest.update(weight.cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _origin(weight: Tensor) -> str:
    """What decides the last bits of the factors beside the weight, so that no run depends on who filled the cache."""
    device = weight.device.type
    return f"torch {torch.__version__} {device} {torch.get_num_threads() if device == 'cpu' else ''}"


def _read(path: Path, *, device: torch.device, again: bool = True) -> Factors | None:
    """The factors in `path`, memory-mapped; None where there is none or (with a warning) it has changed.

    What cannot be read is looked at `again`: another process may just have made room, and written it anew.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            factors = Factors(*(file.get_tensor(name) for name in Factors._fields))
            intact = (file.metadata() or {}).get(CHECK) == _check(path, factors)
        if intact:
            svd_cache.mark_used(path)
            # A 16-bit factor is copied, as one is that was just rounded.
            return Factors(*(part.to(device, copy=part.dtype.itemsize == 2) for part in factors))
        problem = "is not as it was written"
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if again:
            return _read(path, device=device, again=False)
        problem = f"cannot be read ({error})"
    warnings.warn(f"The cached SVD {path} {problem}; it is computed again.", stacklevel=3)
    return None


def _write(path: Path, factors: Factors) -> None:
    """Put `factors` at `path` in one step, so that neither a crash nor another process ever shows half a file."""
    most = svd_cache.limit()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with svd_cache.replacing(path) as temporary:
            parts = {name: part.cpu() for name, part in factors._asdict().items()}
            save_file(parts, temporary, {CHECK: _check(path, Factors(**parts))})
        svd_cache.prune(path.parent, most=most, keep=path)
    except (SafetensorError, OSError) as error:
        warnings.warn(f"The SVD cache {path.parent} cannot be written ({error}); going on without it.", stacklevel=3)


def _check(path: Path, factors: Factors) -> str:
    """What tells whether a file is still what was written under its name: a sum over all bytes of the factors.

    It is as long as leaves the factors where they would lie in memory without it.
    """
    total = 0
    for part in factors:
        total = zlib.crc32(f"{part.dtype} {tuple(part.shape)}".encode(), total)
        total = zlib.crc32(part.reshape(-1).view(torch.uint8).numpy().data, total)
    text = f"{total:08x} {path.stem} "
    return text.ljust(len(text) + -(len(f'"__metadata__":{{"{CHECK}":""}},') + len(text)) % 64, ".")
