#!/bin/bash
set -euo pipefail

source_dir=data
target_dir=out

echo "copying from $source_dir"
mkdir -p "$target_dir"
cp "$source_dir"/*.txt "$taget_dir/"
echo "done"
