/** Waits for an answer as long as one may take, and computes with it. */
export default async () => {
  await new Promise((done) => setTimeout(done, 2000))
  let total = 0
  for (const until = Date.now() + 2500; Date.now() < until;) total = (total * 31 + 7) % 1_000_003
  return total >= 0
}
