/**
 * Guests that the life cycle is tried with. They are few and have names, so that a provider that runs no code can
 * play them by name.
 */
export const guests = {
  echo: 'return input',
  /** 200 numbered lines, odd ones on stderr. */
  speaks: `for (let n = 0; n < 200; n++) (n % 2 ? console.error : console.log)('line ' + n)
return 200`,
  /** 8 MiB on stdout, then an answer. */
  floods: `const line = 'x'.repeat(16383)
for (let n = 0; n < 512; n++) console.log(line)
return 'flooded'`,
  spins: `console.log('spinning'); for (;;) {}`,
  waits: `console.log('waiting'); await new Promise(() => {})`,
  throws: `throw new TypeError('this went wrong')`,
  /** Calls until it is refused. */
  ticks: `for (let n = 0; ; n++) {
  try { await call('tick', n); if (n === 0) console.log('ticking') } catch (error) { return { n, message: error.message } }
}`,
  asks: `return await call('double', { n: 21 })`,
} as const

export type GuestName = keyof typeof guests
export const floodBytes = 512 * 16_384
