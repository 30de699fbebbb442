import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import { MayflyError } from '../../../contract/error.ts'
import { MemoryCopies } from '../../../walls/memory-capture.ts'
import { GuestCaptures } from './captures.ts'
import { JobFreezer } from './job-freezer.ts'
import type { GuestCopy } from './source.ts'
import { NestedPauses } from './nested-pauses.ts'

const copy: GuestCopy = {
  isResumable: true,
  base: { path: '/template/memory', sha256: 'f'.repeat(64) },
  async *files() {
    yield { name: 'memory.zst', bytes: Buffer.from('pages') }
    return { isWhole: true, lacks: [] }
  },
}
const broken = () => Promise.reject(new MayflyError('PROTOCOL', 'Cannot speak to an agent'))
const frozen = { kind: 'held', nonce: 1, errno: 0 }

test('A guest that does not freeze its job is not asked for its view, and the capture reports that', async () => {
  const { capture, asked, states } = await captureOf(broken)
  assert.deepEqual(namesOf(capture), ['memory.zst'])
  assert.equal(Buffer.concat(capture.parts[0]!.bytes).toString(), 'pages')
  assert.match(capture.why!, /^the guest did not freeze its job/)
  assert.deepEqual(asked, ['hold'])
  assert.deepEqual(states, ['pause', 'resume', 'pause', 'resume'])
  assert.deepEqual(capture.base, copy.base)
})

test('A guest that ends while it reports leaves the memory in its capture, and the reason', async () => {
  const { capture, asked, states } = await captureOf((kind) =>
    kind === 'hold' ? Promise.resolve(frozen) : broken(),
  )
  assert.deepEqual(namesOf(capture), ['memory.zst'])
  assert.equal(Buffer.concat(capture.parts[0]!.bytes).toString(), 'pages')
  assert.match(capture.why!, /did not report its processes, sockets and files/)
  assert.deepEqual(asked, ['hold', 'status'])
  assert.equal(states.at(-1), 'resume')
})

test('A guest that was paused by its CPU limit freezes its job before its memory is copied', async () => {
  const { capture, states } = await captureOf(
    (kind) => (kind === 'hold' ? Promise.resolve(frozen) : broken()),
    (pauses) => pauses.pause('cpu'),
  )
  assert.match(capture.why!, /did not report/)
  assert.deepEqual(states, ['pause', 'resume', 'pause', 'resume', 'pause'])
})

const position = { inputBytes: 1, abilities: [], seenCredit: 0, programs: [] }
const freezes = (kind: string) => (kind === 'hold' ? Promise.resolve(frozen) : broken())

test('A copy that can be resumed has the position of the conversation, and one that is not at rest says so', async () => {
  const { capture } = await captureOf(freezes, nothing, { position })
  assert.deepEqual(namesOf(capture), ['memory.zst', 'agent.json'])
  const bytes = Buffer.concat(capture.parts.at(-1)!.bytes)
  assert.deepEqual(JSON.parse(bytes.toString()), position)
  const restless = {
    get position(): never {
      throw new RangeError('a conversation is not at rest')
    },
  }
  const other = await captureOf(freezes, nothing, restless)
  assert.deepEqual(namesOf(other.capture), ['memory.zst'])
  assert.match(other.capture.why!, /not at rest, so it cannot be resumed/)
})

test('A copy that is incomplete, or of a kind that cannot be resumed, has no position', async () => {
  const parts: readonly Partial<GuestCopy>[] = [
    { isResumable: false },
    {
      async *files() {
        yield { name: 'memory.zst', bytes: Buffer.from('pages') }
        return { isWhole: true, lacks: ['memory beyond'] }
      },
    },
  ]
  for (const part of parts) {
    const { capture } = await captureOf(freezes, nothing, { position }, { ...copy, ...part })
    assert.deepEqual(namesOf(capture), ['memory.zst'])
    assert.doesNotMatch(capture.why!, /resumed/)
  }
})

function namesOf({ parts }: { readonly parts: readonly { readonly name: string }[] }) {
  return parts.map(({ name }) => name)
}

const nothing = async () => undefined

/** Captures a played guest, whose agent answers as `answer` does. */
async function captureOf(
  answer: (kind: string) => Promise<object>,
  before: (pauses: NestedPauses) => Promise<void> = nothing,
  more: object = {},
  copied = copy,
) {
  const asked: string[] = []
  const states: string[] = []
  const own = {
    ask({ kind }: { readonly kind: string }) {
      asked.push(kind)
      return answer(kind)
    },
  }
  const agent = Object.defineProperties(
    own,
    Object.getOwnPropertyDescriptors(more),
  ) as unknown as AgentLink
  const gone = Promise.withResolvers<void>()
  const resumed = async () => void states.push('resume')
  const paused = async () => void states.push('pause')
  const resumeDuring = async () => (await resumed(), paused)
  const thaw = () => resumed().then(gone.resolve)
  const pauses = new NestedPauses({ freeze: paused, thaw, resumeDuring })
  await before(pauses)
  const captures = new GuestCaptures(copied, {
    id: 'w1',
    agent,
    pauses,
    freezer: new JobFreezer(agent),
  })
  const copies = new MemoryCopies()
  const capture = await copies.copy(
    () => captures.open(),
    (bytesMax) => captures.capture(bytesMax),
  )
  if (before === nothing) await gone.promise
  copies.close()
  return { capture, asked, states }
}
