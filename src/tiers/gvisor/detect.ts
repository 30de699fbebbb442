import { release } from 'node:os'
import { existsSync } from 'node:fs'
import { MayflyError, messageOf } from '../../contract/error.ts'
import type { Language } from '../../contract/job.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import { assertAnswers, type Probe } from '../../walls/proof.ts'
import { spareDiskBytes, usualCalls, type ProgramSpares } from '../../walls/program-spares.ts'

export interface GuestFacts {
  readonly availability: Availability
  /** Languages that are missing on this machine. */
  readonly without: readonly Language[]
}

const PYTHON = '/usr/bin/python3'
const BASH = '/bin/bash'

/** Both print the version of the language and of the kernel they see. */
const inNode: Probe = {
  language: 'node',
  entry: 'module',
  code: `import os from 'node:os'
import { sep } from 'node:path'
console.log(process.versions.node, os.release())
export default (input) => sep + input`,
  inputText: '42',
  expect: '"/42"',
}
const inPython: Probe = {
  language: 'python',
  entry: 'function',
  code: `import os, sys
print(sys.version.split()[0], os.uname().release)
def main(input): return input * 2`,
  inputText: '21',
  expect: '42',
}

/**
 * Runs a guest of each language to its end. The kernel release that the guest sees proves that the sentry answers its
 * calls and not this kernel. Throws if there is no such wall.
 */
export async function probe(provider: Provider, spares: ProgramSpares): Promise<GuestFacts> {
  const { wall } = await spares.take({ language: 'node', disk: spareDiskBytes, calls: usualCalls })
  void wall.kill()
  const node = await versionBy(provider, inNode)
  const python = await pythonBy(provider)
  const { layers, missing, idleBytes, took } = wall.wall
  return {
    availability: {
      available: true,
      strength: strengthOf.gvisor,
      cost: { spareMiB: Math.ceil(idleBytes / 2 ** 20), refillMs: Math.ceil(took) },
      layers,
      missing: [...missing, ...('missing' in python ? [`python: ${python.missing}`] : [])],
      features: [`node ${node}`, ...('version' in python ? [`python ${python.version}`] : [])],
    },
    without: [
      ...('missing' in python ? (['python'] as const) : []),
      ...(existsSync(BASH) ? [] : (['bash'] as const)),
    ],
  }
}

/** Throws MayflyError NO_JAIL if the guest sees the release of this machine's kernel. */
async function versionBy(provider: Provider, guest: Probe): Promise<string> {
  const [version = 'unknown', kernel = ''] = (await assertAnswers(provider, guest))
    .trim()
    .split(' ')
  if (kernel === '' || kernel === release())
    throw new MayflyError(
      'NO_JAIL',
      'Cannot use the sentry: a guest saw the kernel of this machine',
    )
  return /^\d+\.\d+\.\d+\S{0,16}/.exec(version)?.[0] ?? 'unknown'
}

async function pythonBy(
  provider: Provider,
): Promise<{ readonly version: string } | { readonly missing: string }> {
  if (!existsSync(PYTHON)) return { missing: `there is no ${PYTHON}` }
  try {
    return { version: await versionBy(provider, inPython) }
  } catch (error) {
    return { missing: messageOf(error) }
  }
}
