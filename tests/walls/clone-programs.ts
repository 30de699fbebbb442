import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { HostMessageOf } from '../../src/agent-wire/encode.ts'
import type { AgentLink } from '../../src/agent-wire/agent-link.ts'

/** Programs that wait in a template for lines of standard input, and answer each with a line. */
export const parkedPrograms = ['python', 'node'] as const
export type ParkedProgram = (typeof parkedPrograms)[number]

const WAIT_MS_MAX = 240_000
const CREDIT = 2 ** 20
const guest = join(import.meta.dirname, '../../guest/process')
const source = (name: string) => readFileSync(join(guest, name), 'utf8')

/** Draws random values before the snapshot too, so that a clone which reuses them is detected. */
const inPython = `
import sys, os, random, uuid, json, socket, time
exec(compile(sys.argv[1].replace("import mayfly_wire", ""), "renew", "exec"))
def draw():
    read = lambda path: open(path).read().strip()
    return {"getrandom": os.getrandom(16).hex(), "random": random.random(), "uuid4": str(uuid.uuid4()),
        "bootId": read("/proc/sys/kernel/random/boot_id"), "machineId": read("/etc/machine-id"),
        "hostname": socket.gethostname(), "timeMs": time.time() * 1000}
draw_once = random.random(), uuid.uuid4(), os.getrandom(16)
print("ready", flush=True)
kept = {}
for line in sys.stdin:
    word = line.strip()
    if word == "renew": renew(); print("renewed", flush=True)
    elif word == "draw": print(json.dumps(draw()), flush=True)
    elif word.startswith("keep "): kept["it"] = word[5:] * 100; open("/tmp/kept", "w").write(kept["it"]); print("kept", flush=True)
    else: print("ready", flush=True)
`
const inNode = `
const { randomBytes, randomUUID } = require('node:crypto'), fs = require('node:fs'), os = require('node:os')
const read = (path) => fs.readFileSync(path, 'utf8').trim()
const draw = () => ({ randomBytes: randomBytes(16).toString('hex'), randomUUID: randomUUID(), random: Math.random(),
  bootId: read('/proc/sys/kernel/random/boot_id'), machineId: read('/etc/machine-id'), hostname: os.hostname(), timeMs: Date.now() })
randomUUID(); randomBytes(16)
import('data:text/javascript,' + encodeURIComponent(process.argv[1])).then(({ renew }) => {
  console.log('ready')
  require('node:readline').createInterface({ input: process.stdin }).on('line', (word) => {
    if (word === 'renew') renew(), console.log('renewed')
    else console.log(word === 'draw' ? JSON.stringify(draw()) : 'ready')
  })
})
`

const commands: Readonly<Record<ParkedProgram, readonly string[]>> = {
  python: ['/usr/bin/python3', '-c', inPython, source('mayfly_template.py')],
  node: ['/usr/bin/node', '-e', inNode, source('renew.js')],
}

/** Starts a program in a machine, and waits until it reads standard input. */
export async function park(agent: AgentLink, program: ParkedProgram): Promise<void> {
  const args = commands[program]
  const run: HostMessageOf<'run'> = {
    kind: 'run',
    program: 1,
    streams: ['stdin', 'stdout', 'stderr'],
    uid: 1000,
    gid: 1000,
    stdoutCredit: CREDIT,
    stderrCredit: CREDIT,
    file: args[0]!,
    folder: '/work',
    args,
    variables: ['PATH=/usr/bin:/bin', 'HOME=/tmp'],
    descriptors: [],
  }
  agent.send(run)
  assert.equal((await nextLine(agent)).trim(), 'ready')
}

/** Sends a line, and resolves with the answer. */
export async function ask(agent: AgentLink, word: string): Promise<string> {
  agent.send({ kind: 'input', program: 1, bytes: Buffer.from(`${word}\n`) })
  return await nextLine(agent)
}

export interface Drawn {
  readonly [name: string]: string | number
  readonly timeMs: number
}

export async function draw(agent: AgentLink): Promise<Drawn> {
  return JSON.parse(await ask(agent, 'draw')) as Drawn
}

async function nextLine(agent: AgentLink): Promise<string> {
  for (let said = ''; ;) {
    const message = await agent.take(['output', 'exited', 'refused'], WAIT_MS_MAX)
    assert.ok(message.kind === 'output', JSON.stringify(message))
    assert.equal(message.stream, 'stdout', message.bytes.toString())
    said += message.bytes.toString()
    if (said.endsWith('\n')) return said
  }
}
