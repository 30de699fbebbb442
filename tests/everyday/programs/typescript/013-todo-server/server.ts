import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Todo {
  id: number;
  title: string;
  done: boolean;
}

type Handler = (req: IncomingMessage, params: Record<string, string>, body: any) => { status: number; body?: unknown };

async function readJson(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const c of req) chunks.push(c as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  return text ? JSON.parse(text) : undefined;
}

export class TodoServer {
  private todos = new Map<number, Todo>();
  private nextId = 1;
  private routes: { method: string; pattern: RegExp; handler: Handler }[] = [];
  private server = http.createServer((req, res) => void this.dispatch(req, res));

  constructor() {
    this.route("GET", "/todos", () => ({ status: 200, body: [...this.todos.values()] }));
    this.route("POST", "/todos", (_q, _p, body) => {
      if (typeof body?.title !== "string") return { status: 422, body: { error: "title is required" } };
      const todo: Todo = { id: this.nextId++, title: body.title, done: false };
      this.todos.set(todo.id, todo);
      return { status: 201, body: todo };
    });
    this.route("PATCH", "/todos/:id", (_q, { id }, body) => {
      const t = this.todos.get(+id);
      if (!t) return { status: 404, body: { error: `todo ${id} not found` } };
      Object.assign(t, body);
      return { status: 200, body: t };
    });
    this.route("DELETE", "/todos/:id", (_q, { id }) => (this.todos.delete(+id) ? { status: 204 } : { status: 404, body: { error: "not found" } }));
  }

  private route(method: string, path: string, handler: Handler) {
    const pattern = new RegExp("^" + path.replace(/:(\w+)/g, "(?<$1>[^/]+)") + "$");
    this.routes.push({ method, pattern, handler });
  }

  private async dispatch(req: IncomingMessage, res: ServerResponse) {
    const { pathname } = new URL(req.url ?? "/", "http://localhost");
    let out: ReturnType<Handler> = { status: 404, body: { error: "no such route" } };
    try {
      for (const r of this.routes) {
        const m = r.pattern.exec(pathname);
        if (m && r.method === req.method) {
          out = r.handler(req, { ...m.groups }, await readJson(req));
          break;
        }
      }
    } catch (e) {
      out = { status: 400, body: { error: e instanceof SyntaxError ? "invalid JSON" : "bad request" } };
    }
    res.writeHead(out.status, { "content-type": "application/json" });
    res.end(out.body === undefined ? undefined : JSON.stringify(out.body));
  }

  listen(): Promise<string> {
    return new Promise((resolve) =>
      this.server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(this.server.address() as AddressInfo).port}`)),
    );
  }
  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.close((e) => (e ? reject(e) : resolve()));
      this.server.closeAllConnections();
    });
  }
}
