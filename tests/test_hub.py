"""Weights of the hub are of the commit that a model names: every model kind, cold, warm, offline, under faults."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from svft_bench import hub as asking
from svft_bench.checkpoint import fetch, fingerprint
from svft_bench.cli import command
from svft_bench.compose import cells, options
from svft_bench.models import load_model
from svft_bench.record import load_records
from svft_bench.spec import ModelSpec
from svft_bench.tiny import tiny_model_folder
from tests.hub import Hub, connect, serving
from tests.tasks.hub_layout import add_task
from tests.tasks.layout import task_spec
from tests.test_models import model_spec
from tests.toy import toy_data

HUB_MODELS = [name for name in options("model") if model_spec(name).source == "hub"]
GEMMA = model_spec("gemma-2b")
OTHER = "e" * 40


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny folder of every model of the hub, DeBERTa's weights pickled as they are at its pin."""
    made = {name: tiny_model_folder(model_spec(name), tmp_path_factory.mktemp(name)) for name in HUB_MODELS}
    file, weights = made["deberta-v3-base"] / "model.safetensors", BytesIO()
    torch.save(load_file(file), weights)
    file.unlink()
    (file.parent / "pytorch_model.bin").write_bytes(weights.getvalue())
    return made


@pytest.fixture
def hub(folders: dict[str, Path]) -> Iterator[Hub]:
    """A hub with every model at its pin, and much else beside the weights of one."""
    with serving(Hub()) as served:
        for name, folder in folders.items():
            spec = model_spec(name)
            assert spec.revision is not None
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            if name == "gemma-2b":
                files |= {"original/consolidated.safetensors": b"not ours", "model.msgpack": b"neither"}
            served.add("model", spec.path, files, commit=spec.revision, refs=("main",))
        yield served


@pytest.fixture
def online(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Go online or offline, in a working directory and with a cache of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)

    def go(now: bool = True) -> None:
        connect(monkeypatch, hub, home=tmp_path / "home", offline=not now)
        asking._looked_up.cache_clear()

    go()
    return go


def weights(spec: ModelSpec) -> dict[str, torch.Tensor]:
    model, _ = load_model(spec, kind=spec.kinds[0], num_labels=3, seed=0)
    return model.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", HUB_MODELS)
def test_every_model_loads_from_the_hub_and_then_from_its_cache_alone(
    name: str, hub: Hub, online: Callable[..., None], folders: dict[str, Path]
) -> None:
    spec = model_spec(name)
    cold, found = weights(spec), fetch(spec, weights=True)
    assert found.commit == spec.revision
    assert same(cold, weights(model_spec(name, path=str(folders[name]))))
    assert fingerprint(found.folder) == fingerprint(folders[name])
    assert not [path for path in hub.asked if "original" in path or "msgpack" in path]
    hub.asked.clear()
    assert same(weights(spec), cold)
    assert hub.asked == []
    online(False)
    assert same(weights(spec), cold)


@pytest.mark.parametrize("fault", ["offline", 500, 401, 403, "gated", 429, "reset"])
def test_another_commit_in_the_cache_is_never_loaded_under_the_pin(
    fault: Any, hub: Hub, online: Callable[..., None], folders: dict[str, Path]
) -> None:
    hub.add("model", GEMMA.path, {path.name: path.read_bytes() for path in folders["gemma-2b"].iterdir()}, commit=OTHER)
    weights(GEMMA.model_copy(update={"revision": OTHER}))
    if fault == "offline":
        online(False)
    else:
        hub.break_down(fault)
    with pytest.raises(ValueError, match=r"google/gemma-2b could not be loaded from the Hugging Face hub.*=FOLDER"):
        weights(GEMMA)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (401, "answered 401: HF_TOKEN is not valid there"),
        (403, "answered 403: the account of HF_TOKEN may not read it"),
        (429, "answered 429: it takes fewer requests"),
        (500, "answered 500: it is down"),
        ("gated", "it is gated: accept the licence at .*/google/gemma-2b"),
        ("reset", "could not be reached"),
    ],
)
def test_every_fault_is_told_by_its_cause_and_its_endpoint(
    fault: Any, sentence: str, hub: Hub, online: Callable[..., None]
) -> None:
    hub.break_down(fault)
    with pytest.raises(ValueError, match=sentence) as caught:
        weights(GEMMA)
    assert hub.endpoint in str(caught.value) and caught.value.__cause__ is not None


