import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { code, type Chapter } from '../case.ts'
import { floodBytes } from '../guests.ts'
import { inTime, patienceMs, until } from '../stand.ts'

/** Bytes in flight under back-pressure: socket buffers and one chunk. */
const onItsWayBytesMax = 4 * 2 ** 20
const chunkBytesMax = 64 * 1024
const heldMs = 150

export const streams: Chapter = {
  name: 'Streams',
  cases: [
    {
      title: 'Each stream keeps its order, and stdout and stderr stay separate',
      needs: [{ guest: 'speaks' }],
      async run(stand) {
        const { stdout, stderr } = await stand.run(stand.guests.speaks)
        const lines = Array.from({ length: 200 }, (_, n) => `line ${n}\n`)
        assert.equal(stdout, lines.filter((_, n) => n % 2 === 0).join(''))
        assert.equal(stderr, lines.filter((_, n) => n % 2 === 1).join(''))
      },
    },
    {
      title: 'A slow sink applies back-pressure to the guest, and no output is lost',
      needs: [{ guest: 'floods' }],
      async run(stand) {
        const gate = Promise.withResolvers<void>()
        let taken = 0
        let sinks = 0
        let sinksMost = 0
        const running = await stand.start(stand.guests.floods, {
          limits: { output: 2 * floodBytes, timeout: patienceMs },
          io: {
            async stdout(chunk) {
              sinksMost = Math.max(sinksMost, ++sinks)
              await gate.promise
              taken += chunk.length
              sinks--
            },
          },
        })
        await using _sandbox = running.sandbox
        let isOver = false
        void running.end.then(() => (isOver = true))
        await until(() => sinks > 0, 'the first chunk')
        const before = process.memoryUsage()
        await sleep(heldMs)
        const after = process.memoryUsage()
        assert.equal(isOver, false, 'the guest ended while its sink was waiting')
        const grown = after.arrayBuffers - before.arrayBuffers
        assert.ok(grown < onItsWayBytesMax, `${grown} bytes were buffered for a blocked sink`)
        gate.resolve()
        const end = await inTime(running.end, 'the end of a held guest')
        assert.deepEqual([end.status, taken], ['ok', floodBytes])
        assert.equal(sinksMost, 1, 'a chunk was sent while another was pending')
      },
    },
    {
      title: 'A chunk has at most 64 KiB, and characters are not split',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const sizes: number[] = []
        const text = '🐝é'.repeat(20_000)
        const { stdout } = await stand.run(
          `const text = ${JSON.stringify(text)}
          for (let n = 0; n < 5; n++) console.log(text)`,
          {
            io: { stdout: (chunk) => void sizes.push(chunk.length) },
          },
        )
        assert.ok(Math.max(...sizes) <= chunkBytesMax, `${Math.max(...sizes)} bytes`)
        assert.ok(stdout === `${text}\n`.repeat(5), `${stdout.length} characters arrived`)
      },
    },
    {
      title: 'Output printed before a hang is delivered during it',
      needs: [{ guest: 'spins' }],
      async run(stand) {
        const running = await stand.start(stand.guests.spins)
        await using _sandbox = running.sandbox
        await running.said('spinning')
      },
    },
    {
      title: 'A sink that throws does not prevent the end of the job',
      needs: [{ guest: 'speaks' }],
      async run(stand) {
        const { end } = await stand.run(stand.guests.speaks, {
          io: { stdout: () => Promise.reject(new Error('the sink is broken')) },
        })
        assert.ok(['ok', 'failed', 'terminated'].includes(end.status), end.status)
      },
    },
  ],
}
