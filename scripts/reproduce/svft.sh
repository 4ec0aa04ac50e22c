#!/usr/bin/env bash
# SVFT's tables and figures, the cheap first; each command runs only what has no record yet and ends with its table.
# Cells of different tables that are the same run are run once. For time and memory of the large models ask `svft-bench plan`.
# protocol=released after a name runs what the authors' code does instead of what the paper says.
set -euo pipefail

svft-bench experiment=svft_table4_vision_neurips "$@"
svft-bench experiment=svft_table4_vision_v1 "$@"
svft-bench experiment=svft_table9_vision_v1 "$@"
svft-bench experiment=svft_table3_glue_deberta "$@"

# Gemma-2B and Pythia-2.8B
svft-bench experiment=svft_figure1_gsm8k_gemma2b "$@"
svft-bench experiment=svft_figure4_weight_types_gemma2b "$@"
svft-bench experiment=svft_table5_m_structure_v1 "$@"
svft-bench experiment=svft_table9_svf_neurips "$@"
svft-bench experiment=svft_table10_rank_truncation "$@"
svft-bench experiment=svft_table13_memory_gemma2b_neurips "$@"
svft-bench experiment=svft_figure1_commonsense_gemma2b "$@"
svft-bench experiment=svft_table8_commonsense_gemma2b "$@"
svft-bench experiment=svft_table6_pythia "$@"

# Gemma-7B and LLaMA-3-8B
svft-bench experiment=svft_table1_math "$@"
svft-bench experiment=svft_table7_m_structure_neurips "$@"
svft-bench experiment=svft_table5_memory_neurips "$@"
svft-bench experiment=svft_table10_fixed_modules_neurips "$@"
svft-bench experiment=svft_table14_memory_llama3_neurips "$@"
svft-bench experiment=svft_figure5_gsm8k_gemma7b "$@"
svft-bench experiment=svft_figure5_gsm8k_llama3 "$@"
svft-bench experiment=svft_table2_commonsense_gemma7b "$@"
