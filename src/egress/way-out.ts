import type { Controls } from '../contract/controls.ts'
import type { Emitter } from '../contract/event.ts'
import type { WayOut } from '../walls/exit.ts'
import type { Accounts } from './account.ts'
import type { Authority } from './authority.ts'
import type { Credential } from './credentials.ts'
import { openFetch, type Fetcher } from './fetch.ts'
import type { Budget } from './budget.ts'
import { Ledger } from './ledger.ts'
import { openProxy, type Proxy, type ProxyOptions } from './proxy.ts'
import { over } from './reach.ts'
import { mayLook } from './rules.ts'
import type { Terms } from './terms.ts'
import type { Upstream } from './upstream.ts'

const MIB = 2 ** 20
/** What one run may move, each way, heads and TLS included. */
const most = { sentMax: 64 * MIB, receivedMax: 256 * MIB }

export interface WayOutParts {
  readonly controls: Controls
  readonly run: string
  readonly zone?: string | undefined
  /** Where the network may be private. */
  readonly privateHosts?: readonly string[] | undefined
  /** Ports of this Mayfly, which no rule lets out to. */
  readonly upstream?: Upstream | undefined
  readonly ownPorts?: (() => ReadonlySet<number>) | undefined
  /** Of the whole run, where it may have several ways out. */
  readonly accounts?: Accounts
  readonly voice: Emitter
  readonly credentials: readonly Credential[]
  /** Looks into TLS where a rule on a path, or a credential, needs it. */
  readonly authority: Authority
  readonly heed?: Terms['heed']
  /** For tests: servers of their own that stand for the world outside. */
  readonly dial?: Pick<ProxyOptions, 'resolver' | 'exceptions' | 'trust' | 'timeoutMs'>
}

/** A proxy where its wall has a socket that listens, brokered requests where it has none; one ledger for both. */
export function openWayOut(parts: WayOutParts): WayOut {
  let { network } = parts.controls
  const { run, zone, accounts, voice, credentials, authority, heed, dial } = parts
  const budget = budgetOf(network)
  let proxy: Proxy | undefined
  let fetcher: Fetcher | undefined
  const narrowed = () => {
    proxy?.tighten()
    fetcher?.tighten()
  }
  const ledger = new Ledger(budget, { voice, run, zone, account: accounts?.of(run), narrowed })
  const { privateHosts = [], ownPorts, upstream } = parts
  const near = { privateHosts, upstream, ...(ownPorts && { ownPorts }) }
  const terms = { ...dial, ...near, network: () => network, ledger, credentials, authority, heed }
  const isLooked = credentials.length > 0 || mayLook(network)
  return {
    trust: isLooked ? authority.pem : undefined,
    listen(listener, callers) {
      proxy ??= openProxy({ ...terms, listener, callers, budget, run, voice })
    },
    fetch(text) {
      fetcher ??= openFetch(terms)
      return fetcher.fetch(text)
    },
    get attempts() {
      return ledger.attempts
    },
    tighten(to) {
      network = to.network
      // Which tells each way out of the run, this one too.
      ledger.bind(budgetOf(network))
    },
    close() {
      ledger.end(over)
      void proxy?.close()
      fetcher?.close()
      ledger.close()
      accounts?.close(run)
    },
  }
}

/** What the network says of bytes, within what any run may move. */
function budgetOf({ sent = Infinity, received = Infinity }: Controls['network']): Budget {
  return {
    sentMax: Math.min(most.sentMax, sent),
    receivedMax: Math.min(most.receivedMax, received),
  }
}
