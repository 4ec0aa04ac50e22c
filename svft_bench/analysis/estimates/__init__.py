"""What a run takes on a named device, by arithmetic alone: no weight is read, and PyTorch only times this machine."""

from svft_bench.analysis.estimates.devices import THIS, Device, Dtype, device, device_names, times_slower
from svft_bench.analysis.estimates.error import error
from svft_bench.analysis.estimates.estimate import UTILISATION, Estimate, estimate, unfit
from svft_bench.analysis.estimates.memory import Memory
from svft_bench.analysis.estimates.words import duration, gibibytes

__all__ = [
    "THIS",
    "UTILISATION",
    "Device",
    "Dtype",
    "Estimate",
    "Memory",
    "device",
    "device_names",
    "duration",
    "error",
    "estimate",
    "gibibytes",
    "times_slower",
    "unfit",
]
