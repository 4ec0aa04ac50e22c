"""ROUGE and BLEU have the values that their definitions give by hand, and those of the packages that they come from."""

from __future__ import annotations

import math
from fractions import Fraction as F
from pathlib import Path

import pytest

import svft_bench.tasks.metrics
from svft_bench.tasks.metrics.overlap import ROUGE, bleu, rouge, rouge_values, sentences

FOLDER = Path(svft_bench.tasks.metrics.__file__).parent / "texts"
NOTHING = (F(0), F(0), F(0), F(0))
ALL = (F(1), F(1), F(1), F(1))
# Prediction, reference, and ROUGE-1, -2, -L and -Lsum: F1 = 2 · shared / (units written + units of the reference).
ROUGES: list[tuple[str, str, tuple[F, F, F, F]]] = [
    ("the cat sat", "the cat sat", ALL),
    # 2 of 2 and 3 words; 1 of 1 and 2 pairs; a subsequence of 2
    ("the cat", "the cat sat", (F(4, 5), F(2, 3), F(4, 5), F(4, 5))),
    # every word; no pair; a subsequence of 1 of 3 and 3
    ("sat cat the", "the cat sat", (F(1), F(0), F(1, 3), F(1, 3))),
    ("dog", "the cat sat", NOTHING),
    ("", "the cat", NOTHING),
    ("the cat", "", NOTHING),
    ("", "", NOTHING),
    # `the` counts as often as the reference has it: 1 of 3 and 2 words; no pair
    ("the the the", "the cat", (F(2, 5), F(0), F(2, 5), F(2, 5))),
    # neither case nor punctuation counts
    ("The CAT!", "the cat", ALL),
    # stems: run, dog
    ("running dogs", "run dog", ALL),
    # every word; ab bc cd against ac cb bd; the subsequence a b d of 4 and 4
    ("a b c d", "a c b d", (F(1), F(0), F(3, 4), F(3, 4))),
    # a and b once each of 4 and 2; ab once of 3 and 1; a b
    ("a b a b", "a b", (F(2, 3), F(1, 2), F(2, 3), F(2, 3))),
    # stems: kill; the example of Lin (2004), section 3
    ("police kill the gunman", "police killed the gunman", ALL),
    # every word; `the gunman` of 3 and 3 pairs; `the gunman` of 4 and 4 words
    ("the gunman kill police", "police killed the gunman", (F(1), F(1, 3), F(1, 2), F(1, 2))),
    # one word has no pairs
    ("one", "one", (F(1), F(0), F(1), F(1))),
    # 1 of 2 and 1 words
    ("one two", "one", (F(2, 3), F(0), F(2, 3), F(2, 3))),
    # words are runs of letters and digits: 3, 5, million
    ("3.5 million", "3 5 million", ALL),
    # a letter beyond a to z ends a word
    ("caf\u00e9", "caf", (F(1), F(0), F(1), F(1))),
    # 3 of 3 and 6 words, in order; no pair
    ("x y z", "a x b y c z", (F(2, 3), F(0), F(2, 3), F(2, 3))),
    # w1 w2 of 5 and 5 words; one pair of 4 and 4
    ("w1 w2 w6 w7 w8", "w1 w2 w3 w4 w5", (F(2, 5), F(1, 4), F(2, 5), F(2, 5))),
    # Lin (2004), section 3.2: the union of w1 w2 and w1 w3 w5 is 4 of 5 words, of 10 written; one pair of 9 and 4
    ("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5", (F(8, 15), F(2, 13), F(8, 15), F(8, 15))),
    # b c a against a b c: bc of 2 and 2 pairs, a subsequence of 2; sentence by sentence, all 3 words
    ("b c\na", "a\nb c", (F(1), F(1, 2), F(2, 3), F(1))),
    # 2 of 3 and 3 pairs, a subsequence of 2 of 4 and 4; sentence by sentence, all 4 words
    ("He left. She stayed.", "She stayed. He left.", (F(1), F(2, 3), F(1, 2), F(1))),
]
# Predictions, references, and the product p1 p2 p3 p4 with the brevity 1 - r/c (0 where no text is too short). An order
# without a match has p = 1/(2 t), the next 1/(4 t), ... for t n-grams written.
BLEUS: list[tuple[list[str], list[str], F, F]] = [
    (["the cat sat on the mat"], ["the cat sat on the mat"], F(1), F(0)),
    # 5 words for 6
    (["the cat sat on the"], ["the cat sat on the mat"], F(1), F(-1, 5)),
    # 6/7 5/6 4/5 3/4
    (["the cat sat on the mat mat"], ["the cat sat on the mat"], F(3, 7), F(0)),
    (["a b c d"], ["e f g h"], F(0), F(0)),
    ([""], ["a b"], F(0), F(0)),
    (["a b c d"], [""], F(0), F(0)),
    ([""], [""], F(0), F(0)),
    # three words have no four
    (["a b c"], ["a b c"], F(0), F(0)),
    # Papineni and others (2002): 2/7, then 1/(2 6) 1/(4 5) 1/(8 4)
    (["the the the the the the the"], ["the cat is on the mat"], F(2, 7) * F(1, 12) * F(1, 20) * F(1, 32), F(0)),
    # 4 words for 8
    (["a b c d"], ["a b c d e f g h"], F(1), F(-1)),
    # 4/5, ab de of 4, 1/(2 3) 1/(4 2)
    (["a b c d e"], ["a b x d e"], F(4, 5) * F(1, 2) * F(1, 6) * F(1, 8), F(0)),
    # case counts: 3/4 2/3 1/2, 1/(2 1)
    (["The cat sat down"], ["the cat sat down"], F(3, 4) * F(2, 3) * F(1, 2) * F(1, 2), F(0)),
    # Hello , world !
    (["Hello, world!"], ["Hello, world!"], F(1), F(0)),
    (["Hello, world."], ["Hello , world ."], F(1), F(0)),
    # 3.5 is one word: 4/5 3/4 2/3 1/2
    (["it costs 3.5 dollars now"], ["it costs 3.5 dollars today"], F(1, 5), F(0)),
    # summed over texts: 7/8 5/6 3/4 1/2
    (["a b c d", "e f g h"], ["a b c d", "e f g x"], F(7, 8) * F(5, 6) * F(3, 4) * F(1, 2), F(0)),
    # an empty text adds its reference: 4 words for 8
    (["a b c d", ""], ["a b c d", "a b c d"], F(1), F(-1)),
    # too long and too short make up for each other: 8/12 6/10 4/8 2/6, 12 words for 12
    (["a b c d e f g h", "a b c d"], ["a b c d", "a b c d e f g h"], F(1, 15), F(0)),
    # a and b once each: 2/5 1/4, 1/(2 3) 1/(4 2)
    (["a a a a b"], ["a b c d e"], F(2, 5) * F(1, 4) * F(1, 6) * F(1, 8), F(0)),
    # 4/4, 1/(2 3) 1/(4 2) 1/(8 1)
    (["d c b a"], ["a b c d"], F(1, 384), F(0)),
    # 6/6 4/5 3/4 2/3
    (["a b c d e f"], ["b c d e f a"], F(2, 5), F(0)),
    # four texts of a word have no two
    (["x", "x", "x", "x"], ["x", "x", "x", "x"], F(0), F(0)),
]


