"""How much of a reference text a written one has: ROUGE (Lin 2004) by rouge-score, BLEU by sacrebleu, from 0 to 1.

ROUGE-N: F1 of the n-grams two texts share, each as often as it is in both; ROUGE-L: of their longest common
subsequence. BLEU: min(1, e^(1-r/c)) · (p1 p2 p3 p4)^(1/4), with counts and lengths summed over all texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

Rouge = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
ROUGE: tuple[Rouge, ...] = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ORDERS = 4  # of BLEU's n-grams

# Where a sentence ends, but for titles and initials; source: ours, in place of a model that would be downloaded.
_END = re.compile(r"(?<=[.!?])([\"'”’)\]]*)\s+(?=[\"'“‘(\[]*[A-Z0-9])")
_NO_END = re.compile(
    r"(?:^|[\s(\"'“‘])(?:Mr|Mrs|Ms|Dr|St|Prof|Gen|Sen|Rep|Gov|Lt|Col|Jr|Sr|No|vs|[A-Z](?:\.[A-Z])*)\.$"
)


class Matches(NamedTuple):
    """What a text adds to BLEU: n-grams that it shares and has, for each order, and both lengths in words."""

    right: Sequence[int]
    written: Sequence[int]
    length: int
    reference: int


def rouge_values(predictions: Sequence[str], references: Sequence[str], *, name: Rouge) -> list[float]:
    """F1 of each text, words in lower case and stemmed (Porter) as AdaLoRA's script has them; 0 for an empty one.

    `rougeLsum` takes the union over sentences, which end with a line or as `sentences` finds them.
    """
    scorer = _scorer(name)
    whole = name != "rougeLsum"
    pairs = zip(predictions, references, strict=True)
    texts = pairs if whole else (("\n".join(sentences(p)), "\n".join(sentences(r))) for p, r in pairs)
    return [float(scorer.score(reference, prediction)[name].fmeasure) for prediction, reference in texts]


def rouge(predictions: Sequence[str], references: Sequence[str], *, name: Rouge) -> float:
    """Mean over the texts."""
    return math.fsum(rouge_values(predictions, references, name=name)) / len(references)


def sentences(text: str) -> list[str]:
    """The sentences of a text: its lines, each cut after a full stop that a capital follows."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        start = 0
        for end in _END.finditer(line):
            if not _NO_END.search(line[start : end.start()]):
                found.append(line[start : end.end()].strip())
                start = end.end()
        found.append(line[start:])
    return found


def matches(predictions: Sequence[str], references: Sequence[str]) -> list[Matches]:
    """What each text adds to BLEU, in the words of sacrebleu's tokenizer 13a."""
    bleu = _bleu()
    found = (bleu.corpus_score([p], [[r]]) for p, r in zip(predictions, references, strict=True))
    return [Matches(tuple(one.counts), tuple(one.totals), one.sys_len, one.ref_len) for one in found]


def bleu_of(found: Sequence[Matches]) -> float:
    """BLEU of so many texts together; an order without a match is smoothed as in `mteval-v13a` (sacrebleu's `exp`)."""
    rights, writtens, lengths, references = zip(*found, strict=True)
    right, written = ([sum(orders) for orders in zip(*side, strict=True)] for side in (rights, writtens))
    whole = _bleu().compute_bleu(right, written, sum(lengths), sum(references), smooth_method="exp")
    return min(float(whole.score) / 100, 1.0)


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of all texts, which is no mean of theirs."""
    return bleu_of(matches(predictions, references))


@cache
def _scorer(name: Rouge) -> Any:
    """rouge-score's, with each word's stem looked up once: a third of its time."""
    from nltk.stem.porter import PorterStemmer
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenize import tokenize

    stems = SimpleNamespace(stem=cache(PorterStemmer().stem))
    return RougeScorer([name], tokenizer=SimpleNamespace(tokenize=lambda text: tokenize(text, stems)))


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="13a", smooth_method="exp", max_ngram_order=ORDERS)
