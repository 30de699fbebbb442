export type Token<T> = symbol & { readonly __type?: T };
export type Lifetime = "singleton" | "transient";

type Factory<T> = (c: Container) => T;

export function token<T>(name: string): Token<T> {
  return Symbol(name) as Token<T>;
}

export class ResolutionError extends Error {
  override name = "ResolutionError";
}

export class Container {
  private factories = new Map<symbol, { factory: Factory<any>; lifetime: Lifetime }>();
  private singletons = new Map<symbol, unknown>();
  private resolving: symbol[] = [];

  constructor(private parent?: Container) {}

  register<T>(tok: Token<T>, factory: Factory<T>, lifetime: Lifetime = "singleton"): this {
    this.factories.set(tok, { factory, lifetime });
    return this;
  }

  resolve<T>(tok: Token<T>): T {
    if (this.singletons.has(tok)) return this.singletons.get(tok) as T;
    const reg = this.factories.get(tok);
    if (!reg) {
      if (this.parent) return this.parent.resolve(tok);
      throw new ResolutionError(`nothing registered for ${tok.description}`);
    }
    if (this.resolving.includes(tok)) {
      const path = [...this.resolving, tok].map((t) => t.description).join(" -> ");
      throw new ResolutionError(`circular dependency: ${path}`);
    }
    this.resolving.push(tok);
    try {
      const instance = reg.factory(this);
      if (reg.lifetime === "singleton") this.singletons.set(tok, instance);
      return instance;
    } finally {
      this.resolving.pop();
    }
  }

  child(): Container {
    return new Container(this);
  }
}
