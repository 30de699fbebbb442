import { MayflyError } from '../contract/error.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { AttachedServer } from '../gateway/local/client.ts'
import { runRequestBytesMax } from '../gateway/local/wire.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { shownSize } from './format-value.ts'
import { note } from './print.ts'
import type { Runner } from './runner.ts'
import { warnOfProviders } from './warn-of-providers.ts'

/** Server that this run attached to, until `attachedRunner` takes it. */
export interface Attachment {
  readonly first: AttachedServer
  /** Connects to the same server once more, for one retry. */
  readonly again: () => Promise<AttachedServer | undefined>
  /** Configuration that was loaded from files; null if there were none. */
  readonly loaded: LoadedConfig | null
  /** True if this process is root and acts as the owner of the state folder (seteuid). */
  readonly isRoot: boolean
  /** Drops root permanently. */
  readonly dropRights: () => void
}

/** Thrown for a job that the command must run in its own process; nothing of it ran. */
export class OwnRunNeeded extends Error {}

let current: Attachment | undefined
let because = '--once'

export function holdAttachment(attachment: Attachment | undefined): void {
  current?.first.close()
  current = attachment
}

/** Reason why no server runs the job, for `--explain`. */
export const aloneBecause = (): string => because

export function stayAlone(reason: string): void {
  because = reason
}

/** Throws OwnRunNeeded if this run is attached and cannot make layers, because root acts as another user. */
export function mayMakeLayers(): void {
  if (current?.isRoot) throw alone('its packages need the cache of root')
}

/** Runner on the server; undefined without one. */
export function attachedRunner(): Runner | undefined {
  const attachment = current
  if (!attachment) return undefined
  let next: AttachedServer | undefined = attachment.first
  return {
    way: 'attached',
    about: `process ${attachment.first.pid} (--once uses none)`,
    async prepare({ flags }) {
      const { loaded } = attachment
      for (const file of loaded?.files ?? []) note(flags, `Configuration: ${sanitiseLine(file)}`)
      for (const warning of loaded?.warnings ?? []) note(flags, `Warning: ${sanitiseLine(warning)}`)
      if (!loaded) return
      await warnOfProviders(loaded, flags)
      if (!flags.allow) return
      const { checkAllowed } = await import('./check-allow-flag.ts')
      checkAllowed(flags.allow, loaded.config)
    },
    async run(request, packages, { on, ...caller }) {
      const server = next ?? (await attachment.again())
      next = undefined
      const listener = { ...caller, on, taken: attachment.dropRights }
      const wants = { watch: on !== undefined, live: caller.tap !== undefined }
      const job = { request, packages, ...wants }
      const outcome = await server?.run(job, listener)
      if (outcome) return outcome
      // A source from stdin has no name; like stdin, it cannot be read again.
      if (request.stdin === undefined && request.name !== undefined)
        throw alone('the server took no more')
      if (Buffer.byteLength(JSON.stringify(job)) > runRequestBytesMax) throw tooLarge()
      throw new MayflyError('OVERLOADED', 'Cannot run the job: the server accepts no more jobs', {
        hint: 'Retry, or use --once to run without a server',
      })
    },
    async [Symbol.asyncDispose]() {
      holdAttachment(undefined)
    },
  }
}

function tooLarge(): MayflyError {
  const most = shownSize(runRequestBytesMax)
  return new MayflyError('TOO_LARGE', `Cannot run the job: as JSON it is larger than ${most}`, {
    hint: 'Use --once to run without a server, which has no such limit, or pass the input as a file: --file PATH',
  })
}

function alone(reason: string): OwnRunNeeded {
  stayAlone(reason)
  return new OwnRunNeeded(reason)
}
