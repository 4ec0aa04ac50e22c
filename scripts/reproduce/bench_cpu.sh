#!/usr/bin/env bash
# The CPU records of results/bench, the targets first: whole steps and decoding against their peers, layers, the SVD, what
# surrounds a cell's steps, texts for an evaluation, the error of `svft-bench plan`, and the page of what published tables
# cost, which quotes it.
# Leave the machine idle; it takes hours on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
python scripts/bench_step.py --device cpu --model vit-b --layers 2 --batch 8 --rounds 9 --methods head full_ft lora_r8 dora_r16 vera_r1024 boft_b8_m2 svft_plain svft_banded16 svft_random16 svft_topk16 vectorfit
python scripts/bench_step.py --device cpu --model vit-b --layers 2 --batch 64 --dtype bfloat16 --rounds 9 --methods lora_r8 full_ft svft_plain svft_banded16 vectorfit
python scripts/bench_step.py --device cpu --model gemma-2b --batch 4 --length 512 --accumulation 1 --dtype bfloat16 --rounds 9 --methods lora_r8 full_ft svft_plain svft_banded16 vectorfit
python scripts/bench_step.py --device cpu --model llama-3-8b --batch 4 --length 512 --dtype bfloat16 --rounds 9 --methods lora_r8 svft_plain svft_banded16 vectorfit
python scripts/bench_step.py --device cpu --model gemma-2b --batch 4 --length 512 --accumulation 16 --dtype bfloat16 --rounds 3 --methods lora_r8 svft_plain svft_banded16 vectorfit
python scripts/bench_step.py --device cpu --model gemma-2b --batch 4 --length 512 --dtype bfloat16 --rounds 9 --methods svft_plain vectorfit --to svft_plain
python scripts/bench_step.py --device cpu --model vit-b --layers 2 --batch 64 --dtype bfloat16 --rounds 9 --methods svft_plain vectorfit --to svft_plain
python scripts/bench_layer.py --device cpu --models gemma-2b --tokens 1 --decode --dtype bfloat16 --rounds 9 --methods frozen lora_r8 svft_plain svft_banded16 vectorfit
python scripts/bench_layer.py --device cpu --models gemma-2b --tokens 64 --decode --dtype bfloat16 --rounds 9 --methods frozen lora_r8 svft_plain svft_banded16 vectorfit
python scripts/bench_layer.py --device cpu --models tiny --tokens 16 --accumulation 16 --rounds 50
python scripts/bench_layer.py --device cpu --models vit-b --tokens 1576
python scripts/bench_step.py --device cpu --model gemma-2b --batch 1 --length 256 --accumulation 2 --dtype bfloat16 --rounds 3 --methods lora_r8 dora_r16 vera_r1024 svft_plain svft_banded16 vectorfit released_plain
python scripts/bench_layer.py --device cpu --models gemma-2b --tokens 512 --accumulation 2 --dtype bfloat16 --rounds 3 --methods frozen lora_r8 dora_r16 boft_b8_m2 svft_plain svft_banded16 vectorfit released_plain
python scripts/bench_layer.py --device cpu --models llama-3-8b --tokens 512 --accumulation 2 --dtype bfloat16 --rounds 3 --methods frozen lora_r8 dora_r16 svft_plain svft_banded16 vectorfit released_plain
python scripts/bench_svd.py --device cpu --threads 2
python -m scripts.measure_start --write
python -m scripts.measure_evaluation --write
python scripts/measure_plan.py --write
python -m scripts.measure_around    # prints the constants of svft_bench/analysis/estimates/around.yaml
python -m scripts.measure_around --check
python scripts/bench_tables.py
python -m scripts.make_costs
