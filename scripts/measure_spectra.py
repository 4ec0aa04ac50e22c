"""Measure what training changed: `python scripts/measure_spectra.py experiment=demo`, then `make tables` draws it.

Reads the trained weights that the runs left in their output folder; a cell without them is named and skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from peft import PeftModel
from torch import Tensor, nn

from svft_bench.analysis.spectra import Spectra, Update, save_spectra, update_of
from svft_bench.compose import Cell, cells
from svft_bench.methods.applying import load_trained
from svft_bench.records import record_path
from svft_bench.running.assembly import assemble
from svft_bench.running.keeping.folders import TRAINED, folder_of
from svft_bench.running.keeping.weights import ADAPTER


def main(overrides: Sequence[str]) -> int:
    """Write the spectra of every recorded cell that these overrides stand for."""
    for cell in cells(overrides):
        trained = folder_of(cell.settings.output_dir, cell.spec) / TRAINED
        if not trained.exists() or not record_path(cell.settings.results_dir, cell.spec).exists():
            print(f"nothing to measure for {' '.join(cell.overrides)}: no record, or no {trained}", file=sys.stderr)
            continue
        spectra = measure(cell)
        if spectra is not None:
            print(save_spectra(spectra, results=cell.settings.results_dir), flush=True)
        else:
            print(f"{' '.join(cell.overrides)} changed no matrix outside the head")
    return 0


def measure(cell: Cell) -> Spectra | None:
    """Singular values of every changed matrix outside the head, and vector strengths; None where nothing changed."""
    ready = assemble(cell.spec, cell.settings)
    model = ready.model
    before = weights(model, head=ready.head_names)
    folder = folder_of(cell.settings.output_dir, cell.spec)
    load_trained(model, parameters=folder / TRAINED, adapter=folder / ADAPTER)  # in the basis of its training
    if isinstance(model, PeftModel):
        model.merge_adapter()
    after = weights(model, head=ready.head_names)
    strengths = vector_strengths(model)
    updates: dict[str, Update] = {}
    for name, base in before.items():
        values = torch.linalg.svdvals(after[name].double() - base.double()).tolist()
        found = update_of(values, base_norm=float(base.norm()))
        if found is not None:
            updates[name] = found.model_copy(update=strengths.get(name, {}))
    return Spectra(run_id=cell.spec.run_id, updates=updates) if updates else None


def weights(model: nn.Module, *, head: frozenset[str]) -> dict[str, Tensor]:
    """Copies of every linear map's weight outside the head, named as in the model without an adapter."""
    found = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) and isinstance(weight, Tensor) and f"{name}.weight" not in head:
            found[plain(name)] = weight.detach().clone()
    adapters = ("lora_", "vera_", "boft_", "modules_to_save", "original_module")
    return {name: weight for name, weight in found.items() if not any(part in name for part in adapters)}


def plain(name: str) -> str:
    """The module's name without what PEFT put around it."""
    return name.removeprefix("base_model.model.").removesuffix(".base_layer")


def vector_strengths(model: nn.Module) -> dict[str, dict[str, float]]:
    """Mean absolute change of each VectorFit vector, by the module that it belongs to."""
    found: dict[str, dict[str, float]] = {}
    for name, parameter in model.named_parameters():
        for kind in ("sigma", "bias"):
            module, marker, _ = name.partition(f".vectorfit_{kind}")
            if marker:
                found.setdefault(plain(module), {})[f"{kind}_strength"] = float(parameter.detach().abs().mean())
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
