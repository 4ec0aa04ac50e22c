"""The one JSON file that a finished run leaves, with its predictions: written whole or not at all, and sealed."""

from svft_bench.records.index import Held, held
from svft_bench.records.outline import Outline, Place, outline
from svft_bench.records.predictions import DamagedRecord, load_predictions, predictions_of
from svft_bench.records.shape import (
    Costs,
    DataUse,
    Provenance,
    RunRecord,
    Sizes,
    Weights,
    predictions_path,
    record_path,
)
from svft_bench.records.stored import (
    find_record,
    found_at,
    load_alone,
    load_outlined,
    load_record,
    load_records,
    load_to_write,
    outlines,
    save_record,
    take_record,
    write_record,
)

__all__ = [
    "Costs",
    "DamagedRecord",
    "DataUse",
    "Held",
    "Outline",
    "Place",
    "Provenance",
    "RunRecord",
    "Sizes",
    "Weights",
    "find_record",
    "found_at",
    "held",
    "load_alone",
    "load_outlined",
    "load_predictions",
    "load_record",
    "load_records",
    "load_to_write",
    "outline",
    "outlines",
    "predictions_of",
    "predictions_path",
    "record_path",
    "save_record",
    "take_record",
    "write_record",
]
