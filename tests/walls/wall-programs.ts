import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import type { GuestLanguage, Wish } from '../conformance/stand.ts'

/** Python programs that tests of several kinds of walls run. */

/** Prints a number every 10 ms. */
export const ticks = `
import time
def main(input):
    for n in range(100000):
        print(n, flush=True)
        time.sleep(0.01)`

/** Allocates memory, a mebibyte at a time, without end. */
export const fillsMemory = `
def main(input):
    kept = []
    while True: kept.append(bytearray(b'x') * (1 << 20))`

/** Returns how many of a hundred forks succeed. */
export const countsForks = `
import os, time
def main(input):
    made = 0
    try:
        while made < 100:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            made += 1
    except BlockingIOError: pass
    return made`

/** A program that uses up its disk, or only nearly, and its end. */
export interface LimitCase {
  readonly name: string
  readonly of: GuestLanguage
  readonly code: string
  readonly ends: readonly [status: string, code: string | undefined]
  readonly controls?: Wish['controls']
}

const fillsDisk = `f = open('/work/big', 'wb', 0)
try:
    while True: f.write(bytes(1 << 20))`
const full: LimitCase['ends'] = ['limit', 'DISK']
export const ownError: LimitCase['ends'] = ['error', 'USER_ERROR']

/** Programs with 64 MB of scratch folders. */
export const diskCases: readonly LimitCase[] = [
  { name: 'Python fills it', of: inPython, code: `${fillsDisk}\nfinally: pass`, ends: full },
  {
    name: 'Python fills it, and exits without a report',
    of: inPython,
    code: `import os\n${fillsDisk}\nexcept OSError: os._exit(3)`,
    ends: full,
  },
  {
    name: 'a child of a shell fills /tmp',
    of: inShell,
    code: 'dd if=/dev/zero of=/tmp/big bs=1M 2>/dev/null',
    ends: full,
  },
  {
    name: 'Python fills it and goes on',
    of: inPython,
    code: `${fillsDisk}\nexcept OSError: print('handled')`,
    ends: ['ok', undefined],
  },
  {
    name: 'Python nearly fills it, and fails for another reason',
    of: inPython,
    code: `open('/work/big', 'wb').write(bytes(60 << 20))\n1 / 0`,
    ends: ownError,
  },
  {
    name: 'Python only says so',
    of: inPython,
    code: `import errno\nraise OSError(errno.ENOSPC, 'No space left on device')`,
    ends: ownError,
  },
]

/** For walls whose disk Node fills as a child of a shell does. */
export const nodeFillsDisk: LimitCase = {
  name: 'Node fills it',
  of: inNode,
  code: `import { appendFileSync } from 'node:fs'\nfor (;;) appendFileSync('big', Buffer.alloc(1 << 20))`,
  ends: full,
}
