"""What training changed, matrix by matrix: the singular values of ΔW, and the strength of every VectorFit vector.

results/spectra/<run_id>.json, written by scripts/measure_spectra.py; effective rank = exp(-Σ pᵢ ln pᵢ), pᵢ = sᵢ/Σs
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, ConfigDict, Field

from svft_bench.records import RunRecord
from svft_bench.records.durable import laid_out, write_whole

POINTS = 33  # where a profile is kept, from the largest singular value to the smallest


class Update(BaseModel):
    """One changed matrix; `profile` is sᵢ/s₁ at `POINTS` even steps of i, `relative` is ‖ΔW‖/‖W‖."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    relative: float
    effective_rank: float
    full_rank: int
    profile: tuple[float, ...]
    sigma_strength: float | None = None
    bias_strength: float | None = None


class Spectra(BaseModel):
    """All changed matrices of one run, by the module's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    updates: dict[str, Update] = Field(min_length=1)

    @property
    def effective_rank(self) -> float:
        """Mean over the matrices of effective rank over full rank."""
        return fmean(update.effective_rank / update.full_rank for update in self.updates.values())

    @property
    def profile(self) -> list[float]:
        """Mean profile over the matrices."""
        return [fmean(values) for values in zip(*(u.profile for u in self.updates.values()), strict=True)]


def update_of(singular_values: Sequence[float], *, base_norm: float) -> Update | None:
    """Summary of one ΔW from its singular values in falling order; None for a matrix that did not change."""
    total = sum(singular_values)
    if total == 0:
        return None
    shares = [value / total for value in singular_values if value > 0]
    size = len(singular_values)
    places = [i * (size - 1) / (POINTS - 1) for i in range(POINTS)]
    return Update(
        relative=math.sqrt(sum(value * value for value in singular_values)) / base_norm,
        effective_rank=math.exp(-sum(share * math.log(share) for share in shares)),
        full_rank=size,
        profile=tuple(singular_values[round(place)] / singular_values[0] for place in places),
    )


def spectra_path(results: Path, run_id: str) -> Path:
    """Where the spectra of a run lie, or would."""
    return results / "spectra" / f"{run_id}.json"


def save_spectra(spectra: Spectra, *, results: Path) -> Path:
    """Write them beside the records; six digits are more than a figure shows."""
    path = spectra_path(results, spectra.run_id)
    body = json.loads(spectra.model_dump_json(exclude_none=True), parse_float=lambda text: float(f"{float(text):.6g}"))
    write_whole(path, laid_out(body))
    return path


def load_spectra(results: Path, records: Sequence[RunRecord]) -> list[Spectra]:
    """The spectra of those records that have been measured."""
    paths = [spectra_path(results, record.run_id) for record in records]
    return [Spectra.model_validate_json(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def strength_map(spectra: Spectra) -> tuple[list[str], list[list[float]]] | None:
    """Mean absolute change of every vector, a row for each kind and a column for each block; None without any."""
    rows: dict[str, dict[int, float]] = {}
    for module, update in spectra.updates.items():
        block = re.search(r"\.(\d+)\.(.+)$", module)
        for kind, value in (("Σ", update.sigma_strength), ("b", update.bias_strength)):
            if block is not None and value is not None:
                rows.setdefault(f"{kind} {block.group(2)}", {})[int(block.group(1))] = value
    blocks = sorted({block for row in rows.values() for block in row})
    if not rows or any(later - earlier != 1 for earlier, later in pairwise(blocks)):
        return None
    names = sorted(rows, key=lambda name: (name[0] == "b", name))
    return names, [[rows[name].get(block, math.nan) for block in blocks] for name in names]
