import os from 'node:os'
import type { Provider, Task } from '../../contract/provider.ts'
import { bootId } from '../../lib/owner.ts'
import { ofPrograms, runGuest } from './try-walls.ts'

/**
 * Whether a guest runs on a kernel of its own, as a tier above the process claims: `boot_id` is random for each boot of
 * a kernel, so one that equals the host's is the host's kernel; a kernel without it must differ in its version, and so
 * must one whose boot id is no file of its own /proc, since a wall may put another there. Only programs can look. A guest that answers from a script is not found out by this.
 */
export async function hasOwnKernel(provider: Provider): Promise<boolean | undefined> {
  const look = looks.find(({ language }) => provider.languages.includes(language))
  if (!look) return undefined
  const { status, resultText } = await runGuest(provider, { ...look, bait: {} }, ofPrograms)
  if (status !== 'ok') return false
  const seen = resultText.slice(1, -1)
  return seen !== '' && seen !== bootId() && seen !== os.version()
}

const looks: readonly Pick<Task, 'language' | 'entry' | 'code'>[] = [
  {
    language: 'node',
    entry: 'module',
    code: `import { readFileSync, statSync } from 'node:fs'
import { version } from 'node:os'
export default () => {
  try {
    const id = '/proc/sys/kernel/random/boot_id'
    return statSync(id).dev === statSync('/proc/version').dev ? readFileSync(id, 'utf8').trim() : version()
  } catch { return version() }
}`,
  },
  {
    language: 'python',
    entry: 'function',
    code: `import os
def main(input):
    id = '/proc/sys/kernel/random/boot_id'
    try:
        if os.stat(id).st_dev != os.stat('/proc/version').st_dev: return os.uname().version
        with open(id) as file: return file.read().strip()
    except OSError: return os.uname().version`,
  },
]
