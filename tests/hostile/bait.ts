import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bait, Case } from './case.ts'
import { escapedWord } from './case.ts'

/** A canary in the environment, in a file and behind a listener: evidence that needs nobody's word. */
export class Trap implements AsyncDisposable {
  readonly canary = `canary-${randomUUID()}`
  readonly #folder = mkdtempSync(join(tmpdir(), 'hostile-'))
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

  /** The input for one case: where the bait lies. */
  baitFor({ name, input }: Case): Bait {
    const { port } = this.#server.address() as AddressInfo
    return {
      canaryFile: join(this.#folder, 'canary'),
      markFile: join(this.#folder, `${name}.mark`),
      canaryUrl: `http://127.0.0.1:${port}/${name}`,
      list: [1, 2, 3],
      nested: { deep: { list: ['a'] } },
      ...input,
    }
  }

  /** What hostile code left behind: in what came back, on the disk, at the listener. */
  evidence(hostile: Case, cameBack: string): string | undefined {
    if (cameBack.includes(escapedWord)) return /ESCAPED:[^"\\]*/.exec(cameBack)?.[0].slice(0, 80)
    if (cameBack.includes(this.canary)) return 'the canary came back'
    if (existsSync(join(this.#folder, `${hostile.name}.mark`))) return 'it wrote a file'
    if (this.#knocks.has(`/${hostile.name}`)) return 'it reached the network'
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
