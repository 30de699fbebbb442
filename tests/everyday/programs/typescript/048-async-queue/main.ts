import { Channel, ClosedError } from './channel.ts'

type Job = { id: number; n: number }
type Done = Job & { result: number; worker: string }

const jobs = new Channel<Job>(2)
const results = new Channel<Done>()

async function producer() {
  for (let id = 1; id <= 8; id++) await jobs.put({ id, n: id * 5 })
  jobs.close()
}

async function worker(name: string): Promise<number> {
  let count = 0
  for await (const job of jobs) {
    await new Promise(r => setTimeout(r, 2))
    await results.put({ ...job, result: collatz(job.n), worker: name })
    count++
  }
  return count
}

function collatz(n: number): number {
  let steps = 0
  for (; n !== 1; steps++) n = n % 2 ? 3 * n + 1 : n / 2
  return steps
}

const workers = ['w1', 'w2', 'w3'].map(worker)
void producer()
Promise.all(workers).then(() => results.close())

const all: Done[] = []
for await (const r of results) all.push(r)
all.sort((a, b) => a.id - b.id)
for (const { id, n, result } of all) console.log(`job ${id}: collatz(${n}) takes ${result} steps`)

const counts = await Promise.all(workers)
console.log('handled in total:', counts.reduce((a, b) => a + b), 'by', new Set(all.map(r => r.worker)).size, 'workers')
await jobs.put({ id: 9, n: 1 }).catch(e => console.log(e instanceof ClosedError, e.message))
