#!/bin/bash
# What Dockerfile and categorize.def install: `make setup` without the development's tools. Run in a folder that holds the
# checkout. TARGET is where the virtual environment goes.
set -euo pipefail

TARGET=${TARGET:-/opt/venv}
PYTHON=${PYTHON:-python3}

"$PYTHON" -m venv "$TARGET"
# torch first, by itself and pinned, so that no other package's range chooses another build.
"$TARGET/bin/pip" install --no-cache-dir -c constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch
"$TARGET/bin/pip" install --no-cache-dir -c constraints.txt -e '.[xlsx,grammar,embeddings,chinese,faiss,search]'
