import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { suite, test } from 'node:test'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { isMissing, unable } from './process-stands.ts'
import { openWhole } from './whole-wall.ts'

/** The uid of a program, as seen by itself: unprivileged, for any user that started Mayfly. */

const isRoot = process.getuid?.() === 0
const stands = jailKinds.flatMap((jailKind) => [
  { title: jailKind, jailKind, hide: [] as string[] },
  ...(isRoot ? [{ title: `${jailKind}, without root`, jailKind, hide: ['root'] }] : []),
])

const looks = `
import json, os, pwd, subprocess, tarfile
def tried(act):
    try: return repr(act())
    except (OSError, KeyError) as error: return type(error).__name__
def lines(path): return open(path).read().split('\\n')
uid, gid = os.getuid(), os.getgid()
with open('/work/own', 'w') as own: own.write('x')
with tarfile.open('/work/other.tar', 'w') as tar:
    entry = tarfile.TarInfo('unpacked')
    entry.uid, entry.gid, entry.uname, entry.gname = 4321, 4321, '', ''
    tar.addfile(entry)
tar = subprocess.run(['tar', 'xf', '/work/other.tar', '-C', '/tmp'], capture_output=True, text=True)
status = dict(line.split(':\\t', 1) for line in lines('/proc/self/status') if ':\\t' in line)
print(json.dumps({
    'ids': [uid == os.geteuid() == os.getresuid()[2], gid == os.getegid(), uid != 0, gid != 0],
    'id': subprocess.run(['id'], capture_output=True, text=True).stdout.strip(),
    'status': [status['Uid'].split() == [str(uid)] * 4, status['CapEff'], status['CapBnd'], status['NoNewPrivs']],
    'map': open('/proc/self/uid_map').read().split(),
    'name': pwd.getpwuid(uid).pw_name,
    'files': [os.stat(at).st_uid == uid for at in ('/work', '/work/own', '/proc/self')],
    'tar': [tar.returncode, tar.stderr, os.stat('/tmp/unpacked').st_uid == uid],
    'becomes': [tried(lambda: os.setuid(0)), tried(lambda: os.setresuid(0, 0, 0)), tried(lambda: os.setgid(0)),
                tried(lambda: os.setgroups([0])), tried(lambda: os.chown('/work/own', 0, 0))],
    'uid': uid,
}))`

/** Ways back to uid 0: another user namespace, the maps of this one, programs that have the set-user-ID bit. */
const climbs = `
import ctypes, json, os, subprocess
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, STACK = 0x10000000, 65536
gained = []
def writes(path, text):
    try:
        with open(path, 'w') as file: file.write(text)
        gained.append(path)
    except OSError: pass
for at in ('self', '1', str(os.getppid())):
    for name in ('uid_map', 'gid_map', 'projid_map'): writes('/proc/%s/%s' % (at, name), '0 0 1')
    writes('/proc/%s/setgroups' % at, 'allow')
if libc.unshare(NEWUSER) == 0: gained.append('unshare')
if libc.syscall(56, NEWUSER | 17, 0, 0, 0, 0) >= 0: gained.append('clone')
for name in ('user', 'mnt'):
    fd = os.open('/proc/1/ns/' + name, os.O_RDONLY) if os.access('/proc/1/ns/' + name, os.R_OK) else -1
    if fd >= 0 and libc.setns(fd, 0) == 0: gained.append('setns ' + name)
for program in (['newuidmap', str(os.getpid()), '0', '0', '1'], ['unshare', '--user', '--map-root-user', 'true'],
                ['su', '-c', 'true'], ['sudo', '-n', 'true'], ['mount', '-t', 'tmpfs', 'x', '/tmp']):
    try:
        if subprocess.run(program, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0: gained.append(program[0])
    except OSError: pass
with open('/work/own.sh', 'w') as script: script.write('#!/bin/sh\\nid -u')
os.chmod('/work/own.sh', 0o6755)
seen = {subprocess.run(['/work/own.sh'], capture_output=True, text=True).stdout.strip()}
# Outside of a wall the set-user-ID bit of a program of root makes its effective uid 0 once it is started.
try: held = subprocess.Popen(['su', '-c', 'true'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
except OSError: held = None
if held:
    seen.update(next(line for line in open('/proc/%d/status' % held.pid) if line.startswith('Uid:')).split()[1:])
    held.kill()
    held.wait()
print(json.dumps({'gained': gained, 'seen': sorted(seen), 'su': held is not None, 'uid': os.getuid(), 'flags': os.statvfs('/usr').f_flag & os.ST_NOSUID}))`

suite('The user of a program', { skip: unable('python') }, () => {
  for (const { title, jailKind, hide } of stands) {
    const said = async (code: string): Promise<Record<string, unknown>> => {
      await using whole = await openWhole({ hide })
      const wall = await whole.start('python', jailKind)
      await wall.claim()
      wall.run(code)
      await wall.end()
      assert.notEqual(wall.said.stdout, '', wall.said.stderr)
      return JSON.parse(wall.said.stdout) as Record<string, unknown>
    }

    test(`${title}: it has a uid other than 0, a name, and no way to change either`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const { ids, id, status, map, name, files, tar, becomes, uid } = await said(looks)
      assert.deepEqual(ids, [true, true, true, true])
      assert.equal(
        id,
        `uid=${String(uid)}(mayfly) gid=${String(uid)}(mayfly) groups=${String(uid)}(mayfly)`,
      )
      assert.deepEqual(status, [true, '0'.repeat(16), '0'.repeat(16), '1'])
      assert.equal(name, 'mayfly')
      assert.deepEqual(files, [true, true, true])
      assert.deepEqual(tar, [0, '', true])
      for (const answer of becomes as string[]) assert.match(answer, /^(PermissionError|OSError)$/)
      // Root needs no user namespace for the embedded jail: its walls have uids that nothing else on the machine has.
      const isMapped = hide.length > 0 || !isRoot || jailKind === 'bubblewrap'
      assert.deepEqual(map, isMapped ? ['1000', '0', '1'] : ['0', '0', '4294967295'])
    })

    test(`${title}: a new user namespace, its uid map or a set-user-ID program give it no uid 0`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const { gained, seen, su, uid, flags } = await said(climbs)
      assert.deepEqual(gained, [])
      assert.equal(su, existsSync('/usr/bin/su'))
      assert.deepEqual(seen, [String(uid)])
      assert.equal(flags, 2)
    })
  }
})
