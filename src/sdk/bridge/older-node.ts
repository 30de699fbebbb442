/** Polyfill of `Promise.withResolvers`, which Node 20 lacks; `scripts/pack-bundle.ts` inserts it. */
export function withResolvers<T>(): PromiseWithResolvers<T> {
  const made = {} as PromiseWithResolvers<T>
  made.promise = new Promise<T>((resolve, reject) => {
    made.resolve = resolve
    made.reject = reject
  })
  return made
}
