/**
 * Guests for life-cycle cases. Few and named, so that a provider for another language can bring its own, and
 * one that runs no code can script them.
 */
export const guestsInJs = {
  /** Returns its input. */
  echo: 'return input',
  /** 200 numbered lines, odd ones on stderr. */
  speaks: `for (let n = 0; n < 200; n++) (n % 2 ? console.error : console.log)('line ' + n)
return 200`,
  /** 8 MiB on stdout, then an answer. */
  floods: `const line = 'x'.repeat(16383)
for (let n = 0; n < 512; n++) console.log(line)
return 'flooded'`,
  /** Prints `spinning`, then loops forever. */
  spins: `console.log('spinning'); for (;;) {}`,
  /** Prints `waiting`, then waits forever. */
  waits: `console.log('waiting'); await new Promise(() => {})`,
  /** Ends with a TypeError `this went wrong`. */
  throws: `throw new TypeError('this went wrong')`,
  /** Prints `ticking`, then calls `tick` until it is refused; a program prints `tick` without end. */
  ticks: `for (let n = 0; ; n++) {
  try { await call('tick', n); if (n === 0) console.log('ticking') } catch (error) { return { n, message: error.message } }
}`,
  /** Returns the answer of `double` to `{ n: 21 }`. */
  asks: `return await call('double', { n: 21 })`,
} as const

export type GuestNameInJs = keyof typeof guestsInJs
/** Guests of whole programs alone: files, and execs of a session. */
type ProgramGuestName =
  /** Copies the file `brought.bin` to `made/copy.bin`. */
  | 'copies'
  /** An exec that sets a variable to 20. */
  | 'sets'
  /** An exec that prints that variable plus one. */
  | 'prints'
  /** An exec that prints `looping`, then loops without end. */
  | 'loops'
export type GuestName = GuestNameInJs | ProgramGuestName
/** Sources by name; cases without their guest are skipped. */
export type Guests = Readonly<Partial<Record<GuestName, string>>>
/** Output size of `floods`. */
export const floodBytes = 512 * 16_384
