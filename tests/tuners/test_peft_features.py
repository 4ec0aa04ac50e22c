from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    convert_to_lora,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from torch import Tensor, nn
from torch.multiprocessing import start_processes
from transformers import LlamaForCausalLM

from svft_bench.tuners import SVFTConfig
from tests.tuners.cases import adapted, config_of, make_base, make_input, move, svft, vectorfit
from tests.tuners.test_architectures import TOKENS, config_for, make

METHODS = ["svft", "vectorfit"]


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        output: Tensor = model(input_ids=TOKENS).logits
    return output


def test_an_adapter_can_be_exported_as_lora() -> None:
    model, x = adapted("svft_plain", moved=True, target_modules={"square", "tall"}), make_input()
    want = model(x)
    config, state = convert_to_lora(model, rank=12)
    exported = get_peft_model(make_base(), config)
    set_peft_model_state_dict(exported, state)
    torch.testing.assert_close(exported.eval()(x), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["svft_banded", "svft_saved_basis", "vectorfit"])
def test_adapters_can_be_injected_into_a_plain_model(case: str) -> None:
    x = make_input()
    model = inject_adapter_in_model(config_of(case), make_base())
    assert torch.equal(model(x), make_base()(x))
    move(model)
    state = get_peft_model_state_dict(model)
    again = inject_adapter_in_model(config_of(case), make_base())
    result = set_peft_model_state_dict(again, state)
    assert not result.unexpected_keys
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x))


def test_a_foreign_state_is_refused_by_an_injected_model_too() -> None:
    state = get_peft_model_state_dict(inject_adapter_in_model(config_of("svft_banded"), make_base()))
    other = make_base()
    other.tall.weight.data = other.tall.weight.data.flip(0)
    with pytest.raises(ValueError, match="another singular basis"):
        set_peft_model_state_dict(inject_adapter_in_model(config_of("svft_banded"), other), state)


@pytest.mark.parametrize("method", METHODS)
def test_transformers_own_adapter_functions_work(method: str, tmp_path: Path) -> None:
    make("llama").save_pretrained(tmp_path / "base")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    model.add_adapter(config_for(method, "llama"), adapter_name="mine")
    move(model)
    model.save_pretrained(tmp_path / "adapter")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    again.load_adapter(str(tmp_path / "adapter"), adapter_name="other")
    torch.testing.assert_close(logits(again.eval()), logits(model.eval()))
    again.disable_adapters()
    assert torch.equal(logits(again), logits(make("llama")))


def test_transformers_own_loading_refuses_another_base_at_the_first_forward(tmp_path: Path) -> None:
    make("llama").save_pretrained(tmp_path / "base")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    model.add_adapter(config_for("svft", "llama"))
    model.save_pretrained(tmp_path / "adapter")
    other = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    other.model.layers[1].mlp.up_proj.weight.data = other.model.layers[1].mlp.up_proj.weight.data.flip(1)
    other.load_adapter(str(tmp_path / "adapter"))
    with pytest.raises(ValueError, match=r"another singular basis of 'model\.layers\.1\.mlp\.up_proj'"):
        logits(other)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    model.zero_grad()
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(method: str, use_reentrant: bool) -> None:
    model = get_peft_model(make("llama"), config_for(method, "llama"))
    move(model)
    want = gradients(model.train())
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, want[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_compiled_model_has_the_same_gradients(method: str) -> None:
    config = config_for(method, "llama")
    config.target_modules = {"q_proj", "down_proj"}
    model = get_peft_model(make("llama"), config)
    move(model)
    want = gradients(model)
    compiled = torch.compile(model, backend="aot_eager")
    model.zero_grad()
    compiled(input_ids=TOKENS, labels=TOKENS).loss.backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(p.grad, want[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_casts_and_moves_of_the_model_leave_the_basis_exact(method: str) -> None:
    model = get_peft_model(make("llama"), config_for(method, "llama"))
    layer = model.base_model.model.model.layers[0].mlp.down_proj
    before = copy.deepcopy(layer.basis("default"))
    model.to(torch.bfloat16).to(torch.float32).to("cpu")
    after = layer.basis("default")
    assert torch.equal(after.s, before.s)
    assert before.vt is None and torch.equal(after.u, before.u)


def test_only_the_small_factor_of_a_wide_layer_is_held() -> None:
    model = get_peft_model(make("llama"), SVFTConfig(target_modules=["down_proj", "o_proj"]))
    block = model.base_model.model.model.layers[0]
    wide, square = block.mlp.down_proj.basis("default"), block.self_attn.o_proj.basis("default")
    assert wide.vt is None and wide.nbytes == 4 * (16 * 16 + 16)
    assert square.nbytes == 4 * (2 * 16 * 16 + 16)
    assert not any("singular" in name for name in model.state_dict())


def test_data_parallelism_does_not_broadcast_what_is_equal_everywhere() -> None:
    model = get_peft_model(make("llama"), SVFTConfig(target_modules=["down_proj", "o_proj"]))
    factors = {name for name, _ in model.named_buffers() if "singular" in name}
    fingerprints = {name for name, _ in model.named_buffers() if name.endswith("svft_fingerprint.default")}
    assert len(factors) == 10 and len(fingerprints) == 4
    assert set(model._ddp_params_and_buffers_to_ignore) == factors | fingerprints


def test_clipping_sees_the_projected_gradient() -> None:
    model = adapted("svft_banded", moved=True)
    model(make_input()).square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(trained, 0.01)
    assert norm > 0.01
    assert torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in trained])) <= 0.0101


