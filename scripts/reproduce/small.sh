#!/usr/bin/env bash
# Every method on the small real models: rates chosen on validation rows, then all methods at the chosen rates.
# SVFT_BENCH_DATA names the folder of flowers, food and GLUE files; many hours on two cores.
set -euo pipefail
svft-bench experiment=small_vision_rates
svft-bench table small_vision_rates --write    # the best of its column `validation` is in conf/experiment/small_vision.yaml
svft-bench experiment=small_vision
svft-bench experiment=small_updates
python scripts/measure_spectra.py experiment=small_updates    # needs the weights that the runs left in outputs/
svft-bench experiment=small_text_rates
svft-bench table small_text_rates --write      # the best are in conf/experiment/small_text.yaml
svft-bench experiment=small_text
svft-bench experiment=small_seeds              # cells of both at five fresh seeds
svft-bench experiment=small_budget_rates
svft-bench table small_budget_rates --write    # the best are in conf/experiment/small_budget.yaml
svft-bench experiment=small_budget
svft-bench experiment=small_budget_sst2_rates
svft-bench table small_budget_sst2_rates --write    # the best are in conf/experiment/small_budget_sst2.yaml
svft-bench experiment=small_budget_sst2
svft-bench experiment=small_budget_stsb_rates
svft-bench table small_budget_stsb_rates --write    # the best are in conf/experiment/small_budget_stsb.yaml
svft-bench experiment=small_budget_stsb
svft-bench experiment=small_freezing_rates
svft-bench table small_freezing_rates --write  # the best are in conf/experiment/small_freezing.yaml
svft-bench experiment=small_freezing
svft-bench experiment=small_glue_rates
svft-bench table small_glue_rates --write     # the best are in conf/experiment/small_glue.yaml
svft-bench experiment=small_glue
svft-bench --config-dir results/archive experiment=small_glue_hard
svft-bench experiment=small_cola_rates
svft-bench table small_cola_rates --write     # the best are in conf/experiment/small_cola.yaml
svft-bench experiment=small_cola
svft-bench experiment=small_cola_freezing
svft-bench --config-dir results/archive experiment=small_cola_float32
svft-bench experiment=small_cola_methods_rates
svft-bench table small_cola_methods_rates --write     # the best are in conf/experiment/small_cola_methods.yaml
svft-bench experiment=small_cola_methods
svft-bench experiment=small_cola_precision
svft-bench experiment=small_rte_rates
svft-bench table small_rte_rates --write      # the best are in conf/experiment/small_rte.yaml
svft-bench experiment=small_rte
svft-bench experiment=small_lm_rates
svft-bench table small_lm_rates --write       # the best are in conf/experiment/small_lm.yaml
svft-bench experiment=small_lm
svft-bench experiment=small_gsm8k_rates
svft-bench table small_gsm8k_rates --write    # the best are in conf/experiment/small_gsm8k.yaml
svft-bench experiment=small_gsm8k
svft-bench experiment=small_loss_rates
svft-bench table small_loss_rates --write     # the best are in conf/experiment/small_loss.yaml
svft-bench experiment=small_loss
