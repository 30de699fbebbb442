// allow: http://a.example:PORT
// Waits for something to be ready, longer each time.
export default async () => {
  const seen = []
  for (let wait = 50; wait < 1500; wait *= 2) {
    seen.push((await fetch('http://a.example:PORT/ready')).status)
    await new Promise((done) => setTimeout(done, wait))
  }
  return seen
}
