import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { ZoneRule } from '../../src/contract/zone-rules.ts'
import type { JailLayer } from '../../src/jail/facts.ts'
import { isMissing, unable } from './process-stands.ts'
import { openWhole } from './whole-wall.ts'

/** Programs of one wall share a uid. None can write the memory of another, in particular of its parent. */
const stands: readonly {
  readonly jailKind: 'embedded' | 'bubblewrap'
  readonly without: JailLayer[]
}[] = [
  { jailKind: 'embedded', without: [] },
  { jailKind: 'embedded', without: ['landlock'] },
  { jailKind: 'bubblewrap', without: [] },
]

const writes = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
class Part(ctypes.Structure): _fields_ = [('at', ctypes.c_void_p), ('bytes', ctypes.c_size_t)]
kept = ctypes.create_string_buffer(b'before')
at, parent = ctypes.addressof(kept), os.getpid()
if os.fork() == 0:
    own = ctypes.create_string_buffer(b'after!')
    here, there = Part(ctypes.addressof(own), 6), Part(at, 6)
    done = [libc.process_vm_writev(parent, ctypes.byref(here), 1, ctypes.byref(there), 1, 0), libc.ptrace(16, parent, 0, 0)]
    libc.ptrace(5, parent, ctypes.c_void_p(at), ctypes.c_void_p(0x6e656b6f7262))
    for name in ('mem', 'task/%d/mem' % parent):
        for mode in (os.O_RDWR, os.O_WRONLY):
            try: os.pwrite(os.open('/proc/%d/%s' % (parent, name), mode), b'broken', at)
            except OSError: pass
    print(*done, flush=True)
    os._exit(0)
os.wait()
seen = os.pread(os.open('/proc/self/mem', os.O_RDONLY), 6, at)
print(kept.value.decode(), seen.decode(), 'over', flush=True)`

/** Publishes the address of a buffer to the attacker, a program of another zone, and prints the buffer after the attack. */
const victim = `
import ctypes, os, time
kept = ctypes.create_string_buffer(b'before')
open('/work/new', 'w').write('%d %d' % (os.getpid(), ctypes.addressof(kept)))
os.rename('/work/new', '/work/place')
while not os.path.exists('/work/over'): time.sleep(0.01)
print(kept.value.decode(), open('/work/over').read(), flush=True)`
const attacker = `
import ctypes, errno, os, time
while not os.path.exists('/work/place'): time.sleep(0.01)
pid, at = map(int, open('/work/place').read().split())
libc = ctypes.CDLL(None, use_errno=True)
class Part(ctypes.Structure): _fields_ = [('at', ctypes.c_void_p), ('bytes', ctypes.c_size_t)]
own = ctypes.create_string_buffer(b'after!')
here, there = Part(ctypes.addressof(own), 6), Part(at, 6)
done = [libc.process_vm_writev(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0), libc.ptrace(16, pid, 0, 0)]
libc.ptrace(5, pid, ctypes.c_void_p(at), ctypes.c_void_p(0x6e656b6f7262))
try: done.append(os.pwrite(os.open('/proc/%d/mem' % pid, os.O_RDWR), b'broken', at))
except OSError: done.append(-1)
open('/work/done', 'w').write(' '.join(map(str, done)))
os.rename('/work/done', '/work/over')`
const kind: ZoneRule = { kind: 'py', programs: ['python3'], processes: 8, life: 60_000 }

suite('The memory of a program', { skip: unable('python') }, () => {
  for (const { jailKind, without } of stands)
    test(`cannot be written by another process of its wall, ${[jailKind, ...without].join(', without ')}`, async (t) => {
      if (isMissing(t, { jailKind })) return
      await using whole = await openWhole({ without })
      const wall = await whole.start('python', jailKind)
      await wall.claim()
      wall.run(writes)
      await wall.end()
      assert.equal(wall.said.stdout, '-1 -1\nbefore before over\n', wall.said.stderr)
    })

  for (const { jailKind, without } of stands)
    test(`S2-7: a zone cannot write the memory of another zone of its wall, ${[jailKind, ...without].join(', without ')}`, async (t) => {
      if (isMissing(t, { jailKind })) return
      await using whole = await openWhole({ without })
      const wall = await whole.start('node', jailKind)
      const zones: string[] = []
      whole.warden.onZone(wall.id, ({ what, zone }) => {
        if (what === 'began') zones.push(zone)
      })
      await wall.claim({ zones: [kind] })
      wall.run(
        `python3 - <<'END' &\n${victim}\nEND\npython3 - <<'END'\n${attacker}\nEND\nwait`,
        'sh',
      )
      await wall.end()
      assert.equal(wall.said.stdout, 'before -1 -1 -1\n', wall.said.stderr)
      assert.equal(new Set(zones).size, 2)
    })
})
