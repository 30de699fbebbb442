import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bait, Case } from './case.ts'
import { escapedWord } from './case.ts'

export interface Lure {
  readonly bait: Bait
  /** Evidence of an escape: in the outcome, on disk, or at the listener. */
  readonly evidence: (cameBack: string) => string | undefined
}

/**
 * A canary in the environment, in a file and behind a listener: evidence independent of the guest's own claims.
 */
export class Trap implements AsyncDisposable {
  readonly canary = `canary-${randomUUID()}`
  readonly #folder = mkdtempSync(join(tmpdir(), 'hostile-'))
  #laid = 0
  readonly #knocks = new Set<string>()
  readonly #server = createServer((request, response) => {
    this.#knocks.add(request.url ?? '')
    response.end(this.canary)
  })

  static async set(): Promise<Trap> {
    const trap = new Trap()
    writeFileSync(join(trap.#folder, 'canary'), trap.canary)
    await new Promise<void>((resolve) => trap.#server.listen(0, '127.0.0.1', resolve))
    return trap
  }

  /** Bait for one run, under a unique name. */
  lure({ input }: Case): Lure {
    const name = `${this.#laid++}`
    const { port } = this.#server.address() as AddressInfo
    const markFile = join(this.#folder, `${name}.mark`)
    const bait: Bait = {
      canaryFile: join(this.#folder, 'canary'),
      markFile,
      canaryUrl: `http://127.0.0.1:${port}/${name}`,
      list: [1, 2, 3],
      nested: { deep: { list: ['a'] } },
      ...input,
    }
    return { bait, evidence: (cameBack) => this.#evidence(name, markFile, cameBack) }
  }

  #evidence(name: string, markFile: string, cameBack: string): string | undefined {
    if (cameBack.includes(escapedWord)) return /ESCAPED:[^"\\]*/.exec(cameBack)?.[0].slice(0, 80)
    if (cameBack.includes(this.canary)) return 'the canary came back'
    if (existsSync(markFile)) return 'it wrote a file'
    return this.#knocks.has(`/${name}`) ? 'it reached the network' : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
