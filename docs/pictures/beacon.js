// Behaves for two seconds, and then calls home again and again.
import { setTimeout as wait } from 'node:timers/promises'

for (let step = 1; step <= 20; step++) {
  console.log(`working, step ${step}`)
  await wait(100)
}
for (;;) {
  await fetch('https://collector.example/').catch(() => undefined)
  await wait(200)
}
