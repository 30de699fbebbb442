type Rule = { field: string; test: (v: any) => boolean; message: string };
const registry = new Map<Function, Rule[]>();
const pending: Rule[] = [];

const rule = (message: string, test: Rule["test"]) => (_: undefined, ctx: ClassFieldDecoratorContext) => {
  pending.push({ field: String(ctx.name), test, message });
};

export const required = rule("is required", (v) => v !== undefined && v !== null && v !== "");
export const min = (n: number) => rule(`must be at least ${n}`, (v) => typeof v !== "number" || v >= n);
export const matches = (re: RegExp) => rule(`must match ${re}`, (v) => typeof v !== "string" || re.test(v));

export function entity<C extends new (...args: any[]) => object>(cls: C, _ctx: ClassDecoratorContext<C>): void {
  registry.set(cls, pending.splice(0));
}

export function clamp(lo: number, hi: number) {
  return (_: undefined, _ctx: ClassFieldDecoratorContext<unknown, number>) => (initial: number) => Math.min(hi, Math.max(lo, initial));
}

export function validate(obj: object): string[] {
  return (registry.get(obj.constructor) ?? [])
    .filter((r) => !r.test((obj as Record<string, unknown>)[r.field]))
    .map((r) => `${r.field} ${r.message}`);
}
