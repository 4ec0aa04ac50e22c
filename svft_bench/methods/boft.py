"""BOFT with as many butterfly factors as its configuration says; each R_i is a permuted block diagonal.

W' = diag(s) W (R_m ... R_1)ᵀ

PEFT builds those block diagonals with a CUDA extension, and where that does not compile it quietly goes on with m = 1:
another method with fewer parameters. Importing this module gives PEFT the same operations in plain torch.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.boft import layer as peft_boft
from torch import Tensor


class BlockDiagonal:
    """[m, N, b, b] blocks to [m, N b, N b] matrices; differentiable, on any device."""

    @staticmethod
    def apply(blocks: Tensor) -> Tensor:
        """Takes the place of PEFT's autograd function of the same call."""
        factors, number, side, _ = blocks.shape
        spread = torch.diag_embed(blocks.permute(0, 2, 3, 1))  # [m, b, b, N, N]
        return spread.permute(0, 3, 1, 4, 2).reshape(factors, number * side, number * side)


def butterfly_order(_: Any, n: int, b: int, r: int = 3, n_butterfly_factor: int = 1) -> Tensor:
    """Order of n features cut into b equal parts: within each, runs of r features, the even runs before the odd ones.

    Raises:
        ValueError: a part holds fewer than two runs.
    """
    if n_butterfly_factor == 0:
        return torch.arange(n)
    if b * r * 2 > n:
        raise ValueError(f"BOFT: {b} blocks of {2 * r} features are more than the layer's {n}")
    runs = torch.arange(n).view(b, n // (b * r), r)
    return torch.cat([runs[:, 0::2], runs[:, 1::2]], dim=1).flatten()


def permutation_matrix(_: Any, order: Tensor) -> Tensor:
    """Row i has its one in column order[i]."""
    return torch.eye(len(order))[order]


peft_boft.get_fbd_cuda = lambda: BlockDiagonal
peft_boft.FastBlockDiag = BlockDiagonal
peft_boft.BOFTLayer.block_butterfly_perm = butterfly_order
peft_boft.BOFTLayer.perm2mat = permutation_matrix
