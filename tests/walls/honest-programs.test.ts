import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { inProcess, type ProcessWish } from './process-wall.ts'
import { isMissing, stands, unable } from './process-stands.ts'

/** Facts of a system that unmodified programs look up, in every wall of programs; and attempts to learn more by them. */
const usual = `
import json, mimetypes, os, socket, ssl, uuid
def text(at): return open(at).read().strip()
def said(act):
    try: return act()
    except Exception as error: return repr(error)
id = '/proc/sys/kernel/random/'
result = {
    'services': [socket.getservbyname('https'), socket.getservbyname('domain', 'udp'), socket.getservbyport(22)],
    'protocols': [socket.getprotobyname('tcp'), socket.getprotobyname('ipv6-icmp')],
    'release': said(lambda: [line for line in text('/etc/os-release').splitlines() if line.startswith('ID=')]),
    'uuids': [len(text(id + 'uuid')), text(id + 'uuid') != text(id + 'uuid')],
    'boot': text(id + 'boot_id'),
    'pids': int(text('/proc/sys/kernel/pid_max')),
    'settings': sorted(os.path.join(folder, name) for folder, _, names in os.walk('/proc/sys') for name in names),
}
`

/** Attempts to change a kernel setting, or to reach a hidden one. */
const hostile = `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
found = []
def tried(name, act):
    try: act()
    except OSError: return
    found.append(name)
places = ['/proc/sys'] + [os.path.join(folder, name) for folder, folders, names in os.walk('/proc/sys') for name in folders + names]
for at in places:
    tried('write ' + at, lambda: os.close(os.open(at, os.O_WRONLY)))
    tried('read and write ' + at, lambda: os.close(os.open(at, os.O_RDWR)))
    tried('truncate ' + at, lambda: os.truncate(at, 0))
    tried('chmod ' + at, lambda: os.chmod(at, 0o777))
    tried('rename ' + at, lambda: os.rename(at, at + '.old'))
    tried('make below ' + at, lambda: os.mkdir(at + '/made'))
    tried('link ' + at, lambda: os.link(at, '/work/linked'))
    for folder in ('/work', '/tmp'):
        if libc.mount(folder.encode(), at.encode(), None, 4096, None) == 0: found.append('mount over ' + at)
    if libc.umount2(at.encode(), 2) == 0: found.append('umount ' + at)
held = os.open('/proc/sys/kernel/random/uuid', os.O_RDONLY)
for more in ('..', '../..', '../boot_id', '../../core_pattern', '../../../kernel/core_pattern'):
    tried('beyond the uuid: ' + more, lambda: os.open(more, os.O_PATH, dir_fd=held))
    tried('beside it: ' + more, lambda: os.listdir('/proc/self/fd/%d/%s' % (held, more)))
for pid in ('self', '1', str(os.getppid())):
    for name in ('kernel/core_pattern', 'kernel/hostname', 'kernel/random/entropy_avail'):
        tried('by a root: ' + name, lambda: open('/proc/%s/root/proc/sys/%s' % (pid, name)))
result = found
`

const java = `
cat > Main.java <<'END'
public class Main {
  public static void main(String[] args) throws Exception {
    var digest = java.security.MessageDigest.getInstance("SHA-256").digest("abc".getBytes());
    System.out.println(digest.length + " " + javax.crypto.Cipher.getInstance("AES/GCM/NoPadding").getProvider().getName());
    System.out.println(javax.net.ssl.SSLContext.getDefault().getProtocol());
  }
}
END
javac -J-Xmx64m Main.java && java -Xmx64m Main
`

const plots = `
import io, matplotlib, mimetypes
from matplotlib import pyplot
pyplot.plot([1, 2, 3])
held = io.BytesIO()
pyplot.savefig(held)
result = [held.getvalue()[:4].hex(), mimetypes.guess_type('a.docx')[0]]
`

const SETTINGS = [
  'fs/pipe-max-size',
  'kernel/ngroups_max',
  'kernel/pid_max',
  'kernel/random/boot_id',
  'kernel/random/uuid',
  'net/core/somaxconn',
  'vm/overcommit_memory',
]
const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/

const run = async (wish: Omit<ProcessWish, 'program'>, code: string) => {
  const { head, value, stderr } = await inProcess(
    { program: 'python', ...wish },
    { language: 'python', code },
  )
  assert.equal(head.status, 'ok', JSON.stringify(head) + stderr)
  return value
}

suite('Honest programs', { skip: unable('python') }, () => {
  for (const { title, wish } of stands) {
    test(`${title}: services, protocols, kernel release and kernel settings can be read, with the wall's own boot id`, async (t) => {
      if (isMissing(t, wish)) return
      const [one, other] = [(await run(wish, usual)) as any, (await run(wish, usual)) as any]
      const { boot, release, pids, ...rest } = one
      assert.deepEqual(rest, {
        services: [443, 53, 'ssh'],
        protocols: [6, 58],
        uuids: [36, true],
        settings: SETTINGS.map((name) => `/proc/sys/${name}`),
      })
      assert.ok(pids >= 32_768)
      if (existsSync('/usr/lib/os-release')) assert.match(`${release}`, /^ID=/)
      assert.match(boot, UUID)
      assert.notEqual(boot, other.boot)
      assert.notEqual(boot, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
    })

    test(`${title}: a compiler and the cryptography of Java work`, async (t) => {
      if (isMissing(t, wish)) return
      if (!existsSync('/usr/bin/javac')) return t.skip('javac is missing')
      const { head, stdout, stderr } = await inProcess(
        { program: 'node', ...wish },
        { language: 'sh', code: java },
      )
      assert.equal(head.status, 'ok', JSON.stringify(head) + stderr)
      assert.equal(stdout, '32 SunJCE\nDefault\n')
    })

    test(`${title}: matplotlib of the distribution draws a figure, and MIME types are known`, async (t) => {
      if (isMissing(t, wish)) return
      if (!existsSync('/usr/lib/python3/dist-packages/matplotlib'))
        return t.skip('matplotlib is missing')
      const docx = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'
      assert.deepEqual(await run(wish, plots), ['89504e47', docx])
    })

    test(`${title}: kernel settings can neither be changed nor reached by other paths`, async (t) => {
      if (isMissing(t, wish)) return
      assert.deepEqual(await run(wish, hostile), [])
    })
  }
})
