"""What the strict rule holds for the same mathematics, and what not."""

from __future__ import annotations

import threading

import pytest

from svft_bench.tasks import verifying
from svft_bench.tasks.answers import STRICT
from svft_bench.tasks.mathematics import same

PAIRS = [  # gold, generation, right
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\\n2 \\end{pmatrix}", True),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix}\n1 & 2 \\\\\n3 & 4\n\\end{pmatrix}", True),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 2 \\\\\n1 \\end{pmatrix}", False),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}", True),
    ("\\begin{pmatrix} 1/3 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 0.3333333 \\\\ 2 \\end{pmatrix}", False),
    ("-\\frac{3}{7}.", "-\\frac{3}{7}", True),
    ("5.", "5", True),
    ("x^2.", "x^2", True),
    ("5", "5.", True),
    ("x^2+4x+4", "x²+4x+4", True),
    ("x^2", "x²", True),
    ("x^{10}", "x¹⁰", True),
    ("132", "13²", False),
    ("169", "13²", True),
    ("x^2", "x2", False),
    ("53_7", "53", False),
    ("53_7", "53_8", False),
    ("53_7", "53₇", True),
    ("53_7", "53_{7}", True),
    ("4210_7", "4210_5", False),
    ("42_7", "42", False),
    ("42_7", "42_7", True),
    ("42", "42_7", False),
    ("1A_{16}", "1A_{16}", True),
    ("1A_{16}", "1B_{16}", False),
    ("101_2", "5", False),
    ("(3,4)", "\\{3,4\\}", False),
    ("(1,2)", "\\{1,2\\}", False),
    ("(1,2)", "(1,2)", True),
    ("(1,2)", "(2,1)", False),
    ("\\{1,2\\}", "\\{2,1\\}", True),
    ("(1,2)", "[1,2]", False),
    ("[1,2)", "(1,2)", False),
    ("1,2", "2,1", True),
    ("1,2", "\\{1,2\\}", True),
    ("(1,2)", "1,2", True),
    ("(2,1)", "1,2", False),
    ("(1,2)", "1,3", False),
    ("\\frac13", "0.3333333", False),
    ("\\frac{1}{4}", "0.25", True),
    ("\\sqrt{3}", "1.7320508", False),
    ("\\pi", "3.14159265", False),
    ("\\frac{22}{7}", "\\pi", False),
    ("0.5", "\\frac12", True),
    ("1.50", "\\frac32", True),
    ("[-3,5]", "-3 \\le x \\le 5", True),
    ("[-2,4]", "-2 \\leq x \\leq 4", True),
    ("(-2,4]", "-2 < x \\le 4", True),
    ("[-2,4]", "-2 < x < 4", False),
    ("[-2,4]", "x \\in [-2,4]", True),
    ("[3,\\infty)", "x \\ge 3", True),
    ("(3,\\infty)", "x > 3", True),
    ("(3,\\infty)", "x \\ge 3", False),
    ("(-\\infty,2)", "x<2", True),
    ("[-3,5]", "5 \\ge x \\ge -3", True),
    ("[-2,4]", "-2 ≤ x ≤ 4", True),
    ("-2 \\le x \\le 4", "[-2,4]", True),
    ("(-\\infty,1)\\cup(2,\\infty)", "(2,\\infty) \\cup (-\\infty,1)", True),
    ("20\\%", "0.2", True),
    ("10\\%", "0.1", True),
    ("10\\%", "10", True),
    ("10", "10\\%", True),
    ("0.1", "10\\%", True),
    ("10\\%", "1", False),
    ("10\\%", "\\frac{1}{10}", True),
    ("10\\%", "20\\%", False),
    ("12.5\\%", "0.125", True),
    ("50\\%", "\\frac12", True),
    ("10\\%", "10 percent", True),
    ("1,2,\\ldots,n", "1,3,5,\\ldots,2n-1", False),
    ("1,2,\\ldots,n", "1, 2, \\dots, n", True),
    ("1,2,...", "1,2,\\ldots", True),
    ("2,4,\\ldots", "2,4,8,\\ldots", False),
    ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}", False),
    ("1/2^{98}", "1/2^{99}", False),
    ("\\frac{1}{2^{98}}", "2^{-98}", True),
    ("10^{-9}", "10^{-8}", False),
    ("10^{-9}", "0", False),
    ("\\frac{x}{2^{98}}", "\\frac{x}{2^{99}}", False),
    ("9^{999}", "9^{998}", False),
    ("2^{100}", "2^{101}", False),
    ("18\\pi", "The final answer is: 18\\pi", True),
    ("18\\pi", "#### 18\\pi", True),
    ("7", "The answer is: **7**", True),
    ("7", "**Answer:** 7", True),
    ("7", "The answer is: approximately 7", True),
    ("7", "The answer is approximately $7$.", True),
    ("7", "The answer is: about 7", True),
    ("7", "So it is \\boxed{7}.", True),
    ("7", "The answer is: $\\boxed{7}$ because", True),
    ("7", "\\boxed{6} so \\boxed{7}", True),
    ("7", "The answer is: 7. We see that", True),
    ("7", "The answer is: 7\n\nNext 8", True),
    ("\\pi", "#### \\pi", True),
    ("18\\pi", "The final answer is: $18\\pi$ square inches", True),
    ("7", "The answer is: \\(7\\)", True),
    ("7", "The answer is: \\[7\\]", True),
    ("6", "The answer is: 6 ft 2 in", False),
    ("6", "The answer is: 6 ft", True),
    ("6", "The answer is: 6 \\text{ ft } 2 \\text{ in}", False),
    ("6", "6 feet", True),
    ("5 \\text{ cm}", "5", True),
    ("5 \\text{ cm}^2", "5", True),
    ("5", "5 square units", True),
    ("5\\text{ cm}", "5 cm", True),
    ("6", "6 hours 2 minutes", False),
    ("5", "\\$5", True),
    ("90^\\circ", "90", True),
    ("90", "90°", True),
    ("x=5", "5", True),
    ("5", "x = 5", True),
    ("x = \\boxed{5} \\text{ cm}", "5", True),
    ("\\boxed{5} and done", "5", True),
    ("y=2x+3", "2x+3", True),
    ("\\text{even}", "even", True),
    ("\\text{even}", "odd", False),
    ("\\text{(A)}", "A", True),
    ("\\text{(A)}", "(A)", True),
    ("\\text{A}", "B", False),
    ("\\text{Monday}", "monday", True),
    ("3\\frac{1}{2}", "\\frac72", True),
    ("\\frac72", "3 1/2", True),
    ("½", "\\frac12", True),
    ("1,234", "1234", True),
    ("1234", "1,234", True),
    ("1,234", "1,235", False),
    ("\\pm 2", "2,-2", True),
    ("2,-2", "\\pm 2", True),
    ("3\\pm\\sqrt2", "3+\\sqrt2, 3-\\sqrt2", True),
    ("5, 6", "5 and 6", True),
    ("5", "5 or 6", False),
    ("5,6", "5", False),
    ("2\\sqrt{3}", "\\sqrt{12}", True),
    ("2√3", "2\\sqrt3", True),
    ("1+x^2", "x^2+1", True),
    ("x^2", "x^3", False),
    ("", "5", False),
    ("5", "", False),
    ("5", "\\frac", False),
    ("(x+1)(x+2)", "x^2+3x+2", True),
    ("−5", "-5", True),
    ("2i", "2i", True),
    ("\\infty", "∞", True),
    ("-\\frac{1}{2}", "\\frac{-1}{2}", True),
    ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt 2}", True),
    ("(0,5)", "(0, 5)", True),
    ("\\left(\\frac12,3\\right)", "(0.5,3)", True),
    ("\\sqrt[3]{2}", "2^{1/3}", True),
    ("2\\cdot 3", "6", True),
    ("2 \\times 3", "6", True),
    ("10!", "3628800", True),
    ("\\binom{5}{2}", "10", True),
    ("x \\in [1,2]", "[1,2]", True),
    ("\\$1.50", "1.50", True),
    ("12", "12 \\text{ apples and } 3", False),
    ("\\frac{3}{5}", "3/5", True),
    ("3", "3.0", True),
]


@pytest.mark.parametrize(("gold", "text", "right"), PAIRS)
def test_an_answer_against_its_gold(gold: str, text: str, right: bool) -> None:
    assert STRICT["math"](text, gold) is right


@pytest.mark.parametrize(("gold", "text", "right"), [pair for pair in PAIRS if "nswer" not in pair[1]])
def test_after_the_marker_it_is_the_same(gold: str, text: str, right: bool) -> None:
    assert STRICT["math"](f"Steps with 3 = 3.\nThe answer is: {text}", gold) is right


def test_the_rule_works_off_the_main_thread() -> None:
    found: list[bool] = []
    pairs = [("2\\sqrt{5}", "\\sqrt{20}"), ("2\\sqrt{5}", "\\sqrt{21}"), ("x+y", "y+x")]
    threads = [threading.Thread(target=lambda pair=pair: found.append(same(*pair))) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, True, True]


def test_what_takes_too_long_is_not_the_same_and_the_next_is_judged_again() -> None:
    assert verifying.verified("9^{9^{9^{9}}}", "9^{9^{9^{8}}}") is False
    assert verifying.verified("\\frac{6}{7}", "\\frac{12}{14}") is True