@pytest.mark.parametrize(("prediction", "reference", "expected"), ROUGES)
def test_rouge_is_what_the_hand_counts(prediction: str, reference: str, expected: tuple[F, F, F, F]) -> None:
    assert [rouge([prediction], [reference], name=name) for name in ROUGE] == pytest.approx([*map(float, expected)])


@pytest.mark.parametrize(("prediction", "reference", "expected"), ROUGES)
def test_rouge_is_the_packages_own(prediction: str, reference: str, expected: object) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    found = RougeScorer(ROUGE, use_stemmer=True).score(
        "\n".join(sentences(reference)), "\n".join(sentences(prediction))
    )
    for name in ROUGE:
        assert rouge([prediction], [reference], name=name) == pytest.approx(found[name].fmeasure)


@pytest.mark.parametrize(("predictions", "references", "product", "brevity"), BLEUS)
def test_bleu_is_what_the_hand_counts(predictions: list[str], references: list[str], product: F, brevity: F) -> None:
    assert bleu(predictions, references) == pytest.approx(float(product) ** 0.25 * math.exp(brevity))


@pytest.mark.parametrize(("predictions", "references", "product", "brevity"), BLEUS)
def test_bleu_is_the_packages_own(predictions: list[str], references: list[str], product: F, brevity: F) -> None:
    import sacrebleu

    assert bleu(predictions, references) == pytest.approx(sacrebleu.corpus_bleu(predictions, [references]).score / 100)


def test_rouge_of_several_texts_is_the_mean_of_theirs() -> None:
    assert rouge_values(["a b", "", "c"], ["a b", "c", "c d"], name="rouge1") == pytest.approx([1, 0, 2 / 3])
    assert rouge(["a b", "", "c"], ["a b", "c", "c d"], name="rouge1") == pytest.approx(5 / 9)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("One line", ["One line"]),
        ("One line.\n\n Another. ", ["One line.", "Another."]),
        ('He said: "It ended." Then he left!', ['He said: "It ended."', "Then he left!"]),
        ("Mr. Jones met J. Smith. Dr. No stayed", ["Mr. Jones met J. Smith.", "Dr. No stayed"]),
        ("It rose by 3.5 to U.S. levels. 40 more followed.", ["It rose by 3.5 to U.S. levels.", "40 more followed."]),
        ("it ended . the next began", ["it ended . the next began"]),
    ],
)
def test_a_text_is_cut_into_sentences(text: str, found: list[str]) -> None:
    assert sentences(text) == found


@pytest.mark.parametrize("name", [*ROUGE, "bleu"])
def test_text_metrics_load_from_their_folder(name: str, tmp_path: Path) -> None:
    import evaluate

    found = evaluate.load(str(FOLDER), name, cache_dir=str(tmp_path)).compute(
        predictions=["the cat sat on the mat", ""], references=["the cat sat on the mat", "a dog"]
    )
    assert found == {name: pytest.approx(math.exp(1 - 8 / 6) if name == "bleu" else 1 / 2)}
