// allow: http://a.example:PORT
// Asks a host that was granted by its name again and again, as a status page does.
export default async () => {
  let right = 0
  for (let time = 0; time < 8; time++) {
    right += (await fetch('http://a.example:PORT/status')).ok ? 1 : 0
    await new Promise((done) => setTimeout(done, 300))
  }
  return right
}
