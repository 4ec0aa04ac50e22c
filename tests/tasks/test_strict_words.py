"""Which option a text settles on, by the strict rule: echoes of the instruction do not count."""

from __future__ import annotations

import pytest

from svft_bench.tasks.answers import STRICT

CHOICE = (
    "Please choose the correct answer to the question: What is it?\n\n"
    "Answer1: a cat Answer2: a dog Answer3: true love Answer4: two\n\n"
    "Answer format: answer1/answer2/answer3/answer4\n\n"
)
QUESTION = (
    "Please answer the following question with true or false, question: is it true that ice is cold?\n\n"
    "Answer format: true/false\n\n"
)
SOLUTIONS = (
    "Please choose the correct solution to the question: how?\n\n"
    "Solution1: a\n\n"
    "Solution2: b\n\n"
    "Answer format: solution1/solution2\n\n"
)

SETTLED = [  # answer set, generation, gold, right
    ("answer", CHOICE + "the correct answer is answer2", "answer2", True),
    ("answer", CHOICE + "answer2", "answer2", True),
    ("answer", CHOICE, "answer2", False),
    ("answer", CHOICE + "the correct answer is answer2", "answer1", False),
    ("answer", CHOICE + "answer2 or answer3", "answer2", False),
    ("true_false", QUESTION + "the correct answer is true", "true", True),
    ("true_false", QUESTION + "the correct answer is false", "false", True),
    ("true_false", "Answer format: true/false\n\ntrue", "true", True),
    ("true_false", "true or false? true", "true", True),
    ("true_false", QUESTION, "true", False),
    ("solution", SOLUTIONS + "the correct answer is solution1", "solution1", True),
    ("solution", SOLUTIONS + "solution2", "solution2", True),
    ("answer", "answer2answer2answer2", "answer2", True),
    ("answer", "answer2answer2answ", "answer2", True),
    ("answer", "answer2answer3", "answer2", False),
    ("true_false", "truetruetrue", "true", True),
    ("true_false", "trueFalse", "true", False),
    ("true_false", "truetr", "true", True),
    ("true_false", "trueness", "true", False),
    ("answer", "answer12", "answer1", False),
    ("true_false", "truetrue nothing", "true", True),
    ("answer", "answer1/answer2/answer3: answer3", "answer3", True),
    ("answer", "Of answer1, answer2, answer3 or answer4 I choose answer4", "answer4", True),
    ("answer", "the correct answer is answer1 or answer2", "answer1", False),
    ("answer", "the correct answer is answer1, not answer2", "answer1", False),
    ("answer", "the correct answer is **answer3**.", "answer3", True),
    ("answer", "Answer: answer3", "answer3", True),
    ("answer", "the correct answer is: answer3\nthe correct answer is: answer3", "answer3", True),
    ("answer", "the correct answer is answer3\nthe correct answer is answer1", "answer3", False),
    ("answer", "answer3\n\n### Instruction:\n" + CHOICE, "answer3", True),
    ("answer", "answer3, answer3", "answer3", True),
    ("answer", "answer2: a dog", "answer2", True),
    ("answer", "answer2/answer3", "answer2", False),
    ("ending", "ending1ending1", "ending1", True),
    ("option", "Option1: Ann Option2: Bob\nthe correct answer is option2", "option2", True),
    ("option", "option1/option2", "option1", False),
    ("answer", "The correct answer is answer1/answer2", "answer1", False),
    ("any_option", QUESTION + "the correct answer is true", "true", True),
    ("answer", "### Response:\nanswer1", "answer1", False),
    ("answer", "### answer1", "answer1", True),
    ("true_false", "not false but true", "true", False),
    ("true_false", "True.", "true", True),
    ("true_false", "The correct answer is not true", "true", False),
    ("true_false", "not true", "false", False),
    ("answer", "answer1 is wrong", "answer1", False),
    ("answer", "answer1 / answer2 / answer3\nanswer3", "answer3", True),
    ("answer", "answer1|answer2|answer3: answer3", "answer3", True),
    ("true_false", "the answer can't be true", "true", False),
    ("true_false", "This can’t be true", "true", False),
    ("true_false", "It cannot be true.", "true", False),
    ("true_false", "that couldn't possibly be true", "true", False),
    ("true_false", "it won't be false", "false", False),
    ("true_false", "it wouldn't be true", "true", False),
    ("true_false", "that doesn't seem true", "true", False),
    ("true_false", "it is never true", "true", False),
    ("true_false", "it is no longer true", "true", False),
    ("true_false", "that is hardly true", "true", False),
    ("true_false", "true can't be right", "true", False),
    ("answer", "answer1 isn't right", "answer1", False),
    ("answer", "the correct answer cannot be answer1", "answer1", False),
    ("answer", "It cannot melt: answer1", "answer1", True),
    ("true_false", "Ice doesn't burn. true", "true", True),
    ("true_false", "the correct answer is true because it is not false", "true", True),
    ("solution", "the correct answer is solution2 because solution1 is dangerous", "solution2", True),
    ("solution", "the correct answer is solution2 since solution1 is not safe", "solution2", True),
    ("solution", "the correct answer is solution2 because it is safe. So is solution1", "solution2", False),
    ("solution", "solution2 because solution1 is dangerous", "solution2", False),
    ("true_false", "I don't think it's true", "true", False),
    ("true_false", "I do not think that this is true", "true", False),
    ("true_false", "I don’t believe it is true", "true", False),
    ("true_false", "I doubt that it is true", "true", False),
    ("true_false", "It is unlikely to be true", "true", False),
    ("true_false", "It is not always true", "true", False),
    ("true_false", "not necessarily true", "true", False),
    ("true_false", "It is far from true", "true", False),
    ("true_false", "It's not the case that it is true", "true", False),
    ("true_false", "Is it true? No.", "true", False),
    ("true_false", "neither true nor false", "true", False),
    ("true_false", "the incorrect answer is true", "true", False),
    ("true_false", "true seems wrong", "true", False),
    ("true_false", "true would be incorrect", "true", False),
    ("answer", "the wrong answer is answer1", "answer1", False),
    ("answer", "answer1 is the wrong answer", "answer1", False),
    ("answer", "answer1 doesn't make sense", "answer1", False),
    ("answer", "answer1 does not fit", "answer1", False),
    ("answer", "answer1 makes no sense", "answer1", False),
    ("answer", "answer1 can be ruled out", "answer1", False),
    ("answer", "anything but answer1", "answer1", False),
    ("true_false", "I think that this is true", "true", True),
    ("true_false", "I don't know. It is true", "true", True),
    ("true_false", "Ice does not fit in there, so it is true", "true", True),
    ("answer", "answer1 does make sense", "answer1", True),
    ("answer", "It is not clear to me, but answer1", "answer1", True),
]


@pytest.mark.parametrize(("answer", "text", "gold", "right"), SETTLED)
def test_what_a_text_settles_on(answer: str, text: str, gold: str, right: bool) -> None:
    assert STRICT[answer](text, gold) is right  # type: ignore[index]


@pytest.mark.parametrize(("answer", "text", "gold"), [case[:3] for case in SETTLED if case[3]])
def test_no_other_option_is_right_too(answer: str, text: str, gold: str) -> None:
    others = {"true_false": ["true", "false"], "answer": [f"answer{n}" for n in range(1, 6)]}
    assert not any(STRICT[answer](text, other) for other in others.get(answer, []) if other != gold)  # type: ignore[index]
