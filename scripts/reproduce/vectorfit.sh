#!/usr/bin/env bash
# The points of VectorFit's SST-2 graph that say what they train; its settings are reconstructed (conf/published/paper/vectorfit+glue).
# Then the tables of AdaLoRA that it compares with.
set -euo pipefail
svft-bench experiment=vf_sst2_pareto "$@"
svft-bench experiment=adalora_table2_squad "$@"
