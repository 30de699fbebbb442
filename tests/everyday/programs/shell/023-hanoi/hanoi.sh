#!/bin/bash
moves=0
hanoi() {
  local n=$1 from=$2 to=$3 via=$4
  (( n == 0 )) && return
  hanoi $((n - 1)) "$from" "$via" "$to"
  (( moves++ ))
  (( verbose )) && echo "move disk $n: $from -> $to"
  hanoi $((n - 1)) "$via" "$to" "$from"
}

permutations() {
  local prefix=$1 rest=$2 i
  if [ -z "$rest" ]; then echo -n "$prefix "; return; fi
  for ((i = 0; i < ${#rest}; i++)); do
    permutations "$prefix${rest:i:1}" "${rest:0:i}${rest:i+1}"
  done
}

ackermann() {
  if (( $1 == 0 )); then echo $(( $2 + 1 ))
  elif (( $2 == 0 )); then ackermann $(( $1 - 1 )) 1
  else ackermann $(( $1 - 1 )) "$(ackermann "$1" $(( $2 - 1 )))"; fi
}

verbose=1; hanoi 3 A C B; echo "$moves moves"
verbose=0 moves=0; hanoi 8 A C B; echo "8 disks: $moves moves"
permutations "" abcd; echo
echo "ackermann(2,2) = $(ackermann 2 2)"
