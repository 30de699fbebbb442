#!/bin/bash

# --- stack ---
stack=()
push() { stack+=("$@"); }
pop() {
  (( ${#stack[@]} )) || { echo "stack is empty" >&2; return 1; }
  REPLY=${stack[-1]}
  unset 'stack[-1]'
}

# --- queue, passed by name ---
enqueue() { local -n q=$1; shift; q+=("$@"); }
dequeue() {
  local -n q=$1
  [[ ${#q[@]} -gt 0 ]] || return 1
  REPLY=${q[0]}
  q=("${q[@]:1}")
}

push one "two words" three
echo "size ${#stack[@]}, top '${stack[-1]}'"
while pop 2>/dev/null; do echo "popped: $REPLY"; done
pop || echo "pop failed with $?"

declare -a jobs
enqueue jobs build test
enqueue jobs "deploy to staging"
while dequeue jobs; do
  echo "running: $REPLY"
  if [[ $REPLY == test && -z ${retried-} ]]; then
    retried=1
    echo "  flaky, back to the queue"
    enqueue jobs test
  fi
done

# balanced brackets with the stack
balanced() {
  local s=$1 i c
  stack=()
  for (( i = 0; i < ${#s}; i++ )); do
    c=${s:i:1}
    case $c in
      '('|'['|'{') push "$c" ;;
      ')') pop 2>/dev/null && [[ $REPLY == '(' ]] || return 1 ;;
      ']') pop 2>/dev/null && [[ $REPLY == '[' ]] || return 1 ;;
      '}') pop 2>/dev/null && [[ $REPLY == '{' ]] || return 1 ;;
    esac
  done
  (( ${#stack[@]} == 0 ))
}

for text in '(a[b]{c})' '(]' '((' 'no brackets' '}{'; do
  if balanced "$text"; then echo "✅ $text"; else echo "❌ $text"; fi
done

# array slicing and friends
nums=(5 3 9 1)
nums[10]=42
echo "${!nums[@]} | ${nums[@]:1:2} | ${#nums[@]}"
sorted=($(printf '%s\n' "${nums[@]}" | sort -n))
( IFS=,; echo "${sorted[*]}" )
