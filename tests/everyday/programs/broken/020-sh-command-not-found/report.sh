#!/bin/sh
set -e

count=$(grep -c . names.txt)
echo "names: $count"
sort names.txt | unique -c > counted.txt
cat counted.txt
