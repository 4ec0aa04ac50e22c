"""Prompts are the released ones to the last space."""

from __future__ import annotations

from svft_bench.tasks.prompts import render

TASK = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


def test_a_one_line_question_is_the_instruction() -> None:
    assert render("metamath", "2+2?") == f"{TASK}\n\n### Instruction:\n2+2?\n\n### Response:"


def test_lines_after_the_first_are_the_input() -> None:
    expected = f"{WITH_INPUT}\n\n### Instruction:\nA\n\n### Input:\nB\nC\n\n### Response:"
    assert render("metamath", "A\nB\nC") == expected


def test_a_line_break_at_the_end_is_no_input() -> None:
    assert render("metamath", "2+2?\n") == render("metamath", "2+2?")


def test_evaluation_keeps_all_lines_and_adds_the_suffix() -> None:
    expected = f"{TASK}\n\n### Instruction:\nA\nB\n\n### Response: Let's think step by step."
    assert render("metamath_step_by_step", "A\nB") == expected


def test_commonsense_training_has_two_spaces_and_an_indented_blank_line() -> None:
    pad = " " * 16
    expected = f"{TASK}  \n\n{pad}### Instruction:\n{pad}Q\n{pad}\n{pad}### Response:\n{pad}"
    assert render("commonsense", "Q") == expected


def test_commonsense_evaluation_has_one_space_and_an_empty_line() -> None:
    pad = " " * 16
    expected = f"{TASK} \n\n{pad}### Instruction:\n{pad}Q\n\n{pad}### Response:\n{pad}"
    assert render("commonsense_evaluation", "Q") == expected


def test_braces_in_a_question_stay_braces() -> None:
    assert "\\frac{1}{2} {input}" in render("metamath", "\\frac{1}{2} {input}")
    assert "{input}\n\n### Input:\n{instruction}" in render("metamath", "{input}\n{instruction}")
