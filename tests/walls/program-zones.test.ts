import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { suite, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JailKind } from '../../src/contract/jail-kind.ts'
import { messageOf } from '../../src/contract/error.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { isAlive } from '../../src/os/proc.ts'
import { tryReadLink, tryReadText } from '../../src/os/read.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import type { WardenClient } from '../../src/walls/client.ts'
import type { ZoneReport } from '../../src/contract/warden.ts'
import { cpuMsOf } from '../../src/os/process-tree.ts'
import type { ZoneRule } from '../../src/contract/zone-rules.ts'
import { until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { openWhole, type WholeWall, type WholeWish } from './whole-wall.ts'

const MiB = 2 ** 20
/** Number of attempts to win the race. */
const triesMax = 3
const hasGroups = openCgroups() !== undefined
const found = await openOwnProgram('sentinel')
const noCompiler = 'missing' in found ? found.missing : undefined

interface Stand {
  readonly title: string
  readonly wish: WholeWish
  readonly isGrouped: boolean
  readonly isAsked: boolean
}

/** With and without cgroups and a sentinel; a missing one is skipped by name. */
const stands: readonly Stand[] = [
  { title: 'groups and a sentinel', wish: { sentinel: true }, isGrouped: true, isAsked: true },
  { title: 'groups alone', wish: { sentinel: false }, isGrouped: true, isAsked: false },
  {
    title: 'a sentinel alone',
    wish: { sentinel: true, hide: ['cgroup'] },
    isGrouped: false,
    isAsked: true,
  },
  {
    title: 'neither',
    wish: { sentinel: false, hide: ['cgroup'] },
    isGrouped: false,
    isAsked: false,
  },
]

const py: ZoneRule = { kind: 'py', programs: ['python3'], memory: 48 * MiB, life: 20_000 }
const pl: ZoneRule = { kind: 'pl', programs: ['perl'], memory: 128 * MiB, life: 20_000 }
const spin: ZoneRule = { kind: 'spin', programs: ['awk'], processes: 8, life: 700 }

/** Runs one script in a wall with these rules, and passes the zone reports to `then`. */
async function live(
  { wish, jailKind = 'embedded' }: Pick<Stand, 'wish'> & { readonly jailKind?: JailKind },
  zones: readonly ZoneRule[],
  code: string,
  then: (told: readonly ZoneReport[], wall: WholeWall, warden: WardenClient) => Promise<void>,
): Promise<void> {
  await using stand = await openWhole(wish)
  const wall = await stand.start('node', jailKind)
  const told: ZoneReport[] = []
  stand.warden.onZone(wall.id, (zone) => void told.push(zone))
  await wall.claim({ memory: 1024 * MiB, cpu: 2, processes: 128, zones })
  wall.run(code, 'sh')
  try {
    await then(told, wall, stand.warden)
  } catch (cause) {
    const story = told.map(({ what, zone, program, why }) => [what, zone, program, why].join(' '))
    const seen = [...story, ...filesOf(wall), wall.said.stdout, wall.said.stderr]
    throw new Error(`${messageOf(cause)}; told: ${seen.join(', ')}`, { cause })
  } finally {
    await wall.kill()
    await until(() => foldersOf(wall.id).length === 0, 'its groups to be gone')
  }
}

/** Tightens, freezes, thaws and kills a zone of Perl that was refused a process. */
async function endByHand(wall: WholeWall, warden: WardenClient): Promise<void> {
  await assert.rejects(warden.tighten(wall.id, { zone: 'attic', memory: MiB }))
  const held = await warden.tighten(wall.id, { zone: 'pl', memory: 64 * MiB, cpu: 0.5 })
  assert.deepEqual([held.memory, held.cpu], ['cgroup', 'cgroup'])
  await warden.freeze(wall.id)
  assert.ok(filesOf(wall).includes('perl'))
  await warden.thaw(wall.id)
  // The kernel refuses a quota for a cgroup below that of a cgroup within it.
  assert.equal((await warden.tighten(wall.id, { cpu: 0.25 })).cpu, 'cgroup')
  await warden.kill(wall.id, 'pl')
}

/** In each tree of control groups that there is. */
function foldersOf(wall: string): readonly string[] {
  const root = '/sys/fs/cgroup'
  const trees = existsSync(root) ? ['.', ...readdirSync(root)] : []
  return trees.map((tree) => `${root}/${tree}/mayfly/${wall}`).filter((place) => existsSync(place))
}

const saysEnd = (wall: WholeWall) =>
  until(() => wall.frames.some((text) => text.includes('"status"')), 'the end')
const of = (told: readonly ZoneReport[], what: ZoneReport['what']) =>
  told.filter((one) => one.what === what)
const whyOf = (told: readonly ZoneReport[]) =>
  Object.fromEntries(of(told, 'gone').map(({ zone, why }) => [zone, why]))

/** Executable names of the processes of a wall. */
function filesOf(wall: WholeWall): readonly string[] {
  return wall.processes().map((one) => fileOf(Number(one.split(' ')[0])))
}

const fileOf = (pid: number) => basename(tryReadLink(`/proc/${pid}/exe`) ?? '')

/** Pids of a wall's processes that were started with these words. */
function startedAs(wall: WholeWall, ...words: readonly string[]): readonly number[] {
  const pids = wall.processes().map((one) => Number(one.split(' ')[0]))
  return pids.filter((pid) => wordsOf(pid) === words.join('\0'))
}

const wordsOf = (pid: number) => tryReadText(`/proc/${pid}/cmdline`)?.replace(/\0$/, '')

function isMissing(t: TestContext, { isGrouped, isAsked }: Stand): boolean {
  if (isGrouped && !hasGroups) t.skip('no control groups for this user')
  else if (isAsked && noCompiler !== undefined) t.skip(noCompiler)
  else if (!['perl', 'awk', 'python3'].every((one) => existsSync(`/usr/bin/${one}`)))
    t.skip('perl, awk or python3 is missing')
  else return false
  return true
}

for (const stand of stands) {
  suite(`Zones of programs, with ${stand.title}`, () => {
    const { isGrouped, isAsked } = stand
    const by = isGrouped ? 'cgroup' : 'watch'

    test('S2-7: run concurrently with different limits; a zone over its limit ends alone, and the other continues', async (t) => {
      if (isMissing(t, stand)) return
      const bomb = 'import time; time.sleep(0.3); a = []\nwhile True: a.append(bytearray(1 << 20))'
      const code = `python3 -c '${bomb}' &
        awk 'BEGIN { while (1) n++ }' &
        perl -e 'my $x = "y" x (60 << 20); sleep 1; print "finished\\n"' &
        wait; echo all over; sleep 60`
      await live(stand, [py, pl, spin], code, async (told, wall) => {
        await until(() => of(told, 'gone').length === 3, 'three zones to be over')
        await until(() => /finished\nall over/.test(wall.said.stdout), 'the rest to go on')
        const over = 'its programs have ended'
        assert.deepEqual(whyOf(told), { py: 'limit MEMORY', pl: over, spin: 'timeout' })
        for (const { entered, parent, program, enforced, kind } of of(told, 'began')) {
          assert.deepEqual([entered, parent], [isAsked ? 'asked' : 'seen', 'main'])
          assert.match(program, /^\/usr\/bin\/(?:python3|perl|mawk|gawk|original-awk)/)
          const own = kind === 'spin' ? ['none', 'none', by] : [by, 'none', 'none']
          assert.deepEqual([enforced?.memory, enforced?.cpu, enforced?.processes], own)
        }
      })
    })

    test('S2-7: no process leaves its zone by a double fork, by setsid, or by exec of another program', async (t) => {
      if (isMissing(t, stand)) return
      const fill =
        'my @a; while (1) { push @a, "y" x (1 << 20); select undef, undef, undef, 0.004 }'
      const leave = `import os, time
time.sleep(0.3)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "601"])
    if os.fork() == 0:
        os.execvp("perl", ["perl", "-e", '${fill}'])
    os._exit(0)`
      const code = `cat > leave.py <<'END'\n${leave}\nEND\npython3 leave.py; echo left; sleep 60`
      await live(stand, [py, { ...pl, memory: 512 * MiB }], code, async (told, wall) => {
        await until(() => wall.said.stdout.includes('left'), 'it to leave')
        const asleep = () => startedAs(wall, 'sleep', '601')
        await until(() => asleep().length === 1, 'the one that only sleeps')
        const [sleeper] = asleep()
        await until(() => of(told, 'gone').length === 2, 'its zones to be ended')
        const [outer, inner] = of(told, 'began')
        assert.deepEqual([outer?.zone, inner?.zone, inner?.parent], ['py', 'pl', 'py'])
        // The limit of the outer cgroup applies to all cgroups within it.
        assert.deepEqual(whyOf(told), { py: 'limit MEMORY', pl: 'limit MEMORY' })
        const isLeft = () => filesOf(wall).some((file) => /^(?:perl|python3.*)$/.test(file))
        await until(() => !isLeft() && !isAlive(sleeper!), 'all of it to be gone')
        assert.equal(startedAs(wall, 'sleep', '60').length, 1, 'the rest continues')
      })
    })

    test('The CPU time of one zone is limited, and that of the rest is not', async (t) => {
      if (isMissing(t, stand)) return
      const code = `perl -e '1 while 1' & awk 'BEGIN { while (1) n++ }' & wait`
      await live(stand, [{ ...pl, cpu: 0.1 }], code, async (told, wall) => {
        await until(() => of(told, 'began').length === 1, 'it to begin')
        assert.equal(of(told, 'began')[0]?.enforced?.cpu, by)
        const pidOf = (file: RegExp) =>
          wall
            .processes()
            .map((one) => Number(one.split(' ')[0]))
            .find((pid) => file.test(fileOf(pid)))!
        await until(() => pidOf(/awk/) !== undefined, 'the other to begin')
        const pids = [pidOf(/perl/), pidOf(/awk/)]
        const ms = () => pids.map((pid) => cpuMsOf([pid]))
        const before = ms()
        const began = performance.now()
        await sleep(1500)
        const [held, free] = ms().map((now, index) => now - before[index]!)
        const took = performance.now() - began
        assert.ok(
          pids.every((pid) => isAlive(pid)),
          'both still run',
        )
        assert.ok(held! < 0.35 * took, `${held} ms of ${took} ms, limited to a tenth`)
        // Without cgroups a busy machine may leave the other zone no more than a tenth either.
        if (isGrouped) assert.ok(free! > held!, `${free} ms beside ${held} ms of the limited zone`)
        t.diagnostic(`in ${Math.round(took)} ms: held ${held} ms, free ${free} ms`)
      })
    })

    test('A zone over its process limit ends, or its forks fail, and it can be killed with all its descendants', async (t) => {
      if (isMissing(t, stand)) return
      const many =
        '$| = 1; select undef, undef, undef, 0.3; for (1..30) { my $p = fork; if (!defined $p) { print "refused\\n"; last } sleep 60 if !$p } sleep 60'
      const code = `perl -e '${many}' & sleep 60 & wait`
      await live(stand, [{ ...pl, processes: 6 }], code, async (told, wall, warden) => {
        await until(() => of(told, 'began').length === 1, 'it to begin')
        const isGone = () => of(told, 'gone').length === 1
        // Found by a scan of a busy machine, a zone may already have more than its group would let it start.
        const isLate = () => !isAsked && isGone()
        if (isGrouped)
          await until(() => wall.said.stdout.includes('refused') || isLate(), 'it to be refused')
        const isKilled = isGrouped && !isGone()
        if (isKilled) await endByHand(wall, warden)
        await until(isGone, 'it to be ended')
        assert.deepEqual(whyOf(told), { pl: isKilled ? 'ended' : 'limit PROCESSES' })
        await until(() => !filesOf(wall).includes('perl'), 'all of it to be gone')
        assert.ok(filesOf(wall).includes('sleep'), 'the rest continues')
      })
    })
  })
}

suite('Program zones, each in its cgroup before its first instruction', () => {
  const [strong] = stands

  test('S2-7: a program is in the cgroup of its zone at its first instruction', async (t) => {
    if (isMissing(t, strong!)) return
    for (const jailKind of [
      'embedded',
      ...(findProgram('bwrap') ? (['bubblewrap'] as const) : []),
    ] as const) {
      const inside = { kind: 'inside', programs: ['cat'], memory: 32 * MiB, life: 9000 }
      const code = 'cat /proc/self/cgroup; ./link /proc/self/cgroup; sh -c "cat /proc/self/cgroup"'
      await live(
        { ...strong!, jailKind },
        [inside],
        `ln -s /bin/cat link; ${code}`,
        async (told, wall) => {
          await saysEnd(wall)
          // A wall in a cgroup namespace sees its own cgroup as the root.
          const places = wall.said.stdout
            .split('\n')
            .flatMap((line) => /(?:^0:|:memory):.*\/(z\d+)$/.exec(line)?.[1] ?? [])
          assert.deepEqual(places.slice(0, 3), ['z1', 'z2', 'z3'], wall.said.stdout)
          assert.deepEqual(
            of(told, 'began').map(({ zone }) => zone),
            ['inside', 'inside.2', 'inside.3'],
          )
        },
      )
    }
  })

  test('A program that a scan meets at its end is in its zone, and not refused', async (t) => {
    if (isMissing(t, strong!)) return
    const inside = { kind: 'inside', programs: ['head'], life: 20_000 }
    const one = 'head -c 9000000 /dev/zero > /dev/null &'
    const code = `for i in $(seq 20); do ${one.repeat(10)} wait; done`
    await live(strong!, [inside], code, async (told, wall) => {
      await saysEnd(wall)
      assert.deepEqual(of(told, 'refused'), [])
      assert.ok(of(told, 'began').length > 100, `${of(told, 'began').length} of 200 began`)
    })
  })

  test('Zones end with their warden, and the next warden removes their cgroups', async (t) => {
    if (isMissing(t, strong!)) return
    await using stand = await openWhole({ ...strong!.wish, apart: true })
    const { pid } = await stand.warden.facts()
    const wall = await stand.start('node')
    const told: ZoneReport[] = []
    stand.warden.onZone(wall.id, (zone) => void told.push(zone))
    await wall.claim({
      processes: 64,
      zones: [
        { ...py, cpu: 0.1 },
        { ...pl, cpu: 0.05 },
      ],
    })
    wall.run(`python3 -c 'import os; os.system("perl -e \\"1 while 1\\"")'`, 'sh')
    await until(() => of(told, 'began').length === 2, 'two zones to begin')
    const all = wall.processes().map((one) => one.split(' ').map(Number))
    process.kill(pid, 'SIGKILL')
    const isLeft = () => all.some(([one, startTime]) => isAlive(one!, startTime))
    await until(() => !isLeft(), 'all of it to die')
    await holdWarden({ stateFolder: stand.stateFolder }).close()
    assert.deepEqual(foldersOf(wall.id), [])
  })

  test('A process that swaps the path of an execve while the sentinel checks it (TOCTOU) is ended', async (t) => {
    if (isMissing(t, strong!)) return
    const swap = `import ctypes, os, threading, time
libc = ctypes.CDLL(None)
for round in range(40):
    pid = os.fork()
    if pid == 0:
        path = ctypes.create_string_buffer(b"/bin/true", 64)
        code = b"select undef, undef, undef, 0.2; print qq(escaped\\\\n)"
        argv = (ctypes.c_char_p * 4)(b"perl", b"-e", code, None)
        def flip(ms):
            time.sleep(ms / 1000); path.value = b"/usr/bin/perl"
        threading.Thread(target=flip, args=(0.05 * (round % 20),)).start()
        libc.execve(path, argv, None)
        os._exit(1)
    os.waitpid(pid, 0)`
    const code = `cat > swap.py <<'END'\n${swap}\nEND\npython3 swap.py; echo over`
    const lied: number[] = []
    // The scheduler decides the race; on a busy machine one side may win all forty rounds.
    while (!lied.some((times) => times > 0) && lied.length < triesMax)
      await live(strong!, [pl], code, async (told, wall) => {
        await saysEnd(wall)
        // An execve whose path settled in time is in its zone; otherwise it was ended before it could print its cgroup.
        const places = wall.said.stdout.split('\n').filter((line) => line.includes(wall.id))
        assert.deepEqual(
          places.filter((line) => !/\/z\d+$/.test(line)),
          [],
        )
        const ended = of(told, 'refused').filter(
          ({ why }) => why === 'its exec was notified as another program',
        )
        lied.push(ended.length)
        t.diagnostic(`${ended.length} swaps won the race, ${places.length} were too late`)
      })
    assert.ok(lied.at(-1)! > 0, `no swap won the race, ${lied.length} tries`)
  })
})
