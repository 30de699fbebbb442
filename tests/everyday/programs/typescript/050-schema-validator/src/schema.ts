export interface Issue { path: (string | number)[]; message: string }
export type Parsed<T> = { success: true; data: T } | { success: false; issues: Issue[] };

export abstract class Schema<T> {
  declare readonly _type: T;
  abstract check(v: unknown, path: Issue["path"], issues: Issue[]): T;

  safeParse(v: unknown): Parsed<T> {
    const issues: Issue[] = [];
    const data = this.check(v, [], issues);
    return issues.length ? { success: false, issues } : { success: true, data };
  }
  parse(v: unknown): T {
    const r = this.safeParse(v);
    if (r.success) return r.data;
    throw new Error(r.issues.map((i) => `${i.path.join(".") || "(root)"}: ${i.message}`).join("\n"));
  }
  optional(): Schema<T | undefined> {
    return new Wrap<T | undefined>((v, p, i) => (v === undefined ? undefined : this.check(v, p, i)));
  }
  refine(pred: (t: T) => boolean, message: string): Schema<T> {
    return new Wrap<T>((v, p, i) => {
      const before = i.length;
      const r = this.check(v, p, i);
      if (i.length === before && !pred(r)) i.push({ path: p, message });
      return r;
    });
  }
  transform<U>(fn: (t: T) => U): Schema<U> {
    return new Wrap<U>((v, p, i) => {
      const before = i.length;
      const r = this.check(v, p, i);
      return i.length === before ? fn(r) : (undefined as U);
    });
  }
}

class Wrap<T> extends Schema<T> {
  constructor(readonly check: (v: unknown, path: Issue["path"], issues: Issue[]) => T) { super(); }
}

const typeName = (v: unknown) => (v === null ? "null" : Array.isArray(v) ? "array" : typeof v);
const prim = <T>(name: string) => () =>
  new Wrap<T>((v, path, issues) => {
    if (typeof v !== name) issues.push({ path, message: `expected ${name}, got ${typeName(v)}` });
    return v as T;
  }) as Schema<T>;

type Shape = Record<string, Schema<any>>;
type Simplify<T> = { [K in keyof T]: T[K] } & {};
type OptionalKeys<S extends Shape> = { [K in keyof S]: undefined extends S[K]["_type"] ? K : never }[keyof S];
type ObjectOf<S extends Shape> = Simplify<{ [K in Exclude<keyof S, OptionalKeys<S>>]: S[K]["_type"] } & { [K in OptionalKeys<S>]?: S[K]["_type"] }>;

export const s = {
  string: prim<string>("string"),
  number: prim<number>("number"),
  boolean: prim<boolean>("boolean"),
  literal: <const L extends string | number>(...ls: L[]) =>
    new Wrap<L>((v, path, issues) => {
      if (!ls.includes(v as L)) issues.push({ path, message: `expected ${ls.map((l) => JSON.stringify(l)).join(" | ")}` });
      return v as L;
    }) as Schema<L>,
  array: <T>(inner: Schema<T>): Schema<T[]> =>
    new Wrap<T[]>((v, path, issues) => {
      if (!Array.isArray(v)) return issues.push({ path, message: `expected array, got ${typeName(v)}` }), [];
      return v.map((x, i) => inner.check(x, [...path, i], issues));
    }),
  object: <S extends Shape>(shape: S): Schema<ObjectOf<S>> =>
    new Wrap<ObjectOf<S>>((v, path, issues) => {
      if (typeName(v) !== "object") return issues.push({ path, message: `expected object, got ${typeName(v)}` }), {} as ObjectOf<S>;
      const out: Record<string, unknown> = {};
      for (const [k, sch] of Object.entries(shape)) out[k] = sch.check((v as any)[k], [...path, k], issues);
      for (const k of Object.keys(v as object)) if (!(k in shape)) issues.push({ path: [...path, k], message: "unknown key" });
      return out as ObjectOf<S>;
    }),
};
export type Infer<S extends Schema<any>> = S["_type"];
