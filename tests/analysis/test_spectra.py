"""What training changed is summed up by closed forms, and drawn only where it was measured."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError

from svft_bench.analysis.figures.updates import strength_maps, update_profiles
from svft_bench.analysis.spectra import Spectra, Update, load_spectra, save_spectra, strength_map, update_of
from svft_bench.analysis.tables.results import cell_results
from svft_bench.compose import cells
from tests.made_records import made_record


def test_a_flat_spectrum_has_full_effective_rank() -> None:
    found = update_of([2.0] * 50, base_norm=10.0)
    assert found is not None
    assert found.effective_rank == pytest.approx(50)
    assert found.relative == pytest.approx((50 * 4) ** 0.5 / 10)
    assert set(found.profile) == {1.0}


def test_a_low_rank_update_has_its_rank() -> None:
    found = update_of([3.0] * 8 + [0.0] * 92, base_norm=1.0)
    assert found is not None
    assert found.effective_rank == pytest.approx(8)
    assert found.profile[0] == 1.0 and found.profile[-1] == 0.0


def test_an_unchanged_matrix_is_no_update() -> None:
    assert update_of([0.0, 0.0], base_norm=1.0) is None
    with pytest.raises(ValidationError):
        Spectra(run_id="none", updates={})


def vectors(run_id: str) -> Spectra:
    made = {}
    for block in range(3):
        for index, matrix in enumerate(("attention.q_proj", "mlp.fc1")):
            found = update_of([1.0, 0.5, 0.25], base_norm=1.0)
            assert found is not None
            strengths = {"sigma_strength": 0.1 * block + index, "bias_strength": 0.01 * block}
            made[f"vit.layers.{block}.{matrix}"] = found.model_copy(update=strengths)
    return Spectra(run_id=run_id, updates=made)


def test_a_strength_map_has_a_row_a_vector_and_a_column_a_block() -> None:
    found = strength_map(vectors("x"))
    assert found is not None
    names, rows = found
    assert names == ["Σ attention.q_proj", "Σ mlp.fc1", "b attention.q_proj", "b mlp.fc1"]
    assert rows[1] == pytest.approx([1.0, 1.1, 1.2])


def test_methods_without_vectors_have_no_map() -> None:
    update = Update(relative=1, effective_rank=1, full_rank=1, profile=(1.0,))
    assert strength_map(Spectra(run_id="x", updates={"vit.layers.0.q_proj": update})) is None


def test_spectra_survive_their_file_and_are_drawn(tmp_path: Path) -> None:
    asked = cells(["experiment=demo", "method=lora,vectorfit"], any_data=True)
    records = [made_record(cell, score=0.5) for cell in asked]
    results = cell_results(asked, records)
    assert update_profiles(results, folder=tmp_path, path=tmp_path / "none") == []
    saved = vectors(records[1].run_id)
    save_spectra(saved, results=tmp_path)
    (loaded,) = load_spectra(tmp_path, records)
    assert loaded.updates.keys() == saved.updates.keys()
    assert loaded.effective_rank == pytest.approx(saved.effective_rank, rel=1e-5)
    assert strength_map(loaded) == strength_map(saved)
    (svg,) = update_profiles(results, folder=tmp_path, path=tmp_path / "updates")
    text = " ".join(ElementTree.parse(svg).getroot().itertext())
    assert "VectorFit" in text and "effective rank" in text and "LoRA" not in text
    assert len(strength_maps(results, folder=tmp_path, path=tmp_path / "strengths")) == 1
