"""Seconds and bytes as a person says them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def gibibytes(count: float) -> str:
    """Bytes in GiB."""
    return f"{count / 2**30:.2f}" if count < 9.995 * 2**30 else f"{count / 2**30:.1f}"
