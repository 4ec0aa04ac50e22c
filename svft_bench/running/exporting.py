"""What a finished run leaves for others: its adapter, its merged model, or a LoRA close to its adapter, with a card."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel, save_as_lora
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from svft_bench.methods.applying import apply_method, peft_config
from svft_bench.models.checkpoint import describe, fetch, local_folder
from svft_bench.models.loading import load_model
from svft_bench.models.weight_files import other_than
from svft_bench.records import RunRecord, Weights, load_alone
from svft_bench.running.keeping.cards import RUN, Kind, write_card
from svft_bench.running.keeping.folders import training_folder
from svft_bench.running.keeping.weights import check_kept, load_kept

RANKS = (4, 8, 16, 32, 64, 128, 256, 512)


class Lost(NamedTuple):
    """The share of an update that a LoRA of this rank leaves out, ‖ΔW - ΔW_r‖ / ‖ΔW‖ over all adapted layers."""

    rank: int
    error: float


def export(record: RunRecord, path: Path, *, outputs: Path, kind: Kind, into: Path, rank: int, name: str) -> list[Lost]:
    """Write the run's weights into a folder as one of three kinds; what a LoRA loses, by rank.

    `path` is the record's own file and `outputs` the folder below which the run kept its weights; `name` is how the
    card calls the folder in the lines that load it.

    Raises:
        ValueError: the weights are gone, damaged or of another training, the base is another one now, or the run has
            no such kind.
    """
    method = record.spec.method
    if kind != "merged" and method.trains != "adapter":
        raise ValueError(f"method={method.name} trains no adapter; --merged writes its model")
    if kind == "merged" and (bits := record.spec.model.load_in) is not None:
        raise ValueError(f"model.load_in={bits}: merging would round the update to them; --adapter writes it as it is")
    if kind == "lora" and method.peft_type == "LORA" and not method.adapter.get("use_dora"):
        raise ValueError(f"method={method.name} is a LoRA as it is; --adapter writes it")
    check_kept(training_folder(outputs, record.spec.place, record.train_id), record=record)  # before a model loads
    model, processor = trained_model(record, outputs=outputs)
    into.mkdir(parents=True, exist_ok=True)
    lost: list[Lost] = []
    if kind == "lora":
        lost = lost_by_rank(model)
        _save_lora(model, into, rank=rank)
    elif kind == "adapter":
        model.save_pretrained(into, save_embedding_layers=False)  # no method trains them
    else:
        whole: Any = model.merge_and_unload() if isinstance(model, PeftModel) else model
        whole.save_pretrained(into)
    processor.save_pretrained(into)
    write_card(into, record, path, kind=kind, name=name, lost=[(item.rank, item.error) for item in lost], rank=rank)
    return lost


def trained_model(record: RunRecord, *, outputs: Path) -> tuple[Any, Any]:
    """The run's model as it was scored, on the CPU, and its processor.

    Raises:
        ValueError: the weights are gone, damaged or of another training, or the base is another one now.
    """
    spec = record.spec
    model, processor = base_of(record)
    head = spec.head_modules
    config = peft_config(
        spec.method, kind=spec.task.kind, head_modules=head, total_steps=record.costs.steps, seed=spec.seed
    )
    adapted = apply_method(model, spec.method, config, head_modules=head)
    load_kept(training_folder(outputs, spec.place, record.train_id), adapted, record=record)
    return adapted.eval(), processor


def base_of(record: RunRecord) -> tuple[Any, Any]:
    """The base model as the run had it before training, and its processor.

    Raises:
        ValueError: it cannot be had, or it is another one now.
    """
    spec, known = record.spec, record.weights or Weights()
    model = spec.model
    if known.revision is not None and local_folder(model) is None:
        model = model.model_copy(update={"revision": known.revision})  # which a branch may have left since
    now, folder = describe(model, fetch(model, weights=True)), local_folder(model)
    if known.fingerprint not in (None, now.fingerprint):
        raise ValueError(f"model={model.name}: its weights are not those that run {record.run_id} trained on")
    if folder is not None and (other := other_than(folder, known)) is not None:
        raise ValueError(f"model={model.name}: its folder has {other} than run {record.run_id} trained on")
    loaded, processor = load_model(model, kind=spec.task.kind, num_labels=spec.task.labels or 0, seed=spec.seed)
    if spec.task.classes:  # by whose names a pipeline answers
        loaded.config.id2label = dict(enumerate(spec.task.classes))
        loaded.config.label2id = {name: number for number, name in enumerate(spec.task.classes)}
    return loaded, processor


def base_of_run(path: str | Path) -> nn.Module:
    """The base model of an exported run: `path` is the folder, its run.json, or its name on the hub.

    Raises:
        ValueError: it cannot be had, or it is another one now.
    """
    file = Path(path)
    file = file / RUN if file.is_dir() else file
    if not file.exists():
        from huggingface_hub import hf_hub_download

        file = Path(hf_hub_download(str(path), RUN))
    model: nn.Module = base_of(load_alone(file))[0]
    return model


def lost_by_rank(model: nn.Module) -> list[Lost]:
    """What LoRAs of rising rank leave out of the model's update, until one leaves out nothing.

    Raises:
        ValueError: a layer's update is more than a change of its weight.
    """
    spectra = [
        torch.linalg.svdvals(layer.get_delta_weight("default").detach().float()) for layer in _convertible(model)
    ]
    whole = math.sqrt(sum(float(s.square().sum()) for s in spectra))
    if not whole:
        raise ValueError("the adapter changes nothing, so that there is no LoRA of it")
    full = max(len(s) for s in spectra)
    ranks = [*(rank for rank in RANKS if rank < full), full]
    return [Lost(rank, math.sqrt(sum(float(s[rank:].square().sum()) for s in spectra)) / whole) for rank in ranks]


def _convertible(model: nn.Module) -> Sequence[Any]:
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if unfit := [layer for layer in layers if not layer.supports_lora_conversion("default")]:
        raise ValueError(
            f"{type(unfit[0]).__name__} changes more than a weight (biases, as VectorFit does), which no LoRA holds; "
            "--merged writes the whole model"
        )
    return layers


def _save_lora(model: nn.Module, into: Path, *, rank: int) -> None:
    smallest = min(min(layer.get_delta_weight("default").shape) for layer in _convertible(model))
    if not 1 <= rank <= smallest:
        raise ValueError(f"--rank {rank}: a LoRA of this run has ranks from 1 to {smallest}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*already a LoRA.*")  # DoRA
        save_as_lora(into, model, rank=rank)


def push(folder: Path, *, to: str, private: bool) -> str:
    """Put an exported folder on the hub; its address there."""
    from huggingface_hub import HfApi

    hub = HfApi()
    hub.create_repo(to, exist_ok=True, private=private)
    hub.upload_folder(repo_id=to, folder_path=folder)
    return f"{hub.endpoint}/{to}"
