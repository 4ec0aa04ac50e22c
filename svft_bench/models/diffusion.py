"""Pipelines that make pictures of texts: the UNet, which learns, and the frozen parts beside it.

L = mean over rows of the sum over a row's pictures of w |target - unet(noisy, t, text)|^2, a mean over latents
target = noise, or sqrt(a_t) noise - sqrt(1 - a_t) latents where the scheduler's own setting is `v_prediction`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils import BaseOutput
from diffusers.utils import logging as messages
from PIL.Image import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import logging as others

SCHEDULERS = {one.name for one in KarrasDiffusionSchedulers}
PREDICTIONS = ("epsilon", "v_prediction")


@dataclass
class Predicted(BaseOutput):  # type: ignore[misc]
    """The loss of a batch where it has targets, and what is predicted of each picture."""

    loss: Tensor | None = None
    sample: Tensor | None = None


class NoisePredictor(UNet2DConditionModel):  # type: ignore[misc]
    """A UNet that takes training batches as well, as a model of transformers does: without targets it is the UNet."""

    accepts_loss_kwargs = False

    def forward(
        self,
        sample: Tensor,
        timestep: Any,
        encoder_hidden_states: Tensor,
        target: Tensor | None = None,
        weights: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Of rows of several pictures (rows, pictures, ...) the loss and predictions; of pictures those of a UNet."""
        if target is None:
            return Predicted(sample=super().forward(sample, timestep, encoder_hidden_states, **kwargs)[0])
        flat = (part.flatten(0, 1) for part in (sample, timestep, encoder_hidden_states))
        found = super().forward(*flat).sample.unflatten(0, target.shape[:2])
        each = (found.float() - target.float()).square().flatten(2).mean(-1)  # (rows, pictures)
        assert weights is not None
        return Predicted(loss=(weights * each).sum(-1).mean(), sample=found)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """As the trainer asks for it."""
        self.enable_gradient_checkpointing()

    def get_input_embeddings(self) -> nn.Module:
        """What PEFT makes give a gradient where blocks are computed again."""
        first: nn.Module = self.conv_in
        return first


