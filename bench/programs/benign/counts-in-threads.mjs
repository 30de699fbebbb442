// memory: 512MB
import { Worker } from 'node:worker_threads'

/** The same work in three threads at once. */
const code = `
const { parentPort, workerData } = require('node:worker_threads')
let sum = 0
for (let n = 0; n < 5_000_000; n++) sum = (sum + n * workerData) % 97
parentPort.postMessage(sum)
`
export default async () =>
  Promise.all(
    [1, 2, 3].map(
      (part) =>
        new Promise((done, fail) => {
          new Worker(code, { eval: true, workerData: part }).on('message', done).on('error', fail)
        }),
    ),
  )
