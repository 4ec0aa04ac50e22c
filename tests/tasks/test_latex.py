"""The MATH scorer's normalisation, one line for each thing that it does or does not do."""

from __future__ import annotations

import pytest

from svft_bench.tasks.latex import equivalent, last_boxed, normalise, released_box
from tests.tasks.published_math import mutated_pairs, same

NORMALISED = [
    ("5", "5"),
    (" 5 ", "5"),
    ("", ""),
    ("a b", "ab"),
    ("1\n2", "12"),
    ("1\\!234", "1234"),
    ("\\\\frac12", "\\frac{1}{2}"),
    ("\\tfrac{1}{2}", "\\frac{1}{2}"),
    ("\\dfrac{1}{2}", "\\frac{1}{2}"),
    ("\\frac12", "\\frac{1}{2}"),
    ("\\frac1{72}", "\\frac{1}{72}"),
    ("\\frac{72}1", "\\frac{72}1"),
    ("\\frac123", "\\frac{1}{2}3"),
    ("\\frac{1}{2}", "\\frac{1}{2}"),
    ("\\frac xy", "\\frac{x}{y}"),
    ("-\\frac12", "-\\frac{1}{2}"),
    ("\\frac12+\\frac34", "\\frac{1}{2}+\\frac{3}{4}"),
    ("\\frac1", "\\frac1"),
    ("\\frac12+\\frac3", "\\frac12+\\frac3"),
    ("\\left(1,2\\right)", "(1,2)"),
    ("\\left[1,2\\right)", "[1,2)"),
    ("90^\\circ", "90"),
    ("90^{\\circ}", "90"),
    ("\\$5", "5"),
    ("50\\%", "50"),
    ("5\\text{ cm}", "5"),
    ("5 \\text{ square feet}", "5"),
    ("5\\text{cm}", "5\\text{cm}"),
    ("\\text{yes}", "\\text{yes}"),
    (".5", "\\frac{1}{2}"),
    ("0.5", "\\frac{1}{2}"),
    (".25", "0.25"),
    ("1 .5", "10.5"),
    ("{.5}", "{0.5}"),
    ("-.5", "-.5"),
    ("k = 5", "5"),
    ("x=5", "5"),
    ("xy=5", "5"),
    ("xyz=5", "xyz=5"),
    ("x=y=5", "x=y=5"),
    ("\\sqrt3", "\\sqrt{3}"),
    ("\\sqrt{3}", "\\sqrt{3}"),
    ("2\\sqrt3+\\sqrt5", "2\\sqrt{3}+\\sqrt{5}"),
    ("\\sqrt12", "\\sqrt{1}2"),
    ("\\sqrt[3]{2}", "\\sqrt{[}3]{2}"),
    ("3/4", "\\frac{3}{4}"),
    ("-3/4", "\\frac{-3}{4}"),
    ("3/-4", "\\frac{3}{-4}"),
    ("03/4", "03/4"),
    ("1/2/3", "1/2/3"),
    ("(1, 2)", "(1,2)"),
    ("1,000", "1,000"),
    ("\\pi", "\\pi"),
    ("x \\in [1, 2]", "x\\in[1,2]"),
]

EQUAL = [
    ("\\frac{1}{2}", "0.5"),
    ("1/2", "\\dfrac12"),
    ("\\frac{3}{4}", "3/4"),
    ("5\\text{ cm}", "5"),
    ("\\left( 1, 2 \\right)", "(1,2)"),
    ("x=3", "3"),
    ("\\sqrt{2}", "\\sqrt2"),
    ("\\$1.50", "1.50"),
    ("30^\\circ", "30"),
    ("\\frac", "\\frac"),
    ("5\\text{ m}\\text{ s}", "5\\text{ m}\\text{ s}"),
]

