#!/bin/sh
max=${1:-5}

row=1
while [ $row -le $max ]; do
    col=1
    while [ $col -le $max ]; do
        printf '%4d' $((row * col))
        col=$((col + 1))
    done
    printf '\n'
    row=$((row + 1))
done

echo
printf '%6s %8s %8s\n' C F K
for c in -40 0 20 37 100; do
    f=$((c * 9 / 5 + 32))
    k=$(awk "BEGIN { print $c + 273.15 }")
    printf '%6d %8d %8s\n' $c $f $k
done

echo
i=0
until [ $i -ge 4 ]; do
    printf '%*s' $((4 - i)) ''
    j=0
    while [ $j -le $i ]; do printf '* '; j=$((j + 1)); done
    echo
    i=$((i + 1))
done
set -- $(seq 3 3 15); echo "$# numbers, sum $(($(IFS=+; echo "$*")))"
