"""A random pipeline of a few thousand parameters in the form of a real one: UNet, VAE, text encoder, byte tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH, LATENT, CONTEXT = 16, 8, 77
ENDS = ("<|startoftext|>", "<|endoftext|>")


def tiny_unet(fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The real UNet's configuration with narrow blocks, one layer in each."""
    widths = [WIDTH] + [2 * WIDTH] * (len(fields["block_out_channels"]) - 1)
    small = {"block_out_channels": widths, "cross_attention_dim": 2 * WIDTH, "layers_per_block": 1}
    return fields | small | {"norm_num_groups": 8, "attention_head_dim": 4, "sample_size": LATENT} | changes


def tiny_pipeline(fields: dict[str, Any], path: Path, *, seed: int = 0, **noising: Any) -> UNet2DConditionModel:
    """Write a whole pipeline below `path`, for pictures of twice its latents' size; its UNet has the form of `fields`.

    `noising` are other fields of its scheduler's than those of Stable Diffusion v1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel.from_config(tiny_unet(fields))
        tokenizer = _tokenizer()
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=2 * WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=CONTEXT,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        vae = AutoencoderKL(
            block_out_channels=(WIDTH, WIDTH),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=8,
            sample_size=2 * LATENT,
        )
    plan = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=PNDMScheduler(**plan | {"skip_prk_steps": True} | noising),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(path)
    return unet


def _tokenizer() -> CLIPTokenizer:
    """Bytes as tokens, so that it reads any text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *ENDS]
    numbered = {token: index for index, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=numbered, merges=[], model_max_length=CONTEXT)
