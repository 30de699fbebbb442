import { fileURLToPath } from 'node:url'
import type { Config } from '../contract/config.ts'
import type { Emitter } from '../contract/event.ts'
import type { TrafficAccounts } from '../egress/traffic-account.ts'
import type { EgressAuthority } from '../egress/authority.ts'
import { credentialsFrom } from '../egress/configured-credentials.ts'
import { upstreamFrom } from '../egress/upstream.ts'
import type { EgressParts } from '../egress/open-egress.ts'
import { cacheFolders, temporaryCache } from '../lib/cache-folder.ts'
import { ownPackages } from '../lib/find-package.ts'
import type { OpenEgressPath } from '../walls/egress-path.ts'
import type { OpenFolders } from '../walls/folder-calls.ts'

export interface EgressWiring {
  readonly emitter: Emitter
  /** Dials local servers in place of the internet: for tests, and for an inspection. */
  readonly dial?: EgressParts['dial'] | undefined
  /** Ports that this server listens on: closed to every wall. */
  readonly ownPorts: () => ReadonlySet<number>
  /** Byte limits of a run, in place of those of jobs. */
  readonly most?: EgressParts['most']
  /** Makes the scanner of the bytes that a run sends: it returns false for a chunk that must not leave. */
  readonly outboundCheckFor: (run: string) => ((piece: Buffer) => boolean) | undefined
}

/** Egress paths of the jobs of this process. */
export interface EgressPaths {
  readonly open: OpenEgressPath
  /** Counts the bytes of a forked run with those of its parent, until the function returned is called. */
  readonly share: (child: string, parent: string) => () => void
}

/** Opens egress paths; the modules of `egress/` are loaded by the first job with a network. */
export function egressFor(
  { credentials, egress }: Config,
  { emitter, dial, most, outboundCheckFor, ownPorts }: EgressWiring,
): EgressPaths {
  const held = credentialsFrom(credentials, process.env)
  const upstream = dial?.upstream ?? upstreamFrom(egress, process.env)
  let authority: EgressAuthority | undefined
  let accounts: TrafficAccounts | undefined
  const open: OpenEgressPath = async (controls, run, { zone, privateHosts } = {}) => {
    const [{ openEgress }, { makeAuthority }, { TrafficAccounts }] = await Promise.all([
      import('../egress/open-egress.ts'),
      import('../egress/authority.ts'),
      import('../egress/traffic-account.ts'),
    ])
    accounts ??= new TrafficAccounts()
    if (!authority || Date.now() >= authority.renewAt) authority = makeAuthority(() => Date.now())
    const own = {
      makeOutboundCheck: () => outboundCheckFor(run),
      inspectsAll: egress.inspect === 'all',
      ...(dial && { dial }),
      ...(most && { most }),
    }
    const of = { run, zone, accounts, privateHosts, ownPorts, upstream }
    return openEgress({ controls, ...of, emitter, credentials: held, authority, ...own })
  }
  // Without accounts no run had a network yet, and a child has none that its parent lacks.
  return { open, share: (child, parent) => accounts?.join(child, parent) ?? (() => undefined) }
}

/** Folder of the sources of this Mayfly. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Opens granted folders; `folders/` is loaded by the first job that has one. Code in the cache folders is run by the walls
 * of all tenants, and that of the sources and of the packages that they load by the server.
 */
export function foldersFor(emitter: Emitter, state: string): OpenFolders {
  return async (asked) => {
    const { openFolders } = await import('../folders/open.ts')
    const closed = [state, `${state}-warden`, ...cacheFolders(), temporaryCache()]
    return openFolders({ ...asked, emitter, closed, closedToWrites: [ROOT, ...ownPackages()] })
  }
}
