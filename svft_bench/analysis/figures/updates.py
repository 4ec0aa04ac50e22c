"""Figures of what training changed, from the measured spectra: profiles of ΔW, and strengths of VectorFit's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from svft_bench.analysis.figures.canvas import drawing, legend_beside, line_style
from svft_bench.analysis.spectra import Spectra, load_spectra, strength_map
from svft_bench.analysis.tables.experiment import cell_name
from svft_bench.analysis.tables.results import CellResult


def update_profiles(results: Sequence[CellResult], *, folder: Path, path: Path) -> list[Path]:
    """Singular values of ΔW relative to the largest, mean over matrices and seeds; effective rank in the legend."""
    measured = _measured(results, folder=folder)
    if not measured:
        return []
    with drawing(panels=1, columns=1, path=path) as (axes, written):
        for index, (result, spectra) in enumerate(measured):
            profile = [fmean(values) for values in zip(*(one.profile for one in spectra), strict=True)]
            rank = fmean(one.effective_rank for one in spectra)
            places = [place / (len(profile) - 1) for place in range(len(profile))]
            name = f"{cell_name(result, results)}: effective rank {rank:.0%}"
            axes[0].plot(places, profile, **line_style(index, method=result.spec.method.name), label=name)
        axes[0].set(xlabel="index of the singular value / rank of the matrix", ylabel="singular value of ΔW / largest")
        axes[0].set(yscale="log", ylim=(1e-4, 1.5))
        legend_beside(axes)
    return written


def strength_maps(results: Sequence[CellResult], *, folder: Path, path: Path) -> list[Path]:
    """Mean absolute change of every vector by block, one panel a cell (its first seed), on one scale of grey."""
    maps = [
        (result, found)
        for result, spectra in _measured(results, folder=folder)
        if (found := strength_map(spectra[0])) is not None
    ]
    if not maps:
        return []
    top = max(value for _, (_, rows) in maps for row in rows for value in row)
    with drawing(panels=len(maps), columns=min(len(maps), 2), path=path) as (axes, written):
        for axis, (result, (names, rows)) in zip(axes, maps, strict=True):
            image = axis.imshow(rows, cmap="Greys", vmin=0, vmax=top, aspect="auto")
            axis.set_yticks(range(len(names)), names, fontsize=6)
            freezing = result.spec.method.adapter.get("freezing", "none")
            axis.set(title=f"{result.spec.method.title}, freezing {freezing}", xlabel="block")
            axis.figure.colorbar(image, ax=axis, label="mean absolute change")
    return written


def _measured(results: Sequence[CellResult], *, folder: Path) -> list[tuple[CellResult, list[Spectra]]]:
    if len({result.spec.task.name for result in results}) > 1:
        return []  # an update is one training set's: a page for each task has its own figure
    found = [(result, load_spectra(folder, result.records)) for result in results]
    return [(result, spectra) for result, spectra in found if spectra]
