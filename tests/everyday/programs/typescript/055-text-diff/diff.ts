import { readFileSync } from 'node:fs'

type Op = { type: ' ' | '+' | '-'; line: string }

function lcs(a: string[], b: string[]): Op[] {
  const m = a.length, n = b.length
  const t = Array.from({ length: m + 1 }, () => new Uint16Array(n + 1))
  for (let i = m - 1; i >= 0; i--)
    for (let j = n - 1; j >= 0; j--)
      t[i][j] = a[i] === b[j] ? t[i + 1][j + 1] + 1 : Math.max(t[i + 1][j], t[i][j + 1])

  const ops: Op[] = []
  let i = 0, j = 0
  while (i < m || j < n) {
    if (i < m && j < n && a[i] === b[j]) { ops.push({ type: ' ', line: a[i] }); i++; j++ }
    else if (j < n && (i === m || t[i][j + 1] > t[i + 1][j])) ops.push({ type: '+', line: b[j++] })
    else ops.push({ type: '-', line: a[i++] })
  }
  return ops
}

function read(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n')
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') {
      console.error(`diff: ${file}: No such file`)
      process.exit(2)
    }
    throw e
  }
}

const args = process.argv.slice(2)
const color = args.includes('--color')
const [left, right] = args.filter(a => !a.startsWith('--'))
const paint: Record<Op['type'], (s: string) => string> = {
  ' ': s => s,
  '+': s => (color ? `\x1b[32m${s}\x1b[0m` : s),
  '-': s => (color ? `\x1b[31m${s}\x1b[0m` : s),
}

const ops = lcs(read(left), read(right))
console.log(`--- ${left}\n+++ ${right}`)
for (const { type, line } of ops) console.log(paint[type](type + line))
const added = ops.filter(o => o.type === '+').length
const removed = ops.filter(o => o.type === '-').length
console.log(`${added} added, ${removed} removed, ${ops.length - added - removed} unchanged`)
process.exit(added + removed ? 1 : 0)