UNEQUAL = [
    ("1", "2"),
    ("1.0", "1"),
    ("1.50", "1.5"),
    ("0.25", "\\frac14"),
    ("2/4", "1/2"),
    ("x+1", "1+x"),
    ("1,000", "1000"),
    ("A", "a"),
    ("\\text{yes}", "yes"),
    ("5\\text{cm}", "5"),
    ("\\frac", "5"),
    ("5\\text{ m}\\text{ s}", "5"),
    ("", "0"),
    ("(1,2]", "(1,2)"),
    ("\\sqrt", "5"),
]

BOXED = [
    ("\\boxed{5}", "5"),
    ("so $\\boxed{5}$.", "5"),
    ("\\boxed{1} then \\boxed{2}", "2"),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("\\boxed{\\sqrt{2} + \\frac{1}{\\sqrt{3}}} done", "\\sqrt{2} + \\frac{1}{\\sqrt{3}}"),
    ("\\boxed{}", ""),
    ("\\fbox{7}", "7"),
    ("\\fbox{7} \\boxed{8}", "8"),
    ("\\boxed{8} \\fbox{7}", "8"),
    ("$\\boxed 9$", "9"),
    ("\\boxed{5", None),
    ("\\boxed{{5}", None),
    ("\\boxed", None),
    ("\\boxed5", None),
    ("no box", None),
    ("", None),
    ("\\boxed{a}b}", "a"),
    ("\\boxed{\\text{(A)}}", "\\text{(A)}"),
    ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
]


@pytest.mark.parametrize(("text", "expected"), NORMALISED)
def test_normalised(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equivalent(left: str, right: str) -> None:
    assert equivalent(left, right) and equivalent(right, left)


@pytest.mark.parametrize(("left", "right"), UNEQUAL)
def test_not_equivalent(left: str, right: str) -> None:
    assert not equivalent(left, right) and not equivalent(right, left)


@pytest.mark.parametrize(("text", "content"), BOXED)
def test_last_box(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(("text", "content"), BOXED)
def test_the_release_reads_no_box_but_a_braced_one(text: str, content: str | None) -> None:
    braced = "\\boxed{" in text and content is not None
    assert released_box(text) == (content if braced else None)


@pytest.mark.parametrize(
    "text", ["\\boxed{3} and \\boxed 4", "\\boxed 5", "\\fbox{5}", "\\fbox 5", "\\boxed{1} \\boxed"]
)
def test_a_last_box_without_braces_leaves_the_release_without_an_answer(text: str) -> None:
    assert released_box(text) is None


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("p / q", "p/q", False),
        ("x / 2", "x/2", False),
        ("\\pi / 2", "\\pi/2", False),
        ("1.5 / 2", "1.5/2", False),
        ("\\frac{1}{2}/3", "\\dfrac{1}{2}/3", False),
        ("3 /", "3/", False),
        ("/", "/ ", False),
        ("x/2", "x/2", True),
        ("1 / 2", "1/2", True),
        ("+1/2", "+1 / 2", True),
        ("+1/2", "1/2", False),
        ("01/2", "01 / 2", True),
        ("1_0/2", "1_0 / 2", True),
        ("1_0/2", "10/2", False),
        ("a/b/c", "a / b / c", True),
        ("km/h", "km / h", False),
        ("\\frac1\\frac", "\\frac 1\\frac", True),
        ("\\frac\\frac1", "\\frac \\frac1", False),
        ("\\sqrt", "\\sqrt ", False),
        ("5\\text{ m}\\text{ s}", "5 \\text{ m}\\text{ s}", False),
    ],
)
def test_where_the_normalisation_fails_the_raw_strings_decide(left: str, right: str, equal: bool) -> None:
    assert equivalent(left, right) is equivalent(right, left) is equal
    assert same(left, right) is equal


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_no_mutated_pair_is_judged_otherwise_than_by_the_published_rule(count: int) -> None:
    pairs = mutated_pairs(count, seed=19)
    judged = [same(left, right) for left, right in pairs]
    assert [equivalent(left, right) for left, right in pairs] == judged
    assert 0.1 < sum(judged) / count < 0.9
