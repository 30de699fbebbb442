/**
 * Becomes the program given, which the kernel then kills when whoever started this one ends: what `setpriv
 * --pdeathsig KILL` does, where there is none that can. It costs the start of one more Node.
 */
import { closeOnExecFrom, keepOverExec, setParentDeathSignal } from '../src/os/libc.js'

const SIGKILL = 9
/** The socket to the server and the readiness pipe. */
const KEPT = [3, 4]

const [program = '', ...args] = process.argv.slice(2)
setParentDeathSignal(SIGKILL)
closeOnExecFrom(3)
for (const fd of KEPT) keepOverExec(fd)
process.execve?.(program, [program, ...args], process.env)
