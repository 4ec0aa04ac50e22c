"""The patches of a vision transformer, whose images are square and in three colours here: `plain_grid(config)`."""

from __future__ import annotations

from transformers import PretrainedConfig


def plain_grid(config: PretrainedConfig, *, model: str) -> None:
    """Have one number for the side of images and of patches, also where a configuration names height and width.

    Raises:
        ValueError: they are no squares, or the model looks at another number of colours.
    """
    for name in ("image_size", "patch_size"):
        sides = getattr(config, name, None)
        if isinstance(sides, list | tuple):
            if len({*sides}) != 1:
                raise ValueError(
                    f"{model} has {name}={' x '.join(map(str, sides))}; images and patches are square here"
                )
            setattr(config, name, sides[0])
    if (channels := getattr(config, "num_channels", 3)) != 3:
        raise ValueError(f"{model} takes images of {channels} channels; here they have three, red, green and blue")
