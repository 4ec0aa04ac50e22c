"""How much of each eval stands in the training set: `svft-bench leakage task=gsm8k [data_root=DATA] [n=13] [--json]`.

An eval text is *identical* if a training text has the same words, and *shares* if they have n words in a row in common.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

from svft_bench.analysis.tables.fitting import whole
from svft_bench.compose import option_fields, options
from svft_bench.config.spec import KINDS, LimitSpec, ReaderName, SourceSpec, TaskSpec
from svft_bench.config.wording import Parser, named_once, nearest, plural
from svft_bench.tasks import Example, load_task
from svft_bench.tasks.pool import Pool, read_pool

N = 13  # words in a row; source: Brown et al. 2020 (arXiv 2005.14165), appendix C
SHOWN = 5
REWRITTEN: tuple[ReaderName, ...] = ("metamath", "metamath_solution")  # sets of questions made from others
ORIGINAL = "original_question"
LEFT = ("eval", "data", "against", "first row numbers")
# The words that every question of a commonsense set has in common; they are no sign of leakage.
_FRAME = re.compile(r"Please [^:]*: (.*?)\s*Answer format: \S+", re.DOTALL)
# Letters and vowel signs of Thai, Lao, Burmese and Khmer, kana, and the signs of Chinese.
_SPACELESS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1050-\u109d\u1780-\u17d3"
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003fa1f"
)
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")


Against = Literal["questions and answers", "original questions", "images"]


@dataclass(frozen=True)
class Overlap:
    """Rows of one eval that stand in the training set whole, in part, or for half of their n-grams or more.

    `against` says which texts of the training set are meant, and `note` how they were found, or why they were not: then
    nothing is counted. Of images only the first count is known.
    """

    eval: str
    against: Against
    data: str
    train: str
    rows: int
    identical: int | None
    sharing: int | None
    half: int | None
    first: tuple[str, ...]
    note: str | None = None


def leakage(argv: list[str]) -> int:
    """Print the report of one task.

    Raises:
        ValueError: an unknown task or argument, or data that cannot be read.
    """
    parser = Parser(prog="svft-bench leakage", description=__doc__)
    parser.add_argument("asked", nargs="*", metavar="NAME=VALUE", help=f"task=NAME [data_root=FOLDER] [n={N}]")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_intermixed_args(argv)
    given = named_once((item for item in asked.asked if "=" in item), verb="leakage")
    unknown = [item for item in asked.asked if item.split("=")[0] not in ("task", "data_root", "n")]
    if unknown or "task" not in given or not given.get("n", "1").isdecimal() or int(given.get("n", "1")) == 0:
        raise ValueError(f"{' '.join(['leakage', *argv])}: expected task=NAME [data_root=FOLDER] [n={N}] [--json]")
    root = given.get("data_root") or os.environ.get("SVFT_BENCH_DATA")
    n = int(given.get("n", N))
    found = overlaps(_task(given["task"]), data_root=Path(root) if root else None, n=n)
    if asked.json:
        print(json.dumps([asdict(item) for item in found], indent=1, ensure_ascii=False))
    else:
        print(whole(_table(found, n=n)), end="")
        for note in dict.fromkeys(item.note for item in found if item.note is not None):
            print(f"{note}.")
    return 0


def _task(name: str) -> TaskSpec:
    if name not in options("task"):
        raise ValueError(f"task={name} is unknown; there are {len(options('task'))}; {nearest(name, options('task'))}")
    return TaskSpec.model_validate(option_fields("task", name))


def overlaps(task: TaskSpec, *, data_root: Path | None, n: int = N) -> list[Overlap]:
    """Every eval of a task against its whole training set, of images against the drawn ones.

    Where training questions were made from others, those original ones are a comparison of their own.

    Raises:
        ValueError: data that cannot be read.
    """
    if KINDS[task.kind].images:
        return _of_images(task, data_root=data_root)
    pool = read_pool(task, task.train, reader=task.reader, data_root=data_root)
    trained, note = _training_texts(task, pool, data_root=data_root, n=n)
    found = []
    for item in task.evals:
        scored = read_pool(task, item.data, reader=item.reader, data_root=data_root)
        texts = {str(index): _question(fields) for index, fields in scored.fields.items()}
        if not texts:
            raise ValueError(f"{scored.file.origin}: none of its {plural(scored.file.rows, 'row')} can be used")
        data, train = scored.account(len(texts)).label, pool.account(len(pool.fields)).label
        for against, training in trained.items():
            told = note if against == "original questions" else None
            same, sharing, half, first = (None, None, None, ()) if training is None else compare(texts, training, n=n)
            found.append(Overlap(item.name, against, data, train, len(texts), same, sharing, half, first, told))
    return found


def compare(texts: dict[str, str], training: Iterable[str], *, n: int) -> tuple[int, int, int, tuple[str, ...]]:
    """(identical, sharing, half, first ids that share); a text of fewer than n words shares only if it is identical."""
    split = {key: words(text) for key, text in texts.items()}
    wanted = {gram for tokens in split.values() for gram in ngrams(tokens, n)}
    whole = set(split.values())
    seen: set[tuple[str, ...]] = set()
    same: set[tuple[str, ...]] = set()
    for text in training:
        tokens = words(text)
        seen.update(gram for gram in ngrams(tokens, n) if gram in wanted)
        same.update({tokens} & whole)
    identical = {key for key, tokens in split.items() if tokens in same}
    shares = {key: _share(tokens, seen, n=n) for key, tokens in split.items()}
    sharing = [key for key, share in shares.items() if share > 0 or key in identical]
    half = sum(share >= 0.5 or key in identical for key, share in shares.items())
    return len(identical), len(sharing), half, tuple(sharing[:SHOWN])


def _share(tokens: tuple[str, ...], seen: set[tuple[str, ...]], *, n: int) -> float:
    grams = list(ngrams(tokens, n))
    return sum(gram in seen for gram in grams) / len(grams) if grams else 0.0


def words(text: str) -> tuple[str, ...]:
    """Lower-case words and numbers, without punctuation and typographic variants.

    Where a language writes no spaces between words, each of its signs counts as one: a sentence would be one word.
    """
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Every n words in a row."""
    return (tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


def _question(fields: Example) -> str:
    if "instruction" not in fields:
        texts = [fields.get(name) for name in ("text", "text_pair", "context", "question")]
        return " ".join(text for text in texts if text is not None)
    framed = _FRAME.fullmatch(fields["instruction"])
    return framed.group(1) if framed else str(fields["instruction"])


def _training_texts(
    task: TaskSpec, pool: Pool, *, data_root: Path | None, n: int
) -> tuple[dict[Against, list[str] | None], str | None]:
    """Questions and responses, and the original questions that rewritten ones were made from; with a word on these.

    None in place of the original questions: there are some, and they are not to be had.
    """
    responses = [fields["response"] for fields in pool.fields.values() if "response" in fields]
    asked = list(map(_question, pool.fields.values()))
    found: dict[Against, list[str] | None] = {"questions and answers": [*asked, *responses]}
    if task.reader not in REWRITTEN:
        return found, None
    originals = {pool.rows[index].get(ORIGINAL) for index in pool.fields} - {None}
    if originals:
        return found | {"original questions": sorted(map(str, originals))}, None
    lacks = f"{pool.file.origin} has no column {ORIGINAL}"
    seeds: list[str] = []
    sources = _seed_sources(task)
    try:
        for source, reader in sources:
            seeds += map(_question, read_pool(task, source, reader=reader, data_root=data_root).fields.values())
    except (ValueError, OSError) as error:
        return found | {"original questions": None}, f"{lacks}, and its questions cannot be matched by text: {error}"
    matched, rows = _matched(seeds, asked, n=n)
    names = " and ".join(f"{source.title} ({source.split})" for source, _ in sources)
    told = f"{lacks}: {rows:,} of its {plural(len(asked), 'question')} share {n} words in a row with a question of "
    told += f"{names}, {plural(len(matched), 'question')} of theirs in all, taken in their place"
    return found | {"original questions": matched}, told


def _seed_sources(task: TaskSpec) -> list[tuple[SourceSpec, ReaderName]]:
    """The training splits of everything that is scored after this training set: what its questions were made from."""
    tasks = [other for other in map(_task, options("task")) if other.train == task.train]
    found = {
        item.data.title: (item.data.model_copy(update={"split": "train", "rows": None}), item.reader)
        for other in tasks or [task]
        for item in other.evals
    }
    return list(found.values())


def _matched(seeds: Sequence[str], asked: Iterable[str], *, n: int) -> tuple[list[str], int]:
    """The seeds that share n words in a row with a question, or all of its words, and how many questions do."""
    of: dict[tuple[str, ...], set[int]] = {}
    for index, seed in enumerate(seeds):
        tokens = words(seed)
        for gram in (tokens, *ngrams(tokens, n)):
            of.setdefault(gram, set()).add(index)
    matched: set[int] = set()
    rows = 0
    for question in asked:
        tokens = words(question)
        own = set().union(*(of.get(gram, set()) for gram in (tokens, *ngrams(tokens, n))))
        matched |= own
        rows += bool(own)
    return [seeds[index] for index in sorted(matched)], rows


def _of_images(task: TaskSpec, *, data_root: Path | None) -> list[Overlap]:
    loaded = load_task(task, data_root=data_root, limit=LimitSpec(), seed=0)
    training = {_pixels(example) for part in (loaded.train, loaded.validation) for example in part}
    found = []
    for (name, examples), file in zip(loaded.evals.items(), loaded.files[-len(loaded.evals) :], strict=True):
        if "image" not in examples[0]:
            told = f"{name} draws pictures by its lines, and has none that could stand in a training set"
            unseen = Overlap(
                name, "images", file.label, loaded.files[0].label, len(examples), None, None, None, (), told
            )
            found.append(unseen)
            continue
        same = [example["id"] for example in examples if _pixels(example) in training]
        train, first = loaded.files[0].label, tuple(same[:SHOWN])
        found.append(Overlap(name, "images", file.label, train, len(examples), len(same), None, None, first))
    return found


def _pixels(example: Example) -> str:
    image = example["image"]
    return f"{image.size} {hashlib.sha256(image.tobytes()).hexdigest()}"


def _table(found: Sequence[Overlap], *, n: int) -> Table:
    table = Table(title=f"Against {found[0].train}", title_justify="left", box=None, pad_edge=False)
    for column in (
        "eval",
        "data",
        "against",
        "rows",
        "identical",
        f"share {n} words in a row",
        "half or more",
        "first row numbers",
    ):
        table.add_column(column, justify="left" if column in LEFT else "right")
    for item in found:
        counts = [_count(count, rows=item.rows) for count in (item.identical, item.sharing, item.half)]
        table.add_row(item.eval, item.data, item.against, f"{item.rows:,}", *counts, " ".join(item.first))
    return table


def _count(count: int | None, *, rows: int) -> str:
    return "-" if count is None else f"{count:,} ({count / rows:.1%})"
