#!/bin/bash
set -euo pipefail

. ./app/META
new=$(awk -F. -v OFS=. '{ $NF = $NF + 1; print }' <<< "$version")
pkg="$name-$new"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

cp -r app "$stage/$pkg"
sed -i "s/^version=.*/version=$new/" "$stage/$pkg/META"
find "$stage/$pkg" -name '*.tmp' -delete

(cd "$stage/$pkg" && find . -type f ! -name SHA256SUMS | sort | xargs sha256sum > SHA256SUMS)
mkdir -p dist
tar -C "$stage" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$pkg" | gzip -9n > "dist/$pkg.tar.gz"
echo "built dist/$pkg.tar.gz"

echo "verifying…"
check=$(mktemp -d -p "$stage")
tar -xzf "dist/$pkg.tar.gz" -C "$check"
cd "$check/$pkg"
sha256sum -c SHA256SUMS
./bin/demo a b c
tar -tzf "$OLDPWD/dist/$pkg.tar.gz"
echo "tampering" >> META
sha256sum -c --quiet SHA256SUMS 2>/dev/null || echo "tampering noticed"
