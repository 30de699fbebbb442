import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { openSync, closeSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { after, suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { composeForked, type ForkedJail } from '../../src/jail/forked.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { step } from '../../src/jail/launch-steps.ts'
import { pythonProgram } from '../../src/jail/whole-guests.ts'
import { identify, nameOfProcess, processFacts } from '../../src/os/proc.ts'
import { adoptChild, endStrays, spawnChild } from '../../src/os/spawned-child.ts'
import { takeSlot } from '../../src/warden/slots.ts'
import { assertForkedWall } from '../../src/warden/engines/processes/forked-proof.ts'
import { templateName, Zygote } from '../../src/warden/engines/processes/zygote.ts'
import { pidChainOf } from '../../src/warden/readiness.ts'
import { until } from '../conformance/stand.ts'

/**
 * A template and its forks by hand: a fork that fails at each of its steps, layers that were left out, words on the socket
 * of a template that is none. In no case does a program say that it is ready behind less than the whole wall.
 */
const facts = findJailFacts()
const [launcher, library] = [await openOwnProgram('launcher'), await openOwnProgram('zygote')]
const unable =
  ('missing' in library && library.missing) ||
  ('missing' in launcher && launcher.missing) ||
  (!facts.namespaces && 'no namespaces here')
const slot = !unable && facts.root ? takeSlot() : undefined
const other = spawnChild('/bin/sleep', ['600'], { stdio: ['ignore'] })
after(() => {
  slot?.release()
  other.kill('SIGKILL')
})

suite('A fork of a template', { skip: unable }, () => {
  test('fails at any of its steps with a message, and the next fork is a complete wall', async () => {
    await using template = await openTemplate()
    const { steps } = template.jail
    const places = placesOfSteps(steps)
    assert.ok(places.length > 60, `${places.length}`)
    for (const at of places) {
      const child = await template.fork([
        ...steps.slice(0, at),
        ...step('dance'),
        ...steps.slice(at),
      ])
      assert.match(await child.said(), /Elauncher: dance is not a known step/, `${steps[at]}`)
      assert.equal((await child.ended)[0], 1)
      assert.ok(template.zygote.isAlive)
    }
    const wall = await template.fork(steps)
    assert.equal(await wall.said(), 'R')
    assert.doesNotThrow(() => assertForkedWall(wall.resources(), facts))
    wall.close()
    await wall.ended
  })

  for (const layer of left()) {
    test(`never runs a program without ${layer.title}`, async () => {
      await using template = await openTemplate()
      const child = await template.fork(layer.without(template.jail.steps))
      try {
        const said = await child.said()
        if (said !== 'R') return assert.match(said, layer.found)
        assert.throws(() => assertForkedWall(child.resources(), facts), layer.found)
      } finally {
        child.close()
        await child.ended
      }
    })
  }

  test('ends by itself if the warden has closed its sockets', async () => {
    await using template = await openTemplate()
    const child = await template.fork(template.jail.steps, { isLost: true })
    await child.ended
    assert.ok(template.zygote.isAlive)
  })

  test('is refused if its request is too large, and the template ends', async () => {
    await using template = await openTemplate()
    const steps = [...template.jail.steps, ...step('variables', 'x'.repeat(2 ** 19))]
    await assert.rejects(template.fork(steps), /Cannot fork a wall from its template/)
    assert.equal(template.zygote.isAlive, false)
  })
})

suite('A template', { skip: unable }, () => {
  test('has only the capabilities that walls need, no network, no file of the host, and cannot be traced', async (t) => {
    if (!facts.root) return t.skip('in a user namespace it has a /proc')
    await using template = await openTemplate()
    const status = readFileSync(`/proc/${template.zygote.pid}/status`, 'utf8')
    const field = (name: string) => new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1]
    // CHOWN, SETGID, SETUID, SETPCAP, NET_ADMIN, SYS_ADMIN.
    for (const set of ['CapPrm', 'CapEff', 'CapBnd'])
      assert.equal(BigInt(`0x${field(set)}`), 0b1000000001000111000001n, set)
    assert.deepEqual([field('NoNewPrivs'), field('Seccomp'), field('Threads')], ['1', '2', '1'])
    const devices = readFileSync(`/proc/${template.zygote.pid}/net/dev`, 'utf8').match(/\w+(?=:)/g)
    assert.deepEqual(devices, ['lo'])
    const mounts = readFileSync(`/proc/${template.zygote.pid}/mounts`, 'utf8')
    assert.doesNotMatch(mounts, / \/(proc|sys|home|root|var)\b/)
  })

  test('is the same for walls that are parked as spares and those that are not', () => {
    assert.deepEqual(composed({ isWarm: true }).template, composed({ isWarm: false }).template)
  })

  test('is identified by the name of its orphans, and only these are ended', async () => {
    await using template = await openTemplate()
    const { pid } = template.zygote
    const fd = openSync('/dev/null', 'r')
    // Without a socket the child ends at once, and the warden is not notified.
    const child = await template.zygote.fork({
      given: [[fd, 0]],
      steps: step('fork'),
      filter: undefined,
    })
    closeSync(fd)
    await until(() => processFacts(child)?.state === 'Z', 'its end')
    endStrays(templateName(pid! + 1))
    await turn()
    assert.equal(nameOfProcess(child), templateName(pid!))
    endStrays(templateName(pid!))
    await until(() => processFacts(child) === undefined, 'its exit code to be read')
  })

  for (const [title, pidOf] of [
    ['a process of another parent', () => 1],
    ['a child that the warden already knows', () => other.pid!],
  ] as const)
    test(`is ended when it names ${title}`, async () => {
      const pid = pidOf()
      const zygote = new Zygote({
        jail: { file: '/bin/sh', args: ['-c', liesOf(pid)] },
        launcher: launcher as never,
        library: library as never,
      })
      await zygote.ready
      const fd = openSync('/dev/null', 'r')
      try {
        const asked = zygote.fork({ given: [[fd, 0]], steps: step('fork'), filter: undefined })
        await assert.rejects(asked, new RegExp(`process ${pid} is no new child of the warden`))
      } finally {
        closeSync(fd)
      }
      assert.equal(zygote.isAlive, false)
      await zygote.gone
      assert.deepEqual([other.exitCode, other.signalCode], [null, null])
    })
})

/** A fake template: reports ready, and answers the first request with this pid. */
function liesOf(pid: number): string {
  const answer = Buffer.alloc(8)
  answer.writeUInt32LE(1, 0)
  answer.writeInt32LE(pid, 4)
  const bytes = [...answer].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
  return `printf R >&4; head -c 1 <&5 >/dev/null; printf '${bytes}' >&5; sleep 60`
}

/** Layers omitted from the steps, and the check that detects it: in the program itself, or in the warden. */
function left() {
  const dropped = (name: string) => (steps: readonly string[]) =>
    namedSteps(steps)
      .filter(([one]) => one !== name)
      .flat()
  const namespace = (name: string) => (steps: readonly string[]) =>
    namedSteps(steps).flatMap((one) =>
      one[0] === 'namespaces'
        ? step('namespaces', ...one.slice(2).filter((kind) => kind !== name))
        : one,
    )
  const proof = (of: string) => new RegExp(`^Elauncher: proof ${of}: `)
  return [
    { title: 'its filters', without: dropped('seccomp'), found: proof('unshare') },
    {
      title: 'an empty bounding set',
      without: dropped('empty-bounding-set'),
      found: proof('bounding set'),
    },
    { title: 'a network namespace', without: namespace('net'), found: /net:|loopback/ },
    {
      title: 'a pid namespace',
      without: namespace('pid'),
      found: /its processes|pid|Elauncher/,
    },
    { title: 'an IPC namespace', without: namespace('ipc'), found: /ipc:/ },
    {
      title: 'its own root',
      without: dropped('pivot'),
      // Landlock refuses the runner its file of results in the host's /tmp before anything else is examined.
      found: /Elauncher|root device|EPermissionError/,
    },
    ...(facts.root
      ? [{ title: 'its own uid', without: dropped('become'), found: proof('user') }]
      : []),
  ]
}

async function openTemplate() {
  assert.ok('fd' in launcher && 'fd' in library)
  const jail = composed()
  const zygote = new Zygote({ jail: jail.template, launcher, library })
  await zygote.ready
  return {
    zygote,
    jail,
    fork: (steps: readonly string[], how: { isLost?: boolean } = {}) =>
      forkFrom(zygote, jail, steps, how),
    async [Symbol.asyncDispose]() {
      zygote.close()
      await zygote.gone
    },
  }
}

function composed({ isWarm = true } = {}): ForkedJail {
  const program = pythonProgram({ scratchBytes: 2 ** 24, isWarm })
  // Without a sentinel the fixed filter is a step.
  return composeForked(program, facts, {
    uid: slot?.uid,
    without: [],
    hasLauncher: true,
    isInGroup: false,
  })!
}

async function forkFrom(
  zygote: Zygote,
  { filter }: ForkedJail,
  steps: readonly string[],
  { isLost = false }: { isLost?: boolean },
) {
  const stdio = ['ignore', 'pipe', 'pipe', 'ignore', 'pipe', 'pipe'] as const
  const child = await adoptChild(stdio, (given) => zygote.fork({ given, steps, filter }))
  const streams = child.stdio as unknown as Socket[]
  const close = () => {
    for (const one of streams) one?.destroy()
  }
  const ended =
    child.exitCode === null ? once(child as never, 'exit') : Promise.resolve([child.exitCode])
  if (isLost) close()
  return {
    ended,
    close,
    said: () => firstOf(streams[4]!),
    resources() {
      const processes = pidChainOf(child.pid!, true).map(identify)
      return { child, processes, slot, cgroup: undefined, forkedFrom: zygote.surroundings } as never
    },
  }
}

async function firstOf(stream: Socket): Promise<string> {
  const [chunk] = await Promise.race([once(stream, 'data'), once(stream, 'end').then(() => [''])])
  return String(chunk)
}

function placesOfSteps(steps: readonly string[]): readonly number[] {
  const places: number[] = []
  for (let at = 0; at < steps.length; at += 2 + Number(steps[at + 1])) places.push(at)
  return places
}

function namedSteps(steps: readonly string[]): readonly (readonly string[])[] {
  return placesOfSteps(steps).map((at) => steps.slice(at, at + 2 + Number(steps[at + 1])))
}
