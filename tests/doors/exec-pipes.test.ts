import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { hasProgram, noFolderWall } from '../hostile/folder/project.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { bin, documentOf, makePlace, mayfly, noOrdinaryUser, type Who } from './program.ts'

/** Pipes and Unix sockets that a command behind `mayfly exec` opens by a name. */
const timeout = 240_000
const skip = noFolderWall || (!hasProgram('bash') && 'bash is missing')
/** Not that of a version manager, whose files are in the HOME of the tests. */
const python = '/usr/bin/python3'
const skipPython = skip || (!hasProgram(python) && 'python3 is missing')

/** Opens that never wait, or whose other end is there. */
const named: readonly (readonly [script: string, printed: string])[] = [
  ['sort <(printf "b\\na\\n")', 'a\nb\n'],
  ['diff <(echo 1) <(echo 2)', '1c1\n< 1\n---\n> 2\n'],
  ['awk -f <(echo "BEGIN { print 3 }")', '3\n'],
  ['source <(echo "echo sourced")', 'sourced\n'],
  ['mapfile -t lines < <(printf "1\\n2\\n"); echo "${lines[1]}"', '2\n'],
  ['xargs -a <(echo a) echo', 'a\n'],
  ['while read -r line; do echo "$line"; done < <(echo read)', 'read\n'],
  ['exec 3> >(tr a b); echo a >&3; exec 3>&-; wait $!', 'b\n'],
  ['printf 7 | cat /dev/stdin', '7'],
  ['printf 7 | cat /dev/fd/0 /proc/self/fd/0', '7'],
  ['cat /dev/stdin <<< here', 'here\n'],
  ['exec 88< <(echo far); cat /dev/fd/88', 'far\n'],
  ['ln -s /proc/self/fd/88 link; exec 88< <(echo linked); cat link; rm link', 'linked\n'],
  ['(echo out > /dev/stdout) | cat', 'out\n'],
  ['(echo err > /dev/stderr) 2>&1 | cat', 'err\n'],
  ['(echo twice | tee /dev/stderr) 2>&1 | cat', 'twice\ntwice\n'],
  ['(exec 2> /dev/stdout; echo moved >&2) | cat', 'moved\n'],
]

