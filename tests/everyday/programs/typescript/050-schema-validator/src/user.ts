import { s, type Infer } from "schema";

export const User = s.object({
  name: s.string().refine((n) => n.length >= 2, "too short"),
  age: s.number().refine(Number.isInteger, "must be an integer").optional(),
  role: s.literal("admin", "guest"),
  born: s.string().refine((d) => !isNaN(Date.parse(d)), "not a date").transform((d) => new Date(d).getUTCFullYear()),
  pets: s.array(s.object({ kind: s.literal("cat", "dog"), lives: s.number().optional() })),
});
export type User = Infer<typeof User>;
