import type { Controls } from '../contract/controls.ts'
import type { Emitter } from '../contract/event.ts'
import type { EgressPath } from '../walls/egress-path.ts'
import type { TrafficAccounts } from './traffic-account.ts'
import type { EgressAuthority } from './authority.ts'
import type { Credential } from './credentials.ts'
import { openFetch, type Fetcher } from './fetch.ts'
import type { ByteBudget } from './byte-budget.ts'
import { Ledger } from './ledger.ts'
import { openProxy, type Proxy, type ProxyOptions } from './proxy.ts'
import { runOver } from './open-connection.ts'
import { mayNeedInspection } from './rules.ts'
import type { EgressTerms } from './egress-terms.ts'
import type { Upstream } from './upstream.ts'

const MIB = 2 ** 20
/** Default maximum of bytes per run, including message heads and TLS. */
const budgetMax = { sentMax: 64 * MIB, receivedMax: 256 * MIB }

export interface EgressParts {
  readonly controls: Controls
  readonly run: string
  readonly zone?: string | undefined
  /** Host patterns that may resolve to private addresses. */
  readonly privateHosts?: readonly string[] | undefined
  readonly upstream?: Upstream | undefined
  readonly ownPorts?: (() => ReadonlySet<number>) | undefined
  /** Accounts of all runs, for runs with several walls. */
  readonly accounts?: TrafficAccounts
  readonly most?: ByteBudget
  readonly emitter: Emitter
  readonly credentials: readonly Credential[]
  /** CA for TLS inspection where path rules or credentials need it. */
  readonly authority: EgressAuthority
  readonly makeOutboundCheck?: EgressTerms['makeOutboundCheck']
  /** Inspects all TLS, also where no rule and no credential needs it. */
  readonly inspectsAll?: boolean
  /** Overrides of DNS and addresses, for tests. */
  readonly dial?: Pick<ProxyOptions, 'resolver' | 'exceptions' | 'trust' | 'timeoutMs' | 'upstream'>
}

/**
 * Opens the egress path of a wall: a proxy if the wall has a listening socket, brokered fetch otherwise; both share
 * one ledger.
 */
export function openEgress(parts: EgressParts): EgressPath {
  let { network } = parts.controls
  const { run, zone, accounts, emitter, credentials, authority, makeOutboundCheck, dial } = parts
  const { most = budgetMax } = parts
  let proxy: Proxy | undefined
  let fetcher: Fetcher | undefined
  const narrowed = () => {
    proxy?.tighten()
    fetcher?.tighten()
  }
  const account = accounts?.of(run)
  const ledger = new Ledger(budgetOf(network, most), { emitter, run, zone, account, narrowed })
  const { privateHosts = [], ownPorts, upstream, inspectsAll = false } = parts
  const reach = { privateHosts, upstream, ...(ownPorts && { ownPorts }) }
  const terms = {
    ...dial,
    ...reach,
    network: () => network,
    ledger,
    credentials,
    authority,
    makeOutboundCheck,
    ...(inspectsAll && { inspection: 'every' as const }),
  }
  const needsInspection = inspectsAll || credentials.length > 0 || mayNeedInspection(network)
  return {
    trust: needsInspection ? authority.pem : undefined,
    listen(listener, callers, isShared = false) {
      proxy ??= openProxy({ ...terms, listener, callers, isShared })
    },
    fetch(text, stop) {
      fetcher ??= openFetch(terms)
      return fetcher.fetch(text, stop)
    },
    get attempts() {
      return ledger.attempts
    },
    tighten(to) {
      network = to.network
      // Notifies every wall of the run, including this one.
      ledger.lowerBudget(budgetOf(network, most))
    },
    close() {
      ledger.end(runOver)
      void proxy?.close()
      fetcher?.close()
      ledger.close()
      accounts?.close(run)
    },
  }
}

/** Byte limits of the network, capped by those of any run. */
function budgetOf(
  { sent = Infinity, received = Infinity }: Controls['network'],
  most: ByteBudget,
): ByteBudget {
  return {
    sentMax: Math.min(most.sentMax, sent),
    receivedMax: Math.min(most.receivedMax, received),
  }
}
