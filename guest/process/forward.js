/**
 * Egress of a wall whose network stack is its own kernel's: listens on 127.0.0.1:3128 inside and connects each
 * connection to the socket of the host's proxy, which makes all decisions. Its first connection signals that it listens.
 */
import net from 'node:net'

const PROXY = { host: '127.0.0.1', port: 3128 }
/** Above the limit of the proxy. */
const CONNECTIONS_MAX = 128
const egress = process.argv[2] ?? ''

const server = net.createServer({ allowHalfOpen: true }, (inner) => {
  const outer = net.connect({ path: egress, allowHalfOpen: true })
  const cut = () => {
    inner.destroy()
    outer.destroy()
  }
  for (const socket of [inner, outer]) socket.on('error', cut)
  // After an error on one side both are destroyed; a half-close is forwarded by pipe.
  for (const socket of [inner, outer]) socket.on('close', (hadError) => hadError && cut())
  inner.pipe(outer)
  outer.pipe(inner)
})
server.maxConnections = CONNECTIONS_MAX
server.listen(PROXY, () =>
  net.connect(egress, function () {
    this.destroy()
  }),
)
