"""Figures from records, readable in black and white and equal byte for byte when made twice."""

from svft_bench.analysis.figures.budgets import score_against_parameters
from svft_bench.analysis.figures.experiment import experiment_figures
from svft_bench.analysis.figures.matched import scores_at_budgets
from svft_bench.analysis.figures.papers import paper_points

__all__ = ["experiment_figures", "paper_points", "score_against_parameters", "scores_at_budgets"]
