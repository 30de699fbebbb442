#!/bin/sh
set -e
tmp=$(mktemp -d "${TMPDIR:-/tmp}/chunks.XXXXXX")
trap 'rm -rf "$tmp"' EXIT INT TERM

awk 'BEGIN { for (i = 1; i <= 500; i++) printf "record %04d %s\n", i, (i * 7919) % 1000 }' > "$tmp/input"
before=$(cksum < "$tmp/input")
echo "input: $(wc -l < "$tmp/input" | tr -d ' ') lines, cksum $before"

( cd "$tmp" && split -b 3000 input part. )
n=0
for p in "$tmp"/part.*; do
    n=$((n + 1))
    printf '%s %5d bytes\n' "${p##*/}" "$(wc -c < "$p")"
done
echo "$n parts"

cat "$tmp"/part.* > "$tmp/joined"
after=$(cksum < "$tmp/joined")
if [ "$before" = "$after" ]; then echo "OK, same checksum"; else echo "DIFFERENT"; exit 1; fi

# damage one part
printf 'X' | dd of="$tmp/part.aa" bs=1 seek=10 conv=notrunc 2>/dev/null
cat "$tmp"/part.* | cmp -s - "$tmp/input" || echo "damage detected (cmp says $?)"
sha256sum < "$tmp/input" | cut -c1-12
