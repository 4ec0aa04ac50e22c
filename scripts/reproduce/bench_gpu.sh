#!/usr/bin/env bash
# The CUDA records of results/bench: layers, decoding, whole steps and the SVD against their peers, small models first.
# Needs torch, transformers and peft only. One that takes longer than its limit is left out, and the next one starts.
set -uo pipefail
cd "$(dirname "$0")/../.."
SVFT_BENCH_CACHE=$(mktemp -d)    # of each weight one SVD for all methods
export SVFT_BENCH_CACHE
trap 'rm -rf "$SVFT_BENCH_CACHE"' EXIT
late=0
bench() { timeout "$1" python3 "scripts/bench_$2.py" --device cuda "${@:3}" || late=1; }
OURS="lora_r8 lora_r32 dora_r16 vera_r1024 svft_plain svft_banded16 svft_random16 vectorfit"
bench 60 layer --models tiny --tokens 16 --accumulation 16 --rounds 15
bench 60 step --model vit-b --layers 2 --batch 64 --autocast
bench 90 step --model gemma-2b --layers 1 --batch 4 --length 512 --accumulation 16 --dtype bfloat16 --methods $OURS released_plain
bench 60 step --model gemma-2b --layers 1 --batch 4 --length 512 --accumulation 1 --dtype bfloat16 --methods $OURS
bench 90 layer --models gemma-2b --tokens 64 --decode --dtype bfloat16 --rounds 10 --methods frozen lora_r8 dora_r16 svft_plain svft_banded16 vectorfit released_plain
bench 60 layer --models vit-b --tokens 12608 --dtype bfloat16 --rounds 10
bench 60 svd --model vit-b --rounds 2
bench 60 step --model llama-3-8b --layers 1 --batch 4 --length 512 --accumulation 16 --dtype bfloat16 --methods $OURS
bench 90 layer --models gemma-2b --tokens 2048 --accumulation 16 --dtype bfloat16
bench 90 svd --model gemma-2b --rounds 1
exit $late
