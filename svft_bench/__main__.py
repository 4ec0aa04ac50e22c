"""`python -m svft_bench` is the console script."""

from svft_bench.cli import main

main()
