"""Overlap between a training set and its evals is found, and boilerplate is not mistaken for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svft_bench.commands.leakage import compare, leakage, ngrams, overlaps, words
from svft_bench.tasks.files import local_files, read_file
from tests.tasks.data import write_images
from tests.tasks.layout import task_spec
from tests.tasks.test_real_data import SIZES
from tests.toy import write_rows


def test_words_ignore_case_punctuation_and_typography() -> None:
    assert words("Tom’s “DOG”, 3.5 km!") == words('tom\'s "dog" 3 5 KM')
    assert words("ﬁve") == ("five",)


def test_each_sign_is_a_word_where_no_spaces_are_written() -> None:
    assert words("他说：「好吃」，12 个 USB。") == ("他", "说", "好", "吃", "12", "个", "usb")
    assert words("ｶﾀ・かな") == ("カ", "タ", "か", "な")
    assert words("ดีมาก ok") == ("ด", "ี", "ม", "า", "ก", "ok")
    assert words("naïve Straße 좋은 영화") == ("naïve", "straße", "좋은", "영화")  # Korean has spaces
    trained = "一个农夫有十二只红母鸡星期一早上在市场上卖掉了五只"
    assert compare({"0": trained.replace("农夫", "农民")}, [trained], n=13)[:3] == (0, 1, 1)


def test_ngrams_are_words_in_a_row() -> None:
    assert list(ngrams(("a", "b", "c"), 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams(("a",), 2)) == []


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("one two three four five", (1, 1, 1)),
        ("ONE two, three four five!", (1, 1, 1)),
        ("zero one two three four five six", (0, 1, 1)),
        ("one two three zero nine eight seven six", (0, 1, 0)),
        ("five four three two one", (0, 0, 0)),
        ("short one", (1, 1, 1)),
        ("one two", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_an_eval_text_against_training_texts(text: str, counts: tuple[int, int, int]) -> None:
    training = ["One two three four five.", "Short one"]
    assert compare({"7": text}, training, n=3)[:3] == counts
    assert compare({"7": text}, training, n=3)[3] == (("7",) if counts[1] else ())


def write_math(root: Path) -> None:
    question = "A farmer has twelve red hens and sells five of them at the market on Monday morning."
    asked = {"type": "t", "query": "x?", "response": "The answer is: 7", "original_question": question}
    write_rows(root / "metamathqa" / "train.jsonl", [asked])
    tested = [{"question": text, "answer": "#### 7"} for text in (question, question + " Why?", "Who?")]
    write_rows(root / "gsm8k" / "main" / "test.jsonl", tested)


def test_original_questions_are_a_comparison_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_math(tmp_path)
    assert leakage(["task=gsm8k", f"data_root={tmp_path}", "--json"]) == 0
    rewritten, original = json.loads(capsys.readouterr().out)
    assert (rewritten["against"], original["against"]) == ("questions and answers", "original questions")
    assert rewritten["sharing"] == 0
    assert (original["rows"], original["identical"], original["sharing"], original["half"]) == (3, 1, 2, 2)
    assert original["first"] == ["0", "1"]


SEED = "A baker has thirty loaves of bread and sells twelve of them before noon on Sunday to the school."


def write_without_originals(root: Path) -> None:
    """MetaMathQA-40K's columns: the questions that were rewritten, and not those they were made from."""
    asked = [f"{SEED} How many loaves are left?", f"If {SEED} then what is x?", "Nothing that anyone has asked before?"]
    rows = [{"type": "t", "query": text, "response": "The answer is: 18"} for text in asked]
    write_rows(root / "metamathqa" / "train.jsonl", rows)
    write_rows(root / "gsm8k" / "main" / "test.jsonl", [{"question": f"{SEED} Why?", "answer": "#### 7"}])


def test_without_a_column_the_original_questions_are_found_by_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_without_originals(tmp_path)
    seeds = [{"question": text, "answer": "#### 7"} for text in (SEED, "Another question?")]
    write_rows(tmp_path / "gsm8k" / "main" / "train.jsonl", seeds)
    problem = {"problem": "What is $x$?", "solution": "$\\boxed{7}$", "level": "Level 1", "type": "Algebra"}
    write_rows(tmp_path / "math" / "train.jsonl", [problem])
    assert leakage(["task=gsm8k", f"data_root={tmp_path}", "--json"]) == 0
    rewritten, original = json.loads(capsys.readouterr().out)
    assert rewritten["note"] is None and (original["rows"], original["sharing"], original["half"]) == (1, 1, 1)
    assert original["note"] == (
        "metamathqa/train.jsonl has no column original_question: 2 of its 3 questions share 13 words in a row with a "
        "question of GSM8K (train) and MATH (train), 1 question of theirs in all, taken in their place"
    )
    leakage(["task=gsm8k", f"data_root={tmp_path}"])
    assert "2 of its 3 questions share 13 words" in capsys.readouterr().out