@dataclass
class Studio:
    """The frozen parts of a pipeline, in the place of a tokenizer or image processor: its model is the UNet alone."""

    tokenizer: PreTrainedTokenizerBase
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    noising: DDPMScheduler
    sampler: Any
    pixels: BaseImageProcessor
    prior: list[Image] = field(default_factory=list)
    texts: dict[str, Tensor] = field(default_factory=dict)
    pictures: dict[bytes, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Studio:
        """Put the parts on this device."""
        for part in (self.text_encoder, self.vae):
            part.to(device)
        return self

    def embedded(self, prompts: Sequence[str]) -> Tensor:
        """What the text encoder makes of each prompt (prompts, tokens, width), on the CPU, remembered.

        Raises:
            ValueError: a prompt is longer than its context.
        """
        for prompt in prompts:
            if prompt not in self.texts:
                self.texts[prompt] = self._embedded(prompt)
        return torch.stack([self.texts[prompt] for prompt in prompts])

    def _embedded(self, prompt: str) -> Tensor:
        most = int(self.tokenizer.model_max_length)
        ids = self.tokenizer(prompt, padding="max_length", max_length=most, return_tensors="pt", verbose=False)
        if (tokens := ids["input_ids"]).shape[1] > most:
            raise ValueError(f"prompt {prompt!r} has {tokens.shape[1]} tokens, the text encoder reads {most}")
        with torch.no_grad():
            found: Tensor = self.text_encoder(tokens.to(self.text_encoder.device))[0]
        return found[0].cpu()

    def encoded(self, picture: Image) -> tuple[Tensor, Tensor]:
        """Mean and deviation of a picture's latents (channels, height, width), on the CPU, remembered."""
        content = picture.tobytes() + repr(picture.size).encode()
        if content not in self.pictures:
            pixels = self.pixels([picture], return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                law = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist
            self.pictures[content] = law.mean[0].float().cpu(), law.std[0].float().cpu()
        return self.pictures[content]

    def noisy(self, picture: Image, *, seed: int) -> dict[str, Tensor]:
        """A picture's noisy latents, their time and what is to be predicted: all that is drawn follows from `seed`."""
        draw = torch.Generator().manual_seed(seed)
        mean, deviation = self.encoded(picture)
        latents = (mean + deviation * torch.randn(mean.shape, generator=draw)) * self.vae.config.scaling_factor
        noise = torch.randn(mean.shape, generator=draw)
        time = torch.randint(self.noising.config.num_train_timesteps, (1,), generator=draw)
        sample = self.noising.add_noise(latents[None], noise[None], time)[0]
        velocity = self.noising.config.prediction_type == "v_prediction"
        target = self.noising.get_velocity(latents[None], noise[None], time)[0] if velocity else noise
        return {"sample": sample, "timestep": time[0], "target": target}

    def drawn(
        self, model: nn.Module, prompts: Sequence[str], *, seeds: Sequence[int], steps: int, guidance: float
    ) -> list[Image]:
        """A picture for each prompt, from noise that follows from its seed; `model` is the UNet as it is now."""
        device = next(model.parameters()).device
        embedded = (self.embedded(texts).to(device) for texts in (prompts, [""] * len(prompts)))
        with _quiet():
            pipeline = StableDiffusionPipeline(
                vae=self.vae,
                text_encoder=self.text_encoder,
                tokenizer=self.tokenizer,
                unet=model,
                scheduler=self.sampler,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
            pipeline.set_progress_bar_config(disable=True)
            text, nothing = embedded
            size = self.pixels.size
            found = pipeline(
                prompt_embeds=text,
                negative_prompt_embeds=nothing,
                height=size.height,
                width=size.width,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            )
        pictures: list[Image] = found.images
        return pictures

    def save_pretrained(self, folder: Path | str) -> None:
        """The frozen parts, beside which the UNet makes the pipeline whole."""
        for name in ("tokenizer", "text_encoder", "vae"):
            getattr(self, name).save_pretrained(Path(folder) / name)
        self.sampler.save_pretrained(Path(folder) / "scheduler")


def load_studio(folder: Path, *, pixels: BaseImageProcessor, dtype: torch.dtype) -> Studio:
    """The frozen parts of the pipeline in this folder.

    Raises:
        ValueError: its scheduler predicts something else than noise or velocity, or is of a kind that is not known.
        OSError: a part is not there.
    """
    with _quiet():
        noising = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
        if (predicts := noising.config.prediction_type) not in PREDICTIONS:
            raise ValueError(f"its scheduler has prediction_type={predicts}; trained is {' or '.join(PREDICTIONS)}")
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype)
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=dtype)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        sampler = _sampler(folder)
    for part in (text_encoder, vae):
        part.requires_grad_(False).eval()
    return Studio(tokenizer, text_encoder, vae, noising, sampler, pixels)


def _sampler(folder: Path) -> Any:
    """The scheduler that the pipeline itself names."""
    import diffusers

    name = DDPMScheduler.load_config(folder, subfolder="scheduler").get("_class_name")
    if name not in SCHEDULERS:
        raise ValueError(f"its scheduler is a {name}; known are {', '.join(sorted(SCHEDULERS))}")
    return getattr(diffusers, name).from_pretrained(folder, subfolder="scheduler")


def load_predictor(folder: Path, *, dtype: torch.dtype) -> NoisePredictor:
    """The UNet of the pipeline in this folder.

    Raises:
        ValueError: the checkpoint lacks some of its tensors, or has others.
        OSError: it is not there.
    """
    with _quiet():
        model: NoisePredictor
        model, found = NoisePredictor.from_pretrained(
            str(folder), subfolder="unet", torch_dtype=dtype, output_loading_info=True
        )
    if wrong := sorted({*found["missing_keys"], *found["unexpected_keys"]}):
        raise ValueError(f"its UNet is not that of its configuration: {', '.join(wrong[:3])}")
    return model


def predictor_on_meta(fields: Mapping[str, Any]) -> NoisePredictor:
    """The UNet of a configuration, without weights."""
    with torch.device("meta"):
        model: NoisePredictor = NoisePredictor.from_config(dict(fields))
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' warnings and bars off the terminal while they load or draw."""
    told = [(one, one.get_verbosity(), one.is_progress_bar_enabled()) for one in (messages, others)]
    for one, _, _ in told:
        one.set_verbosity_error()
        one.disable_progress_bar()
    try:
        yield
    finally:
        for one, level, bars in told:
            one.set_verbosity(level)
            if bars:
                one.enable_progress_bar()
