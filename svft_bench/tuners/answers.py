"""What a weight answers, by which a write behind its version counter's back is seen: one reading of it, few numbers.

In 16 bits they are exact: the sums, modulo 2⁶⁴, of its 64-bit words whose places differ by a multiple of a prime.
A change of a single word always shows, and so does a swap of any two that are no such multiple apart. In more bits it
is the weight's product with a fixed row, which a CPU takes no longer over than over the reading.
"""

from __future__ import annotations

from functools import cache
from math import isqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from .kept import kept
from .kernels import without_autocast
from .svd import waves

# Rows of the product of a weight in 16 bits that cannot be read as words: roundings hide a small change from one row.
ROWS = 8


def answer(weight: Tensor) -> Tensor:
    """The answer, one row, of a weight (out, in) or of a convolution's (out, in, ...); a bias answers with itself."""
    weight = weight.detach().flatten(1) if weight.dim() > 2 else weight.detach()
    if weight.dim() == 1:
        return weight.clone()
    if weight.dtype.itemsize == 2 and _has_words(weight):
        words = weight.view(-1).view(torch.int64)
        stride = _stride(len(words))
        rows = max(1, len(words) // stride)
        # The last row is longer by what is left, so all of them are; what two rows share counts in both.
        return words.as_strided((rows, len(words) - (rows - 1) * stride), (stride, 1), words.storage_offset()).sum(0)
    question = _question(weight.shape[1], weight.dtype, weight.device)
    with without_autocast(weight.device):
        return F.linear(question, weight).view(-1)


@cache
def _stride(words: int) -> int:
    """A prime above twice the root of the count of words, and so above the sides of a square weight.

    Of those, the one that leaves the least over, which is read twice.
    """
    least = 2 * isqrt(words) + 1
    primes = [n for n in range(least, 2 * least) if all(n % d for d in range(2, isqrt(n) + 1))]
    return min(primes, key=lambda prime: words % prime)


def _has_words(weight: Tensor) -> bool:
    return weight.is_contiguous() and weight.numel() % 4 == 0 and weight.storage_offset() % 4 == 0


@kept
def _question(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return waves(length, ROWS if dtype.itemsize == 2 else 1).T.to(device, dtype)
