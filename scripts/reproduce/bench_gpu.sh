#!/usr/bin/env bash
# The CUDA records of results/bench and the page made of them, the targets first: layers, whole steps, the setting of the
# independent replication, decoding and the SVD. Needs torch, transformers and peft only.
#
#   bash scripts/reproduce/bench_gpu.sh [SECONDS]    480 where none are given, and six minutes planned on an H100
#
# One that fails does not stop the next, one that takes more than a quarter of the time is ended, and what no time is
# left for is left out; each says how long it took.
set -uo pipefail
cd "$(dirname "$0")/../.."
SVFT_BENCH_CACHE=$(mktemp -d)    # of each weight one SVD for all methods
export SVFT_BENCH_CACHE
trap 'rm -rf "$SVFT_BENCH_CACHE"' EXIT
failed=0
trap 'failed=1' ERR
whole=${1:-480}
interpreter=$(type -P python || type -P python3)
python() {
  local begin=$SECONDS left=$((whole - SECONDS)) code
  if ((left < 1)); then
    echo "left out, since $whole seconds are over: $*"
    return 1
  fi
  timeout --kill-after=5 $((left < whole / 4 ? left : whole / 4)) "$interpreter" "$@"
  code=$?
  echo "$((SECONDS - begin)) s$( ((code == 0)) || echo ", exit code $code"): $*"
  return $code
}
python scripts/bench_layer.py --device cuda --models tiny --tokens 16 --accumulation 16 --rounds 15
python scripts/bench_step.py --device cuda --model vit-b --layers 2 --batch 64 --autocast --rounds 9
python scripts/bench_step.py --device cuda --model vit-b --layers 2 --batch 64 --accumulation 16 --dtype bfloat16 --rounds 9 --methods lora_r8 full_ft svft_plain svft_banded16 vectorfit
python scripts/bench_step.py --device cuda --model gemma-2b --layers 1 --batch 4 --length 512 --accumulation 16 --dtype bfloat16 --rounds 9 --methods lora_r8 full_ft lora_r32 dora_r16 vera_r1024 svft_plain svft_banded16 svft_random16 vectorfit released_plain
python scripts/bench_step.py --device cuda --model gemma-2b --layers 1 --batch 4 --length 512 --accumulation 1 --dtype bfloat16 --rounds 9 --methods lora_r8 full_ft lora_r32 dora_r16 vera_r1024 svft_plain svft_banded16 svft_random16 vectorfit
python scripts/bench_step.py --device cuda --model llama-3-8b --layers 1 --batch 8 --length 2048 --accumulation 2 --dtype bfloat16 --checkpointing --rounds 9 --targets up_proj down_proj o_proj gate_proj --to lora_r64 --methods lora_r64 svft_banded8 released_banded8
python scripts/bench_layer.py --device cuda --models gemma-2b --tokens 1 --decode --dtype bfloat16 --rounds 9 --methods frozen lora_r8 svft_plain svft_banded16 vectorfit
python scripts/bench_layer.py --device cuda --models gemma-2b --tokens 64 --decode --dtype bfloat16 --rounds 10 --methods frozen lora_r8 dora_r16 svft_plain svft_banded16 vectorfit released_plain
python scripts/bench_layer.py --device cuda --models vit-b --tokens 12608 --dtype bfloat16 --rounds 10
python scripts/bench_svd.py --device cuda --model vit-b --rounds 2
python scripts/bench_step.py --device cuda --model llama-3-8b --layers 1 --batch 4 --length 512 --accumulation 16 --dtype bfloat16 --rounds 9 --methods lora_r8 full_ft lora_r32 dora_r16 vera_r1024 svft_plain svft_banded16 svft_random16 vectorfit
python scripts/bench_layer.py --device cuda --models gemma-2b --tokens 2048 --accumulation 16 --dtype bfloat16
python scripts/bench_svd.py --device cuda --model gemma-2b --rounds 1
"$interpreter" scripts/bench_tables.py
echo "$SECONDS s in all"
if "$interpreter" -c "import hydra, pydantic" 2> /dev/null; then    # the plan's estimates beside the steps above
  python scripts/measure_plan.py --cuda --write
else
  echo "scripts/measure_plan.py --cuda --write needs the bench, and was left out."
fi
exit $failed
