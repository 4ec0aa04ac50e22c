"""What a run takes on a named device, by arithmetic alone: no weight is read, and PyTorch only times this machine."""

from svft_bench.analysis.estimates.around import around, decomposing
from svft_bench.analysis.estimates.devices import THIS, Device, Dtype, described, device, device_names, times_slower
from svft_bench.analysis.estimates.error import error
from svft_bench.analysis.estimates.estimate import UTILISATION, Estimate, estimate, is_estimated, unfit
from svft_bench.analysis.estimates.fitting import remedies
from svft_bench.analysis.estimates.fleet import Disk, Share, busy, device_seconds, disk, wall
from svft_bench.analysis.estimates.memory import Memory
from svft_bench.analysis.estimates.words import duration, gibibytes

__all__ = [
    "THIS",
    "UTILISATION",
    "Device",
    "Disk",
    "Dtype",
    "Estimate",
    "Memory",
    "Share",
    "around",
    "busy",
    "decomposing",
    "described",
    "device",
    "device_names",
    "device_seconds",
    "disk",
    "duration",
    "error",
    "estimate",
    "gibibytes",
    "is_estimated",
    "remedies",
    "times_slower",
    "unfit",
    "wall",
]
