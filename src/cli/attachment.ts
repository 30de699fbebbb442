import { MayflyError } from '../contract/error.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { AttachedServer } from '../gateway/local/client.ts'
import { note } from './print.ts'
import type { Runner } from './runner.ts'

/** Server that this run attached to, until `attachedRunner` takes it. */
export interface Attachment {
  readonly first: AttachedServer
  /** Another connection to the same server, for a second try. */
  readonly again: () => Promise<AttachedServer | undefined>
  /** Configuration whose files were read; null if there were none. */
  readonly loaded: LoadedConfig | null
  /** Whether this process is root, and only acts as the owner of the state folder for now. */
  readonly isRoot: boolean
  /** Gives up for good what root could still take back. */
  readonly dropRights: () => void
}

/** Thrown for a job that its own command has to run after all; nothing of it ran. */
export class OwnRunNeeded extends Error {}

let held: Attachment | undefined
let because = '--once'

export function holdAttachment(attachment: Attachment | undefined): void {
  held?.first.close()
  held = attachment
}

/** Reason why no server runs the job, for `--explain`. */
export const aloneBecause = (): string => because

export function stayAlone(reason: string): void {
  because = reason
}

/** Throws OwnRunNeeded if this run is attached and may not make layers: root acts as another user then. */
export function mayMakeLayers(): void {
  if (held?.isRoot) throw alone('its packages need the cache of root')
}

/** Runner on the server; undefined without one. */
export function attachedRunner(): Runner | undefined {
  const attachment = held
  if (!attachment) return undefined
  let next: AttachedServer | undefined = attachment.first
  return {
    way: 'attached',
    about: `a running one, process ${attachment.first.pid} (--once asks none)`,
    async prepare({ flags }) {
      const { loaded } = attachment
      for (const file of loaded?.files ?? []) note(flags, `Configuration: ${file}`)
      for (const warning of loaded?.warnings ?? []) note(flags, `Warning: ${warning}`)
      if (!flags.allow || !loaded) return
      const { checkAllowed } = await import('./check-allow-flag.ts')
      checkAllowed(flags.allow, loaded.config)
    },
    async run(request, packages, { on, ...caller }) {
      const server = next ?? (await attachment.again())
      next = undefined
      const listener = { ...caller, on, taken: attachment.dropRights }
      const outcome = await server?.run({ request, packages, watch: on !== undefined }, listener)
      if (outcome) return outcome
      // A source from stdin has no name, and is as gone as the rest of stdin.
      if (request.stdin === undefined && request.name !== undefined)
        throw alone('the server took no more')
      throw new MayflyError('OVERLOADED', 'Cannot run the job: the server took no more', {
        hint: 'Run it again; with --once no server is asked',
      })
    },
    async [Symbol.asyncDispose]() {
      holdAttachment(undefined)
    },
  }
}

function alone(reason: string): OwnRunNeeded {
  stayAlone(reason)
  return new OwnRunNeeded(reason)
}
