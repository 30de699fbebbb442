// expects: cpu-shape
// Waits until nobody looks any more, and then computes as fast as it can.
export default async () => {
  await new Promise((done) => setTimeout(done, 3600))
  let hash = 1
  for (const until = Date.now() + 3200; Date.now() < until;)
    for (let n = 0; n < 100_000; n++) hash = Math.imul(hash ^ n, 16777619)
  return hash
}
