import fs from "node:fs/promises";
import path from "node:path";
import process from "node:process";

interface FileNode { kind: "file"; name: string; size: number }
interface DirNode { kind: "dir"; name: string; children: TreeNode[] }
type TreeNode = FileNode | DirNode;

async function scan(dir: string): Promise<DirNode> {
  const entries = await fs.readdir(dir, { withFileTypes: true });
  const children = await Promise.all(
    entries.map(async (e): Promise<TreeNode> => {
      const full = path.join(dir, e.name);
      return e.isDirectory() ? scan(full) : { kind: "file", name: e.name, size: (await fs.stat(full)).size };
    }),
  );
  const isDir = (n: TreeNode): n is DirNode => n.kind === "dir";
  children.sort((a, b) => Number(isDir(b)) - Number(isDir(a)) || a.name.localeCompare(b.name));
  return { kind: "dir", name: path.basename(dir), children };
}

const size = (n: TreeNode): number => (n.kind === "file" ? n.size : n.children.reduce((s, c) => s + size(c), 0));

function human(bytes: number): string {
  const units = ["B", "KiB", "MiB"];
  let i = 0;
  while (bytes >= 1024 && i < units.length - 1) { bytes /= 1024; i++; }
  return `${i ? bytes.toFixed(1) : bytes} ${units[i]}`;
}

function* lines(n: TreeNode, indent = ""): Generator<string> {
  yield `${n.name}${n.kind === "dir" ? "/" : ""}  (${human(size(n))})`;
  if (n.kind === "file") return;
  for (const [i, c] of n.children.entries()) {
    const last = i === n.children.length - 1;
    let first = true;
    for (const l of lines(c)) {
      yield indent + (first ? (last ? "└── " : "├── ") : last ? "    " : "│   ") + l;
      first = false;
    }
  }
}

async function main(root: string) {
  const tree = await scan(path.resolve(root));
  for (const line of lines(tree)) console.log(line);

  const byExt = new Map<string, number>();
  (function walk(n: TreeNode) {
    if (n.kind === "dir") return n.children.forEach(walk);
    const ext = path.extname(n.name) || "(none)";
    byExt.set(ext, (byExt.get(ext) ?? 0) + n.size);
  })(tree);
  console.log(Object.fromEntries([...byExt].sort()));
}

main(process.argv[2] ?? ".").catch((e: NodeJS.ErrnoException) => {
  console.error(e.code === "ENOENT" ? `no such folder: ${process.argv[2]}` : e);
  process.exit(1);
});
