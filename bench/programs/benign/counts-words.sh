# A pipeline of sort and uniq.
for n in $(seq 2000); do echo "word$((n % 97)) and word$((n % 89))"; done > words.txt
tr ' ' '\n' < words.txt | sort | uniq -c | sort -rn | head -n 5
