"""`RunSpec`: all that determines one run, validated before anything heavy is imported.

A spec is composed from `conf/` and the command line, checked once here and trusted afterwards. `run_id` hashes what
determines the result; titles, sources and tables of module names describe a run without determining it.
"""

from svft_bench.config.spec.base import LARGEST, Spec, one_line, sentences
from svft_bench.config.spec.kinds import KINDS, Kind, ReaderName
from svft_bench.config.spec.metric import MetricName
from svft_bench.config.spec.model import ImageSpec, MethodSpec, ModelSpec
from svft_bench.config.spec.picture import DrawingSpec, SubjectSpec
from svft_bench.config.spec.prompt import GenerationSpec, PromptName, PromptSpec
from svft_bench.config.spec.run import (
    DecodingSpec,
    LimitSpec,
    RunSpec,
    ScoredOn,
    check_kind,
    parse_spec,
)
from svft_bench.config.spec.source import SourceSpec
from svft_bench.config.spec.span import SpanSpec
from svft_bench.config.spec.task import (
    AnswerName,
    EvalSpec,
    FewShotSpec,
    TaskSpec,
    has_validation,
)
from svft_bench.config.spec.train import Selection, TrainSpec

__all__ = [
    "KINDS",
    "LARGEST",
    "AnswerName",
    "DecodingSpec",
    "DrawingSpec",
    "EvalSpec",
    "FewShotSpec",
    "GenerationSpec",
    "ImageSpec",
    "Kind",
    "LimitSpec",
    "MethodSpec",
    "MetricName",
    "ModelSpec",
    "PromptName",
    "PromptSpec",
    "ReaderName",
    "RunSpec",
    "ScoredOn",
    "Selection",
    "SourceSpec",
    "SpanSpec",
    "Spec",
    "SubjectSpec",
    "TaskSpec",
    "TrainSpec",
    "check_kind",
    "has_validation",
    "one_line",
    "parse_spec",
    "sentences",
]
