"""Which file a split is read from, what it may be called, and what is said when it cannot be read."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from svft_bench.config.spec import LimitSpec, SourceSpec
from svft_bench.tasks import load_task
from svft_bench.tasks.sources import DataFile, read_rows, source_fingerprint
from tests.tasks.data import write_images
from tests.tasks.layout import task_spec, write_layout
from tests.toy import write_rows

SOURCE = SourceSpec(title="GSM8K", hub="openai/gsm8k", config="main", split="test", local="gsm8k", rows=3)
ROWS = [{"question": str(i), "answer": f"#### {i}"} for i in range(3)]


def read(root: Path, source: SourceSpec = SOURCE) -> DataFile:
    return read_rows(source, data_root=root)[1]


def test_the_file_named_as_the_split_wins_over_a_sample(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "test.jsonl", ROWS)
    write_rows(tmp_path / "gsm8k" / "test_sample.jsonl", ROWS[:1])
    assert read(tmp_path).origin == "gsm8k/test.jsonl"


def test_numbered_shards_are_read_in_order(tmp_path: Path) -> None:
    for shard in range(2):
        file = tmp_path / "gsm8k" / f"test-0000{shard}-of-00002.parquet"
        write_images(file, [shard], columns=("image", "label"))
    rows, file = read_rows(SOURCE, data_root=tmp_path)
    assert [row["label"] for row in rows] == [0, 1]
    assert file.origin == "gsm8k/test-00000-of-00002.parquet and 1 more"
    assert file.sha256 is not None


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["00000-of-00003", "00002-of-00003"], "gsm8k/ lacks test-00001-of-00003$"),
        (["00000-of-00002"], "gsm8k/ lacks test-00001-of-00002$"),
        (["00000-of-00001", "00000-of-00002", "00001-of-00002"], "gsm8k/ has shards of several: test-00000-of-00001"),
    ],
)
def test_shards_of_which_one_is_missing_are_not_read_as_the_split(names: list[str], told: str, tmp_path: Path) -> None:
    for number, name in enumerate(names):
        write_images(tmp_path / "gsm8k" / f"test-{name}.parquet", [number], columns=("image", "label"))
    with pytest.raises(ValueError, match=told):
        read_rows(SOURCE, data_root=tmp_path)
    with pytest.raises(ValueError, match=told):
        source_fingerprint(SOURCE, data_root=tmp_path)


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_json_is_read_with_unicode_and_blank_lines(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "gsm8k" / f"test.{suffix}"
    file.parent.mkdir()
    text = "[" + ",".join(map(json.dumps, ROWS)) + "]" if suffix == "json" else "\n\n".join(map(json.dumps, ROWS))
    file.write_text(text.replace('"1"', '"½ ’"'), encoding="utf-8")
    rows, _ = read_rows(SOURCE, data_root=tmp_path)
    assert [row["question"] for row in rows] == ["0", "½ ’", "2"]


def test_another_split_with_the_same_beginning_is_not_this_split(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "testing.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"no file for split 'test' of GSM8K: gsm8k/ holds testing\.jsonl"):
        read(tmp_path)


def test_a_complete_file_has_the_benchmark_s_name(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "test.jsonl", ROWS)
    file = read(tmp_path)
    assert replace(file, used=3).label == "GSM8K"
    assert replace(file, used=2).label == "GSM8K (2 of 3)"


@pytest.mark.parametrize(("name", "count"), [("test_sample", 2), ("test_sample", 3), ("test", 2), ("test", 4)])
def test_a_sample_never_has_the_benchmark_s_name(tmp_path: Path, name: str, count: int) -> None:
    write_rows(tmp_path / "gsm8k" / f"{name}.jsonl", (ROWS * 2)[:count])
    file = read(tmp_path)
    assert replace(file, used=count).label == f"gsm8k/{name}.jsonl ({count} rows)"
    assert replace(file, used=1).label == f"gsm8k/{name}.jsonl (1 of {count})"


def test_a_local_file_of_a_set_of_unknown_size_has_its_own_name(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "test.jsonl", ROWS)
    file = read(tmp_path, SOURCE.model_copy(update={"rows": None}))
    assert replace(file, used=3).label == "gsm8k/test.jsonl (3 rows)"


def test_thousands_are_grouped_in_labels() -> None:
    file = DataFile("GSM8K", "openai/gsm8k@abc", "test", rows=1319, complete_rows=1319, used=1000, sha256=None)
    assert file.label == "GSM8K (1,000 of 1,319)"


def test_the_fingerprint_changes_with_the_content_and_not_with_the_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_rows(tmp_path / name / "gsm8k" / "test.jsonl", ROWS)
    first, second = (source_fingerprint(SOURCE, data_root=tmp_path / name) for name in ("a", "b"))
    assert first == second
    write_rows(tmp_path / "b" / "gsm8k" / "test.jsonl", ROWS[:2])
    assert source_fingerprint(SOURCE, data_root=tmp_path / "b") != first
    assert source_fingerprint(SOURCE, data_root=None) == "hub"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("test.jsonl", "", "has no rows"),
        ("test.json", "[]", "has no rows"),
        ("test.jsonl", '{"a": 1}\n{"a": ', r"test\.jsonl:2 is not JSON"),
        ("test.jsonl", "[1]\n", r"test\.jsonl:1 holds list"),
        ("test.json", '{"a": 1}', "is not one array of objects"),
        ("test.json", "[1, 2]", "is not one array of objects"),
        ("test.json", "[", "is not JSON"),
        ("test.jsonl", '{"a": "\\ud800"}', r"test\.jsonl:1 is not JSON: half a character"),
        ("test.jsonl", '{"a": ' + "[" * 100_000, r"test\.jsonl:1 is not JSON: nested too deep"),
        ("test.json", "[" * 100_000, "is not JSON: nested too deep"),
        ("test.json", "\xe9", "is not JSON: 'utf-8'"),
        ("test.jsonl", "\xe9", "is not JSON: 'utf-8'"),
        ("test.parquet", "not parquet", "is not a readable parquet file"),
        ("train.jsonl", "{}", r"holds train\.jsonl, expected test\.jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path)


@pytest.mark.parametrize("name", ["test.jsonl", "test.json"])
def test_the_mark_that_windows_puts_before_utf_8_is_no_content(tmp_path: Path, name: str) -> None:
    rows = [{"question": "é 🙂", "answer": r"\u"}]
    (tmp_path / "gsm8k").mkdir()
    text = json.dumps(rows[0] if name.endswith("l") else rows)
    (tmp_path / "gsm8k" / name).write_text(text, encoding="utf-8-sig")
    assert list(read_rows(SOURCE, data_root=tmp_path)[0]) == rows


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "gsm8k" / "test.parquet", [], columns=("image", "label"))
    with pytest.raises(ValueError, match=r"gsm8k/test\.parquet: split 'test' of GSM8K has no rows"):
        read(tmp_path)


def test_two_samples_of_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("test_a", "test_b"):
        write_rows(tmp_path / "gsm8k" / f"{name}.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"more than one file .* test_a\.jsonl, test_b\.jsonl"):
        read(tmp_path)


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gsm8k/ holds nothing"):
        read(tmp_path / "nowhere")


def test_a_set_that_is_on_no_hub_says_where_it_is_looked_for() -> None:
    source = SourceSpec(title="BoolQ", split="test", local="commonsense/boolq")
    with pytest.raises(ValueError, match=r"on no hub; data_root=FOLDER .* commonsense/boolq/test\.jsonl"):
        read_rows(source, data_root=None)


def test_the_hub_out_of_reach_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"GSM8K could not be loaded from the hub .*data_root=FOLDER"):
        read_rows(SOURCE, data_root=None)


def test_whole_tasks_load_from_local_files_without_the_package_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "svft_bench.tasks.hub", raising=False)
    for name, suffix in (("cifar10", "parquet"), ("glue/rte", "jsonl"), ("gsm8k", "jsonl"), ("commonsense", "jsonl")):
        spec = task_spec(name)
        write_layout(tmp_path, spec, rows=4)
        task = load_task(spec, data_root=tmp_path, limit=LimitSpec(eval=3), seed=0)
        assert {file.origin.split(".")[-1] for file in task.files} == {suffix}
        assert len(task.train) > 0 and all(len(rows) == 3 for rows in task.evals.values())


def test_the_hub_without_the_package_datasets_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "svft_bench.tasks.hub", raising=False)
    with pytest.raises(ValueError, match=r"`datasets`, which is not installed; .* FOLDER/gsm8k without it"):
        read_rows(SOURCE, data_root=None)


def test_plain_files_are_read_without_the_heavy_libraries(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "test.jsonl", ROWS)
    code = (
        "import sys; from pathlib import Path; from svft_bench.config.spec import SourceSpec\n"
        "import svft_bench.tasks; from svft_bench.tasks.sources import read_rows\n"
        f"source = SourceSpec(title='t', split='test', local='gsm8k')\n"
        f"read_rows(source, data_root=Path({str(tmp_path)!r}))\n"
        "heavy = {'torch', 'datasets', 'pyarrow', 'numpy', 'PIL', 'evaluate', 'sympy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
