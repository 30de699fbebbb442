// expects: memory-shape
// memory: 128MB
// The same for JavaScript: what it keeps only grows.
export default async () => {
  const held = []
  for (let step = 0; step < 58; step++) {
    held.push(new Uint8Array(2 * 2 ** 20).fill(step + 1))
    await new Promise((done) => setTimeout(done, 110))
  }
  return held.length
}
