// packages: zod
import * as z from 'zod'

/** A published package that reads what comes from outside. */
export default () => {
  const shape = z.object({ name: z.string().min(1), sums: z.array(z.number()) })
  let right = 0
  for (let n = 0; n < 500; n++)
    right += shape.safeParse({ name: `n${n}`, sums: [n] }).success ? 1 : 0
  return right
}
