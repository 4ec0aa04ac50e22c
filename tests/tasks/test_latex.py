"""The MATH scorer's normalisation, one line for each thing that it does or does not do."""

from __future__ import annotations

import pytest

from svft_bench.tasks.latex import equivalent, last_boxed, normalise

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
    ("3.0/4", "3.0/4"),
    ("a/b", "a/b"),
    ("1/2/3", "1/2/3"),
    ("3/4x", "3/4x"),
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
