/** Processes of a session, read from /proc. Without /proc, only process groups are signalled. */
import fs from 'node:fs'

const TICKS_PER_S = 100
/** Start times are in whole ticks, and are compared with times rounded to ticks. */
const SLACK_MS = 20
const KILL_PASSES_MAX = 50
/** Numbers after that of the last process that are tried in each pass: of its children, by the time it has been read. */
const NUMBERS_AHEAD = 64
/** Passes in a row without a new process: a child that is being forked during one is found by the next. */
const CLEAN_PASSES = 2

/** @typedef {{ pid: number, parent: number, group: number, session: number, startedMs: number, cpuMs: number }} ProcessFacts */

/** @param {number | string} pid @returns {ProcessFacts | undefined} */
export function factsOf(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const [, parent = 0, group = 0, session = 0] = fields
    const cpu = fields.slice(11, 15).reduce((all, one) => all + one, 0)
    const startedMs = ((fields[19] ?? 0) * 1000) / TICKS_PER_S
    const cpuMs = (cpu * 1000) / TICKS_PER_S
    return { pid: Number(pid), parent, group, session, startedMs, cpuMs }
  } catch {
    return undefined
  }
}

/** @returns {ProcessFacts[]} */
export function allProcesses() {
  return pidsNow().flatMap((pid) => factsOf(pid) ?? [])
}

function pidsNow() {
  try {
    const names = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return names.map(Number).sort((one, other) => one - other)
  } catch {
    return []
  }
}

/** Milliseconds since boot, the clock of start times; 0 if unknown. */
export function uptimeMs() {
  try {
    return Number.parseFloat(fs.readFileSync('/proc/uptime', 'latin1')) * 1000
  } catch {
    return 0
  }
}

/** Last allocated pid, which distinguishes processes started in the same tick; 0 if unknown. */
export function lastPid() {
  try {
    return Number(fs.readFileSync('/proc/loadavg', 'latin1').trim().split(' ').at(-1))
  } catch {
    return 0
  }
}

/**
 * Sends SIGINT to processes that a kernel's session started since the current cell began, not to those of earlier cells.
 * @param {number} leader @param {{ ageMs: number, pid: number }} began age of the cell, and the last process id before it
 */
export function interruptYounger(leader, { ageMs, pid: before }) {
  const began = uptimeMs() - ageMs
  for (const { pid, session, startedMs } of allProcesses()) {
    if (session !== leader || pid === leader) continue
    const difference = startedMs - began
    const isYounger = Math.abs(difference) > SLACK_MS ? difference > 0 : pid > before
    if (isYounger || startedMs === 0) signal(pid, 'SIGINT')
  }
}

/** Kills processes of these sessions and their descendants. @param {ReadonlySet<number>} sessions */
export function killSessions(sessions) {
  const all = allProcesses()
  for (const leader of sessions) signal(-leader, 'SIGKILL')
  const doomed = new Set(all.filter(({ session }) => sessions.has(session)).map(({ pid }) => pid))
  doomed.add(process.pid)
  // Each pass finds children of the processes found in the pass before.
  for (let size = 0; size < doomed.size;) {
    size = doomed.size
    for (const { pid, parent } of all) if (doomed.has(parent)) doomed.add(pid)
  }
  doomed.delete(process.pid)
  for (const pid of doomed) signal(pid, 'SIGKILL')
}

/** Signals all processes of a session; without /proc, the group of its leader. @param {number} leader @param {NodeJS.Signals} name */
export function signalSession(leader, name) {
  if (leader <= 0) return
  for (const { pid, session } of allProcesses()) if (session === leader) signal(pid, name)
  signal(-leader, name)
}

/**
 * Kills all processes of a session, in passes until two in a row neither find nor miss a new one: a program may fork while it is
 * searched for. False if the last pass found another. The kernel kills a group at once, with children that are being forked. @param {number} leader
 */
export function killSession(leader) {
  if (leader <= 0) return true
  signal(-leader, 'SIGKILL')
  const seen = new Set()
  /** @param {number} pid */
  const end = (pid) => {
    const facts = factsOf(pid)
    if (facts?.session !== leader) return facts
    // At once: a pass over all may take longer than such a process lives.
    if (facts.group > 0) signal(-facts.group, 'SIGKILL')
    signal(pid, 'SIGKILL')
    seen.add(pid)
    return facts
  }
  for (let pass = 0, clean = 0; pass < KILL_PASSES_MAX; pass++) {
    const before = seen.size
    // A process that forks on is gone before it is listed, but its children have the next numbers.
    const last = lastPid()
    if (last > 0) for (let pid = last; pid < last + NUMBERS_AHEAD; pid++) end(pid)
    // The newest first. Gone before it was read: perhaps a process of the session, whose child lives.
    for (const pid of pidsNow().toReversed()) if (!end(pid)) seen.add(pid)
    clean = seen.size === before ? clean + 1 : 0
    if (clean === CLEAN_PASSES) return true
  }
  return false
}

/** @param {number} pid negative for a group @param {NodeJS.Signals} name */
export function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch {
    // Already exited.
  }
}
