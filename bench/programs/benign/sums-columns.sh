# A data job with awk and sed.
seq 1 20000 | awk '{ print $1 "," ($1 * 37) % 1000 }' > table.csv
sed 's/,/ /' table.csv | awk '{ sum += $2 } END { print NR, sum }'
