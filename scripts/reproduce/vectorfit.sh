#!/usr/bin/env bash
# The points of VectorFit's SST-2 graph that say what they train; its settings are reconstructed (conf/published/paper/vectorfit+glue).
set -euo pipefail
svft-bench experiment=vf_sst2_pareto "$@"
