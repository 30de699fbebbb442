import { mkdtempSync, rmSync, writeFileSync, existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

class TempDir implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "using-demo-"));
  write(name: string, content: string) {
    writeFileSync(join(this.path, name), content);
  }
  [Symbol.dispose]() {
    rmSync(this.path, { recursive: true });
    console.log("temp dir removed");
  }
}

class Connection implements AsyncDisposable {
  static open = 0;
  private constructor(private readonly id: string) {}
  static async connect(id: string) {
    await null;
    Connection.open++;
    console.log(`${id}: connected`);
    return new Connection(id);
  }
  async query(sql: string) {
    if (/drop/i.test(sql)) throw new Error(`refused: ${sql}`);
    return [`${this.id} says: ${sql.length} chars`];
  }
  async [Symbol.asyncDispose]() {
    await new Promise((r) => setTimeout(r, 5));
    Connection.open--;
    console.log(`${this.id}: closed`);
  }
}

function files(): string {
  using dir = new TempDir();
  dir.write("a.txt", "A");
  dir.write("b.txt", "B");
  const list = readdirSync(dir.path).join(",");
  console.log("inside:", list);
  return dir.path;
}

async function queries(sql: string) {
  await using primary = await Connection.connect("primary");
  await using replica = await Connection.connect("replica");
  console.log(await primary.query(sql));
  console.log(await replica.query(sql));
}

const gone = files();
console.log("still there?", existsSync(gone));

queries("select 1")
  .then(() => queries("DROP TABLE users"))
  .catch((e) => console.log("caught", e.message))
  .finally(() => {
    console.log("open connections:", Connection.open);
    using stack = new DisposableStack();
    stack.defer(() => console.log("deferred 1"));
    stack.defer(() => console.log("deferred 2"));
    stack.adopt("handle", (h) => console.log("adopted", h));
    console.log("end of block");
  });