def test_a_gradient_scaler_steps_with_the_right_gradient() -> None:
    model = adapted("svft_plain", moved=True)
    model(make_input()).square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    want = [p.grad.clone() for p in trained]
    model.zero_grad()
    optimizer = torch.optim.SGD(trained, lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(model(make_input()).square().sum()).backward()
    scaler.unscale_(optimizer)
    for p, gradient in zip(trained, want, strict=True):
        torch.testing.assert_close(p.grad, gradient)


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_layers_that_share_a_weight_share_it_until_they_are_merged(case: str) -> None:
    base, x = make_base(), make_input()
    base.twin = nn.Linear(12, 12, bias=False)
    base.free = nn.Linear(12, 12, bias=False)
    base.twin.weight = base.free.weight = base.square.weight
    names = ["square", "twin", "free"]
    model = get_peft_model(base, config_of(case, target_modules={"square", "twin"})).eval()
    layers = [model.base_model.model.get_submodule(name) for name in names]
    assert len({id(layer.weight) for layer in layers}) == 1
    before = layers[0].weight.clone()
    move(model)
    want = [layer(x) for layer in layers]
    assert not torch.equal(want[0], want[1]) and torch.equal(want[2], x @ before.T)
    model.merge_adapter()
    for layer, output in zip(layers, want, strict=True):
        torch.testing.assert_close(layer(x), output)
    model.unmerge_adapter()
    assert len({id(layer.weight) for layer in layers}) == 1 and torch.equal(layers[0].weight, before)


def test_merging_the_head_of_a_language_model_leaves_the_embedding_that_it_shares() -> None:
    model = get_peft_model(make("gpt2"), SVFTConfig(target_modules=["lm_head"])).eval()
    move(model)
    want = logits(model)
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged), want)
    assert torch.equal(merged.transformer.wte.weight, make("gpt2").transformer.wte.weight)


def _train_in_parallel(rank: int, folder: str, method: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    options: dict[str, Any] = {"freezing": "adaptive", "total_step": 6, "start": 0.3, "interval": 0.3, "k": 0.4}
    config = svft(pattern="banded", off_diag=2) if method == "svft" else vectorfit(**options)
    model = get_peft_model(make_base(), config)
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(6):
        if method == "vectorfit":
            model.update_and_allocate(step)
        parallel(make_input()[rank::2] + step).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    trained = [p.detach().flatten() for name, p in model.named_parameters() if ".default" in name]
    torch.save(torch.cat(trained), f"{folder}/{rank}.pt")
    # The group must not be freed by the reducer, which would wait for the group's threads and hold what they wait for.
    del parallel
    gc.collect()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("method", METHODS)
def test_data_parallel_processes_stay_together(method: str, tmp_path: Path) -> None:
    start_processes(_train_in_parallel, args=(str(tmp_path), method), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second) and bool(first.any())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("case", ["svft_banded", "vectorfit_sigma", "vectorfit"])
def test_a_quantised_base_starts_as_it_is_trains_and_merges(case: str, bits: int) -> None:
    quantised = pytest.importorskip("bitsandbytes").nn

    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            for name, (d1, d2) in {"square": (64, 64), "wide": (64, 256)}.items():
                linear = nn.Linear(d2, d1)
                if bits == 4:
                    layer = quantised.Linear4bit(d2, d1, compute_dtype=torch.float32, quant_type="nf4")
                else:
                    layer = quantised.Linear8bitLt(d2, d1, has_fp16_weights=False)
                layer.load_state_dict(linear.state_dict())
                setattr(self, name, layer.to("cpu"))

        def forward(self, x: Tensor) -> Tensor:
            return self.square(self.wide(x))

    x = torch.randn(6, 256)
    base = Quantised()
    start = base(x)
    model = get_peft_model(base, config_of(case, target_modules={"square", "wide"}))
    assert torch.equal(model(x), start)
    model(x).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    move(model, scale=0.5)
    moved = model(x)
    model.merge_adapter()
    assert torch.linalg.norm(model(x) - moved) < 0.2 * torch.linalg.norm(moved)
    model.unmerge_adapter()
    assert torch.equal(model(x), moved)
