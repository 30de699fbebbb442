import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { noNetwork } from '../../src/contract/controls.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import type { EgressOf } from '../conformance/program-walls.ts'
import { Stand, until, type GuestLanguage, type Made } from '../conformance/stand.ts'
import { ticks } from './wall-programs.ts'

/** Assertions that hold for walls of every kind that has a kernel of its own. */

type Limits = NonNullable<Parameters<Stand['run']>[1]>['limits']

/** Runs jobs of one language in the walls of a provider. */
export function standOf({ provider }: Made, language: GuestLanguage = inPython): Stand {
  return new Stand(provider, () => Promise.reject(new Error('no other')), language)
}

/** Closes the provider first, then its warden. */
export async function closeWalls(made: Made): Promise<void> {
  await made.provider.close?.()
  await made.close()
}

const asks = `
import time, urllib.error, urllib.request
def main(input):
    def ask(url):
        try: return urllib.request.urlopen(url, timeout=20).status
        except urllib.error.HTTPError as error: return error.code
        except OSError as error: return 'cut'
    said = [ask(input['granted']), ask(input['other'])]
    print('asked', flush=True)
    time.sleep(2)
    return [*said, ask(input['granted'])]`

/** Asserts that a granted host is reached and another refused, and none reached once the network is closed. */
export async function assertNetworkCloses(
  make: (egress: EgressOf) => Promise<Made>,
  limits?: Limits,
): Promise<void> {
  const server = createServer((_request, response) => void response.end('here'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const granted = `http://a.example:${port}`
  const resolver = (name: string) => Promise.resolve(name.endsWith('.example') ? ['127.0.0.1'] : [])
  const made = await make({
    credentials: [],
    dial: { resolver, exceptions: [`127.0.0.1:${port}`] },
  })
  try {
    const stand = standOf(made)
    const wish = {
      controls: { network: { allow: [granted], deny: [] } },
      ...(limits && { limits }),
    }
    const input = { granted, other: `http://b.example:${port}` }
    const running = await stand.start(asks, { ...wish, input })
    await using sandbox = running.sandbox
    await running.said('asked')
    await sandbox.tighten({ ...stand.profile(wish).controls, network: noNetwork })
    assert.equal((await running.end).resultText, '[200,403,403]')
  } finally {
    await closeWalls(made)
    server.close()
  }
}

/** Asserts that a frozen program prints nothing, and goes on once it is thawed. */
export async function assertFreezes(stand: Stand, limits?: Limits): Promise<void> {
  const running = await stand.start(ticks, { ...(limits && { limits }) })
  await using sandbox = running.sandbox
  await running.said('1')
  await sandbox.freeze()
  await sleep(200)
  const before = running.stdout()
  await sleep(300)
  assert.equal(running.stdout(), before)
  await sandbox.thaw()
  await until(() => running.stdout() !== before, 'the next output')
  sandbox.kill({ status: 'cancelled' })
  await running.end
}

/** A program of `fixtures/` with a warden and a wall of its own, for tests that kill it. */
export interface WardenToKill<Said> extends Disposable {
  /** Output once its wall runs. */
  readonly said: Said
  readonly child: ChildProcess
  /** Folder of its temporary files. */
  readonly base: string
  /** State folder, which the next warden may open. */
  readonly state: string
}

export async function startWardenToKill<Said>(fixture: string): Promise<WardenToKill<Said>> {
  const base = mkdtempSync(join(tmpdir(), 'mayfly-swept-'))
  const state = join(base, 'state')
  const program = join(import.meta.dirname, 'fixtures', fixture)
  const child = spawn(process.execPath, [program, state], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // Temporary files of the killed child go with this folder.
    env: { ...process.env, TMPDIR: base },
  })
  const stop = () => {
    child.kill('SIGKILL')
    rmSync(base, { recursive: true, force: true })
  }
  try {
    const early = once(child, 'exit').then(() =>
      Promise.reject(new Error(`${fixture} ended early`)),
    )
    const [said] = (await Promise.race([once(child.stdout, 'data'), early])) as [Buffer]
    return { said: JSON.parse(said.toString()) as Said, child, base, state, [Symbol.dispose]: stop }
  } catch (error) {
    stop()
    throw error
  }
}
