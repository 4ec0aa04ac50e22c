"""Weights of the hub are of the commit that a model names: every model kind, cold, warm, offline, under faults."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model

from svft_bench.cli import command
from svft_bench.compose import cells, conf_dir, options
from svft_bench.models import hub as asking
from svft_bench.models.checkpoint import fetch
from svft_bench.models.loading import load_model
from svft_bench.models.weight_files import fingerprint
from svft_bench.records import load_records
from svft_bench.tuners import SVFTConfig
from tests.hub import Hub, serving
from tests.hub_models import SPECS, line, numbers_of, weights
from tests.models.test_models import model_spec
from tests.tasks.hub_layout import add_task
from tests.tasks.layout import task_spec

GEMMA = SPECS["gemma-2b"]
OTHER = "e" * 40


@pytest.fixture
def hub(folders: dict[str, Path]) -> Iterator[Hub]:
    """A hub with every model at its pin, and much else beside the weights of one."""
    with serving(Hub()) as served:
        for name, folder in folders.items():
            spec = SPECS[name]
            assert spec.revision is not None
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            if name == "gemma-2b":
                files |= {"original/consolidated.safetensors": b"not ours", "model.msgpack": b"neither"}
            served.add("model", spec.path, files, commit=spec.revision, refs=("main",))
        yield served


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", SPECS)
def test_every_model_loads_from_the_hub_and_then_from_its_cache_alone(
    name: str, hub: Hub, online: Callable[..., None], folders: dict[str, Path]
) -> None:
    spec = SPECS[name]
    cold, found = weights(spec), fetch(spec, weights=True)
    assert found.commit == spec.revision
    assert same(cold, weights(spec.model_copy(update={"path": str(folders[name])})))
    assert fingerprint(found.folder) == fingerprint(folders[name])
    assert not [path for path in hub.asked if "original" in path or "msgpack" in path]
    hub.asked.clear()
    assert same(weights(spec), cold)
    assert hub.asked == []
    online(False)
    assert same(weights(spec), cold)


def test_what_is_saved_of_a_model_names_its_repository_and_not_the_cache(hub: Hub, online: Callable[..., None]) -> None:
    model, _ = load_model(GEMMA, kind="causal_lm", num_labels=0, seed=0)
    adapted = get_peft_model(model, SVFTConfig(target_modules=["q_proj"]))
    assert adapted.peft_config["default"].base_model_name_or_path == model.config._name_or_path == "google/gemma-2b"


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
        ("reset", "the connection to .* broke off"),
        ("short", "the connection to .* broke off"),
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


@pytest.mark.parametrize("fault", [500, 429, "reset", "short"])
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
    spec = SPECS[name]
    whole, found = weights(spec), fetch(spec, weights=True)
    named = (
        {"gemma-2b": "model.safetensors", "deberta-v3-base": "pytorch_model.bin"}[name] if file == "weights" else file
    )
    path = (found.folder / named).resolve()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{named} is damaged .* the next start"):
        weights(spec)
    assert same(weights(spec), whole)


def test_a_download_of_the_right_length_and_another_content_is_not_loaded_once(
    hub: Hub, online: Callable[..., None]
) -> None:
    hub.break_down("other", where="model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .* the next start"):
        fetch(GEMMA, weights=True)
    hub.break_down(None)
    assert weights(GEMMA)


def test_a_record_names_the_commits_and_contents_that_were_read(
    hub: Hub, online: Callable[..., None], tmp_path: Path, folders: dict[str, Path]
) -> None:
    add_task(hub, task_spec("glue/rte"))
    own = [*numbers_of(folders["deberta-v3-base"]), "data_root=null"]
    assert command(line(tmp_path, *own, task="glue/rte", model="deberta-v3-base")) == 0
    (record,) = load_records(tmp_path / "results")
    assert record.weights is not None
    assert record.weights.revision == SPECS["deberta-v3-base"].revision
    assert record.weights.fingerprint == fingerprint(folders["deberta-v3-base"])
    assert [file.origin for file in record.data] == [f"nyu-mll/glue@{task_spec('glue/rte').train.revision}"] * 2
    assert len({file.content for file in record.data}) == 1  # the made-up rows of both splits are the same


def test_a_branch_is_recorded_as_its_commit_and_is_a_part_of_the_name(
    hub: Hub, online: Callable[..., None], tmp_path: Path, folders: dict[str, Path]
) -> None:
    pythia, files = (
        SPECS["pythia-2.8b"],
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


def test_the_cause_of_a_failed_run_stays_beside_it(hub: Hub, online: Callable[..., None], tmp_path: Path) -> None:
    hub.break_down(500)
    assert command(line(tmp_path, "data_root=null")) == 2
    (log,) = (tmp_path / "outputs").rglob("error-*.log")
    sentence, _, trace = log.read_text().partition("\n")
    assert "answered 500: it is down" in sentence and "HfHubHTTPError" in trace
    assert not list((tmp_path / "results").rglob("*.json"))


def test_every_task_and_model_of_the_hub_is_pinned_but_those_that_no_commit_is_known_of() -> None:
    unpinned = set()
    for name in [*(f"model/{name}" for name in options("model")), *(f"task/{name}" for name in options("task"))]:
        text = (conf_dir() / f"{name}.yaml").read_text("utf-8")
        pins = re.findall(r"revision: [0-9a-f]{40}\b", text)
        if len(pins) != len(re.findall(r"hub: |source: hub", text)):
            unpinned.add(name)
    named = ("flowers102", "xsum", "squad", "squad_v2", "dreambooth")
    assert unpinned == {f"task/{name}" for name in named}
