/**
 * Becomes the program given, which the kernel then kills when whoever started this one ends: what `setpriv
 * --pdeathsig KILL` does, where there is none that can. It costs the start of one more Node.
 */
import { closeOnExecFrom, keepOverExec, setParentDeathSignal } from '../src/os/libc.js'

const SIGKILL = 9
/** The socket to the server and the readiness pipe, unless told otherwise. */
const KEPT = '3,4'

const given = process.argv.slice(2)
const kept = given[0]?.startsWith('keep=') ? given.shift()?.slice('keep='.length) : KEPT
const [program = '', ...args] = given
setParentDeathSignal(SIGKILL)
closeOnExecFrom(3)
for (const fd of (kept ?? KEPT).split(',')) keepOverExec(Number(fd))
process.execve?.(program, [program, ...args], process.env)
