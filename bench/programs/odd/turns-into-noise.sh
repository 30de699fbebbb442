# expects: output-growth
# wall: embedded
# The same with the tools of every machine: something packed leaves by the way of words.
for line in $(seq 60); do
  echo "line $line: all is as it should be, and there is nothing to see here"
done
sleep 0.3
head -c 48000 /dev/urandom | gzip -c
