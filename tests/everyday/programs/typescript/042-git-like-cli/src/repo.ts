import { createHash } from "node:crypto";
export interface Commit { id: string; message: string; parent?: string; files: string[] }
export class Repo {
  staged = new Set<string>();
  commits: Commit[] = [];
  add(...files: string[]) { for (const f of files) this.staged.add(f); }
  commit(message: string): Commit {
    const parent = this.commits.at(-1)?.id;
    const files = [...this.staged].sort();
    const id = createHash("sha1").update(JSON.stringify([message, parent, files])).digest("hex").slice(0, 7);
    this.staged.clear();
    const c = { id, message, parent, files };
    this.commits.push(c);
    return c;
  }
}
