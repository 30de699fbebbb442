#!/usr/bin/env bash
# warn about big files
limit=1000

for f in *.dat; do
  size=$(wc -c < "$f")
  if [ "$size" -gt "$limit" ]; then
    echo "$f is too big: $size"
  else
    echo "$f is fine"
done

echo "checked"
