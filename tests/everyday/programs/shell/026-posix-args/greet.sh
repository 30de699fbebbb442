#!/bin/sh
# POSIX argument parsing with long options

prog=$(basename "$0")
usage() {
    cat <<EOT
usage: $prog [--shout] [--times N] [--lang en|de|fr] NAME...
EOT
}

shout=no times=1 lang=en
while [ $# -gt 0 ]; do
    case "$1" in
        -h|--help) usage; exit 0 ;;
        --shout) shout=yes ;;
        --times) shift; times=$1 ;;
        --times=*) times=${1#*=} ;;
        --lang=*) lang=${1#--lang=} ;;
        --) shift; break ;;
        -*) echo "$prog: unknown option $1"; usage; exit 64 ;;
        *) break ;;
    esac
    shift
done

[ $# -gt 0 ] || { usage >&2; exit 64; }

case $lang in
    en) word=Hello ;;
    de) word=Hallo ;;
    fr) word=Salut ;;
    *) echo "no such language: $lang" >&2; exit 65 ;;
esac

for name in "$@"; do
    i=0
    while [ "$i" -lt "$times" ]; do
        msg="$word, $name!"
        [ "$shout" = yes ] && msg=$(printf '%s' "$msg" | tr '[:lower:]' '[:upper:]')
        echo "$msg"
        i=$((i + 1))
    done
done
