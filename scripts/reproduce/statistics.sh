#!/usr/bin/env bash
# The table of docs/explanation/statistics.md: how many gaps the moderated test shows, by a seeded simulation.
set -euo pipefail
cd "$(dirname "$0")/../.."
python -m scripts.measure_power
