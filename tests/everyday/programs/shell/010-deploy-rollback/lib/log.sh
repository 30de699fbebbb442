# shellcheck shell=bash
_step=0
step() { _step=$((_step + 1)); printf '▶ step %d: %s\n' "$_step" "$*"; }
info() { printf '  %s\n' "$*"; }
fail() { printf '✖ %s\n' "$*" >&2; return 1; }
