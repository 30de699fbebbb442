# processes: 64
# Twenty small programs at once, and their ends.
for n in $(seq 20); do (sleep 0.5; echo "$n" > "done.$n") & done
wait
ls done.* | wc -l
