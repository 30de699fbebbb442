import { TodoServer, type Todo } from "./server.js";

async function main(): Promise<void> {
  const server = new TodoServer();
  const base = await server.listen();

  async function call<T = unknown>(method: string, path: string, body?: unknown): Promise<T | undefined> {
    const res = await fetch(base + path, {
      method,
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });
    const text = await res.text();
    console.log(`${method} ${path} -> ${res.status} ${text}`);
    return text ? (JSON.parse(text) as T) : undefined;
  }

  try {
    const first = await call<Todo>("POST", "/todos", { title: "write tests" });
    await call("POST", "/todos", { title: "buy milk 🥛" });
    await call("POST", "/todos", {});
    await call("POST", "/todos", "{oops");
    await call("PATCH", `/todos/${first!.id}`, { done: true });
    await call("DELETE", "/todos/2");
    await call("DELETE", "/todos/2");
    await call("GET", "/nope");
    const list = await call<Todo[]>("GET", "/todos");
    console.log("left:", list?.filter((t) => !t.done).length);
  } finally {
    await server.close();
  }
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
