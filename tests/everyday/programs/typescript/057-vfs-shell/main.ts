import { createInterface } from "node:readline/promises";
import { stdin } from "node:process";

class VFile { constructor(public content = "") {} }
class VDir extends Map<string, VFile | VDir> {}
type VNode = VFile | VDir;

class ShellError extends Error {}

class Shell {
  private root = new VDir();
  private cwd: string[] = [];
  private status = 0;

  private resolve(path: string): string[] {
    const parts = path.startsWith("/") ? [] : [...this.cwd];
    for (const p of path.split("/")) {
      if (p === "..") parts.pop();
      else if (p && p !== ".") parts.push(p);
    }
    return parts;
  }
  private lookup(parts: string[]): VNode | undefined {
    let node: VNode | undefined = this.root;
    for (const p of parts) node = node instanceof VDir ? node.get(p) : undefined;
    return node;
  }
  private parent(path: string): [VDir, string] {
    const parts = this.resolve(path);
    const name = parts.pop();
    const dir = this.lookup(parts);
    if (!name || !(dir instanceof VDir)) throw new ShellError(`${path}: bad path`);
    return [dir, name];
  }
  private file(path: string): VFile {
    const n = this.lookup(this.resolve(path));
    if (n instanceof VDir) throw new ShellError(`${path}: is a directory`);
    if (!n) throw new ShellError(`${path}: not found`);
    return n;
  }

  private readonly commands: Record<string, (args: string[]) => string | void> = {
    pwd: () => "/" + this.cwd.join("/"),
    echo: (a) => a.join(" "),
    mkdir: (a) => a.forEach((p) => { const [d, n] = this.parent(p); if (d.has(n)) throw new ShellError(`${p}: exists`); d.set(n, new VDir()); }),
    cd: ([p = "/"]) => {
      const parts = this.resolve(p);
      if (!(this.lookup(parts) instanceof VDir)) throw new ShellError(`${p}: not a directory`);
      this.cwd = parts;
    },
    ls: ([p = "."]) => {
      const n = this.lookup(this.resolve(p));
      if (!n) throw new ShellError(`${p}: not found`);
      return n instanceof VDir ? [...n].map(([k, v]) => (v instanceof VDir ? k + "/" : k)).sort().join("\n") : p;
    },
    cat: (a) => a.map((p) => this.file(p).content).join("\n"),
    rm: ([p]) => { const [d, n] = this.parent(p); if (!d.delete(n)) throw new ShellError(`${p}: not found`); },
    wc: ([p]) => { const c = this.file(p).content; return `${c.split("\n").length} ${c.split(/\s+/).filter(Boolean).length} ${c.length}`; },
    tree: () => {
      const walk = (d: VDir, pad: string): string[] =>
        [...d].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([k, v]) => (v instanceof VDir ? [`${pad}${k}/`, ...walk(v, pad + "  ")] : [pad + k]));
      return walk(this.root, "").join("\n");
    },
  };

  exec(line: string): string | undefined {
    const m = /^(.*?)(?:\s*(>>?)\s*(\S+))?$/.exec(line.trim())!;
    const [name, ...args] = (m[1].match(/"[^"]*"|\S+/g) ?? []).map((w) => w.replace(/^"|"$/g, "").replace("$?", String(this.status)));
    if (!name || name.startsWith("#")) return;
    try {
      const cmd = this.commands[name];
      if (!cmd) throw new ShellError("command not found");
      const out = cmd(args) ?? "";
      this.status = 0;
      if (!m[2]) return out || undefined;
      const [dir, file] = this.parent(m[3]);
      const old = dir.get(file);
      dir.set(file, new VFile(m[2] === ">>" && old instanceof VFile ? old.content + "\n" + out : out));
    } catch (e) {
      if (!(e instanceof ShellError)) throw e;
      this.status = 1;
      return `${name}: ${e.message}`;
    }
  }
}

async function main() {
  const sh = new Shell();
  const rl = createInterface({ input: stdin });
  for await (const line of rl) {
    if (line === "exit") break;
    console.log(`$ ${line}`);
    const out = sh.exec(line);
    if (out !== undefined) console.log(out);
  }
  rl.close();
  console.log("bye");
}
main().catch(console.error);
