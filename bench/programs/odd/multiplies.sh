# expects: fork-storm
# wall: embedded
# processes: 64
# Starts more and more of what does nothing.
for n in $(seq 60); do
  sleep 2 &
done
wait
echo done
