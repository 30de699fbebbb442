type Method<This, Args extends unknown[], R> = (this: This, ...args: Args) => R;

let depth = 0;
function logged<This, Args extends unknown[], R>(target: Method<This, Args, R>, ctx: ClassMethodDecoratorContext<This, Method<This, Args, R>>) {
  const name = String(ctx.name);
  return function (this: This, ...args: Args): R {
    console.log(`${"  ".repeat(depth++)}→ ${name}(${args.map((a) => JSON.stringify(a)).join(", ")})`);
    try {
      const r = target.apply(this, args);
      console.log(`${"  ".repeat(depth - 1)}← ${name} = ${JSON.stringify(r)}`);
      return r;
    } finally {
      depth--;
    }
  };
}

function memoize<This extends object, A, R>(target: Method<This, [A], R>, _ctx: ClassMethodDecoratorContext) {
  const caches = new WeakMap<This, Map<A, R>>();
  return function (this: This, arg: A): R {
    let cache = caches.get(this);
    if (!cache) caches.set(this, (cache = new Map()));
    if (!cache.has(arg)) cache.set(arg, target.call(this, arg));
    return cache.get(arg)!;
  };
}

function bound(_t: Function, ctx: ClassMethodDecoratorContext) {
  ctx.addInitializer(function (this: any) {
    this[ctx.name] = this[ctx.name].bind(this);
  });
}

class MathService {
  calls = 0;

  @memoize
  fib(n: number): number {
    this.calls++;
    return n < 2 ? n : this.fib(n - 1) + this.fib(n - 2);
  }

  @logged
  gcd(a: number, b: number): number {
    return b === 0 ? a : this.gcd(b, a % b);
  }

  @logged
  fail(reason: string): never {
    throw new Error(reason);
  }

  @bound
  report() {
    return `${this.calls} real calls`;
  }
}

const m = new MathService();
console.log(m.fib(50));
m.gcd(48, 18);
try {
  m.fail("on purpose");
} catch (e) {
  console.log("caught:", (e as Error).message);
}
const { report } = m;
console.log(report());
