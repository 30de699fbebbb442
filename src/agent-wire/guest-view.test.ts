import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import type { AgentAnswer, AgentLink, AgentQuestion } from './agent-link.ts'
import type { GuestProcess, OverlayEntry } from './decode.ts'
import { viewBytesMax, viewGuest, viewParts } from './guest-view.ts'
import { listedEntriesMax } from './numbers.ts'

type Answers = Partial<Record<AgentQuestion['kind'], (question: never) => object>>

const tcp = [
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
  '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   500        0 77 1 ffff 100 0 0 10 0',
  '   1: not a line of the kernel',
  '',
].join('\n')

suite('The view of a guest', () => {
  test('S1-20: Processes with commands, sockets with their processes, and written files are reported', async () => {
    const { parts, missing } = await viewOf(honest())
    assert.deepEqual(missing, [])
    assert.deepEqual([...parts.keys()].toSorted(), Object.values(viewParts).toSorted())
    const { processes, trust } = jsonOf(parts, viewParts.processes)
    assert.equal(trust, 'guest')
    assert.deepEqual(processes[1], {
      pid: 7,
      parent: 1,
      name: 'python3',
      rssKiB: 9,
      cpuMs: 2,
      uid: 500,
      command: ['python3', '-c', 'pass'],
      executable: '/usr/bin/python3',
      folder: '/work',
      descriptors: [{ number: 3, target: 'socket:[77]' }],
    })
    const { sockets, unread } = jsonOf(parts, viewParts.sockets)
    const listening = { protocol: 'tcp', local: '127.0.0.1:8080', remote: '0.0.0.0:0' }
    assert.deepEqual(sockets, [{ ...listening, state: 'LISTEN', uid: 500, inode: 77, pids: [7] }])
    assert.equal(unread, 1)
    const { files } = jsonOf(parts, viewParts.files)
    assert.deepEqual(
      files.map((file: { path: string }) => file.path),
      ['/note', '/link', '/device'],
    )
    assert.equal(files[1].target, '../../etc/passwd')
    assert.ok(parts.get(viewParts.archive)!.includes('content of the note'))
  })

  test('Links and devices of a guest are not in the archive, and each file has a name of its own', async () => {
    const twice = [entry('same'), entry('same'), entry('b\uFFFD'), entry('b\uFFFD')]
    const empty = () => chunk(Buffer.alloc(0))
    const answers = honest({ look: at('overlay', '', twice), read: empty })
    const { parts } = await viewOf(answers)
    const { files } = jsonOf(parts, viewParts.files)
    const names = files.map((file: { archived: string }) => file.archived)
    assert.deepEqual(names, ['same', 'same~2', 'b\uFFFD', 'b\uFFFD~2'])
    const archive = parts.get(viewParts.archive)!
    for (const name of names) assert.ok(archive.includes(`${name}\0`), name)
    const read = ({ bytes }: { bytes: number }) => chunk(Buffer.alloc(bytes, 'f'))
    const types = typesOf((await viewOf(honest({ read }))).parts.get(viewParts.archive)!)
    assert.deepEqual(types, ['0'])
  })

  test('A guest that never answers costs the deadline, and the reason is returned', async () => {
    const began = performance.now()
    given.length = 0
    const { parts, missing } = await viewOf({}, 50)
    assert.ok(given.length > 0 && given.every((ms) => ms > 0 && ms <= 50), given.join())
    assert.deepEqual([parts.size, missing.length], [0, 1])
    assert.match(missing[0]!, /did not report its processes, sockets and files/)
    assert.ok(performance.now() - began < 2_000)
  })

  test('A guest that stops to answer in the middle keeps the parts before, and the reason is returned', async () => {
    const { parts, missing } = await viewOf(honest({ look: undefined }), 200)
    assert.ok(parts.has(viewParts.processes))
    assert.ok(missing.length > 0)
  })

  test('A million processes are counted, and the part lists those that were sent', async () => {
    const answers = honest({ status: () => ({ count: 1_000_000, processes: processesOf(512) }) })
    const { parts, missing } = await viewOf(answers)
    const { count, isWhole, processes } = jsonOf(parts, viewParts.processes)
    assert.deepEqual([count, isWhole, processes.length], [1_000_000, false, 512])
    assert.ok(missing.includes('the processes that the guest reported are incomplete'))
  })

  test('Processes that are slow to list leave time for the files', async () => {
    const slow = { ...honest(), status: () => ({ count: 512, processes: processesOf(512) }) }
    const { read } = slow
    const answers: Answers = {
      ...slow,
      read: async (question: never) => {
        const { place } = question as { place: string }
        if (place === 'proc') await new Promise((resolve) => setTimeout(resolve, 20))
        return read!(question)
      },
    }
    const { parts, missing } = await viewOf(answers, 1_000)
    assert.deepEqual(missing, ['the processes that the guest reported are incomplete'])
    assert.ok(parts.get(viewParts.archive)!.includes('content of the note'))
  })

  test('Folders without end and files of any size are cut at limits of names and bytes', async () => {
    const folders = Array.from({ length: listedEntriesMax }, (_, at) =>
      entry(`${at}`.repeat(60), 'folder'),
    )
    const files = [entry('huge', 'file', 2 ** 50), entry('small', 'file', 2 ** 21)]
    const endless = honest({
      look: () => ({
        errno: 0,
        hasMore: true,
        entries: [...folders, ...files].slice(-listedEntriesMax),
      }),
      read: ({ bytes }: { bytes: number }) => chunk(Buffer.alloc(bytes, 'f')),
    })
    const { parts, missing } = await viewOf(endless, 60_000)
    const total = [...parts.values()].reduce((sum, { length }) => sum + length, 0)
    assert.ok(total < viewBytesMax, `${total}`)
    assert.ok(missing.some((why) => why.includes('files')))
    const listed = jsonOf(parts, viewParts.files)
    assert.ok(listed.files.length > 0 && listed.files.length <= 4_096)
    assert.ok(listed.files.some(({ size }: { size: number }) => size === 2 ** 50))
    assert.equal(listed.isWhole, false)
  })

  test('A file that is longer than its listed size is truncated and marked', async () => {
    const answers = honest({
      look: at('overlay', '', [entry('grows', 'file', 4)]),
      read: ({ bytes }: { bytes: number }) => chunk(Buffer.alloc(bytes, 'g')),
    })
    const { parts } = await viewOf(answers)
    const [file] = jsonOf(parts, viewParts.files).files
    assert.deepEqual([file.size, file.isCut], [4, true])
  })

  test('An answer longer than its request ends the view', async () => {
    const { parts, missing } = await viewOf(honest({ read: () => chunk(Buffer.alloc(70_000)) }))
    assert.deepEqual(
      missing,
      ['processes', 'sockets', 'files'].map(
        (kind) => `the ${kind} that the guest reported are incomplete`,
      ),
    )
    assert.deepEqual(
      parts.get(viewParts.archive),
      Buffer.alloc(1024),
      'the end of an empty archive',
    )
  })
})

