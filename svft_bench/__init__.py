"""The reference bench for parameter-efficient fine-tuning in the singular basis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svft_bench.api import load_records, plan, run, table

__version__ = "0.2.0"
__all__ = ["load_records", "plan", "run", "table"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: whoever uses the tuners alone has neither Hydra nor pandas."""
    if name not in __all__:
        raise AttributeError(f"svft_bench has {', '.join(__all__)}, and no {name}")
    from svft_bench import api

    return getattr(api, name)