const users: readonly Who[] = ['self', 'ordinary']
for (const who of users) {
  const missing = who === 'ordinary' && noOrdinaryUser()
  suite(`Pipes by a name, user: ${who}`, { skip: skip || missing, timeout }, () => {
    const place = makePlace(who)
    after(() => place.remove())
    const bash = (script: string, ...flags: string[]) =>
      mayfly(place, ['exec', '--timeout', '60s', ...flags, '--', 'bash', '-c', script])

    for (const flags of [[], ['--dry-run']])
      test(`opens a pipe by its name as outside ${flags.join('')}`, async () => {
        for (const [script, printed] of named) {
          const { stdout, stderr } = await bash(script, ...flags)
          assert.equal(stdout, printed, `${script}: ${stderr}`)
        }
      })

    test('opens a FIFO in the folder and in /tmp, with either end first', async () => {
      for (const box of ['box', '/tmp/box'])
        for (const [first, second] of [
          ['echo in >', 'cat'],
          ['cat', 'echo in >'],
        ]) {
          const script = `mkfifo ${box}; ${first} ${box} & ${second} ${box}; wait; rm ${box}`
          const { stdout, stderr, code } = await bash(script)
          assert.deepEqual([stdout, code], ['in\n', 0], `${script}: ${stderr}`)
        }
    })

    test('lets many opens of FIFOs wait at once', async () => {
      const { stdout, stderr } = await bash(
        'mkfifo box; for i in {1..100}; do echo $i > box & done; cat box | sort -n | tail -1',
      )
      assert.equal(stdout, '100\n', stderr)
    })

    test('writes to a pipe, a socket or a file of the caller by /dev/stdout', async () => {
      const script = 'echo done > /dev/stdout; echo err | tee /dev/stderr >&2'
      const socket = await bash(script)
      assert.deepEqual([socket.stdout, socket.stderr], ['done\n', 'err\nerr\n'])
      const captured = documentOf(await bash(script, '--json'))
      assert.deepEqual([captured['stdout'], captured['stderr']], ['done\n', 'err\nerr\n'])
      const words = [process.execPath, bin, 'exec', '--timeout', '60s']
      const line = '"$@" -- bash -c "echo done > /dev/stdout; echo err > /dev/stderr"'
      for (const script of [`(${line}) 2>&1 | cat`, `(${line}) > all 2> all2; cat all all2`]) {
        const args = [...place.become, 'sh', '-c', script, 'sh', ...words]
        const child = spawn('env', args, {
          cwd: place.cwd,
          env: place.env,
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        assert.equal(await text(child.stdout), 'done\nerr\n', script)
      }
    })
  })
}

test(
  "writes to a pipe of root's in a folder of another user",
  { skip: skip || noOrdinaryUser() },
  async () => {
    const place = makePlace('ordinary')
    try {
      const state = join(place.state, 'own')
      mkdirSync(state)
      chownSync(state, statSync(place.cwd).uid, statSync(place.cwd).gid)
      const words = [process.execPath, bin, 'exec', '--timeout', '60s', '--', 'bash', '-c']
      const script = 'id -u; echo done > /dev/stdout; echo err | tee /dev/stderr > /dev/null'
      const child = spawn('sh', ['-c', '"$@" 2>&1 | cat', 'sh', ...words, script], {
        cwd: place.cwd,
        env: { ...place.env, HOME: process.env['HOME'], MAYFLY_STATE: state },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      assert.equal(await text(child.stdout), `${statSync(place.cwd).uid}\ndone\nerr\n`)
    } finally {
      place.remove()
    }
  },
)

suite('Pipes that wait', { skip: skipPython, timeout }, () => {
  const place = makePlace()
  after(() => place.remove())
  const run = (source: string) => {
    writeFileSync(join(place.cwd, 'a.py'), source)
    return mayfly(place, ['exec', '--timeout', '60s', '--', python, 'a.py'])
  }

  test('answers an open that does not wait as outside', async () => {
    const { stdout, stderr } = await run(`
import errno, os
os.mkfifo("box")
try: os.open("box", os.O_WRONLY | os.O_NONBLOCK)
except OSError as e: print(errno.errorcode[e.errno])
reads = os.open("box", os.O_RDONLY | os.O_NONBLOCK)
writes = os.open("box", os.O_WRONLY)
print(os.get_blocking(reads), os.get_blocking(writes))
both = os.open("box", os.O_RDWR)
os.write(both, b"x")
print(os.read(reads, 9))
`)
    assert.equal(stdout, "ENXIO\nFalse True\nb'x'\n", stderr)
  })

  test('interrupts an open that waits by a signal, and leaves no end of it open', async () => {
    const { stdout, stderr } = await run(`
import errno, os, signal, subprocess
os.mkfifo("/tmp/box")
def stop(*_): raise TimeoutError
signal.signal(signal.SIGALRM, stop)
for mode in os.O_RDONLY, os.O_WRONLY:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        os.open("/tmp/box", mode)
    except TimeoutError: print("interrupted")
reader = subprocess.Popen(["cat", "/tmp/box"])
try: reader.wait(0.2)
except subprocess.TimeoutExpired: reader.kill()
print(reader.wait())
try: os.open("/tmp/box", os.O_WRONLY | os.O_NONBLOCK)
except OSError as e: print(errno.errorcode[e.errno])
`)
    assert.equal(stdout, 'interrupted\ninterrupted\n-9\nENXIO\n', stderr)
  })

  test('resumes an open that waits after a stop and a signal whose handler restarts calls', async () => {
    const { stdout, stderr } = await run(`
import os, signal, subprocess
os.mkfifo("stopped")
reader = subprocess.Popen(["bash", "-c", "trap 'echo trapped' USR1; echo ready; read -r line < stopped; echo $line"], stdout=subprocess.PIPE, text=True)
print(reader.stdout.readline(), end="")
reader.send_signal(signal.SIGSTOP)
print(os.WIFSTOPPED(os.waitpid(reader.pid, os.WUNTRACED)[1]))
reader.send_signal(signal.SIGCONT)
with open("stopped", "w") as box: box.write("resumed\\n")
print(reader.stdout.read(), end="")
`)
    assert.equal(stdout, 'ready\nTrue\nresumed\n', stderr)
  })

  test('opens a FIFO whose other end a program outside opens', async () => {
    const child = spawn(
      process.execPath,
      [
        bin,
        'exec',
        '--',
        'bash',
        '-c',
        'mkfifo in out; echo made; read -r line < in; echo "$line back" > out',
      ],
      { cwd: place.cwd, env: place.env, stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(child.stdout, 'data')
    const outside = spawn('sh', ['-c', 'echo there > in; cat out'], { cwd: place.cwd })
    assert.equal(await text(outside.stdout), 'there back\n')
    await once(child, 'exit')
  })

  /** Starts a command, and waits for its first line. */
  async function started(command: readonly string[], ...flags: string[]) {
    const child = spawn(process.execPath, [bin, 'exec', ...flags, '--', ...command], {
      cwd: place.cwd,
      env: place.env,
    })
    const closed = once(child, 'close')
    const stderr = text(child.stderr)
    await once(child.stdout, 'data')
    return { child, closed, stderr }
  }

  test('ends by SIGTERM, SIGINT and --timeout while opens wait, which fail by nothing else', async () => {
    const waits = 'rm -f dead dead3; mkfifo dead dead3; cat dead & echo > dead2 & echo made; '
    for (const shell of ['bash', 'sh'])
      for (const last of ['cat dead; echo late', 'exec 3> dead3', 'cat dead | cat']) {
        for (const signal of ['SIGTERM', 'SIGINT'] as const) {
          const { child, closed, stderr } = await started([shell, '-c', waits + last])
          child.kill(signal)
          assert.deepEqual(await closed, [null, signal], `${shell}: ${last}`)
          assert.doesNotMatch(await stderr, /not implemented/)
        }
        const { closed, stderr } = await started([shell, '-c', waits + last], '--timeout', '1s')
        assert.deepEqual(await closed, [4, null], `${shell}: ${last}`)
        assert.doesNotMatch(await stderr, /not implemented/)
      }
    assert.equal(readFileSync(join(place.cwd, 'dead2'), 'utf8'), '\n')
  })

  test('ends by SIGTERM and SIGINT while the supervisor itself waits', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const { child, closed } = await started(['sh', '-c', 'echo ready; read -r line < /dev/zero'])
      const [, init] = descendantsOf(child.pid!).filter(isOfWall)
      process.kill(init!, 'SIGSTOP')
      child.kill(signal)
      assert.deepEqual(await closed, [null, signal])
    }
  })
})

const isOfWall = (pid: number) =>
  readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('mayfly-folder')

suite('Unix sockets by a name', { skip: skipPython, timeout }, () => {
  const place = makePlace()
  after(() => place.remove())
  const run = async (source: string, ...flags: string[]) => {
    writeFileSync(join(place.cwd, 'a.py'), source)
    const command = ['exec', '--timeout', '60s', ...flags, '--', python, 'a.py']
    const { stdout, stderr } = await mayfly(place, command)
    return { said: stdout.split('\n').slice(0, -1), stderr }
  }

  test('tells the name of a bind to its socket, its clients and /proc/net/unix', async () => {
    const source = `
import os, socket
os.mkdir("sub")
def bind(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    return server
for path in "/tmp/door", "/tmp/" + "n" * 102, "/tmp/../tmp/door", "rel", "sub/../rel", os.getcwd() + "/sub/door":
    server = bind(path)
    assert server.getsockname() == path, server.getsockname()
    if os.path.dirname(os.path.abspath(path)) == "/tmp":
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        assert client.getpeername() == path, client.getpeername()
        assert any(line.rstrip("\\n").endswith(" " + path) for line in open("/proc/net/unix"))
    os.remove(path)
os.chdir("/tmp")
os.mkdir("before")
server = bind("before/door")
os.rename("before", "after")
socket.socket(socket.AF_UNIX).connect("after/door")
print(server.getsockname(), os.listdir("after"))
through = bind("/proc/self/cwd/after/proc")
print(sorted(os.listdir("after")))
for path in "after/door", "none/door", "after", ".", "after/new/":
    try: print(bind(path))
    except OSError as e: print(e.strerror)
`
    for (const flags of [[], ['--dry-run']]) {
      const { said, stderr } = await run(source, ...flags)
      const made = ["before/door ['door']", "['door', 'proc']"]
      const used = 'Address already in use'
      const none = 'No such file or directory'
      assert.deepEqual(said, [...made, used, none, used, used, none], stderr)
      rmSync(join(place.cwd, 'sub'), { recursive: true, force: true })
    }
  })

  test('programs find a server by the name that it tells, and it removes that', async () => {
    const { said, stderr } = await run(`
import asyncio, multiprocessing, multiprocessing.connection as connection, os, socketserver
async def serve():
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), "/tmp/async")
    reader, writer = await asyncio.open_unix_connection(server.sockets[0].getsockname())
    print(writer.get_extra_info("peername"))
if __name__ == "__main__":
    for kind in "fork", "spawn", "forkserver":
        with multiprocessing.get_context(kind).Manager() as manager:
            shelf = manager.list([1])
            shelf.append(2)
            print(list(shelf))
    with connection.Listener(family="AF_UNIX") as listener:
        name = listener.address
        connection.Client(name)
    print(os.path.exists(name))
    with socketserver.UnixStreamServer("/tmp/server", None) as server: print(server.server_address)
    asyncio.run(serve())
`)
    const lists = Array<string>(3).fill('[1, 2]')
    assert.deepEqual(said, [...lists, 'False', '/tmp/server', '/tmp/async'], stderr)
  })
})
