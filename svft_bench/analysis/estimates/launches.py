"""What a GPU waits for: its processor launches kernels one by one, and those of a small model end before the next.

seconds = calls · layers · (of the block + of each matrix), in `launches.yaml` as milliseconds
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import yaml

from svft_bench.analysis.estimates.workload import Body, Workload
from svft_bench.config.spec import RunSpec


def training_launches(spec: RunSpec, *, size: Workload, model: Body) -> float:
    """Seconds over all micro-batches; gradient checkpointing launches every forward again."""
    of = _milliseconds()["training"]
    frozen = of["full_ft" if spec.method.trains == "all" else "frozen"]
    own = of.get(_kind(spec), of["other"]) * len(model.adapted)
    block = of["block"] + own + frozen * (len(model.matrices) - len(model.adapted))
    again = 4 / 3 if spec.train.gradient_checkpointing else 1.0
    share = 1 / 3 if spec.method.trains == "head" else again
    return size.micro_batches * model.layers * block * share / 1e3


def evaluation_launches(spec: RunSpec, *, size: Workload, model: Body) -> float:
    """Seconds over all batches of an evaluation and all tokens that it generates."""
    of = _milliseconds()["forward"]
    forwards = size.decode_steps + -(-size.evaluated // spec.eval_batch_size)
    return forwards * model.layers * (of["block"] + of["frozen"] * len(model.matrices)) / 1e3


def _kind(spec: RunSpec) -> str:
    adapter = spec.method.adapter
    match spec.method.peft_type:
        case "SVFT":
            return "svft_plain" if adapter.get("pattern", "plain") == "plain" else "svft_core"
        case "LORA":
            return "dora" if adapter.get("use_dora") else "lora"
        case None:
            return "frozen"
        case other:
            return other.lower()


@lru_cache
def _milliseconds() -> dict[str, dict[str, float]]:
    text = (Path(__file__).parent / "launches.yaml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, float]] = yaml.safe_load(text)
    return rows
