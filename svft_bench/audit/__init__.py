"""`svft-bench audit`: every parameter count that the papers print, recounted with the tuners themselves.

svft-bench audit --table svft_table1_math            one table; all of them without --table
svft-bench audit model=gemma-2b method=lora method.r=1,2,4    cells that nobody printed
"""

from svft_bench.audit.verb import audit, audit_rows

__all__ = ["audit", "audit_rows"]
