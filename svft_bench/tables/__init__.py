"""Tables from records and references: `svft-bench table NAME`."""

from svft_bench.tables.verb import table

__all__ = ["table"]
