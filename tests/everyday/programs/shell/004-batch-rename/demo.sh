#!/bin/bash
set -e
export LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp photos/* "$work"
echo "--- dry run"
bash ./rename.sh "$work"
echo "--- for real"
bash ./rename.sh --apply "$work"
echo "--- result"
ls "$work"
