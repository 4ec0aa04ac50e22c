"""Recorded cells in the common schema of evaluation results, Every Eval Ever: `table NAME --format every-eval-ever`.

One document for each cell, its scores the means over the seeds with their intervals; the list is one JSON text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from svft_bench.analysis.stats import CONFIDENCE
from svft_bench.analysis.tables.intervals import metric_range
from svft_bench.analysis.tables.results import CellResult, Score, data_of
from svft_bench.config.spec import EvalSpec
from svft_bench.records import RunRecord

SCHEMA_VERSION = "0.3.0"


def every_eval_ever(results: Sequence[CellResult]) -> str:
    """The documents of the cells that have a score, as a JSON list; each is a file of its own in the common store."""
    documents = [document(result) for result in results if result.scores]
    return json.dumps(documents, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def document(result: CellResult) -> dict[str, Any]:
    """One cell: where it comes from, the model with its adapter, and a result for each eval."""
    spec, last = result.spec, max(result.records, key=lambda record: record.provenance.created)
    made = datetime.fromisoformat(last.provenance.created)
    versions = last.provenance.versions
    engine = next((name for name in versions if name.startswith(spec.eval.backend)), spec.eval.backend)
    adapter = {name: str(value) for name, value in spec.method.adapter.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{spec.task.name}/{spec.model.name}/{spec.method.name}/{spec.cell_id}",
        "evaluation_timestamp": last.provenance.created,
        "retrieved_timestamp": str(int(made.timestamp())),
        "source_metadata": {
            "source_name": "svft-bench",
            "source_type": "evaluation_run",
            "source_organization_name": "svft-bench",
            "evaluator_relationship": "third_party",
            "additional_details": {"commit": str(last.provenance.commit), "command": last.provenance.command},
        },
        "eval_library": {
            "name": "svft-bench",
            "version": versions.get("svft-bench", "unknown"),
            "additional_details": dict(versions),
        },
        "model_info": {
            "name": f"{spec.model.title}, {spec.method.title}",
            "id": spec.model.path,
            "inference_engine": {"name": engine, "version": versions.get(engine, "unknown")},
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown" if Path(spec.model.path).exists() else "open_weights",
                "base_revision": str(spec.model.revision),
                "method": spec.method.name,
                "trained_parameters": str(last.sizes.trainable_without_head),
                "learning_rate": f"{spec.train.lr:g}",
                **({"learning_rate_of_biases": f"{spec.train.lr_bias:g}"} if spec.train.lr_bias is not None else {}),
                **adapter,
            },
        },
        "evaluation_results": [_result(result, score) for score in result.scores],
    }


def _result(result: CellResult, score: Score) -> dict[str, Any]:
    evaluation = next(item for item in result.spec.task.evals if item.name == score.eval)
    low, high = metric_range(score.metric)
    values = {one.spec.seed: one.scores[score.eval][score.metric] for one in result.records}
    by_seed = {f"seed_{seed}": "undefined" if value is None else str(value) for seed, value in values.items()}
    learning = result.learning.get(score.eval)
    learned = {"learns": f"{sum(learning.learns)} of {len(learning.learns)} seeds"} if learning else {}
    found: dict[str, Any] = {
        "evaluation_name": score.eval,
        "source_data": _source(evaluation, result.records[0]),
        "metric_config": {
            "evaluation_description": score.metric,
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": low if math.isfinite(low) else "-Infinity",
            "max_score": high,
        },
        "score_details": {"score": score.mean, "details": by_seed | learned},
    }
    if score.interval is not None:
        interval = {"lower": score.interval.low, "upper": score.interval.high, "confidence_level": CONFIDENCE}
        found["score_details"]["uncertainty"] = {
            "confidence_interval": interval
            | {"method": "over seeds and items" if score.seeds > 1 else "over items, at one seed"},
            "num_samples": score.items,
        }
    command = {"execution_command": result.records[0].provenance.command}
    limit = {} if evaluation.generation is None else {"max_tokens": evaluation.generation.max_new_tokens}
    return found | {"generation_config": {"generation_args": command | limit}}


def _source(evaluation: EvalSpec, record: RunRecord) -> dict[str, Any]:
    """A set of the hub by its repository where it was read from there, else by its label and file."""
    use, hub = data_of(evaluation, record), evaluation.data.hub
    details = {"label": use.label, "origin": use.origin, "rows_of_the_split": str(use.rows), "sha256": str(use.sha256)}
    if hub is not None and use.origin.startswith(hub):
        repository = {"hf_repo": hub, "hf_split": use.split, "samples_number": use.used}
        return {"dataset_name": use.title, "source_type": "hf_dataset", **repository, "additional_details": details}
    used = {"samples_number": str(use.used), "split": use.split}
    return {"dataset_name": use.title, "source_type": "other", "additional_details": details | used}
