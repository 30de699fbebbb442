factorial() { local n=$1 r=1; [[ $n =~ ^[0-9]+$ ]] || return 22; while ((n > 1)); do r=$((r * n--)); done; echo "$r"; }
average() { awk 'BEGIN { for (i = 1; i < ARGC; i++) s += ARGV[i]; printf "%.2f\n", s / (ARGC - 1) }' "$@"; }
is_even() { (( $1 % 2 == 0 )); }
