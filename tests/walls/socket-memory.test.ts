import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { isMissing, unable } from './process-stands.ts'
import { openWhole } from './whole-wall.ts'

/** MiB: the limit of a wall's socket buffers, and the kernel's overshoot between two checks. */
const unreadMiBMax = 48
/** Sends to itself over a hundred sockets without reading, until every send blocks. */
const unread = (kind: string) => `
import socket
sent, kept = 0, []
listener = socket.socket()
listener.bind(('127.0.0.1', 0)); listener.listen(128)
for n in range(100):
    if socket.${kind} == socket.SOCK_STREAM:
        a = socket.socket(); a.connect(listener.getsockname()); b, _ = listener.accept()
    else:
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        b.bind(('127.0.0.1', 0)); a.connect(b.getsockname())
    for one in (a, b):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**24); one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**24)
        one.setblocking(False)
    kept += [a, b]
    try:
        for _ in range(200): sent += a.send(b'x' * 60000)
    except OSError: pass
if socket.${kind} == socket.SOCK_DGRAM:
    sent = 0
    for one in kept[1::2]:
        try:
            while True: sent += len(one.recv(65536))
        except OSError: pass
print(sent // 2**20, flush=True)`

suite(
  'Socket buffers of a wall are limited: data sent and not read',
  { skip: unable('python') },
  () => {
    for (const jailKind of jailKinds)
      for (const kind of ['SOCK_STREAM', 'SOCK_DGRAM'] as const)
        test(`${jailKind}: ${kind}`, async (t) => {
          if (isMissing(t, { jailKind })) return
          if (!openCgroups()) return t.skip('no control groups here: THREAT_MODEL.md says so')
          await using whole = await openWhole()
          const wall = await whole.start('python', jailKind)
          await wall.claim({ memory: 64 * 2 ** 20 })
          wall.run(unread(kind))
          const { how } = await wall.end()
          t.diagnostic(`${how}, ${wall.said.stdout.trim()} MiB`)
          assert.ok(how === 'memory' || /^\d+$/m.test(wall.said.stdout), how)
          assert.ok(Number(wall.said.stdout) < unreadMiBMax)
          assert.ok(how === 'memory' || Number(wall.said.stdout) >= 1, 'next to nothing was sent')
        })
  },
)
