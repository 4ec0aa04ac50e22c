"""Times and memories of processors and of GPUs have no median, and a table says which row ran where."""

from __future__ import annotations

from svft_bench.analysis.tables.experiment import experiment_table
from svft_bench.analysis.tables.results import cell_results
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord
from tests.made_records import COSTS, made_record


def on_gpu(cell: Cell) -> RunRecord:
    record = made_record(cell, score=0.5)
    costs = COSTS.model_copy(update={"memory_of": "cuda", "step_seconds": 0.01, "peak_memory_bytes": 2**20})
    there = record.provenance.model_copy(update={"device": "a GPU"})
    return record.model_copy(update={"costs": costs, "provenance": there})


def test_a_cell_of_two_kinds_of_machine_has_no_step_and_no_memory() -> None:
    asked = cells(["experiment=demo", "method=lora,svft_plain", "seed=0,1"], any_data=True)
    there = [("lora", 1), ("svft_plain", 0), ("svft_plain", 1)]
    records = [
        on_gpu(cell) if (cell.spec.method.name, cell.spec.seed) in there else made_record(cell, score=0.5)
        for cell in asked
    ]
    table = experiment_table(cell_results(asked, records), name="demo", title="Demo")
    both, gpu = (dict(zip([column.title for column in table.columns], row.cells, strict=True)) for row in table.rows)
    assert (both["step"], both["memory"]) == ("CPU and GPU", "CPU and GPU")
    assert (gpu["step"], gpu["memory"]) == ("10 ms", "1 MiB")
    assert table.rows[0].facts["step_seconds"] is None and table.rows[0].facts["peak_memory_bytes"] is None
    told = [note for note in table.notes if note.startswith("Machine: ")]
    assert told == [
        "Machine: LoRA: a processor, 1 thread; memory is the peak of the resident process and a GPU, 1 thread; memory "
        "is the peak of the device's allocations.",
        "Machine: SVFT plain: a GPU, 1 thread; memory is the peak of the device's allocations.",
    ]


def test_rows_of_one_machine_name_it_once() -> None:
    asked = cells(["experiment=demo", "method=lora,svft_plain"], any_data=True)
    made = experiment_table(
        cell_results(asked, [made_record(cell, score=0.5) for cell in asked]), name="demo", title="Demo"
    )
    (told,) = (note for note in made.notes if note.startswith("Machine: "))
    assert told == "Machine: a processor, 1 thread; memory is the peak of the resident process."
