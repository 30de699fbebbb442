import * as fs from "node:fs";

enum Op { PUSH, POP, ADD, SUB, MUL, DIV, DUP, SWAP, JMP, JZ, LOAD, STORE, PRINT, CALL, RET, HALT }
type Instr = { op: Op; arg?: number; line: number };

class AsmError extends Error {
  constructor(line: number, message: string) { super(`line ${line}: ${message}`); }
}

function assemble(source: string): Instr[] {
  const labels = new Map<string, number>();
  const vars = new Map<string, number>();
  const pending: { op: keyof typeof Op; arg?: string; line: number }[] = [];

  source.split("\n").forEach((raw, idx) => {
    const text = raw.replace(/;.*/, "").trim();
    if (!text) return;
    const label = /^(\w+):$/.exec(text);
    if (label) return void labels.set(label[1], pending.length);
    const [name, arg] = text.split(/\s+/);
    const op = name.toUpperCase();
    if (!(op in Op) || !isNaN(+op)) throw new AsmError(idx + 1, `unknown instruction '${name}'`);
    pending.push({ op: op as keyof typeof Op, arg, line: idx + 1 });
  });

  return pending.map(({ op, arg, line }) => {
    const code = Op[op];
    switch (code) {
      case Op.PUSH:
        return { op: code, arg: Number(arg), line };
      case Op.JMP:
      case Op.JZ:
      case Op.CALL:
        if (!labels.has(arg!)) throw new AsmError(line, `unknown label '${arg}'`);
        return { op: code, arg: labels.get(arg!), line };
      case Op.LOAD:
      case Op.STORE:
        if (!vars.has(arg!)) vars.set(arg!, vars.size);
        return { op: code, arg: vars.get(arg!), line };
      default:
        return { op: code, line };
    }
  });
}

class VM {
  private stack: number[] = [];
  private frames: number[] = [];
  private memory: number[] = [];
  steps = 0;
  constructor(private program: Instr[], private out: (n: number) => void, private limit = 100_000) {}

  private pop(line: number): number {
    const v = this.stack.pop();
    if (v === undefined) throw new Error(`stack underflow at line ${line}`);
    return v;
  }
  run(): void {
    const binary: Partial<Record<Op, (a: number, b: number) => number>> = {
      [Op.ADD]: (a, b) => a + b,
      [Op.SUB]: (a, b) => a - b,
      [Op.MUL]: (a, b) => a * b,
      [Op.DIV]: (a, b) => Math.trunc(a / b),
    };
    for (let pc = 0; pc < this.program.length; ) {
      if (++this.steps > this.limit) throw new Error("step limit reached, endless loop?");
      const { op, arg = 0, line } = this.program[pc++];
      const f = binary[op];
      if (f) {
        const b = this.pop(line), a = this.pop(line);
        this.stack.push(f(a, b));
        continue;
      }
      switch (op) {
        case Op.PUSH: this.stack.push(arg); break;
        case Op.POP: this.pop(line); break;
        case Op.DUP: { const v = this.pop(line); this.stack.push(v, v); break; }
        case Op.SWAP: { const b = this.pop(line), a = this.pop(line); this.stack.push(b, a); break; }
        case Op.JMP: pc = arg; break;
        case Op.JZ: if (this.pop(line) === 0) pc = arg; break;
        case Op.LOAD: this.stack.push(this.memory[arg] ?? 0); break;
        case Op.STORE: this.memory[arg] = this.pop(line); break;
        case Op.PRINT: this.out(this.pop(line)); break;
        case Op.CALL: this.frames.push(pc); pc = arg; break;
        case Op.RET: pc = this.frames.pop() ?? this.program.length; break;
        case Op.HALT: return;
      }
    }
  }
}

for (const file of process.argv.slice(2)) {
  const out: number[] = [];
  try {
    const vm = new VM(assemble(fs.readFileSync(file, "utf8")), (n) => out.push(n));
    vm.run();
    console.log(`${file}: ${out.join(" ")} (${vm.steps} steps)`);
  } catch (e) {
    console.log(`${file}: ${out.length ? out.join(" ") + " then " : ""}${e instanceof AsmError ? "assembly error" : "runtime error"}: ${(e as Error).message}`);
  }
}
