#!/usr/bin/env bash
# The CUDA records of results/bench: layers, decoding, whole steps and the SVD against their peers, small models first.
# Needs torch, transformers and peft only, but for the last line, which needs the bench; about four minutes on an H200.
# One that fails does not stop the next.
set -uo pipefail
cd "$(dirname "$0")/../.."
SVFT_BENCH_CACHE=$(mktemp -d)    # of each weight one SVD for all methods
export SVFT_BENCH_CACHE
trap 'rm -rf "$SVFT_BENCH_CACHE"' EXIT
failed=0
trap 'failed=1' ERR
python scripts/bench_layer.py --device cuda --models tiny --tokens 16 --accumulation 16 --rounds 15
python scripts/bench_step.py --device cuda --model vit-b --layers 2 --batch 64 --autocast
python scripts/bench_step.py --device cuda --model gemma-2b --layers 1 --batch 4 --length 512 --accumulation 16 --dtype bfloat16 --methods lora_r8 lora_r32 dora_r16 vera_r1024 svft_plain svft_banded16 svft_random16 vectorfit released_plain
python scripts/bench_step.py --device cuda --model gemma-2b --layers 1 --batch 4 --length 512 --accumulation 1 --dtype bfloat16 --methods lora_r8 lora_r32 dora_r16 vera_r1024 svft_plain svft_banded16 svft_random16 vectorfit
python scripts/bench_layer.py --device cuda --models gemma-2b --tokens 64 --decode --dtype bfloat16 --rounds 10 --methods frozen lora_r8 dora_r16 svft_plain svft_banded16 vectorfit released_plain
python scripts/bench_layer.py --device cuda --models vit-b --tokens 12608 --dtype bfloat16 --rounds 10
python scripts/bench_svd.py --device cuda --model vit-b --rounds 2
python scripts/bench_step.py --device cuda --model llama-3-8b --layers 1 --batch 4 --length 512 --accumulation 16 --dtype bfloat16 --methods lora_r8 lora_r32 dora_r16 vera_r1024 svft_plain svft_banded16 svft_random16 vectorfit
python scripts/bench_layer.py --device cuda --models gemma-2b --tokens 2048 --accumulation 16 --dtype bfloat16
python scripts/bench_svd.py --device cuda --model gemma-2b --rounds 1
python scripts/measure_plan.py --cuda --write    # the plan's estimates beside the steps above
exit $failed
