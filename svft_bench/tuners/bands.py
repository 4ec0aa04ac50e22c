"""A banded core M, multiplied in dense tiles along the diagonal, on which the products of `cores` run at full speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .cores import WHOLE, OneByOne, Pattern, Whole, core_product
from .kept import kept

# Rows of one tile of a band; wider tiles waste products outside the band, narrower ones starve the matrix unit.
TILE = 128
# Devices on which a whole core of any side is faster than its tiles, at every size of results/bench/*-cuda-*.json.
WHOLE_ON = {"cuda"}


def banded(n: int, off_diag: int, device: torch.device) -> Pattern:
    """The band in the form that is fastest on `device`: tiles, or a core that is multiplied whole."""
    return (WholeBand if n <= WHOLE or device.type in WHOLE_ON else Band)(n, off_diag)


@dataclass(frozen=True)
class Band(OneByOne):
    """The main diagonal and `off_diag` diagonals on each side."""

    n: int
    off_diag: int

    @property
    def macs(self) -> int:
        return self.n * self.window

    @property
    def tile(self) -> int:
        return min(TILE, self.n)

    @property
    def blocks(self) -> int:
        return -(-self.n // self.tile)

    @property
    def window(self) -> int:
        return self.tile + 2 * self.off_diag

    def rows(self, device: torch.device) -> Tensor:
        return _band_rows(self, device)

    def columns(self, device: torch.device) -> Tensor:
        return _band_columns(self, device)

    def times(self, p: Tensor, m: Tensor) -> Tensor:
        return self._tiled(p, self._tiles(m, _tile_cells(self, m.device)))

    def transposed_times(self, g: Tensor, m: Tensor) -> Tensor:
        return self._tiled(g, self._tiles(m, _transposed_tile_cells(self, m.device)))

    def fold(self, m: Tensor, b: Tensor) -> Tensor:
        return core_product(b.T, m, self).T

    def project(self, a: Tensor, b: Tensor) -> Tensor:
        missing = self.blocks * self.tile - self.n
        padded = F.pad(a, (0, missing)) if missing else a  # padding by nothing is a copy
        blocks = padded.view(a.shape[0], self.blocks, self.tile).transpose(0, 1)
        products = self._windows(b).transpose(1, 2) @ blocks
        entries: Tensor = products.flatten()[_tile_cells(self, a.device)]
        return entries.to(torch.promote_types(a.dtype, torch.float32))

    def dense(self, m: Tensor) -> Tensor:
        return m.new_zeros(self.n * self.n).index_copy(0, band_index(self, m.device), m).view(self.n, self.n)

    def _windows(self, p: Tensor) -> Tensor:
        """The columns that each block of rows meets, (blocks, tokens, window), as overlapping views."""
        d = self.off_diag
        padded = F.pad(p, (d, self.blocks * self.tile - self.n + d))
        return padded.unfold(1, self.window, self.tile).transpose(0, 1)

    def _tiles(self, m: Tensor, cells: Tensor) -> Tensor:
        size = self.blocks * self.window * self.tile
        return m.new_zeros(size).index_copy(0, cells, m).view(self.blocks, self.window, self.tile)

    def _tiled(self, p: Tensor, tiles: Tensor) -> Tensor:
        product = self._windows(p) @ tiles
        return product.transpose(0, 1).flatten(1)[:, : self.n].contiguous()


@dataclass(frozen=True)
class WholeBand(Whole):
    """A band whose core is multiplied whole."""

    n: int
    off_diag: int

    @property
    def _band(self) -> Band:
        return Band(self.n, self.off_diag)

    def rows(self, device: torch.device) -> Tensor:
        return self._band.rows(device)

    def columns(self, device: torch.device) -> Tensor:
        return self._band.columns(device)

    def project(self, a: Tensor, b: Tensor) -> Tensor:
        return self._on_band((a.T @ b).reshape(1, -1)).reshape(-1)

    def dense(self, m: Tensor) -> Tensor:
        return self._band.dense(m)

    def fold_all(self, m: Tensor, b: Sequence[Tensor]) -> Sequence[Tensor]:
        cells = band_index(self._band, m.device)
        cores = m.new_zeros(len(m), self.n * self.n).index_copy_(1, cells, m).view(-1, self.n, self.n)
        return [core @ part for core, part in zip(cores, b, strict=True)]

    def project_all(self, a: Sequence[Tensor], b: Tensor) -> Tensor:
        products = b.new_empty(len(b), self.n, self.n)
        for left, right, product in zip(a, b, products, strict=True):
            torch.mm(left.T, right, out=product)
        return self._on_band(products.flatten(1))

    def _on_band(self, cores: Tensor) -> Tensor:
        """The entries on the band (L, k) of the cores (L, n²)."""
        entries = cores.index_select(1, band_index(self._band, cores.device))
        return entries.to(torch.promote_types(cores.dtype, torch.float32))


@kept
def _band_rows(band: Band, device: torch.device) -> Tensor:
    return _band_cells(band, device)[0]


@kept
def _band_columns(band: Band, device: torch.device) -> Tensor:
    return _band_cells(band, device)[1]


@kept
def band_index(band: Band, device: torch.device) -> Tensor:
    """The band's cells as a flat index `row * n + column`, ascending."""
    return band.rows(device) * band.n + band.columns(device)


def band_count(n: int, off_diag: int) -> int:
    """The entries of a band with `off_diag` diagonals on each side: n(2d + 1) - d(d + 1)."""
    return n * (2 * off_diag + 1) - off_diag * (off_diag + 1)


def _band_cells(band: Band, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of each entry, by sizes that a compiler knows beforehand."""
    row = torch.arange(band.n, device=device)
    first = (row - band.off_diag).clamp(min=0)
    ends = ((row + band.off_diag).clamp(max=band.n - 1) - first + 1).cumsum(0)
    entries = torch.arange(band_count(band.n, band.off_diag), device=device)
    rows = torch.searchsorted(ends, entries, right=True)
    starts = F.pad(ends, (1, 0))
    return rows, first[rows] + entries - starts[rows]


@kept
def _tile_cells(band: Band, device: torch.device) -> Tensor:
    """Where each entry lies in the tiles of p Mᵀ, whose columns are rows of M."""
    return _place(band, out=band.rows(device), into=band.columns(device))


@kept
def _transposed_tile_cells(band: Band, device: torch.device) -> Tensor:
    return _place(band, out=band.columns(device), into=band.rows(device))


def _place(band: Band, *, out: Tensor, into: Tensor) -> Tensor:
    block = out // band.tile
    return (block * band.window + into - block * band.tile + band.off_diag) * band.tile + out % band.tile
