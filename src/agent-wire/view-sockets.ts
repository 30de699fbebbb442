import type { GuestInspector } from './guest-inspector.ts'
import type { ViewedProcess } from './view-processes.ts'

/** A socket, as reported by the guest (untrusted). */
export interface ViewedSocket {
  readonly protocol: 'tcp' | 'udp' | 'unix'
  /** Address and port, or path; empty for an unbound unix socket. */
  readonly local: string
  readonly remote?: string
  readonly state?: string
  readonly uid?: number
  readonly inode: number
  /** Processes with a listed descriptor of this socket. */
  readonly pids: readonly number[]
}

export interface ViewedSockets {
  readonly isWhole: boolean
  readonly sockets: readonly ViewedSocket[]
  /** Number of table lines that could not be parsed. */
  readonly unread: number
}

const TABLE_BYTES_MAX = 2 ** 18
const SOCKETS_MAX = 4_096
const PATH_CHARS_MAX = 256
/** All programs of a guest share the network namespace of its process 1. */
const tables = { tcp: 'tcp', tcp6: 'tcp', udp: 'udp', udp6: 'udp', unix: 'unix' } as const

/** Sockets of the tables in /proc/1/net, with their processes. */
export async function viewSockets(
  inspector: GuestInspector,
  processes: readonly ViewedProcess[],
): Promise<ViewedSockets> {
  const parsed: ViewedSocket[] = []
  let isWhole = true
  let unread = 0
  for (const [name, protocol] of Object.entries(tables)) {
    const table = await inspector
      .file('proc', `1/net/${name}`, TABLE_BYTES_MAX)
      .catch(() => undefined)
    if (!table || table.isCut) isWhole = false
    const read = readSocketTable(protocol, table?.bytes.toString('latin1') ?? '')
    parsed.push(...read.sockets)
    unread += read.unread
  }
  const owners = ownersOf(processes)
  const sockets = parsed
    .slice(0, SOCKETS_MAX)
    .map((socket) => ({ ...socket, pids: owners.get(socket.inode) ?? [] }))
  return { isWhole: isWhole && sockets.length === parsed.length, sockets, unread }
}

/** Pids by socket inode. */
function ownersOf(processes: readonly ViewedProcess[]): ReadonlyMap<number, readonly number[]> {
  const owners = new Map<number, number[]>()
  for (const { pid, descriptors = [] } of processes)
    for (const { target } of descriptors) {
      const inode = Number(/^socket:\[(\d{1,10})\]$/.exec(target)?.[1])
      const pids = owners.get(inode) ?? []
      if (!pids.includes(pid)) owners.set(inode, [...pids, pid])
    }
  return owners
}

const address = '([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})'
const inet = new RegExp(
  `^ *\\d{1,10}: ${address} ${address} ([0-9A-F]{2}) \\S{1,17} \\S{1,11} \\S{1,8} +(\\d{1,10}) +\\d{1,10} (\\d{1,10})( |$)`,
)
const local = /^[0-9a-fA-F]{16}: \S{8} \S{8} \S{8} \S{4} (\d\d) +(\d{1,10})(?: (.*))?$/
/** States by number minus one: `include/net/tcp_states.h`. */
const states = [
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
  'NEW_SYN_RECV',
]

/** Parses `/proc/net/tcp` and the like as hostile text: a line of another form is counted, and left out. */
export function readSocketTable(
  protocol: ViewedSocket['protocol'],
  text: string,
): Pick<ViewedSockets, 'sockets' | 'unread'> {
  const lines = text.split('\n').slice(1, -1)
  const read = lines.map((line) => (protocol === 'unix' ? unixOf(line) : inetOf(protocol, line)))
  const sockets = read.filter((one) => one !== undefined)
  return { sockets, unread: read.length - sockets.length }
}

function inetOf(protocol: 'tcp' | 'udp', line: string): ViewedSocket | undefined {
  const [, from = '', fromPort = '', to = '', toPort = '', state = '', uid, inode] =
    inet.exec(line) ?? []
  if (inode === undefined) return undefined
  return {
    protocol,
    local: addressOf(from, fromPort),
    remote: addressOf(to, toPort),
    state: states[Number.parseInt(state, 16) - 1] ?? state,
    uid: Number(uid),
    inode: Number(inode),
    pids: [],
  }
}

function unixOf(line: string): ViewedSocket | undefined {
  const [, state = '', inode, path = ''] = local.exec(line) ?? []
  if (inode === undefined) return undefined
  const at = path.slice(0, PATH_CHARS_MAX)
  return { protocol: 'unix', local: at, state, inode: Number(inode), pids: [] }
}

/** Text form of an address: the kernel prints 32-bit words in the guest's byte order, little endian. */
function addressOf(words: string, port: string): string {
  const bytes = Buffer.from(words, 'hex')
  for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse()
  const number = Number.parseInt(port, 16)
  if (bytes.length === 4) return `${bytes.join('.')}:${number}`
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16))
  return `[${groups.join(':')}]:${number}`
}
