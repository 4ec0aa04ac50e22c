"""What each item adds to a metric: values whose mean is the score and whose variance over n is that of the score.

Hampel 1974: the influence of an item is the derivative of the metric in the item's weight. The difference of two
metrics on the same items then has its variance from paired differences, without resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from svft_bench.tasks.metrics.answering import SPAN_VALUES, Value
from svft_bench.tasks.metrics.overlap import ROUGE, Matches, Rouge, bleu_of, matches, rouge_values


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> Any:
    """1 where right, 0 where wrong."""
    import numpy

    return numpy.array([float(p == r) for p, r in zip(predictions, references, strict=True)])


def token_accuracy(predictions: Sequence[int], references: Sequence[int]) -> Any:
    """The share of its tokens that a text adds."""
    import numpy

    return numpy.asarray(predictions, dtype=float) / numpy.asarray(references, dtype=float)


def pearson(predictions: Sequence[float], references: Sequence[float]) -> Any:
    """r + z(x) z(y) - r (z(x)² + z(y)²) / 2; nan everywhere where one side is constant (Devlin and others 1975)."""
    import numpy

    x, y = (numpy.asarray(side, dtype=float) for side in (predictions, references))
    x, y = x - x.mean(), y - y.mean()
    spread = numpy.sqrt((x @ x) * (y @ y)) / len(x)
    if not spread or _constant(predictions) or _constant(references):
        return numpy.full(len(x), numpy.nan)
    r = float(x @ y) / len(x) / spread
    return r + x * y / spread - r / 2 * (x * x / (x @ x) + y * y / (y @ y)) * len(x)


def matthews(predictions: Sequence[int], references: Sequence[int]) -> Any:
    """Pearson's of classes 0 and 1, and 0 where one side is constant."""
    import numpy

    return numpy.nan_to_num(pearson(predictions, references))


def spearman(predictions: Sequence[float], references: Sequence[float]) -> Any:
    """The same for ranks, with what an item adds to the ranks of the others."""
    import numpy

    if _constant(predictions) or _constant(references):
        return numpy.full(len(predictions), numpy.nan)
    (u, above_u), (v, above_v) = _ranked(predictions), _ranked(references)
    both, uu, vv = u @ v / len(u), u @ u / len(u), v @ v / len(u)
    d_both = u * v - both + above_u(v) + above_v(u)
    d_uu, d_vv = u * u - uu + 2 * above_u(u), v * v - vv + 2 * above_v(v)
    scale = numpy.sqrt(uu * vv)
    rho = both / scale
    return rho + d_both / scale - rho / 2 * (d_uu / uu + d_vv / vv)


def f1(predictions: Sequence[int], references: Sequence[int]) -> Any:
    """Of the ratio 2 tp / (2 tp + fp + fn)."""
    import numpy

    p, r = numpy.asarray(predictions) == 1, numpy.asarray(references) == 1
    top, bottom = 2.0 * (p & r), 1.0 * p + 1.0 * r
    if not bottom.any():
        return numpy.full(len(p), numpy.nan)
    score = top.mean() / bottom.mean()
    return score + (top - score * bottom) / bottom.mean()


def rouge(predictions: Sequence[str], references: Sequence[str], *, name: Rouge) -> Any:
    """The F1 of each text."""
    import numpy

    return numpy.array(rouge_values(predictions, references, name=name))


def spans(predictions: Sequence[str], references: Sequence[Sequence[str]], *, value: Value) -> Any:
    """The value of each answer."""
    import numpy

    return numpy.array([value(said, golds) for said, golds in zip(predictions, references, strict=True)])


def bleu(predictions: Sequence[str], references: Sequence[str]) -> Any:
    """B + B (Σ (m_i/m - t_i/t) / 4 + [c < r] r/c (c_i/c - r_i/r)), each text's counts and lengths over the means."""
    return bleu_influence(matches(predictions, references))


def bleu_influence(found: Sequence[Matches]) -> Any:
    """The same from what each text adds."""
    import numpy

    score = bleu_of(found)
    right, written = (numpy.array([side[index] for side in found], dtype=float) for index in (0, 1))
    own, gold = (numpy.array([side[index] for side in found], dtype=float) for index in (2, 3))
    if not score:
        return numpy.zeros(len(found))
    relative = _over_mean(right) - _over_mean(written)
    change = relative.mean(1)
    if own.sum() < gold.sum():
        change = change + gold.sum() / own.sum() * (_over_mean(own) - _over_mean(gold))
    return score + score * change


def _over_mean(values: Any) -> Any:
    """Each value over its column's mean; 1 in a column without any, which nothing changes."""
    import numpy

    mean = values.mean(0)
    return numpy.where(mean > 0, values / numpy.where(mean > 0, mean, 1.0), 1.0)


INFLUENCE: dict[str, Callable[[Sequence[Any], Sequence[Any]], Any]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
    "token_accuracy": token_accuracy,
    **{name: partial(rouge, name=name) for name in ROUGE},
    "bleu": bleu,
    **{name: partial(spans, value=value) for name, value in SPAN_VALUES.items()},
}


def _constant(values: Sequence[Any]) -> bool:
    return len(set(values)) < 2


def _ranked(values: Sequence[float]) -> tuple[Any, Callable[[Any], Any]]:
    """Centred mean ranks over n, and what one more item in the place of each adds to a mean of weights by rank."""
    import numpy

    x = numpy.asarray(values, dtype=float)
    ordered = numpy.sort(x)
    below, up_to = numpy.searchsorted(ordered, x, "left"), numpy.searchsorted(ordered, x, "right")
    share = (below + up_to) / 2 / len(x)  # F with half of the ties
    order = numpy.argsort(x, kind="stable")

    def above(weights: Any) -> Any:
        """Mean over j of ([x_j > x_i] + [x_j = x_i] / 2 - F(x_j)) · weight of j, for every i."""
        sums = numpy.concatenate([[0.0], numpy.cumsum(weights[order])])
        greater, equal = sums[-1] - sums[up_to], sums[up_to] - sums[below]
        return (greater + equal / 2 - share @ weights) / len(x)

    return share - share.mean(), above
