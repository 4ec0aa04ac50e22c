"""From `conf/` and command-line overrides to validated cells; the only part, with `cli`, that knows Hydra."""

from svft_bench.compose.cell import Cell, build_cell, cells
from svft_bench.compose.over import hydra_over, model_spec, parsed, tree_state
from svft_bench.compose.published import offer_to_hydra
from svft_bench.compose.sweeping import Sweep, fixed, sweeps
from svft_bench.compose.tree import conf_dir, experiment_names, option_fields, options, own_dir, own_options

__all__ = [
    "Cell",
    "Sweep",
    "build_cell",
    "cells",
    "conf_dir",
    "experiment_names",
    "fixed",
    "hydra_over",
    "model_spec",
    "offer_to_hydra",
    "option_fields",
    "options",
    "own_dir",
    "own_options",
    "parsed",
    "sweeps",
    "tree_state",
]
