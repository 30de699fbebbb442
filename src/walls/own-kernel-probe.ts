import { release } from 'node:os'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import type { Wall } from '../contract/warden.ts'
import { versionIn } from './detected-languages.ts'
import { assertAnswers, type Probe } from './proof.ts'

export interface MachineFacts {
  readonly availability: Availability
  /** Languages that are missing on this machine. */
  readonly without: readonly Language[]
}

/** Limit of one probe, under emulation on a machine that is busy with other boots. */
const LIFE_MS_MAX = 60_000
type Program = 'node' | 'python'

/** Both print the version of the language and of the kernel they see. */
const programs: Readonly<Record<Program, Probe>> = {
  node: {
    language: 'node',
    entry: 'module',
    code: `import os from 'node:os'
console.log(process.versions.node, os.release())
export default (input) => '/' + input`,
    inputText: '42',
    expect: '"/42"',
    lifeMsMax: LIFE_MS_MAX,
    isRare: true,
  },
  python: {
    language: 'python',
    entry: 'function',
    code: `import os, sys
print(sys.version.split()[0], os.uname().release)
def main(input): return input * 2`,
    inputText: '21',
    expect: '42',
    lifeMsMax: LIFE_MS_MAX,
    isRare: true,
  },
}

/** Languages of each image: that of Node has a shell too. */
const languagesOf: Readonly<Record<Program, readonly Language[]>> = {
  node: ['node', 'sh'],
  python: ['python'],
}

/**
 * Boots a guest of each image and runs a guest in it to its end. The kernel release that the guest sees proves that its
 * kernel is not this one. Throws the error of the first image if no machine boots.
 */
export async function probeOwnKernel(
  provider: Provider & { readonly tier: TierName },
  seen: () => Wall | undefined,
): Promise<MachineFacts> {
  const { tier } = provider
  const names = Object.keys(programs) as readonly Program[]
  const found = await Promise.allSettled(names.map((name) => versionBy(provider, programs[name])))
  const failed = found.flatMap((one, index) =>
    one.status === 'rejected' ? [{ name: names[index]!, why: one.reason as unknown }] : [],
  )
  const wall = seen()
  if (!wall || failed.length === names.length) throw failed[0]?.why
  const { layers, missing, idleBytes, took } = wall
  return {
    availability: {
      available: true,
      strength: strengthOf[tier],
      cost: { spareMiB: Math.ceil(idleBytes / 2 ** 20), refillMs: Math.ceil(took) },
      layers,
      missing: [...missing, ...failed.map(({ name, why }) => `${name}: ${messageOf(why)}`)],
      features: found.flatMap((one, index) =>
        one.status === 'fulfilled' ? [`${names[index]!} ${one.value}`] : [],
      ),
    },
    without: failed.flatMap(({ name }) => languagesOf[name]),
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
      'Cannot use a machine: its guest saw the kernel of this machine',
    )
  return versionIn(version)
}