function honest(others: { [Kind in keyof Answers]: Answers[Kind] | undefined } = {}): Answers {
  const links: Readonly<Record<string, string>> = {
    '7/exe': '/usr/bin/python3',
    '7/cwd': '/work',
    '7/fd/3': 'socket:[77]',
    link: '../../etc/passwd',
  }
  const files: Readonly<Record<string, string>> = {
    '7/cmdline': 'python3\0-c\0pass\0',
    '1/net/tcp': tcp,
    note: 'content of the note',
  }
  const all: Answers = {
    status: () => ({ count: 2, processes: processesOf(2) }),
    look: ({ place, path }: { place: string; path: Uint8Array | string }) => {
      const name = Buffer.from(path).toString()
      if (place === 'proc' && name === '7/fd') return listed([entry('3', 'link')])
      if (place !== 'overlay' || name !== '') return listed([])
      return listed([entry('note', 'file', 19), entry('link', 'link'), entry('device', 'other')])
    },
    read: ({
      path,
      offset,
      bytes,
    }: {
      path: Uint8Array | string
      offset: number
      bytes: number
    }) => {
      const name = Buffer.from(path).toString()
      if (links[name] !== undefined) return { ...chunk(Buffer.from(links[name])), isLink: true }
      if (name.startsWith('1/net/') || files[name] !== undefined)
        return chunk(Buffer.from(files[name] ?? 'head\n').subarray(offset, offset + bytes))
      return { ...chunk(Buffer.alloc(0)), errno: 2 }
    },
  }
  return Object.fromEntries(Object.entries({ ...all, ...others }).filter(([, one]) => one))
}

function at(place: string, folder: string, entries: readonly OverlayEntry[]) {
  return (asked: { place: string; path: Uint8Array | string }) =>
    listed(asked.place === place && Buffer.from(asked.path).toString() === folder ? entries : [])
}

const listed = (entries: readonly OverlayEntry[]) => ({ errno: 0, hasMore: false, entries })
const chunk = (bytes: Buffer) => ({
  errno: 0,
  isLink: false,
  mode: 0o100644,
  uid: 500,
  size: 0,
  bytes,
})

function entry(name: string, type: OverlayEntry['type'] = 'file', size = 0): OverlayEntry {
  return { name, raw: Buffer.from(name), type, size, modifiedMs: 1_000 }
}

function processesOf(count: number): readonly GuestProcess[] {
  const agent = { pid: 1, parent: 0, name: 'agent', cpuUs: 0, rssKiB: 1 }
  const python = { pid: 7, parent: 1, name: 'python3', cpuUs: 2_400, rssKiB: 9 }
  const others = Array.from({ length: count }, (_, index) => ({ ...python, pid: 100 + index }))
  return [agent, python, ...others].slice(0, count)
}

/** Times that were given to questions without an answer. */
const given: number[] = []

/** A guest whose questions without an answer here are never answered. */
function played(answers: Answers): Pick<AgentLink, 'ask'> {
  return {
    ask: <Asked extends AgentQuestion>(question: Asked, msMax: number) => {
      const answer = answers[question.kind]
      if (answer) return Promise.resolve(answer(question as never) as AgentAnswer<Asked['kind']>)
      const late = new MayflyError('PROTOCOL', 'Cannot speak to an agent: no answer')
      given.push(msMax)
      return new Promise((_, reject) => setTimeout(() => reject(late), msMax))
    },
  }
}

async function viewOf(answers: Answers, msMax = 10_000) {
  const parts = new Map<string, Buffer>()
  const view = viewGuest(played(answers), msMax)
  for (;;) {
    const next = await view.next()
    if (next.done) return { parts, missing: next.value }
    const { name, bytes } = next.value
    parts.set(name, Buffer.concat([parts.get(name) ?? Buffer.alloc(0), bytes]))
  }
}

const jsonOf = (parts: ReadonlyMap<string, Buffer>, name: string) =>
  JSON.parse(parts.get(name)!.toString())

/** Type flags of the entries of an archive. */
function typesOf(archive: Buffer): readonly string[] {
  const types: string[] = []
  for (let offset = 0; archive[offset] !== 0;) {
    types.push(String.fromCharCode(archive[offset + 156]!))
    const size = Number.parseInt(archive.subarray(offset + 124, offset + 135).toString(), 8)
    offset += 512 * (1 + Math.ceil(size / 512))
  }
  return types
}
