type Parser<T> = { parse: (raw: string) => T; fallback?: T; secret?: boolean };

const str = (fallback?: string): Parser<string> => ({ parse: (s) => s, fallback });
const int = (fallback?: number): Parser<number> => ({
  parse(s) {
    if (!/^-?\d+$/.test(s)) throw new Error(`"${s}" is not an integer`);
    return parseInt(s, 10);
  },
  fallback,
});
const bool = (fallback?: boolean): Parser<boolean> => ({
  parse(s) {
    if (/^(1|true|yes|on)$/i.test(s)) return true;
    if (/^(0|false|no|off)$/i.test(s)) return false;
    throw new Error(`"${s}" is not a boolean`);
  },
  fallback,
});
const oneOf = <const T extends readonly string[]>(...options: T): Parser<T[number]> => ({
  parse(s) {
    if (!options.includes(s)) throw new Error(`"${s}" is not one of ${options.join(", ")}`);
    return s;
  },
});

type ConfigOf<S extends Record<string, Parser<any>>> = { [K in keyof S]: S[K] extends Parser<infer T> ? T : never };

export function load<S extends Record<string, Parser<any>>>(schema: S, env: NodeJS.ProcessEnv = process.env): ConfigOf<S> {
  const out: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [key, p] of Object.entries(schema)) {
    const raw = env[key];
    try {
      if (raw === undefined || raw === "") {
        if (p.fallback === undefined) throw new Error("is not set");
        out[key] = p.fallback;
      } else out[key] = p.parse(raw);
    } catch (e) {
      problems.push(`${key}: ${(e as Error).message}`);
    }
  }
  if (problems.length) throw new AggregateError(problems.map((p) => new Error(p)), "invalid configuration");
  return out as ConfigOf<S>;
}

const schema = {
  APP_NAME: str("demo"),
  APP_PORT: int(8080),
  APP_DEBUG: bool(false),
  APP_MODE: oneOf("dev", "prod"),
  APP_WORKERS: int(),
};

try {
  const good = load(schema, { APP_MODE: "prod", APP_WORKERS: "4", APP_DEBUG: "yes" });
  console.log("from object:", good);
  const cfg = load(schema);
  console.log("from env:", cfg);
} catch (e) {
  if (e instanceof AggregateError) {
    console.log(`❗ ${e.message}`);
    for (const inner of e.errors) console.log("  -", inner.message);
    process.exit(2);
  }
  throw e;
}
