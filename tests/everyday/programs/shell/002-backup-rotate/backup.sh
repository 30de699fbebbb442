#!/bin/bash
#
# backup.sh SOURCE DEST [KEEP]  - make a tar.gz, keep only the newest KEEP archives
#
set -euo pipefail

src=${1:-data}
dest=${2:-backups}
keep=${3:-3}

die() { echo "backup: $*" >&2; exit 1; }
log() { printf '[backup] %s\n' "$*"; }

[[ -d $src ]] || die "no such directory: $src"
[[ $keep =~ ^[1-9][0-9]*$ ]] || die "KEEP must be a positive number"
mkdir -p "$dest"

make_archive() {
  local stamp=$1 file
  file="$dest/$(basename "$src")-$stamp.tar.gz"
  tar --sort=name --owner=0 --group=0 --mtime='2024-01-01 00:00Z' -cf - "$src" | gzip -n > "$file"
  log "created ${file##*/} with $(tar -tzf "$file" | grep -vc '/$') files"
}

rotate() {
  local -a archives
  mapfile -t archives < <(find "$dest" -name '*.tar.gz' | sort -r)
  local old
  for old in "${archives[@]:$keep}"; do
    log "removing ${old##*/}"
    rm -- "$old"
  done
}

# pretend that five nights pass
for day in 01 02 03 04 05; do
  echo "entry of day $day" >> "$src/journal.txt"
  make_archive "202406$day"
  rotate
done

log "left:"
ls -1 "$dest"
log "journal in the newest backup:"
tar -xzOf "$dest/data-20240605.tar.gz" data/journal.txt
