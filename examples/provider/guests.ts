/** Guests of the conformance suite as shell scripts: input on stdin, result on fd 3. */
export const guests = {
  echo: 'cat >&3',
  speaks: `n=0
while [ $n -lt 200 ]; do
  if [ $((n % 2)) = 1 ]; then echo "line $n" >&2; else echo "line $n"; fi
  n=$((n + 1))
done
echo 200 >&3`,
  floods: `head -c 8388608 /dev/zero | tr '\\0' x; echo '"flooded"' >&3`,
  spins: 'echo spinning; while :; do :; done',
  waits: 'echo waiting; sleep 1000',
} as const
