#!/bin/bash
# Rename photos to photo-001.jpg ... ; only prints what it would do unless --apply is given
set -euo pipefail
shopt -s nullglob nocaseglob

apply=0
[[ "${1-}" == --apply ]] && { apply=1; shift; }
dir=${1:-.}

n=0
skipped=()
for path in "$dir"/*; do
    name=${path##*/}
    ext=${name##*.}
    ext=${ext,,}
    case $ext in
        jpg|jpeg) ext=jpg ;;
        png) ;;
        *) skipped+=("$name"); continue ;;
    esac
    n=$((n + 1))
    new=$(printf 'photo-%03d.%s' "$n" "$ext")
    printf '%-20s -> %s\n' "'$name'" "$new"
    if (( apply )); then mv -n -- "$path" "$dir/$new"; fi
done

echo "$n file(s) $( ((apply)) && echo renamed || echo 'would be renamed (dry run)')"
echo "skipped: ${skipped[*]:-none}"
