import type { Server } from 'node:net'
import type { Controls } from '../contract/controls.ts'
import type { Voice } from '../contract/event.ts'
import { openProxy } from './proxy.ts'

const MIB = 2 ** 20
/** What one run may move, each way, heads and TLS included. */
const budget = { sentMax: 64 * MIB, receivedMax: 256 * MIB }

/** The way out of one run: a proxy at the socket that listens inside its wall, tightened with the run's controls. */
export function openWayOut(parts: {
  readonly listener: Server
  readonly controls: Controls
  readonly run: string
  readonly voice: Voice
}) {
  let { network } = parts.controls
  const { listener, run, voice } = parts
  const proxy = openProxy({ listener, network: () => network, budget, run, voice })
  return {
    get attempts() {
      return proxy.attempts
    },
    /** Open connections that the stricter controls do not let out are cut. */
    tighten(to: Controls): void {
      network = to.network
      proxy.tighten()
    },
    close: () => void proxy.close(),
  }
}
