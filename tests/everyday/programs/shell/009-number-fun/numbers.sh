#!/bin/bash
set -euo pipefail

fizzbuzz() {
  local i out
  for ((i = 1; i <= $1; i++)); do
    out=
    ((i % 3)) || out+=Fizz
    ((i % 5)) || out+=Buzz
    echo -n "${out:-$i} "
  done
  echo
}

primes() {
  local -a sieve
  local n=$1 i j
  for ((i = 2; i <= n; i++)); do
    [[ -n ${sieve[i]:-} ]] && continue
    printf '%d ' "$i"
    for ((j = i * i; j <= n; j += i)); do sieve[j]=x; done
  done
  printf '\n'
}

gcd() { local a=$1 b=$2; while ((b)); do ((a %= b, a ^= b, b ^= a, a ^= b)) || true; done; echo "$a"; }

fib() {
  local a=0 b=1 _
  for _ in $(seq "$1"); do
    echo -n "$a "
    read -r a b <<< "$b $((a + b))"
  done
  echo
}

tobin() {
  local n=$1 r=
  while ((n > 0)); do r=$((n & 1))$r; ((n >>= 1)) || true; done
  echo "${r:-0}"
}

fizzbuzz 15
primes 60
echo "gcd(1071, 462) = $(gcd 1071 462)"
fib 20
echo "2^40 = $((2 ** 40)), 0xff = $((0xff)), 0755 = $((0755)), 2#1011 = $((2#1011))"
for n in 5 64 255; do printf '%d = %s b = %o o = %X h\n' "$n" "$(tobin "$n")" "$n" "$n"; done
x=7; echo "$((x++ + ++x)) $x $((x > 5 ? 100 : 0)) $((-7 / 2)) $((-7 % 3))"
