#!/usr/bin/env bash
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source lib/log.sh

target=$(mktemp -d)
mkdir -p "$target/releases"
rollback_actions=()

on_error() {
  local code=$? line=$1
  echo "💥 error $code near line $line, rolling back"
  local i
  for ((i = ${#rollback_actions[@]} - 1; i >= 0; i--)); do
    info "undo: ${rollback_actions[i]}"
    eval "${rollback_actions[i]}"
  done
  exit 12
}
trap 'on_error $LINENO' ERR
trap 'rm -rf "$target"; echo "cleaned up"' EXIT

release() {
  local version=$1
  step "unpack $version"
  mkdir "$target/releases/$version"
  rollback_actions+=("rmdir_if_there $version")
  echo "app $version" > "$target/releases/$version/app"

  step "switch to $version"
  previous=$(readlink "$target/current" 2>/dev/null || echo none)
  ln -sfn "releases/$version" "$target/current"
  rollback_actions+=("switch_back $previous")

  step "health check"
  health_check "$version"
  info "$(cat "$target/current/app") is live"
  rollback_actions=()
}

rmdir_if_there() { rm -rf "${target:?}/releases/$1"; }
switch_back() { [[ $1 == none ]] || ln -sfn "$1" "$target/current"; info "current is $(cat "$target/current/app")"; }
health_check() { [[ $1 != *-beta ]] || fail "health check of $1 failed"; }

for v in "$@"; do release "$v"; done
echo "all done"
