// Works a little, lets go, works again.
export default async () => {
  let total = 0
  for (let turn = 0; turn < 40; turn++) {
    for (let n = 0; n < 300_000; n++) total = (total + n * turn) % 1_000_003
    await new Promise((done) => setTimeout(done, 25))
  }
  return total
}
