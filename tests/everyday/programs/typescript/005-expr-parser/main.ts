import { Parser, type Node } from "./parser";
import { SyntaxErr } from "./lexer";

type Env = Record<string, number>;
const FUNCS: Record<string, (...a: number[]) => number> = {
  sqrt: Math.sqrt,
  max: Math.max,
  min: Math.min,
  avg: (...a) => a.reduce((x, y) => x + y, 0) / a.length,
};

function evaluate(n: Node, env: Env): number {
  switch (n.type) {
    case "num":
      return n.value;
    case "var":
      if (!(n.name in env)) throw new ReferenceError(`unknown variable ${n.name}`);
      return env[n.name];
    case "unary":
      return n.op === "-" ? -evaluate(n.arg, env) : evaluate(n.arg, env);
    case "call": {
      const f = FUNCS[n.fn];
      if (!f) throw new ReferenceError(`unknown function ${n.fn}()`);
      return f(...n.args.map((a) => evaluate(a, env)));
    }
    case "binary": {
      const l = evaluate(n.left, env);
      const r = evaluate(n.right, env);
      if (n.op === "/" && r === 0) throw new RangeError("division by zero");
      return { "+": l + r, "-": l - r, "*": l * r, "/": l / r, "%": l % r, "^": l ** r }[n.op]!;
    }
  }
}

const toLisp = (n: Node): string =>
  n.type === "num" ? String(n.value)
  : n.type === "var" ? n.name
  : n.type === "unary" ? `(${n.op} ${toLisp(n.arg)})`
  : n.type === "call" ? `(${n.fn} ${n.args.map(toLisp).join(" ")})`
  : `(${n.op} ${toLisp(n.left)} ${toLisp(n.right)})`;

const env: Env = { x: 3, y: 4, pi: 3.14159 };
const exprs = process.argv.slice(2).length
  ? process.argv.slice(2)
  : ["1 + 2 * 3", "2 ^ 3 ^ 2", "-(x - y) * 2", "sqrt(x^2 + y^2)", "avg(1, 2, 3, 4)", "10 / (5 - 5)", "2 * z", "(1 + 2", "3 $ 4", "pi * 2 * x"];

for (const src of exprs) {
  try {
    const ast = new Parser(src).parse();
    console.log(`${src}  =>  ${toLisp(ast)}  =  ${evaluate(ast, env)}`);
  } catch (e) {
    if (e instanceof SyntaxErr) {
      console.log(`${src}\n${" ".repeat(e.pos)}^ ${e.message}`);
    } else if (e instanceof Error) {
      console.log(`${src}  =>  ${e.name}: ${e.message}`);
    }
  }
}
