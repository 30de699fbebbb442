type Params<S extends string> = S extends `${infer _}:${infer P}/${infer Rest}`
  ? P | Params<`/${Rest}`>
  : S extends `${infer _}:${infer P}`
    ? P
    : never;

type Method = "GET" | "POST" | "DELETE";
type RouteKey = `${Method} /${string}`;
type ArgsOf<S extends string> = { [K in Params<S>]: string };

class Router {
  private readonly table: { method: Method; parts: string[]; handler: (p: any) => string }[] = [];

  on<const R extends RouteKey>(route: R, handler: (params: ArgsOf<R>) => string): this {
    const [method, path] = route.split(" ") as [Method, string];
    this.table.push({ method, parts: path.split("/"), handler });
    return this;
  }

  handle(method: Method, url: string): string {
    const got = url.split("/");
    for (const { method: m, parts, handler } of this.table) {
      if (m !== method || parts.length !== got.length) continue;
      const params: Record<string, string> = {};
      if (parts.every((p, i) => (p.startsWith(":") ? ((params[p.slice(1)] = decodeURIComponent(got[i])), true) : p === got[i]))) {
        return handler(params);
      }
    }
    return `404 ${method} ${url}`;
  }
}

function link<const S extends `/${string}`>(pattern: S, params: ArgsOf<S>): string {
  return pattern.replace(/:(\w+)/g, (_, k: keyof ArgsOf<S> & string) => encodeURIComponent((params as Record<string, string>)[k]));
}

type CssSize = `${number}${"px" | "rem" | "%"}`;
const isCssSize = (s: string): s is CssSize => /^-?\d+(\.\d+)?(px|rem|%)$/.test(s);

const router = new Router()
  .on("GET /users/:id", ({ id }) => `user ${id}`)
  .on("GET /users/:id/posts/:slug", ({ id, slug }) => `post "${slug}" of user ${id}`)
  .on("DELETE /users/:id", (p) => `deleted ${p.id}`)
  .on("GET /health", () => "fine 💚");

console.log(router.handle("GET", "/users/42"));
console.log(router.handle("GET", link("/users/:id/posts/:slug", { id: "7", slug: "hello wörld/2" })));
console.log(router.handle("DELETE", "/users/9"));
console.log(router.handle("GET", "/health"));
console.log(router.handle("POST", "/health"));
console.log(link("/a/:b/c", { b: "x&y" }));
console.log(["12px", "1.5rem", "auto", "50%"].filter(isCssSize));
