#!/usr/bin/env bash
# The pictures of README.md, from published results: `make pictures`. Needs Debian's Chromium.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One episode of published weights: those of seed 2 are in results/mpe-v1. The second line says what it scored.
rlnet-bench store adopt "$root/results/mpe-v1" --store "$work/store" >/dev/null
run=$(grep -l '"mappo"' "$work"/store/runs/*/config.json | xargs grep -l simple_spread)
rlnet-bench evaluate "$(dirname "$run")" --seed 2 --episodes 320 --gif "$here/spread.gif"

rlnet-bench network draw zoo/tag-3ppo --task mpe/simple_spread-discrete-v1 --out "$here/tag-3ppo.svg"

chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking \
  --disable-component-update --disable-sync --user-data-dir="$work/chromium" --window-size=1100,1400 \
  --screenshot="$work/report.png" "file://$root/reports/mpe/index.html" 2>/dev/null
python - "$work/report.png" "$here/report.png" <<'END'
import sys
from PIL import Image

Image.open(sys.argv[1]).convert("RGB").quantize(128).save(sys.argv[2], optimize=True)
END
ls -l "$here"/*.{gif,svg,png}
