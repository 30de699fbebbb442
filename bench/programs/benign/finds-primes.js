// A sieve.
export default () => {
  const most = 2_000_000
  const isOut = new Uint8Array(most)
  for (let n = 2; n * n < most; n++)
    if (!isOut[n]) for (let m = n * n; m < most; m += n) isOut[m] = 1
  return isOut.reduce((count, out, n) => count + (n > 1 && !out ? 1 : 0), 0)
}
