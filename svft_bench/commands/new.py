"""`svft-bench new task NAME --from FILE`, `new model NAME --from FOLDER`: a file for one's own folder, filled in."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from svft_bench.compose import options, own_dir
from svft_bench.config.own import CONF
from svft_bench.config.spec import Kind, SourceSpec
from svft_bench.config.spec.base import Name, PathOfNames
from svft_bench.config.spec.metric import NO_ANSWER_METRICS, SPAN_METRICS
from svft_bench.config.spec.template import fields, typed
from svft_bench.config.wording import Parser, nearest
from svft_bench.config.yaml_text import yaml_text
from svft_bench.records.durable import write_whole
from svft_bench.tasks.classes import check_rows, classes_of, values_of
from svft_bench.tasks.files import Row
from svft_bench.tasks.sources import own_path, read_rows
from svft_bench.tasks.spans import asked as read_answers

SHOWN = 3  # rows that the file shows
CLASSES = 1000  # more different values of a label are no classes
LABELS = ("label", "labels", "class", "target", "gold", "answer", "stars", "rating", "score", "y")
TEXTS = ("text", "sentence", "review", "document", "article", "question", "premise", "content", "sentence1", "text1")
PAIRS = ("text_pair", "sentence2", "hypothesis", "text2", "question2")


def main(argv: list[str]) -> int:
    """Write the file of a new task or model into the own folder and print its path.

    Raises:
        ValueError: no own folder, a name that is taken, or rows that make no task.
    """
    asked = _parser().parse_args(argv)
    for flag, value in vars(asked).items():
        if flag != "name" and isinstance(value, str) and not value.strip():
            raise ValueError(f"new {asked.what}: --{'from' if flag == 'source' else flag} is empty")
    path = new_file(asked.what, asked.name)
    if asked.what == "task":
        write_whole(path, task_file(asked))
        shown = shlex.join(["svft-bench", "show", f"task={asked.name}", "row=0", "--config-dir", os.environ[CONF]])
        print(f"{path}\n{shown} prints an example as it will be seen")
        return 0
    from svft_bench.models.describing import describe_model

    found = describe_model(asked.source, name=asked.name, title=asked.title or asked.name, kind=asked.kind)
    notes = "".join(f"# {note}\n" for note in found.notes)
    write_whole(path, f"# Counted in the configuration of {_one_line(asked.source)}\n{notes}{yaml_text(found.fields)}")
    print(path, *found.notes, sep="\n")
    return 0


def new_file(group: str, name: str) -> Path:
    """Where a new option of the user's own goes.

    Raises:
        ValueError: there is no own folder, or the name is taken or none.
    """
    folder = own_dir()
    if folder is None:
        raise ValueError(f"new {group}: into which folder? --config-dir DIR or SVFT_BENCH_CONF=DIR names one")
    if name in options(group):
        raise ValueError(f"new {group}: there is a {group} {name} already")
    kind: TypeAdapter[str] = TypeAdapter(PathOfNames if group == "task" else Name)
    try:
        kind.validate_python(name)
    except ValidationError as error:
        raise ValueError(f"new {group}: {error.errors()[0]['ctx']['error']}") from None
    if "+" in name:  # which stands between a cell's parts
        raise ValueError(f"new {group}: {name!r} is no name: letters, digits and any of _.- after the first")
    return folder / group / f"{name}.yaml"


def task_file(asked: argparse.Namespace) -> str:
    """The YAML of a task, from the rows of its training file."""
    train, test = _sources(asked)
    rows, _ = read_rows(SourceSpec.model_validate(train | {"share": None}), data_root=None)  # those to score as well
    shown = [dict(rows[index]) for index in range(min(SHOWN, len(rows)))]
    if asked.prompt is not None:
        parts = _of_text(asked, shown[0])
    elif asked.context is not None:
        parts = _of_spans(asked, rows)
    elif asked.target is not None:
        parts = _of_two_texts(asked, shown[0])
    elif isinstance(shown[0].get("image"), dict):
        parts = _of_images(classes_of(rows, "label"))
    else:
        parts = _of_classes(asked, rows)
    check_rows(rows, *parts["columns"].values())
    evaluation = {"data": test, "reader": "columns", **parts.pop("eval")}
    written = asked.prompt is not None or asked.target is not None
    validation = {"validation_rows": 0} if written else {}
    task = {"name": asked.name, "title": asked.title or asked.name, "source": f"own: {asked.source}", "version": 1}
    task |= {
        **parts,
        "reader": "columns",
        "train": train,
        **validation,
        "evals": {asked.name.split("/")[-1]: evaluation},
    }
    seen = "".join(f"#   {_one_line(json.dumps(row, ensure_ascii=False, default=str))[:160]}\n" for row in shown)
    return (
        f"# @package _global_\n# The first rows of {_one_line(asked.source)}:\n{seen}"
        "# title: what tables call it. version: raise it when you change what a row means, and records part.\n"
        "# columns: which of the file's columns are meant. classes: the labels' names, in the order of their numbers.\n"
        "# train and evals: share takes a part of a file's rows in a fixed shuffle; file may be another one for each.\n"
        f"task:\n{_lines(task)}"
        "train:                    # all ours: a start, not a recommendation; sweep lr\n"
        f"  epochs: 3\n  batch_size: {4 if written else 16}\n  lr: 1.0e-3\n  selection: last\n"
    )


def _one_line(text: str) -> str:
    """A text as a comment: YAML ends one at five signs, JSON escapes two of them."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _sources(asked: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training rows and scored rows: two files, or a share each of one."""
    title = asked.title or asked.name
    first = _absolute(asked.source)
    if asked.eval is not None:
        return {"title": title, "file": first}, {"title": title, "file": _absolute(asked.eval)}
    shares = [0.0, 0.8], [0.8, 1.0]
    one, other = ({"title": title, "file": first, "share": share} for share in shares)
    return one, other


