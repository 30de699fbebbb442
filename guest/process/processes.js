/** Processes of a session, by /proc. Where that is missing, signals go to process groups alone. */
import fs from 'node:fs'

const TICKS_PER_S = 100
/** Start times have whole ticks, and so has the time that they are compared with. */
const SLACK_MS = 20

/** @typedef {{ pid: number, parent: number, session: number, startedMs: number, cpuMs: number }} ProcessFacts */

/** @param {number | string} pid @returns {ProcessFacts | undefined} */
export function factsOf(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const [, parent = 0, , session = 0] = fields
    const cpu = fields.slice(11, 15).reduce((all, one) => all + one, 0)
    const startedMs = ((fields[19] ?? 0) * 1000) / TICKS_PER_S
    return { pid: Number(pid), parent, session, startedMs, cpuMs: (cpu * 1000) / TICKS_PER_S }
  } catch {
    return undefined
  }
}

/** @returns {ProcessFacts[]} */
export function allProcesses() {
  try {
    const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return pids.flatMap((pid) => factsOf(pid) ?? [])
  } catch {
    return []
  }
}

/** Milliseconds since boot, as start times are counted; 0 where that is unknown. */
export function uptimeMs() {
  try {
    return Number.parseFloat(fs.readFileSync('/proc/uptime', 'latin1')) * 1000
  } catch {
    return 0
  }
}

/** Process id that was given last, which tells processes of the same tick apart; 0 where that is unknown. */
export function lastPid() {
  try {
    return Number(fs.readFileSync('/proc/loadavg', 'latin1').trim().split(' ').at(-1))
  } catch {
    return 0
  }
}

/**
 * Sends SIGINT to what a kernel's session started since its cell began, and not to background work of earlier cells.
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
  // Each pass finds children of what the pass before found.
  for (let size = 0; size < doomed.size;) {
    size = doomed.size
    for (const { pid, parent } of all) if (doomed.has(parent)) doomed.add(pid)
  }
  doomed.delete(process.pid)
  for (const pid of doomed) signal(pid, 'SIGKILL')
}

/** Signals all processes of a session; where /proc is missing, the group of its leader. @param {number} leader @param {NodeJS.Signals} name */
export function signalSession(leader, name) {
  if (leader <= 0) return
  for (const { pid, session } of allProcesses()) if (session === leader) signal(pid, name)
  signal(-leader, name)
}

/** @param {number} pid a group where it is negative @param {NodeJS.Signals} name */
export function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch {
    // Gone already.
  }
}
