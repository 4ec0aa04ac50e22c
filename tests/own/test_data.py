"""A data set of the user's own becomes a task: written by `new task`, shown by `show`, trained on from the wheel."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from PIL import Image

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.config.own import beside
from svft_bench.config.spec import EvalSpec, LimitSpec, SourceSpec, TaskSpec
from svft_bench.tasks import data_fingerprint, load_task, score
from svft_bench.tasks.sources import read_rows
from tests.own.conftest import Installed

REVIEWS = [
    {"review": f"a film of {i} parts", "stars": ("bad", "fair", "good")[i % 3], "length": i / 2} for i in range(20)
]
NO_LIMIT = LimitSpec()


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        lines = "\n".join(map(json.dumps, rows))
        path.write_text(json.dumps(rows) if path.suffix == ".json" else lines)
    return path


def _new(tmp_path: Path, *words: str) -> TaskSpec:
    (tmp_path / "own").mkdir(exist_ok=True)
    assert command(["new", "task", *words, "--config-dir", str(tmp_path / "own")]) == 0
    text = (tmp_path / "own" / "task" / f"{words[0]}.yaml").read_text()
    return TaskSpec.model_validate(yaml.safe_load(text)["task"])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_a_table_of_any_form_becomes_a_task_with_named_classes(suffix: str, tmp_path: Path) -> None:
    file = _write(tmp_path / f"reviews{suffix}", REVIEWS)
    task = _new(tmp_path, "reviews", "--from", str(file), "--text", "review", "--label", "stars", "--title", "My films")
    assert task.classes == ("bad", "fair", "good")
    found = load_task(task, data_root=None, limit=NO_LIMIT, seed=0)
    assert len(found.train) == 16 and len(found.evals["reviews"]) == 4
    texts = [row["text"] for row in (*found.train, *found.evals["reviews"])]
    assert sorted(texts) == sorted(row["review"] for row in REVIEWS)  # no row is trained on and scored
    labels = {row["text"]: row["label"] for row in found.train}
    assert all(labels[row["review"]] == i % 3 for i, row in enumerate(REVIEWS) if row["review"] in labels)
    assert [file.label for file in found.files] == ["My films", "My films"]


def test_a_folder_of_images_becomes_a_task(tmp_path: Path) -> None:
    for name, colour in (("cats", "red"), ("dogs", "blue")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (4, 4 + number), colour).save(tmp_path / "pets" / name / f"{number}.png")
    task = _new(tmp_path, "pets", "--from", str(tmp_path / "pets"))
    assert task.classes == ("cats", "dogs")
    found = load_task(task, data_root=None, limit=NO_LIMIT, seed=0)
    assert len(found.train) == 8
    for example in found.train:
        assert example["image"].getpixel((0, 0)) == ((255, 0, 0), (0, 0, 255))[example["label"]]
    before = data_fingerprint(task, data_root=None)
    Image.new("RGB", (4, 4), "green").save(tmp_path / "pets" / "cats" / "0.png")
    assert data_fingerprint(task, data_root=None) != before


def test_numbers_are_regressed_and_pairs_are_pairs(tmp_path: Path) -> None:
    rows = [{"sentence1": f"a{i}", "sentence2": f"b{i}", "score": f"{i}.5"} for i in range(10)]
    file = _write(tmp_path / "pairs.csv", rows)
    task = _new(tmp_path, "pairs", "--from", str(file), "--regression", "--eval", str(file))
    found = load_task(task, data_root=None, limit=NO_LIMIT, seed=0)
    assert [(row["text"], row["text_pair"], row["label"]) for row in found.train] == [
        (f"a{i}", f"b{i}", i + 0.5) for i in range(10)
    ]


def test_a_language_model_is_asked_by_a_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"q": f"{i} + 1 {{?}}", "a": i + 1} for i in range(10)]
    file = _write(tmp_path / "sums.jsonl", rows)
    _new(tmp_path, "sums", "--from", str(file), "--prompt", "Q: {q}\nA:", "--answer", " {a}", "--eval", str(file))
    capsys.readouterr()
    with beside(tmp_path / "own"):
        assert command(["show", "task=sums", "row=3"]) == 0
        assert "prompt: Q: 3 + 1 {?}\nA:\ntarget:  4\n" in capsys.readouterr().out
        assert command(["show", "task=sums", "row=3", "eval=sums"]) == 0
        assert "reference: 4" in capsys.readouterr().out
        assert command(["show", "task=sums", "row=10"]) == 2
        assert "row=10 is none that can be used of sums, whose rows are 0 to 9" in capsys.readouterr().err


def _choice(**changes: Any) -> TaskSpec:
    item = {"data": {"title": "t", "file": "x.jsonl"}, "reader": "columns", "metrics": ["accuracy"]}
    fields = {"name": "t", "title": "t", "source": "t", "version": 1, "kind": "causal_lm", "reader": "columns"}
    prompt = {"template": "{q}", "response": " {a}", "loss_on": "answer", "max_length": 64}
    task = fields | {"columns": {"reference": "a"}, "train": item["data"], "prompt": prompt}
    return TaskSpec.model_validate(
        task | {"evals": {"t": item | {"likelihood": " {}"} | changes.pop("eval", {})}} | changes
    )


def test_options_are_the_evals_or_each_rows_own(tmp_path: Path) -> None:
    _write(tmp_path / "x.jsonl", [{"q": "?", "a": 1, "all": ["yes", "no/never"]}])
    columns = {"reference": "a", "options": "all"}
    (row,) = load_task(_choice(columns=columns), data_root=tmp_path, limit=NO_LIMIT, seed=0).evals["t"]
    assert row["options"] == ["yes", "no/never"] and row["reference"] == "no/never"
    task = _choice(eval={"options": ["1", "2"]})
    (row,) = load_task(task, data_root=tmp_path, limit=NO_LIMIT, seed=0).evals["t"]
    assert row["options"] == ["1", "2"] and row["reference"] == "1"


@pytest.mark.parametrize(
    ("answer", "pattern", "text", "gold", "right"),
    [
        ("exact", None, " yes\n", "yes", True),
        ("exact", None, "yes!", "yes", False),
        ("last_number", None, "1 and then 2,345.50", "2345.5", True),
        ("last_number", None, "from 3 to -4", "4", False),
        ("last_number", None, "none", "4", False),
        ("pattern", r"answer is (\w+)", "the answer is a, no, the answer is b", "b", True),
        ("pattern", r"[A-D]", "A or rather C.", "C", True),
        ("pattern", r"answer is (\w+)?", "the answer is ", "", False),
        ("pattern", r"\d+", "none", "4", False),
    ],
)
def test_an_answer_is_read_by_the_rule_that_is_named(
    answer: str, pattern: str | None, text: str, gold: str, right: bool
) -> None:
    item = EvalSpec.model_validate(
        {"name": "t", "data": {"title": "t", "file": "x.csv"}, "reader": "columns", "metrics": ["accuracy"]}
        | {"answer": answer, "pattern": pattern, "generation": {"max_new_tokens": 8}}
    )
    assert score(item, [{"prediction": text, "reference": gold}]) == {"accuracy": float(right)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1\n", "x.csv:2 has more or fewer cells than the 2 columns"),
        ("a,b\n1,2,3\n", "x.csv:2 has more or fewer cells"),
        ("a,a\n1,2\n", "is to name every column once"),
        ("a,\n1,2\n", "is to name every column once"),
        ("a,b\n", "has no rows"),
        ("", "has no rows"),
        ('a,b\n"1,2\n', "x.csv is not a readable table"),
    ],
)
def test_a_table_that_does_not_parse_names_its_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_rows(SourceSpec(title="x", file="x.csv"), data_root=tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "which column is the label? --label NAME, of review, mark"),
        (["--label", "mark", "--text", "reviews"], "there is no column 'reviews'"),
        (["--label", "review", "--text", "mark"], None),
        (["--prompt", "{review}"], "also say --answer"),
        (["--prompt", "{x}", "--answer", "{mark}"], "there is no column 'x'"),
        (["--prompt", "{review", "--answer", "{mark}"], "is no template"),
        (["--prompt", "{review.real}", "--answer", "{mark}"], "is no template"),
        (["--prompt", "{review}", "--answer", "none"], "--answer 'none' names no column"),
        (["--label", "mark", "--text", ""], "--text is empty"),
        (["--from", ""], "--from is empty"),
        (["--eval", " "], "--eval is empty"),
    ],
)
def test_a_task_that_cannot_be_is_refused(
    words: list[str], told: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _write(tmp_path / "x.csv", [{"review": str(i), "mark": i % 2} for i in range(4)])
    line = ["new", "task", "mine", "--from", str(file), *words, "--config-dir", str(tmp_path)]
    assert command(line) == (0 if told is None else 2)
    assert told is None or told in capsys.readouterr().err
    assert (tmp_path / "task" / "mine.yaml").exists() is (told is None)


@pytest.mark.parametrize("more", [[], ["--context", "text", "--text", "q"], ["--target", "label", "--text", "q"]])
def test_a_row_without_a_column_that_others_have_is_named(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"q": "which?", "text": f"a film of {i} parts", "label": ("a", "film")[i % 2]} for i in range(6)]
    del rows[3]["label"]
    file = _write(tmp_path / "x.jsonl", rows)
    line = ["new", "task", "mine", "--from", str(file), "--label", "label", *more, "--config-dir", str(tmp_path)]
    assert command(line) == 2
    assert "row 3 has no column 'label'; it has q, text" in capsys.readouterr().err
    assert not (tmp_path / "task").exists()


def test_a_label_that_is_no_class_names_its_row(tmp_path: Path) -> None:
    file = _write(tmp_path / "x.csv", REVIEWS)
    task = _new(tmp_path, "x", "--from", str(file), "--text", "review", "--label", "stars", "--eval", str(file))
    _write(file, [*REVIEWS, {"review": "b", "stars": "superb", "length": 1}])
    with pytest.raises(ValueError, match="row 20 has label 'superb', expected one of classes=bad, fair, good"):
        load_task(task, data_root=None, limit=NO_LIMIT, seed=0)


@pytest.mark.carrier
def test_ten_minutes_from_a_table_to_a_score(tmp_path: Path, installed: Installed) -> None:
    _write(tmp_path / "reviews.csv", REVIEWS)
    columns = ["--text", "review", "--label", "stars"]
    made = installed("new", "task", "reviews", "--from", "reviews.csv", *columns, "--config-dir", "own")
    written, hint = made.stdout.splitlines()
    assert written.endswith("own/task/reviews.yaml")
    assert "text: " in installed(*hint.partition(" prints ")[0].split()[1:]).stdout  # as it is printed
    line = ["model=minilm-l6", "method=lora", "task=reviews", "train.max_steps=2"]
    shown = installed("show", "task=reviews", "row=1", "model=minilm-l6", "--config-dir", "own").stdout
    assert "(" in shown and "[CLS] a film of" in shown
    done = installed(*line, "--config-dir", "own").stdout
    assert "reviews: accuracy" in done
    (record,) = (tmp_path / "results" / "runs" / "reviews").rglob("*.json")
    body = json.loads(record.read_text())
    assert body["spec"]["task"]["classes"] == ["bad", "fair", "good"]
    assert body["provenance"]["command"].startswith("svft-bench --config-dir ")


def test_the_ids_of_records_are_what_they_were() -> None:
    (cell,) = cells(["task=digits"], any_data=True)
    task = cell.spec.task.identity()
    assert not {"columns", "classes"} & task.keys() and "share" not in task["train"] and "file" not in task["train"]


def test_a_chat_template_wraps_the_prompt_and_not_the_answer(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from svft_bench.compose import model_spec
    from svft_bench.models.tiny import tiny_model_folder
    from svft_bench.running.batches.rows import in_chat, training_rows

    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder(model_spec("smollm2-135m"), tmp_path / "model"))
    task = _choice()
    prompt = task.prompt.model_copy(update={"chat_template": True}) if task.prompt else None
    example = {"id": "0", "prompt": "Which?", "target": " this"}
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="has no chat template"):
        in_chat([example], tokenizer)
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    (asked,) = in_chat([example], tokenizer)
    assert asked["prompt"].endswith("<user>Which?<assistant>") and asked["target"] == " this"
    (row,) = training_rows([asked], task=task.model_copy(update={"prompt": prompt}), processor=tokenizer).rows
    learned = [token for token, label in zip(row["ids"], row["labels"], strict=True) if label >= 0]
    assert tokenizer.decode(learned).removesuffix(tokenizer.eos_token).strip() == "this"
    begins = [token for token in row["ids"] if token == tokenizer.bos_token_id]
    assert len(begins) <= 1 + (tokenizer.bos_token_id == tokenizer.eos_token_id)


def test_a_text_and_its_target_become_a_task_of_an_encoder_with_a_decoder(tmp_path: Path) -> None:
    file = _write(tmp_path / "short.csv", [{"article": f"a long {i}", "gist": f"{i}"} for i in range(10)])
    task = _new(tmp_path, "short", "--from", str(file), "--target", "gist")
    assert (task.kind, task.columns) == ("seq2seq_lm", {"text": "article", "reference": "gist"})
    found = load_task(task, data_root=None, limit=NO_LIMIT, seed=0)
    assert {(row["text"], row["target"]) for row in found.train} <= {(f"a long {i}", f"{i}") for i in range(10)}
    rows = [{"id": row["id"], "prediction": "", "reference": row["reference"]} for row in found.evals["short"]]
    assert score(task.evals[0], rows) == {"rouge1": 0.0, "rouge2": 0.0, "rougeLsum": 0.0}


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_questions_on_a_text_become_a_task_of_answers_in_it(suffix: str, tmp_path: Path) -> None:
    rows = [
        {"ask": f"Who is {i}?", "body": f"Number {i} is Rex{i}.", "said": f"Rex{i}" if i % 3 else ""} for i in range(9)
    ]
    file = _write(tmp_path / f"asked{suffix}", rows)
    words = ("--from", str(file), "--context", "body", "--text", "ask", "--label", "said")
    task = _new(tmp_path, "asked", *words)
    assert (task.kind, task.columns) == (
        "question_answering",
        {"question": "ask", "context": "body", "answers": "said"},
    )
    assert task.span is not None and task.span.no_answer and "best_exact_match" in task.evals[0].metrics
    found = load_task(task, data_root=None, limit=NO_LIMIT, seed=0)
    golds = {row["question"]: row["reference"] for row in (*found.train, *found.evals["asked"])}
    assert golds == {row["ask"]: [row["said"]] if row["said"] else [] for row in rows}


def test_questions_that_all_have_an_answer_need_no_threshold(tmp_path: Path) -> None:
    rows = [
        {"question": "Who?", "context": f"Rex{i} is.", "answers": {"text": [f"Rex{i}"], "answer_start": [0]}}
        for i in range(5)
    ]
    task = _new(tmp_path, "asked", "--from", str(_write(tmp_path / "asked.jsonl", rows)), "--context", "context")
    assert task.span is not None and not task.span.no_answer and task.evals[0].metrics == ("exact_match", "token_f1")
