"""How a model's images are prepared, by its own files: `image_fields("OWNER/NAME", config, revision=COMMIT)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoImageProcessor, PretrainedConfig
from transformers.image_utils import PILImageResampling


def image_fields(path: str, config: PretrainedConfig, *, revision: str | None) -> tuple[dict[str, Any], list[str]]:
    """How its images are prepared, as its own processor says where it has one, and what of that is done otherwise."""
    size, own, notes = config.image_size, _own_processor(path, revision), []
    if own is None:
        notes.append(
            "it says nothing of how its images are prepared: a mean and deviation of 0.5 and bilinear are a guess"
        )
    resample = getattr(own, "resample", None)
    known = {PILImageResampling.BICUBIC: "bicubic", PILImageResampling.BILINEAR: "bilinear"}
    if own is not None and resample not in known:
        notes.append(f"its own processor resizes by resample={resample}, which is bilinear here")
    seen = _seen(own)
    if seen is not None and seen != (size, size):
        notes.append(f"its own processor gives images of {seen[0]} x {seen[1]} pixels, here they have {size} x {size}")
    if not getattr(own, "do_resize", True):
        notes.append("its own processor leaves images of any size as they are, here they are resized")
    if getattr(own, "do_center_crop", False):
        notes.append("its own processor cuts the middle out of an image, here the whole of it is resized")
    scaled = getattr(own, "do_rescale", True) and abs(getattr(own, "rescale_factor", 1 / 255) * 255 - 1) < 1e-3
    if own is not None and not scaled:
        notes.append("its own processor scales colours otherwise than from 0 to 1, which they are here before the mean")
    plain = own is not None and not getattr(own, "do_normalize", True)
    fields = {
        "size": size,
        "mean": _colours(0.0 if plain else getattr(own, "image_mean", None)),
        "std": _colours(1.0 if plain else getattr(own, "image_std", None)),
        "resample": known.get(resample, "bilinear"),
        "backend": "pil",
    }
    return fields, notes


def _colours(said: float | Sequence[float] | None) -> list[float]:
    """A number for each of three colours: those that are said, the one that is said of all, or a half."""
    found = 0.5 if said is None else said
    return [float(found)] * 3 if isinstance(found, int | float) else list(found)


def _own_processor(path: str, revision: str | None) -> Any:
    """What prepares a model's images in transformers; None where its files do not say."""
    try:
        return AutoImageProcessor.from_pretrained(path, revision=revision or "main")
    except (OSError, ValueError, KeyError, ImportError, TypeError):
        return None


def _seen(processor: Any) -> tuple[int, int] | None:
    """Height and width of what a processor gives; None where they are not fixed."""
    given: Any = getattr(processor, "crop_size" if getattr(processor, "do_center_crop", False) else "size", None)
    try:
        height, width = given["height"], given["width"]
    except (KeyError, TypeError):
        return None
    return (height, width) if height and width else None
