import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Twelve small programs, three at a time. */
export default async () => {
  const words = Array.from({ length: 12 }, (_, n) => `word ${n}`)
  const said = []
  const workers = [0, 1, 2].map(async () => {
    for (let word = words.pop(); word; word = words.pop())
      said.push((await run('/bin/echo', [word])).stdout.trim())
  })
  await Promise.all(workers)
  return said.length
}
