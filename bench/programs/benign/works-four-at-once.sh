# A pool of four by xargs.
seq 40 | xargs -P 4 -n 1 sh -c 'sleep 0.03; echo "done $0"' | sort | tail -n 1
