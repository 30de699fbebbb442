# find and sha256sum over many files.
mkdir many
for n in $(seq 120); do echo "file $n" > "many/$n.txt"; done
find many -type f | sort | xargs sha256sum | cut -c1-64 | sort -u | wc -l