def _absolute(name: str) -> str:
    return str(own_path(SourceSpec(title="-", file=name), data_root=None).absolute())


def _of_images(classes: list[str]) -> dict[str, Any]:
    return {
        "kind": "image_classification",
        "columns": {"image": "image", "label": "label"},
        "labels": len(classes),
        "classes": classes,
        "eval": {"metrics": ["accuracy"]},
    }


def _of_text(asked: argparse.Namespace, first: Row) -> dict[str, Any]:
    if asked.answer is None:
        raise ValueError("new task --prompt: also say --answer, such as --answer ' {answer}'")
    for name in (*fields(asked.prompt), *fields(asked.answer)):
        _known(name, first)
    if not fields(asked.answer):
        raise ValueError(f"new task: --answer {asked.answer!r} names no column, such as --answer ' {{answer}}' does")
    gold = asked.label or fields(asked.answer)[0]
    prompt = {"template": asked.prompt, "response": asked.answer, "loss_on": "answer", "max_length": 512}
    return {
        "kind": "causal_lm",
        "columns": {"reference": _known(gold, first)},
        "prompt": prompt | {"chat_template": asked.chat},
        "eval": {"metrics": ["accuracy"], "answer": "exact", "generation": {"max_new_tokens": 32}},
    }


def _of_spans(asked: argparse.Namespace, rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    question = _known(asked.text, first) if asked.text else _guess(first, ("question",), what="text")
    answers = _known(asked.label, first) if asked.label else _guess(first, ("answers", "answer"), what="label")
    columns = {"question": question, "context": _known(asked.context, first), "answers": answers}
    columns |= {"starts": "answer_start"} if "answer_start" in first else {}
    read = zip(*(values_of(rows, name) for name in (question, columns["context"], answers)), strict=True)
    missing = any(not read_answers(*parts)["answers"] for parts in read)
    more = list(NO_ANSWER_METRICS) if missing else []
    return {
        "kind": "question_answering",
        "columns": columns,
        "max_length": 384,
        "span": {"stride": 128} | ({"no_answer": True} if missing else {}),
        "eval": {"metrics": [*SPAN_METRICS, *more]},
    }


def _of_two_texts(asked: argparse.Namespace, first: Row) -> dict[str, Any]:
    text = _known(asked.text, first) if asked.text else _guess(first, TEXTS, what="text", but=asked.target)
    return {
        "kind": "seq2seq_lm",
        "columns": {"text": text, "reference": _known(asked.target, first)},
        "max_length": 512,
        "max_target_length": 64,
        "eval": {"metrics": ["rouge1", "rouge2", "rougeLsum"], "generation": {"max_new_tokens": 63, "num_beams": 4}},
    }


def _of_classes(asked: argparse.Namespace, rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    label = _known(asked.label, first) if asked.label else _guess(first, LABELS, what="label")
    text = _known(asked.text, first) if asked.text else _guess(first, TEXTS, what="text", but=label)
    pair = _known(asked.pair, first) if asked.pair else next((name for name in PAIRS if name in first), None)
    columns = {"text": text} | ({"text_pair": pair} if pair and pair != text else {}) | {"label": label}
    base = {"kind": "sequence_classification", "columns": columns, "max_length": 128}
    if asked.regression:
        return base | {"labels": 1, "eval": {"metrics": ["pearson", "spearman"]}}
    classes = classes_of(rows, label)
    if not 2 <= len(classes) <= CLASSES:
        raise ValueError(
            f"new task: column {label} has {len(classes):,} different values, which are no classes; "
            "--label names another column, --regression takes it as a number"
        )
    return base | {"labels": len(classes), "classes": classes, "eval": {"metrics": ["accuracy"]}}


def _guess(row: Row, names: Sequence[str], *, what: str, but: str | None = None) -> str:
    found = next((name for name in names if name in row and name != but), None)
    if found is None:
        raise ValueError(f"new task: which column is the {what}? --{what} NAME, of {', '.join(row)}")
    return found


def _known(name: str, row: Row) -> str:
    if name not in row:
        raise ValueError(f"new task: there is no column {name!r}; {nearest(name, row)}")
    return name


def _lines(task: dict[str, Any]) -> str:
    return "".join(f"  {line}\n" for line in yaml_text(task).splitlines())


def _parser() -> Parser:
    parser = Parser(
        prog="svft-bench new",
        description=__doc__,
        epilog="svft-bench new task reviews --from reviews.csv --text review --label stars --config-dir own",
    )
    parser.add_argument("what", choices=("task", "model"))
    parser.add_argument("name", help="as it will be chosen, task=NAME")
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="FILE",
        help=".csv, .tsv, .json, .jsonl, .parquet, or a folder with a folder of images for each class",
    )
    parser.add_argument("--kind", choices=get_args(Kind), help="of a model, where its family has several")
    parser.add_argument("--eval", metavar="FILE", help="the rows to score; without it a fifth of the first file")
    parser.add_argument("--title", help="what tables call it")
    parser.add_argument("--text", metavar="COLUMN")
    parser.add_argument("--pair", metavar="COLUMN", help="the second text of a pair")
    parser.add_argument("--label", metavar="COLUMN", help="the label; with --prompt or --context the gold answer")
    parser.add_argument(
        "--context", metavar="COLUMN", help="the text in which answers are; --text is the question then"
    )
    parser.add_argument("--target", metavar="COLUMN", help="what an encoder with a decoder is to write of the text")
    parser.add_argument("--regression", action="store_true", help="the label is a number to predict")
    parser.add_argument(
        "--prompt", type=typed, metavar="TEMPLATE", help="for a language model, such as 'Q: {question}\\nA:'"
    )
    parser.add_argument(
        "--answer", type=typed, metavar="TEMPLATE", help="what is to be learnt after it, such as ' {answer}'"
    )
    parser.add_argument("--chat", action="store_true", help="the prompt in the model's own chat template")
    return parser