def test_no_network_is_told_from_a_hub_that_is_down(hub: Hub, online: Callable[..., None]) -> None:
    hub.endpoint = "http://127.0.0.1:9"  # the port for what nobody reads
    online()
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:9 could not be reached"):
        weights(GEMMA)
    online(False)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        weights(GEMMA)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"revision": "feature-401"}, "it has no revision 'feature-401'"),
        ({"revision": "f" * 40}, f"it has no revision '{'f' * 40}'"),
        ({"path": "google/gemma-403"}, "knows no model of that name"),
    ],
)
def test_what_is_mistyped_is_named(
    change: dict[str, str], sentence: str, hub: Hub, online: Callable[..., None]
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        weights(GEMMA.model_copy(update=change))
    assert "gated" not in str(caught.value)


@pytest.mark.parametrize("fault", [500, 429, "reset"])
def test_what_passes_is_waited_for(fault: Any, hub: Hub, online: Callable[..., None]) -> None:
    for spec in (GEMMA, GEMMA.model_copy(update={"revision": "main"})):
        hub.break_down(fault, times=2)
        assert fetch(spec, weights=False).commit == GEMMA.revision


def test_a_folder_of_the_model_s_name_is_not_loaded(
    hub: Hub, online: Callable[..., None], tmp_path: Path, folders: dict[str, Path]
) -> None:
    shutil.copytree(folders["gemma-2b"], tmp_path / "google" / "gemma-2b")
    with pytest.raises(ValueError, match=r"model\.path=google/gemma-2b is the name of a repository and of the folder"):
        weights(GEMMA)
    assert weights(GEMMA.model_copy(update={"path": "./google/gemma-2b"}))
    carried = model_spec("minilm-l6")
    (tmp_path / "minilm-l6").mkdir()
    with pytest.raises(ValueError, match=r"model\.path=minilm-l6 is the name of a repository and of the folder"):
        fetch(carried, weights=False)


@pytest.mark.parametrize("name", ["gemma-2b", "deberta-v3-base"])
@pytest.mark.parametrize("file", ["weights", "config.json", "tokenizer.json"])
def test_a_damaged_download_is_named_and_the_next_start_recovers(
    name: str, file: str, hub: Hub, online: Callable[..., None]
) -> None:
    spec = model_spec(name)
    whole, found = weights(spec), fetch(spec, weights=True)
    named = (
        {"gemma-2b": "model.safetensors", "deberta-v3-base": "pytorch_model.bin"}[name] if file == "weights" else file
    )
    path = (found.folder / named).resolve()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{named} is damaged .* the next start"):
        weights(spec)
    assert same(weights(spec), whole)


def test_a_damaged_local_folder_is_named(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = shutil.copytree(folders["gemma-2b"], tmp_path / "copy")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        ValueError, match=r"model\.safetensors is damaged \(it has .* bytes in place of .*\); copy it again"
    ):
        weights(model_spec("gemma-2b", path=str(folder)))
    file.unlink()
    with pytest.raises(ValueError, match="holds no weights"):
        weights(model_spec("gemma-2b", path=str(folder)))


def line(tmp_path: Path, *more: str, task: str = "gsm8k", model: str = "gemma-2b") -> list[str]:
    return [
        f"model={model}",
        f"task={task}",
        "method=lora",
        "protocol=ours",
        f"data_root={toy_data(tmp_path / 'data')}",
        f"results_dir={tmp_path}/results",
        f"output_dir={tmp_path}/outputs",
        "device=cpu",
        "train.lr=0.01",
        "train.max_steps=1",
        "train.precision=float32",
        "train.batch_size=1",
        "train.gradient_accumulation=1",
        "limit.train=2",
        "limit.eval=1",
        *(["task.evals.gsm8k.generation.max_new_tokens=2"] if task == "gsm8k" else []),
        *more,
    ]


def numbers_of(folder: Path) -> list[str]:
    """A model's own numbers, as they are typed."""
    own = json.loads((folder / "stand_in.json").read_text())
    shapes = ",".join(f"{letter}:[{i},{o}]" for letter, (i, o) in own["matrices"].items())
    return [f"model.layers={own['layers']}", f"model.parameters={own['parameters']}", f"model.matrices={{{shapes}}}"]


def test_a_record_names_the_commits_and_contents_that_were_read(
    hub: Hub, online: Callable[..., None], tmp_path: Path, folders: dict[str, Path]
) -> None:
    add_task(hub, task_spec("glue/rte"))
    own = [*numbers_of(folders["deberta-v3-base"]), "data_root=null"]
    assert command(line(tmp_path, *own, task="glue/rte", model="deberta-v3-base")) == 0
    (record,) = load_records(tmp_path / "results")
    assert record.weights is not None
    assert record.weights.revision == model_spec("deberta-v3-base").revision
    assert record.weights.fingerprint == fingerprint(folders["deberta-v3-base"])
    assert [file.origin for file in record.data] == [f"nyu-mll/glue@{task_spec('glue/rte').train.revision}"] * 2
    assert len({file.content for file in record.data}) == 1  # the made-up rows of both splits are the same


def test_a_branch_is_recorded_as_its_commit_and_is_a_part_of_the_name(
    hub: Hub, online: Callable[..., None], tmp_path: Path, folders: dict[str, Path]
) -> None:
    pythia, files = (
        model_spec("pythia-2.8b"),
        {path.name: path.read_bytes() for path in folders["pythia-2.8b"].iterdir()},
    )
    own = ["model.revision=step39000", *numbers_of(folders["pythia-2.8b"])]
    for commit in (OTHER, "c" * 40):
        hub.add("model", pythia.path, files, commit=commit, refs=("step39000",))
        asking._looked_up.cache_clear()
        assert command(line(tmp_path, *own, model="pythia-2.8b")) == 0
    records = load_records(tmp_path / "results")
    assert {record.weights.revision for record in records if record.weights} == {OTHER, "c" * 40}
    assert len({record.train_id for record in records}) == 2 and len({record.spec.cell_id for record in records}) == 1


def test_a_pinned_commit_leaves_a_run_its_name(hub: Hub, online: Callable[..., None], tmp_path: Path) -> None:
    (cell,) = cells(line(tmp_path, "data_root=null"))
    assert cell.spec.data == "hub+hub"
    assert "trust_remote_code" not in cell.spec.identity()["model"]


@pytest.mark.parametrize("verb", [[], ["plan"]])
def test_a_tiny_model_under_a_great_one_s_name_is_refused(
    verb: list[str], tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bare = shutil.copytree(folders["gemma-2b"], tmp_path / "bare")
    (bare / "stand_in.json").unlink()
    cases = {
        f"model.path={bare}": "has hidden_size=32, and gemma-2b has 2048",
        f"model.path={folders['gemma-2b']}": "holds a small random stand-in of",
        f"model.path={folders['gemma-7b']}": "holds a small random stand-in for gemma-7b",
    }
    for override, sentence in cases.items():
        assert command([*verb, *line(tmp_path, override)]) == 2
        error = capsys.readouterr().err.strip()
        assert sentence in error and error.count("\n") == 0
    assert not (tmp_path / "results").exists()


def test_a_stand_in_says_what_it_is_and_is_recorded_with_its_own_numbers(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    assert command(line(tmp_path, f"model.path={folders['gemma-2b']}", "model.revision=null")) == 0
    (record,) = load_records(tmp_path / "results")
    assert record.spec.model.parameters < 100_000 and record.spec.model.layers == 2
    assert record.weights is not None and record.weights.revision is None


def test_a_model_of_a_name_and_numbers_of_its_own_runs_and_with_wrong_ones_does_not(
    tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bare = shutil.copytree(folders["gemma-2b"], tmp_path / "bare")
    (bare / "stand_in.json").unlink()
    own = [f"model.path={bare}", "model.name=mine", "model.revision=null", *numbers_of(folders["gemma-2b"])]
    assert command(line(tmp_path, *own, "model.parameters=1000")) == 2
    assert "parameters=" in (error := capsys.readouterr().err) and "its file states 1,000" in error
    assert command(line(tmp_path, *own)) == 0


def test_a_checkpoint_of_other_shapes_than_its_configuration_is_one_sentence(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder = shutil.copytree(folders["gemma-2b"], tmp_path / "mixed")
    held = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    save_file(held | {name: held[name][:-1].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"model=gemma-2b: its folder .*/mixed cannot be read"):
        weights(model_spec("gemma-2b", path=str(folder)))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_in_a_model_s_folder_runs_only_where_that_is_typed(
    file: str, tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(folders["gemma-2b"], tmp_path / "coded")
    fields = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(fields | {"auto_map": {"AutoConfig": "mine.Mine"}}))
    (folder / "mine.py").write_text("raise SystemExit('the code has run')\n")
    given = line(tmp_path, f"model.path={folder}", "model.revision=null")
    assert command(given) == 2
    assert "brings code of its own" in (error := capsys.readouterr().err) and "trust_remote_code=true" in error
    trusting = [cell.spec.run_id for cell in cells([*given, "model.trust_remote_code=true"])]
    (folder / file).write_text(json.dumps(fields))
    assert trusting != [cell.spec.run_id for cell in cells(given)]
