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
svft-bench experiment=small_glue_rates
svft-bench table small_glue_rates --write     # the best are in conf/experiment/small_glue.yaml
svft-bench experiment=small_glue
svft-bench experiment=small_glue_hard
svft-bench experiment=small_cola_rates
svft-bench table small_cola_rates --write     # the best are in conf/experiment/small_cola.yaml
svft-bench experiment=small_cola
svft-bench experiment=small_cola_freezing
svft-bench experiment=small_rte_rates
svft-bench table small_rte_rates --write      # the best are in conf/experiment/small_rte.yaml
svft-bench experiment=small_rte
svft-bench experiment=small_lm   # but for two of its cells, which were recorded by commands of their own:
svft-bench model=smollm2-135m task=gsm8k protocol=ours limit.train=96 limit.eval=50 train.epochs=1 train.batch_size=4 train.gradient_accumulation=1 train.warmup_ratio=0.1 train.warmup_steps=null train.precision=float32 seed=0 method=svft_topk method.modules=qv train.lr=3e-3
svft-bench model=smollm2-135m task=gsm8k protocol=ours limit.train=96 limit.eval=50 train.epochs=1 train.batch_size=4 train.gradient_accumulation=1 train.warmup_ratio=0.1 train.warmup_steps=null train.precision=float32 seed=0 method=vectorfit train.lr=3e-3
