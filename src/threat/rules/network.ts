import { usesOfBindings, usesOfModules, usesOfPaths, type Rule } from './rule.ts'

/** Communication with other machines. */
export const network: Rule = {
  name: 'NETWORK',
  *find(facts) {
    yield* usesOfModules(facts, modules)
    yield* usesOfPaths(facts, roots)
    for (const { node, module } of facts.loads)
      if (module !== undefined && REMOTE.test(module)) yield node
    yield* usesOfBindings(facts, wraps)
  },
}

/** Code of another machine. */
const REMOTE = /^(?:https?|wss?):/i
const wraps = new Set([
  'cares_wrap',
  'http_parser',
  'pipe_wrap',
  'tcp_wrap',
  'tls_wrap',
  'udp_wrap',
])
const modules = new Set([
  '_http_agent',
  '_http_client',
  '_http_server',
  '_tls_wrap',
  'http',
  'https',
  'http2',
  'net',
  'tls',
  'dgram',
  'dns',
  'axios',
  'cross-fetch',
  'got',
  'isomorphic-fetch',
  'ky',
  'needle',
  'node-fetch',
  'request',
  'superagent',
  'undici',
  'ws',
  'socket.io-client',
  'ssh2',
  'nodemailer',
])
const roots = [
  'fetch',
  'XMLHttpRequest',
  'WebSocket',
  'WebSocketStream',
  'EventSource',
  'WebTransport',
  'RTCPeerConnection',
  'navigator.sendBeacon',
  'Deno.connect',
  'Deno.connectTls',
  'Deno.createHttpClient',
  'Deno.listen',
  'Deno.listenDatagram',
  'Deno.listenTls',
  'Deno.serve',
  'Deno.resolveDns',
  'Deno.startTls',
  'Deno.upgradeWebSocket',
  'Bun.dns',
  'Bun.fetch',
  'Bun.udpSocket',
  'Bun.serve',
  'Bun.connect',
  'Bun.listen',
]
