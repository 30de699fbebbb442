#!/bin/bash

upper()    { echo "${1^^}"; }
lower()    { echo "${1,,}"; }
title()    { local w out=(); for w in $1; do out+=("${w^}"); done; echo "${out[*]}"; }
reverse()  { local s=$1 i r=; for ((i=${#s}-1; i>=0; i--)); do r+=${s:i:1}; done; echo "$r"; }
repeat()   { local r; printf -v r '%*s' "$2" ''; echo "${r// /$1}"; }
contains() { [[ $1 == *"$2"* ]]; }
join_by()  { local d=$1 f=$2; shift 2; printf %s "$f" "${@/#/$d}"; echo; }
slug()     { local s=${1,,}; s=${s//[^a-z0-9]/-}; while [[ $s == *--* ]]; do s=${s//--/-}; done; s=${s#-}; echo "${s%-}"; }
urlencode() {
  local LC_ALL=C s=$1 i c
  for ((i = 0; i < ${#s}; i++)); do
    c=${s:i:1}
    case $c in [a-zA-Z0-9.~_-]) printf %s "$c" ;; *) printf '%%%02X' "'$c" ;; esac
  done
  echo
}

text="the Quick brown fox"
upper "$text"; lower "$text"; title "$text"; reverse "$text"
repeat "=-" 10
contains "$text" "brown f" && echo "found it"
contains "$text" "cat" || echo "no cat"
join_by ", " a b "c d"
slug "  Hello, World -- again! "
urlencode "a b&c=d/e?f"

path=/usr/local/share/archive.tar.gz
echo "${path##*/} ${path%/*} ${path%%.*} ${path#*.} ${path##*.}"
echo "${path/local/LOCAL} ${path//\//:} ${#path} ${path:5:5} ${path: -6:3}"
unset nothing; empty=
echo "[${nothing:-default}] [${nothing-unset}] [${empty-unset}] [${empty:+set}] [${text:+set}]"
: "${nothing:=assigned}"; echo "$nothing"
( : "${missing:?must be given}" ) 2>/dev/null || echo "missing variable -> exit $?"
name=text; echo "${!name}"
printf '%q %s\n' "it's a \$test" $'tab\there'
IFS=: read -r -a parts <<< "root:x:0:0"; echo "${parts[2]} of ${#parts[@]}"