def test_originals_that_cannot_be_had_are_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_without_originals(tmp_path)
    assert leakage(["task=gsm8k", f"data_root={tmp_path}", "--json"]) == 0
    _, original = json.loads(capsys.readouterr().out)
    assert original["identical"] is original["sharing"] is None
    assert "has no column original_question, and its questions cannot be matched by text: " in original["note"]
    assert "train" in original["note"]
    leakage(["task=gsm8k", f"data_root={tmp_path}"])
    assert "cannot be matched by text" in capsys.readouterr().out


def test_the_report_names_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_math(tmp_path)
    leakage(["task=gsm8k", f"data_root={tmp_path}", "n=5"])
    printed = capsys.readouterr().out
    assert "Against metamathqa/train.jsonl (1 row)" in printed
    assert "33.3%" in printed


def test_the_frame_of_a_commonsense_question_is_no_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = "Please answer the following question with true or false, question: {}?\n\nAnswer format: true/false"
    rows = [
        {"instruction": frame.format(text), "input": "", "output": "the correct answer is true", "answer": "true"}
        for text in ("is a b", "is c d")
    ]
    write_rows(tmp_path / "commonsense" / "train.jsonl", rows[:1])
    for name in "boolq piqa social_i_qa hellaswag winogrande ARC-Easy ARC-Challenge openbookqa".split():  # noqa: SIM905
        write_rows(tmp_path / "commonsense" / name / "test.jsonl", rows)
    leakage(["task=commonsense", f"data_root={tmp_path}", "n=4", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [(item["identical"], item["sharing"]) for item in found] == [(1, 1)] * 8


def test_identical_images_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = [label for _ in range(12) for label in range(10)]
    for split in ("train", "test"):
        write_images(tmp_path / f"images/cifar10/{split}.parquet", labels, columns=("img", "label"))
    leakage(["task=cifar10", f"data_root={tmp_path}", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["identical"], found["sharing"]) == (120, 120, None)


@pytest.mark.parametrize("argv", [[], ["gsm8k"], ["task=gsm8k", "n=0"], ["task=gsm8k", "n=x"], ["task=gsm8k", "k=3"]])
def test_bad_arguments_are_one_sentence(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="expected task=NAME"):
        leakage(argv)


def test_an_unknown_task_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="task=gsm is unknown; "):
        leakage(["task=gsm"])


@pytest.mark.data
@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_real_training_rows_share_little_with_the_real_test_rows(data_root: Path, name: str) -> None:
    found = overlaps(task_spec(name), data_root=data_root)
    assert [item.against for item in found] == ["questions and answers", "original questions"]
    assert all(item.identical == 0 and (item.sharing or 0) < 0.05 * item.rows for item in found)


@pytest.mark.data
@pytest.mark.parametrize(("name", "question"), [("gsm8k", "question"), ("math", "problem")])
def test_real_test_rows_among_the_original_questions_are_all_found(
    tmp_path: Path, data_root: Path, name: str, question: str
) -> None:
    spec = task_spec(name)
    (file,) = local_files(spec.evals[0].data, data_root=data_root)
    rows = read_file(file)
    asked = [{"type": "t", "query": "Rewritten.", "original_question": row[question]} for row in rows]
    write_rows(tmp_path / "metamathqa" / "train.jsonl", [one | {"response": "The answer is: 1"} for one in asked])
    write_rows(tmp_path / str(spec.evals[0].data.local) / "test.jsonl", rows)
    rewritten, original = overlaps(spec, data_root=tmp_path)
    assert original.identical == original.rows == len(rows)
    assert rewritten.identical == 0


@pytest.mark.data
def test_every_task_with_real_rows_has_a_report(data_root: Path) -> None:
    for name in SIZES:
        spec = task_spec(name)
        found = overlaps(spec, data_root=data_root)
        assert {item.eval for item in found} == {item.name for item in spec.evals}
        assert all(item.identical <= 0.05 * item.rows for item in found), name
