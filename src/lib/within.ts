/** Result of the promise, or `late` after `ms` milliseconds. Rejects if it rejects before. */
export async function within<T, L>(promise: Promise<T>, ms: number, late: L): Promise<T | L> {
  const timeout = Promise.withResolvers<L>()
  const timer = setTimeout(timeout.resolve, ms, late)
  try {
    return await Promise.race([promise, timeout.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Whether the promise resolves within `ms` milliseconds. Rejects if it rejects before. */
export async function resolvesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const late = Symbol('late')
  return (await within(promise, ms, late)) !== late
}
