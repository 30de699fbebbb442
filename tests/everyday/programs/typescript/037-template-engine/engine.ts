type Scope = Record<string, unknown>;
type Part =
  | { t: "text"; value: string }
  | { t: "out"; path: string; filters: string[]; raw: boolean }
  | { t: "each"; path: string; as: string; body: Part[] }
  | { t: "if"; path: string; negate: boolean; then: Part[]; otherwise: Part[] };

export class TemplateError extends Error {
  constructor(msg: string, readonly line: number) {
    super(`line ${line}: ${msg}`);
  }
}

export const filters: Record<string, (v: any) => unknown> = {
  upper: (v) => String(v).toUpperCase(),
  money: (v) => Number(v).toFixed(2) + " €",
  count: (v: unknown[]) => v.length,
};

function parse(src: string): Part[] {
  const stack: { parts: Part[]; open?: string; node?: Part }[] = [{ parts: [] }];
  let last = 0;
  const top = () => stack[stack.length - 1];
  for (const m of src.matchAll(/\{\{(\{)?\s*(.+?)\s*\}?\}\}/g)) {
    const line = src.slice(0, m.index).split("\n").length;
    if (m.index > last) top().parts.push({ t: "text", value: src.slice(last, m.index) });
    last = m.index + m[0].length;
    const code = m[2];
    let k: RegExpExecArray | null;
    if ((k = /^#each (\S+) as (\w+)$/.exec(code))) {
      const node: Part = { t: "each", path: k[1], as: k[2], body: [] };
      top().parts.push(node);
      stack.push({ parts: node.body, open: "each", node });
    } else if ((k = /^#if (!?)(\S+)$/.exec(code))) {
      const node: Part = { t: "if", path: k[2], negate: !!k[1], then: [], otherwise: [] };
      top().parts.push(node);
      stack.push({ parts: node.then, open: "if", node });
    } else if (code === "else") {
      const node = top().node;
      if (node?.t !== "if") throw new TemplateError("else without if", line);
      top().parts = node.otherwise;
    } else if (code.startsWith("/")) {
      if (top().open !== code.slice(1)) throw new TemplateError(`unexpected {{${code}}}`, line);
      stack.pop();
    } else {
      const [path, ...fs] = code.split("|").map((s) => s.trim());
      for (const f of fs) if (!(f in filters)) throw new TemplateError(`unknown filter "${f}"`, line);
      top().parts.push({ t: "out", path, filters: fs, raw: !!m[1] });
    }
  }
  if (stack.length > 1) throw new TemplateError(`{{#${top().open}}} is never closed`, src.split("\n").length);
  stack[0].parts.push({ t: "text", value: src.slice(last) });
  return stack[0].parts;
}

const lookup = (scope: Scope, path: string): unknown => path.split(".").reduce<any>((v, k) => v?.[k], scope);
const escape = (s: string) => s.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);
const truthy = (v: unknown) => (Array.isArray(v) ? v.length > 0 : Boolean(v));

function render(parts: Part[], scope: Scope): string {
  return parts
    .map((p) => {
      switch (p.t) {
        case "text":
          return p.value;
        case "out": {
          const v = p.filters.reduce<unknown>((x, f) => filters[f](x), lookup(scope, p.path)) ?? "";
          return p.raw ? String(v) : escape(String(v));
        }
        case "each":
          return ((lookup(scope, p.path) as unknown[]) ?? []).map((item, index) => render(p.body, { ...scope, [p.as]: item, index })).join("");
        case "if":
          return render(truthy(lookup(scope, p.path)) !== p.negate ? p.then : p.otherwise, scope);
      }
    })
    .join("");
}

export function compile<T extends object>(src: string): (data: T) => string {
  const parts = parse(src);
  return (data) => render(parts, data as Scope);
}
