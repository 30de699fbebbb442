import { usesOfModules, usesOfPaths, type Rule } from './rule.ts'

/** Communication with other machines. */
export const network: Rule = {
  name: 'NETWORK',
  *find(facts) {
    yield* usesOfModules(facts, modules)
    yield* usesOfPaths(facts, roots)
  },
}

const modules = new Set([
  'http',
  'https',
  'http2',
  'net',
  'tls',
  'dgram',
  'dns',
  'axios',
  'got',
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
  'Deno.listen',
  'Deno.serve',
  'Deno.resolveDns',
  'Bun.serve',
  'Bun.connect',
  'Bun.listen',
]
