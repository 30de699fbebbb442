/**
 * Execs a program with parent-death signal SIGKILL, where `setpriv --pdeathsig KILL` is missing. Costs one
 * more start of Node.
 */
import { closeOnExecFrom, keepOverExec, setParentDeathSignal } from '../src/os/libc.js'

const SIGKILL = 9
/** Inherited fds by default: the server's socket and the readiness pipe. */
const KEPT = '3,4'

const given = process.argv.slice(2)
const kept = given[0]?.startsWith('keep=') ? given.shift()?.slice('keep='.length) : KEPT
const [program = '', ...args] = given
setParentDeathSignal(SIGKILL)
closeOnExecFrom(3)
for (const fd of (kept ?? KEPT).split(',')) keepOverExec(Number(fd))
process.execve?.(program, [program, ...args], process.env)
