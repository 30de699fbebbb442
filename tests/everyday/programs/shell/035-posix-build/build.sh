#!/bin/sh
# a make for the poor: rebuild only when the source is newer
set -eu
out=build
mkdir -p $out

needs_update() { [ ! -e "$1" ] || [ -n "$(find "$2" -newer "$1")" ]; }

build() {
    built=0
    for s in src/*.txt; do
        t=$out/$(basename "$s" .txt).html
        if needs_update "$t" "$s"; then
            echo "  HTML $t"
            { echo '<p>'; sed 's/$/<br>/' "$s"; echo '</p>'; } > "$t"
            built=$((built + 1))
        fi
    done
    if [ $built -gt 0 ] || [ ! -e $out/book.html ]; then
        echo "  BOOK $out/book.html"
        cat $out/ch*.html > $out/book.html
    else
        echo "  nothing to do"
    fi
}

echo "first build:"; touch -d '2024-01-01' src/*.txt; build
echo "again:"; build
echo "after a change:"
echo "one more line" >> src/ch1.txt
touch -d '2099-01-01' src/ch1.txt
build
grep -c '<br>' $out/book.html
cat $out/book.html
