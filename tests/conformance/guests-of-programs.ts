import type { GuestLanguage } from './stand.ts'

/** The guests as whole programs, in each language that only a process runs. */

export const inNode: GuestLanguage = {
  language: 'node',
  entry: 'module',
  guests: {
    echo: 'export default (input) => input',
    speaks: `for (let n = 0; n < 200; n++) (n % 2 ? console.error : console.log)('line ' + n)
export default 200`,
    floods: `export default () => {
  const line = 'x'.repeat(16383)
  for (let n = 0; n < 512; n++) console.log(line)
  return 'flooded'
}`,
    spins: `console.log('spinning')\nfor (;;) {}`,
    waits: `console.log('waiting')\nawait new Promise(() => setInterval(() => {}, 1000))`,
    throws: `throw new TypeError('this went wrong')`,
    ticks: `console.log('ticking')\nsetInterval(() => console.log('tick'), 10)\nawait new Promise(() => {})`,
    copies: `import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
mkdirSync('made')
writeFileSync('made/copy.bin', readFileSync('brought.bin'))`,
    sets: 'let kept = 20',
    prints: 'console.log(kept + 1)',
    loops: `console.log('looping')\nfor (;;) {}`,
  },
}

export const inPython: GuestLanguage = {
  language: 'python',
  entry: 'function',
  guests: {
    echo: 'def main(input): return input',
    speaks: `import sys
def main(input):
    for n in range(200):
        print('line', n, file=sys.stderr if n % 2 else sys.stdout, flush=True)
    return 200`,
    floods: `def main(input):
    for n in range(512): print('x' * 16383)
    return 'flooded'`,
    spins: `def main(input):
    print('spinning', flush=True)
    while True: pass`,
    waits: `import time
def main(input):
    print('waiting', flush=True)
    while True: time.sleep(1)`,
    throws: `def main(input): raise TypeError('this went wrong')`,
    ticks: `import time
def main(input):
    print('ticking', flush=True)
    while True: time.sleep(0.01); print('tick', flush=True)`,
    copies: `import os
def main(input):
    os.mkdir('made')
    open('made/copy.bin', 'wb').write(open('brought.bin', 'rb').read())`,
    sets: 'kept = 20',
    prints: 'print(kept + 1)',
    loops: `print('looping', flush=True)\nwhile True: pass`,
  },
}

export const inShell: GuestLanguage = {
  language: 'sh',
  entry: 'program',
  guests: {
    echo: 'cat >&3',
    speaks: `n=0
while [ $n -lt 200 ]; do
  if [ $((n % 2)) = 1 ]; then echo "line $n" >&2; else echo "line $n"; fi
  n=$((n + 1))
done
echo 200 >&3`,
    floods: `head -c 8388608 /dev/zero | tr '\\0' x; echo '"flooded"' >&3`,
    spins: 'echo spinning\nwhile :; do :; done',
    waits: 'echo waiting\nsleep 1000',
    ticks: 'echo ticking; while :; do echo tick; sleep 0.01; done',
    copies: 'mkdir made; cp brought.bin made/copy.bin',
    sets: 'kept=20',
    prints: 'echo $((kept + 1))',
    loops: 'echo looping; while :; do :; done',
  },
}
